//! One call, from a fresh store to its end.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use sluis_model::hook::{Budget, CallFault, Usage};
use sluis_model::plan::CallLimits;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower};

use crate::cpu::CpuClock;
use crate::fault;
use crate::lane::Seat;
use crate::manner::Manner;
use crate::plugin::{Loaded, Outcome};
use crate::state::{self, CallState, Scope};
use crate::ticker::TICK;

/// What is called, and within which bounds.
pub(crate) struct Call<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) hook: &'a ComponentExportIndex,
    pub(crate) scope: &'a Arc<Scope>,
    pub(crate) limits: &'a CallLimits,
    pub(crate) output_bytes: usize,
}

/// Instantiates, calls the hook with `params`, and drops the instance whatever came of it.
pub(crate) async fn call<P, R>(call: Call<'_>, params: P) -> Outcome<R>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    let Call { loaded, hook, scope, limits, output_bytes } = call;
    bounded(loaded, limits, scope, output_bytes, async |store| {
        let instance = loaded.pre.instantiate_async(&mut *store).await?;
        let function = instance.get_typed_func::<P, (R,)>(&mut *store, hook)?;
        let (result,) = function.call_async(&mut *store, params).await?;
        Ok(result)
    })
    .await
}

/// Instantiates and nothing else: what a component's start function does happens here, under the same budgets.
/// `check` looks at the instance.
pub(crate) async fn instantiate(
    loaded: &Loaded,
    limits: &CallLimits,
    check: impl FnOnce(&mut Store<CallState>, Instance) -> wasmtime::Result<()> + Send,
) -> Outcome<()> {
    let scope = Arc::default();
    bounded(loaded, limits, &scope, 0, async |store| {
        let instance = loaded.pre.instantiate_async(&mut *store).await?;
        check(store, instance)
    })
    .await
}

async fn bounded<R>(
    loaded: &Loaded,
    limits: &CallLimits,
    scope: &Arc<Scope>,
    output_bytes: usize,
    work: impl AsyncFnOnce(&mut Store<CallState>) -> wasmtime::Result<R>,
) -> Outcome<R> {
    let _running = loaded.core.ticker.running();
    let (seat, wall) = match scope.manner.is_heavy() {
        false => (None, limits.wall),
        true => match first_turn(loaded, &scope.tenant, limits.wall).await {
            Some((seat, left)) => (Some(seat), left),
            None => return Outcome::without_turn(),
        },
    };
    let exact = seat.is_some() || scope.manner.is_doubted();
    let cpu = Arc::new(CpuClock::started(exact));
    // Made before the store, so that it ends after it: what giving the memory back takes is in the account.
    let _account = Account { manner: &scope.manner, cpu: &cpu };
    let mut store = state::store(&loaded.core, *limits, scope.clone(), cpu.clone(), output_bytes, seat);
    let result = {
        let mut work = pin!(work(&mut store));
        // The clock stands still between polls, and goes on past the last one until the store is gone.
        let mut metered = pin!(poll_fn(|cx| {
            cpu.start();
            let poll = work.as_mut().poll(cx);
            if poll.is_pending() {
                cpu.stop();
            }
            poll
        }));
        // Most calls end at their first poll; only what goes on needs a timer.
        match poll_fn(|cx| Poll::Ready(metered.as_mut().poll(cx))).await {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => tokio::time::timeout(wall.saturating_sub(cpu.age()), metered).await,
        }
    };
    cpu.start();
    let result = match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault::classify(&error, store.data())),
        // Time that passed in line was not the guest's own.
        Err(_elapsed) if store.data().waits_for_turn() => Err(CallFault::Capacity),
        Err(_elapsed) if store.data().waits_for_host() => Err(CallFault::Budget(Budget::HostWait)),
        Err(_elapsed) => Err(CallFault::Budget(Budget::Wall)),
    };
    let state = store.into_data();
    cpu.stop();
    let usage = Usage {
        cpu: cpu.used(),
        memory: state.meter.memory(),
        host_calls: state.host_calls,
        log_lines_dropped: state.log_lines_dropped,
        counts_dropped: state.counts_dropped,
    };
    Outcome { result, usage, logs: state.logs, counts: state.counts }
}

/// What a call took is its tenant's, also where nobody waits for its end any more.
struct Account<'a> {
    manner: &'a Manner,
    cpu: &'a CpuClock,
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.cpu.stop();
        let used = self.cpu.used();
        if used >= TICK {
            self.manner.took(self.cpu.untold());
        }
        match self.cpu.is_exact() {
            true => self.manner.was_timed(used),
            false if self.cpu.is_doubtful() => self.manner.doubt(),
            false => {}
        }
    }
}

/// A turn before the call begins, and what is left of its time; none where that passed in line.
async fn first_turn(loaded: &Loaded, tenant: &Arc<str>, wall: Duration) -> Option<(Arc<Seat>, Duration)> {
    let began = Instant::now();
    let seat = Seat::new(loaded.core.lane.clone(), tenant.clone());
    tokio::time::timeout(wall, seat.clone().next_turn()).await.ok()?;
    Some((seat, wall.saturating_sub(began.elapsed())))
}
