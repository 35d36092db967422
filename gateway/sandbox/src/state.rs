//! What the host holds for one call, and drops with it.

use std::collections::HashMap;
use std::sync::Arc;

use sluis_model::http_client::HttpClient;
use sluis_model::kv::Kv;
use sluis_model::plan::{CallLimits, Secret};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::cpu::CpuClock;
use crate::lane::Seat;
use crate::limiter::Meter;
use crate::manner::{HEAVY, Manner};
use crate::plugin::Core;
use crate::text;
use crate::ticker::TICK;

/// Bytes of stdout and stderr that are kept: a panic's message and where it happened.
pub(crate) const STDIO_BYTES: usize = 4 << 10;
/// Data that a guest may hand over in one host call; wasmtime's default is 128 MiB.
pub(crate) const HOSTCALL_BYTES: usize = 1 << 20;
/// Room in the result for field names, values and their pairing, besides what the caller allows for the body.
const RESULT_OVERHEAD: usize = 256 << 10;
/// Live resource handles; wasmtime's default is 100,000.
pub(crate) const HANDLES: usize = 1_000;

/// How much a line matters, in the guest's opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The word in logs, the contract's own.
    pub fn label(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// A line that a guest logged: escaped, and cut to the plan's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As the guest named it; `Info` for a word that is none of the four.
    pub level: LogLevel,
    /// Free of control characters.
    pub message: String,
}

/// What a call may see of its tenant, and what it shares with the tenant's other calls.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Its id.
    pub tenant: Arc<str>,
    /// Its settings and secrets.
    pub config: HashMap<String, Secret>,
    /// Counters that it may add to.
    pub metrics: Arc<[Arc<str>]>,
    /// Where its state is; without it there is none.
    pub kv: Option<KvScope>,
    /// Sends its requests to other systems; without it nothing is sent.
    pub http: Option<Arc<dyn HttpClient>>,
    /// How much its calls took lately.
    pub manner: Arc<Manner>,
}

/// A tenant's state.
#[derive(Debug, Clone)]
pub struct KvScope {
    /// All tenants'.
    pub store: Arc<dyn Kv>,
    /// Bytes that this one may keep.
    pub quota: u64,
}

/// The data of one call's store.
#[derive(Debug)]
pub(crate) struct CallState {
    pub(crate) limits: CallLimits,
    pub(crate) scope: Arc<Scope>,
    pub(crate) cpu: Arc<CpuClock>,
    /// Taken once the call is a long one, before it begins where the tenant is heavy.
    seat: Option<Arc<Seat>>,
    /// A host function is at work for it.
    waits_for_host: bool,
    pub(crate) meter: Meter,
    pub(crate) host_calls: u32,
    pub(crate) http_requests: u32,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) log_lines_dropped: u32,
    /// What was added to the scope's counters, by their position; empty where nothing was.
    pub(crate) counts: Vec<u64>,
    pub(crate) counts_dropped: u32,
    pub(crate) stdio: Vec<u8>,
}

/// The guest made more host calls than it may.
#[derive(Debug, thiserror::Error)]
#[error("too many host calls")]
pub(crate) struct HostCallsUsedUp;

impl CallState {
    /// To be called first in every host function: counts it against the budget.
    pub(crate) fn host_call(&mut self) -> wasmtime::Result<()> {
        if self.host_calls >= self.limits.host_calls {
            return Err(HostCallsUsedUp.into());
        }
        self.host_calls += 1;
        Ok(())
    }

    /// Whether it is a long call that waits for its turn.
    pub(crate) fn waits_for_turn(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.waits())
    }

    /// Whether it waits for storage, or for another system.
    pub(crate) fn waits_for_host(&self) -> bool {
        self.waits_for_host
    }

    /// Keeps a line, or counts it as dropped.
    pub(crate) fn log(&mut self, level: LogLevel, message: &str) {
        if self.logs.len() >= self.limits.log_lines as usize {
            self.log_lines_dropped = self.log_lines_dropped.saturating_add(1);
            return;
        }
        let message = text::escape(message, self.limits.log_line_bytes);
        self.logs.push(LogLine { level, message });
    }

    /// Adds to one of the scope's counters, or counts that there is no such.
    pub(crate) fn count(&mut self, counter: Option<usize>, value: u64) {
        let Some(counter) = counter else {
            self.counts_dropped = self.counts_dropped.saturating_add(1);
            return;
        };
        self.counts.resize(self.scope.metrics.len(), 0);
        self.counts[counter] = self.counts[counter].saturating_add(value);
    }

    /// Keeps what a guest prints, as far as there is room; a guest that prints more goes on undisturbed.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let room = STDIO_BYTES.saturating_sub(self.stdio.len());
        self.stdio.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Waits for what a host function does. A long call gives its turn back meanwhile.
pub(crate) async fn wait<T>(cx: &mut StoreContextMut<'_, CallState>, work: impl Future<Output = T>) -> T {
    let seat = cx.data().seat.clone();
    if let Some(seat) = &seat {
        seat.leave();
    }
    cx.data_mut().waits_for_host = true;
    let done = work.await;
    cx.data_mut().waits_for_host = false;
    if let Some(seat) = seat {
        seat.next_turn().await;
    }
    done
}

/// A store for one call, its limits set. `output_bytes` is what its result may carry, body and fields together; `seat` is
/// there where the call had to wait for its turn.
pub(crate) fn store(
    core: &Core,
    limits: CallLimits,
    scope: Arc<Scope>,
    cpu: Arc<CpuClock>,
    output_bytes: usize,
    seat: Option<Arc<Seat>>,
) -> Store<CallState> {
    let state = CallState {
        limits,
        scope,
        cpu,
        seat,
        waits_for_host: false,
        meter: Meter::new(limits.memory, core.memory),
        host_calls: 0,
        http_requests: 0,
        logs: Vec::new(),
        log_lines_dropped: 0,
        counts: Vec::new(),
        counts_dropped: 0,
        stdio: Vec::new(),
    };
    let mut store = Store::new(&core.engine, state);
    store.limiter(|state| &mut state.meter);
    // Charged anew for every host call and for the result. Host functions read strings where they lie, so a larger
    // allowance for a large result costs no memory there.
    store.set_hostcall_fuel(HOSTCALL_BYTES.max(output_bytes.saturating_add(RESULT_OVERHEAD)));
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    let lane = core.lane.clone();
    store.epoch_deadline_callback(move |mut cx| {
        let state = cx.data_mut();
        let used = state.cpu.tick();
        // Others of the same tenant are not to begin meanwhile.
        if used >= HEAVY {
            state.scope.manner.took(state.cpu.untold());
        }
        if used >= state.limits.cpu {
            return Ok(UpdateDeadline::Interrupt);
        }
        // It began shortly before the tick: a short call needs no turn.
        if state.seat.is_none() && used < TICK / 2 {
            return Ok(UpdateDeadline::Continue(1));
        }
        let seat = state.seat.get_or_insert_with(|| Seat::new(lane.clone(), state.scope.tenant.clone()));
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(seat.clone().next_turn())))
    });
    store
}
