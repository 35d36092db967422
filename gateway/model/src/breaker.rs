//! The circuit breaker of one upstream: closed, open, half-open. Pure; the time is an argument (monotonic
//! nanoseconds).
//!
//! - Closed, it lets everything through and counts. It opens on a run of failures, or on a share of failures in the
//!   sliding window; both are judged when a failure is reported.
//! - Open, it lets nothing through until its time is up.
//! - Half-open, it lets one probe through. Success closes it, failure opens it again for twice as long. A probe that
//!   ends without a verdict (its request was refused elsewhere, its client went away) makes room for the next at once:
//!   a client that hangs up can neither keep an upstream shut nor wedge the breaker. A probe that never ends makes
//!   room after `max_open`.
//!
//! What was let through before a change of state has no say after it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::window::{Window, slice_of};

/// When to stop asking an upstream, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Opens after this many failures in a row; 0 turns this off.
    pub consecutive_failures: u32,
    /// Opens when at least this share of `window`'s outcomes failed, in percent (0 turns this off) …
    pub failure_percent: u32,
    /// … of at least this many outcomes.
    pub minimum_outcomes: u32,
    /// Length of the sliding window.
    pub window: Duration,
    /// First time open; doubles with every failed probe …
    pub open: Duration,
    /// … up to this.
    pub max_open: Duration,
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Everything goes through.
    Closed,
    /// One probe at a time goes through.
    HalfOpen,
    /// Nothing goes through.
    Open,
}

impl State {
    /// Word for logs and the admin API.
    pub fn label(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }

    /// Number for the metric: 0 closed, 1 half-open, 2 open.
    pub fn code(self) -> u8 {
        match self {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        }
    }
}

/// How a request that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered; client errors (4xx) are answers.
    Success,
    /// No answer, or one that blames the upstream.
    Failure,
    /// It says nothing about the upstream.
    Ignored,
}

impl Outcome {
    /// What an answer's status says about the upstream: 5xx blames it; a 4xx blames the request, and one tenant's bad
    /// requests must not shut an upstream for the others.
    pub fn of_status(status: u16) -> Self {
        if status >= 500 { Outcome::Failure } else { Outcome::Success }
    }
}

/// A change of state, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition(pub State);

impl Transition {
    /// The new state's word.
    pub fn label(self) -> &'static str {
        self.0.label()
    }
}

/// Leave to ask the upstream, to be handed back by [`Breaker::record`]. Dropping it instead means that nothing was
/// learnt about the upstream.
#[derive(Debug)]
#[must_use = "report the outcome with it"]
pub struct Pass {
    /// The period of the breaker that it belongs to.
    period: u64,
    /// Set on a probe.
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    breaker: Arc<Breaker>,
    number: u64,
}

impl Pass {
    /// Whether the upstream's fate hangs on this one request.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.breaker.free(probe.number);
        }
    }
}

/// The breaker. Closed, it costs a request one atomic read on its way in and one counter on its way out; only changes
/// of state take the lock.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    /// The current period and [`State::code`]; written under the lock.
    gate: AtomicU64,
    /// While not closed: when the next probe may go; written under the lock.
    probe_at: AtomicU64,
    /// Failures in a row.
    run: AtomicU32,
    successes: Window,
    failures: Window,
    change: Mutex<Change>,
}

/// What only changes of state need.
#[derive(Debug)]
struct Change {
    /// Length of the current opening, nanoseconds.
    open_for: u64,
    /// Number of the probe that is out.
    probe: Option<u64>,
    /// Probes so far.
    probes: u64,
}

/// What a client is told to wait while a probe is out: its verdict is close.
const SOON: u64 = 1_000_000_000;

impl Breaker {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Breaker {
            settings,
            gate: AtomicU64::new(gate(0, State::Closed)),
            probe_at: AtomicU64::new(0),
            run: AtomicU32::new(0),
            successes: Window::default(),
            failures: Window::default(),
            change: Mutex::new(Change { open_for: nanos(settings.open), probe: None, probes: 0 }),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// Where it stands; half-open as soon as a probe may go, whether or not somebody came to be one.
    pub fn state(&self, now: u64) -> State {
        match self.gate().1 {
            State::Open if now >= self.probe_at.load(Ordering::Relaxed) => State::HalfOpen,
            state => state,
        }
    }

    /// Leave to ask, or how long until it is worth asking again.
    pub fn admit(self: &Arc<Self>, now: u64) -> Result<Pass, Duration> {
        let (period, state) = self.gate();
        if state == State::Closed {
            return Ok(Pass { period, probe: None });
        }
        self.wait(state, now)?;
        self.admit_probe(now)
    }

    /// Reports how a request ended; says so if that changed the state.
    pub fn record(&self, mut pass: Pass, outcome: Outcome, now: u64) -> Option<Transition> {
        match pass.probe.take() {
            Some(probe) => self.record_probe(pass.period, probe.number, outcome, now),
            None => self.count(pass.period, outcome, now),
        }
    }

    fn gate(&self) -> (u64, State) {
        let word = self.gate.load(Ordering::Acquire);
        let state = match word & 3 {
            0 => State::Closed,
            1 => State::HalfOpen,
            _ => State::Open,
        };
        (word >> 2, state)
    }

    /// Refuses while no further probe may go.
    fn wait(&self, state: State, now: u64) -> Result<(), Duration> {
        let left = self.probe_at.load(Ordering::Relaxed).saturating_sub(now);
        match (left, state) {
            (0, _) => Ok(()),
            (_, State::HalfOpen) => Err(Duration::from_nanos(left.min(SOON))),
            _ => Err(Duration::from_nanos(left)),
        }
    }

    fn admit_probe(self: &Arc<Self>, now: u64) -> Result<Pass, Duration> {
        let mut change = self.lock();
        // Somebody may have been first.
        let (period, state) = self.gate();
        if state == State::Closed {
            return Ok(Pass { period, probe: None });
        }
        self.wait(state, now)?;
        change.probes += 1;
        change.probe = Some(change.probes);
        self.probe_at.store(now.saturating_add(nanos(self.settings.max_open)), Ordering::Relaxed);
        self.gate.store(gate(period, State::HalfOpen), Ordering::Release);
        Ok(Pass { period, probe: Some(Probe { breaker: self.clone(), number: change.probes }) })
    }

    /// A probe's verdict. One that was given up on may still bring it, until another one has.
    fn record_probe(&self, of: u64, number: u64, outcome: Outcome, now: u64) -> Option<Transition> {
        if outcome == Outcome::Ignored {
            self.free(number);
            return None;
        }
        let mut change = self.lock();
        let (period, state) = self.gate();
        if (period, state) != (of, State::HalfOpen) {
            return None;
        }
        change.probe = None;
        if outcome == Outcome::Failure {
            let longest = nanos(self.settings.max_open.max(self.settings.open));
            change.open_for = change.open_for.saturating_mul(2).min(longest);
            return Some(self.open(&change, period + 1, now));
        }
        self.run.store(0, Ordering::Relaxed);
        self.successes.clear();
        self.failures.clear();
        self.gate.store(gate(period + 1, State::Closed), Ordering::Release);
        Some(Transition(State::Closed))
    }

    /// A probe ended without a verdict: the next request may be one.
    fn free(&self, number: u64) {
        let mut change = self.lock();
        if change.probe == Some(number) {
            change.probe = None;
            self.probe_at.store(0, Ordering::Relaxed);
        }
    }

    /// Counts the outcome of a request that a closed breaker let through.
    fn count(&self, of: u64, outcome: Outcome, now: u64) -> Option<Transition> {
        let (period, state) = self.gate();
        if (period, state) != (of, State::Closed) {
            return None;
        }
        let slice = slice_of(now, nanos(self.settings.window));
        match outcome {
            Outcome::Ignored => None,
            Outcome::Success => {
                // Read first: the line stays shared between cores while all is well.
                if self.run.load(Ordering::Relaxed) != 0 {
                    self.run.store(0, Ordering::Relaxed);
                }
                self.successes.add(slice);
                None
            }
            Outcome::Failure => {
                let run = self.run.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                self.failures.add(slice);
                if !self.is_too_much(run, slice) {
                    return None;
                }
                let mut change = self.lock();
                if self.gate() != (of, State::Closed) {
                    return None;
                }
                change.open_for = nanos(self.settings.open);
                Some(self.open(&change, of + 1, now))
            }
        }
    }

    fn is_too_much(&self, run: u32, slice: u32) -> bool {
        let settings = &self.settings;
        if settings.consecutive_failures > 0 && run >= settings.consecutive_failures {
            return true;
        }
        let failures = self.failures.sum(slice);
        let outcomes = failures + self.successes.sum(slice);
        settings.failure_percent > 0
            && outcomes >= u64::from(settings.minimum_outcomes)
            && failures * 100 >= outcomes * u64::from(settings.failure_percent)
    }

    /// Opens; the caller holds the lock.
    fn open(&self, change: &Change, period: u64, now: u64) -> Transition {
        self.probe_at.store(now.saturating_add(change.open_for), Ordering::Relaxed);
        self.gate.store(gate(period, State::Open), Ordering::Release);
        Transition(State::Open)
    }

    fn lock(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gate(period: u64, state: State) -> u64 {
    period << 2 | u64::from(state.code())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
