//! The lane of long calls: guests that outlive their first tick take turns, so that whatever they do leaves most of the
//! threads to everyone else.
//!
//! A call runs its first tick at once, half of one at least, unless its tenant is heavy (`manner`). From then on every further tick needs a
//! turn, of which there are fewer than threads. Tenants take turns with each other, tick by tick; within a tenant the call that began first goes on, so that
//! some calls end in time instead of all of them too late. A call that got its turn still lets every task that is
//! ready go first (`yield_now` of tokio also looks for new input before it comes back).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The turns of all long calls of a sandbox.
#[derive(Debug)]
pub(crate) struct Lane {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Whose calls wait, next tenant first. Calls are bounded by the pool's slots, and so is this.
    tenants: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to run for one tick; the next in line gets it when this is dropped.
#[derive(Debug)]
struct Turn(Arc<Lane>);

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(next) = self.0.next_or_free() {
            // A call that ended while it waited hands its turn back here, which passes it on.
            if !next.is_closed() {
                let _ = next.send(Turn(self.0.clone()));
                return;
            }
        }
    }
}

impl Lane {
    /// `turns` at once.
    pub(crate) fn new(turns: usize) -> Arc<Lane> {
        Arc::new(Lane { state: Mutex::new(State { free: turns, tenants: VecDeque::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn in exchange for the one that is `held`, or a first one.
    async fn turn(self: &Arc<Self>, tenant: &Arc<str>, held: Option<Turn>) -> Turn {
        let waiting = {
            let mut state = self.state();
            if held.is_none() && state.free > 0 {
                state.free -= 1;
                return Turn(self.clone());
            }
            let (turn, waiting) = oneshot::channel();
            let calls = state.calls_of(tenant);
            match held {
                Some(_) => calls.push_front(turn),
                None => calls.push_back(turn),
            }
            waiting
        };
        // In line by now: it comes straight back where nobody else waits.
        drop(held);
        match waiting.await {
            Ok(turn) => turn,
            // Queues are dropped with the lane only, and we hold the lane.
            Err(_) => std::future::pending().await,
        }
    }

    /// Who gets the turn; if nobody, it is free.
    fn next_or_free(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        let next = state.next();
        if next.is_none() {
            state.free += 1;
        }
        next
    }
}

impl State {
    /// The waiting calls of a tenant; to be left with at least one.
    fn calls_of(&mut self, tenant: &Arc<str>) -> &mut VecDeque<oneshot::Sender<Turn>> {
        let position = self.tenants.iter().position(|(name, _)| name == tenant).unwrap_or_else(|| {
            self.tenants.push_back((tenant.clone(), VecDeque::new()));
            self.tenants.len() - 1
        });
        &mut self.tenants[position].1
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (tenant, mut calls) = self.tenants.pop_front()?;
        let next = calls.pop_front();
        if !calls.is_empty() {
            self.tenants.push_back((tenant, calls));
        }
        next
    }
}

/// One call's place in the lane; gives its turn back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    lane: Arc<Lane>,
    tenant: Arc<str>,
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    InLine,
    Running(Turn),
    /// Waits for something else than its turn.
    Away,
}

impl Seat {
    pub(crate) fn new(lane: Arc<Lane>, tenant: Arc<str>) -> Arc<Seat> {
        Arc::new(Seat { lane, tenant, place: Mutex::new(Place::InLine) })
    }

    /// Gives back the turn that it has, and waits for the next one.
    pub(crate) async fn next_turn(self: Arc<Self>) {
        let held = match self.enter(Place::InLine) {
            Place::Running(turn) => Some(turn),
            Place::InLine | Place::Away => None,
        };
        let turn = self.lane.turn(&self.tenant, held).await;
        self.enter(Place::Running(turn));
        tokio::task::yield_now().await;
    }

    /// Gives back the turn that it has, and is not in line.
    pub(crate) fn leave(&self) {
        self.enter(Place::Away);
    }

    /// Whether the call waits for others.
    pub(crate) fn waits(&self) -> bool {
        matches!(*self.place(), Place::InLine)
    }

    /// Answers where it was.
    fn enter(&self, place: Place) -> Place {
        std::mem::replace(&mut *self.place(), place)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A long call that is polled by hand.
    struct Call {
        seat: Arc<Seat>,
        waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
    }

    impl Call {
        fn new(lane: &Arc<Lane>, tenant: &str) -> Call {
            Call { seat: Seat::new(lane.clone(), tenant.into()), waiting: None }
        }

        /// At the end of a tick: asks for the next turn.
        fn tick(&mut self) {
            self.waiting = Some(Box::pin(self.seat.clone().next_turn()));
            assert!(!self.runs(), "not before everything else that is ready");
        }

        /// Whether it may run by now.
        fn runs(&mut self) -> bool {
            let Some(waiting) = &mut self.waiting else { return !self.seat.waits() };
            let runs = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(());
            if runs {
                self.waiting = None;
            }
            runs
        }
    }

    #[test]
    fn tenants_take_turns_and_the_first_call_of_each_goes_on() {
        let lane = Lane::new(1);
        let names = ["a", "a", "b", "c"];
        let mut calls: Vec<_> = names.iter().map(|tenant| Call::new(&lane, tenant)).collect();
        calls.iter_mut().for_each(Call::tick);
        let mut order = Vec::new();
        for _ in 0..7 {
            // A call that has got its turn runs once it was polled.
            let running: Vec<_> = (0..4)
                .filter(|&i| {
                    calls[i].runs();
                    calls[i].runs()
                })
                .collect();
            assert_eq!(running.len(), 1, "{running:?}");
            order.push(running[0]);
            calls[running[0]].tick();
        }
        // The second tick is still its own tenant's: a call of it was the first to wait.
        assert_eq!(order, [0, 0, 2, 3, 0, 2, 3]);
        calls.remove(0);
        let running: Vec<_> = (0..3)
            .filter(|&i| {
                calls[i].runs();
                calls[i].runs()
            })
            .collect();
        assert_eq!(running.len(), 1, "the turn of a call that ended is passed on");
    }

    #[test]
    fn a_call_that_waits_for_something_else_leaves_its_turn_to_others() {
        let lane = Lane::new(1);
        let (mut first, mut second) = (Call::new(&lane, "a"), Call::new(&lane, "b"));
        first.tick();
        second.tick();
        assert!(first.runs() && !second.runs() && second.seat.waits());
        first.seat.leave();
        assert!(!first.seat.waits(), "what it waits for is its own");
        second.runs();
        assert!(second.runs());
        first.tick();
        assert!(!first.runs() && first.seat.waits());
    }

    #[test]
    fn a_call_that_ended_while_it_waited_is_passed_over() {
        let lane = Lane::new(2);
        let mut calls: Vec<_> = ["a", "b", "c", "d"].iter().map(|tenant| Call::new(&lane, tenant)).collect();
        calls.iter_mut().for_each(Call::tick);
        // The third is told of its turn, but never looks; the fourth does not wait any more.
        drop(calls.remove(0));
        drop(calls.pop());
        drop(calls);
        assert_eq!(lane.state().free, 2);
        assert!(lane.state().tenants.is_empty());
    }
}
