//! Whether a sink may be asked now, and for how many deliveries: operators' pauses, maintenance, its breaker, its rate and
//! its recovery. What stands in the way here holds deliveries and costs them no attempt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluis_model::breaker::{Breaker, Outcome, Pass, State, Transition};
use sluis_model::maintenance::Calendar;
use sluis_model::pacing::{Pacing, PacingSettings};
use sluis_model::plan;
use sluis_model::retry::ErrorClass;
use sluis_model::retry_queue::RetryQueue;

use crate::ledger::Ledger;
use crate::sink::SendOutcome;

/// Who holds a sink whose breaker is open.
pub(super) const BREAKER: &str = "breaker";
/// Who holds a sink that is under maintenance.
pub(super) const MAINTENANCE: &str = "maintenance";

/// What a sink's state lets a worker do.
pub(super) enum Opening {
    /// So many attempts may be begun, each with a pass to be handed back with its outcome.
    For(Vec<Pass>),
    /// None before this time, or before the bell rings.
    Shut(Option<u64>),
}

/// One sink's gate; shared by its worker and its attempts.
pub(super) struct Gate {
    breaker: Arc<Breaker>,
    calendar: Calendar,
    pace: Arc<Mutex<Pace>>,
}

struct Pace {
    pacing: Pacing,
    /// Retries past the budget.
    queue: RetryQueue,
    /// Between two of those, milliseconds.
    retry_gap: u64,
}

impl Pace {
    fn new(settings: PacingSettings) -> Pace {
        Pace { pacing: Pacing::new(settings), queue: RetryQueue::default(), retry_gap: retry_gap(settings) }
    }

    fn set(&mut self, settings: PacingSettings) {
        self.pacing.set(settings);
        self.retry_gap = retry_gap(settings);
    }
}

fn retry_gap(settings: PacingSettings) -> u64 {
    1000_u64.div_ceil(u64::from(settings.retry_floor_per_second.max(1)))
}

impl Gate {
    /// The gate of a sink, in the place of the one before: a new plan forgets nothing of what the sink was asked and how
    /// it answered, unless it has another idea of when to stop asking.
    pub fn new(plan: &plan::Sink, before: Option<&Gate>) -> Gate {
        let same = before.filter(|before| *before.breaker.settings() == plan.breaker);
        let breaker = same.map_or_else(|| Arc::new(Breaker::new(plan.breaker)), |before| Arc::clone(&before.breaker));
        let pace =
            before.map_or_else(|| Arc::new(Mutex::new(Pace::new(plan.pacing))), |before| Arc::clone(&before.pace));
        lock(&pace).set(plan.pacing);
        Gate { breaker, calendar: plan.maintenance.clone(), pace }
    }

    /// Attempts that the sink may have in flight now.
    pub fn concurrency(&self, full: usize, now: u64) -> usize {
        self.pace().pacing.concurrency(full, now)
    }

    /// When it may have one more, while it recovers.
    pub fn widens_at(&self, full: usize, now: u64) -> Option<u64> {
        self.pace().pacing.widens_at(full.max(1), now)
    }

    /// Whether the sink may not be asked at all, and until when; none of that where the bell says so.
    pub fn shut(&self, ledger: &Ledger, sink: &str, now: u64) -> Option<Option<u64>> {
        if ledger.store.shared.room.is_paused(sink) {
            return Some(None);
        }
        if let Some(end) = self.calendar.open_until(now) {
            return Some(Some(end));
        }
        // A pass that is dropped has taught the breaker nothing.
        self.breaker.admit(nanos(now)).err().map(|wait| Some(after(now, wait)))
    }

    /// Whether the breaker lets everything through.
    pub fn is_closed(&self, now: u64) -> bool {
        self.breaker.state(nanos(now)) == State::Closed
    }

    /// Asks for up to `wanted` attempts.
    pub fn ask(&self, wanted: usize, now: u64) -> Opening {
        let (granted, next) = self.pace().pacing.take(wanted, now);
        if granted == 0 {
            return Opening::Shut(next);
        }
        let mut passes = Vec::with_capacity(granted);
        let mut refused = None;
        while passes.len() < granted && refused.is_none() {
            match self.breaker.admit(nanos(now)) {
                Ok(pass) => passes.push(pass),
                Err(wait) => refused = Some(after(now, wait)),
            }
        }
        // What the breaker refuses takes nothing of the rate.
        self.pace().pacing.give_back(granted - passes.len());
        if passes.is_empty() {
            return Opening::Shut(refused);
        }
        Opening::For(passes)
    }

    /// Learns how an attempt ended for the sink, whatever became of the event. Answers a change of the breaker.
    pub fn learn(&self, pass: Pass, outcome: Outcome, now: u64) -> Option<Transition> {
        let change = self.breaker.record(pass, outcome, nanos(now));
        if change == Some(Transition(State::Closed)) {
            self.pace().pacing.recovered(now);
        }
        change
    }

    /// Counts an attempt that begins, unless it is a retry: those were counted when they were put off.
    pub fn begins(&self, attempt: u32, now: u64) {
        if attempt == 1 {
            self.pace().pacing.first_attempt(now);
        }
    }

    /// When a tenant's retry that is due at `due` may go, within the budget of retries; past it they go one after the
    /// other, but are not put off beyond `latest`.
    pub fn retry_at(&self, tenant: &Arc<str>, due: u64, latest: u64, now: u64) -> u64 {
        let mut pace = self.pace();
        let Pace { pacing, queue, retry_gap } = &mut *pace;
        match pacing.retry_at(now) {
            Ok(()) => due,
            Err(not_before) => due.max(queue.put_off(tenant, *retry_gap, not_before, latest, now)),
        }
    }

    /// Who holds the sink now by itself, and why.
    pub fn holders(&self, now: u64) -> [(&'static str, Option<String>); 2] {
        let open = (self.breaker.state(nanos(now)) != State::Closed).then(|| "circuit_open".to_owned());
        let until = self.calendar.open_until(now).map(|end| format!("until {}", crate::status::rfc3339(end)));
        [(BREAKER, open), (MAINTENANCE, until)]
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.pace)
    }
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an answer says about the sink, by its status alone: a plugin's verdict is about the event.
pub(super) fn says(answer: &SendOutcome) -> Outcome {
    match answer {
        SendOutcome::Confirmed(_) => Outcome::Success,
        SendOutcome::Failed(failure) => blames(failure.class),
    }
}

/// What a failure of the sink's own says about it.
pub(super) fn blames(class: ErrorClass) -> Outcome {
    match class {
        // It answered, whatever it thinks of the event.
        ErrorClass::Permanent | ErrorClass::Throttled => Outcome::Success,
        ErrorClass::Transient | ErrorClass::Ambiguous => Outcome::Failure,
        ErrorClass::Poison => Outcome::Ignored,
    }
}

/// The breaker's clock.
fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

fn after(now: u64, wait: Duration) -> u64 {
    // Rounded up: a breaker asked a moment too early says the same again.
    now.saturating_add(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)).max(now + 1)
}
