//! What was seen: every request's outcome, counted once and merged without loss, whole, by tenant and by second.

mod histogram;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use histogram::{Digits, HIGHEST_US, Histogram};

/// Sent this long after its moment, a request is late.
pub const LATE: Duration = Duration::from_millis(10);
/// Tenants that a time line shows by name; the others share one line, [`OTHERS`].
pub const SHOWN_TENANTS: usize = 20;
/// The name of the tenants beyond [`SHOWN_TENANTS`].
pub const OTHERS: &str = "_other";

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answered as it should be: 2xx or 3xx, or 401 where the token was bad on purpose.
    Ok,
    /// Turned away politely: 429, or 503 with `Retry-After`.
    Shed,
    /// Any other answer of 4xx or 5xx.
    Refused,
    /// No answer, or not to its end.
    Failed(Failure),
    /// A bad token that was let in.
    Wrong,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection: refused, unreachable, name not found.
    Connect,
    /// TLS did not come about.
    Tls,
    /// Not answered within the time limit.
    Timeout,
    /// The connection ended in the middle.
    Reset,
    /// What came was not HTTP, or had another length than it said.
    Protocol,
    /// No descriptor, port or memory left here: the generator's own limit.
    Local,
}

/// One request, from its moment to the end of its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Which of the workload's tenants.
    pub tenant: usize,
    /// The moment that the schedule gave it, from the start of the run.
    pub intended: Duration,
    /// When it was sent, from the start of the run.
    pub sent: Duration,
    /// When its answer was there, or had failed.
    pub ended: Duration,
    /// Of the answer.
    pub status: Option<u16>,
    /// What to call it.
    pub outcome: Outcome,
}

/// Counts and latencies of a set of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Moments that the schedule gave.
    pub intended: u64,
    /// Of them, sent.
    pub sent: u64,
    /// Of them, never sent: the connections were all taken until the run ended, or it was stopped.
    pub unsent: u64,
    /// Sent, but more than [`LATE`] after their moment.
    pub late: u64,
    /// Answered as they should be.
    pub ok: u64,
    /// Turned away with 429, or 503 with `Retry-After`.
    pub shed: u64,
    /// Answered with another error.
    pub refused: u64,
    /// Not answered.
    pub failed: u64,
    /// Let in with a bad token.
    pub wrong: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Those not answered, by cause.
    pub failures: BTreeMap<Failure, u64>,
    /// From the intended moment to the end of the answer: what a customer feels. All that were answered.
    pub response: Histogram,
    /// From sending to the end of the answer: what the service took. All that were answered.
    pub service: Histogram,
    /// As `response`, of those answered as they should be alone. Not there where those were all, which is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_ok: Option<Histogram>,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(digits: Digits) -> Self {
        Tally {
            intended: 0,
            sent: 0,
            unsent: 0,
            late: 0,
            ok: 0,
            shed: 0,
            refused: 0,
            failed: 0,
            wrong: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            response: Histogram::new(digits),
            service: Histogram::new(digits),
            response_ok: None,
        }
    }

    /// As [`Tally::response`], of those answered as they should be alone. `None` where a file of before these were told
    /// apart has others as well.
    pub fn response_ok(&self) -> Option<&Histogram> {
        self.response_ok.as_ref().or_else(|| (self.ok == self.response.count()).then_some(&self.response))
    }

    /// Counts a request that was sent. Its moment is counted with it.
    pub fn record(&mut self, exchange: &Exchange) {
        self.intended += 1;
        self.sent += 1;
        self.late += u64::from(exchange.sent.saturating_sub(exchange.intended) > LATE);
        self.record_latency(exchange);
        match exchange.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Shed => self.shed += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Wrong => self.wrong += 1,
            Outcome::Failed(failure) => {
                self.failed += 1;
                *self.failures.entry(failure).or_default() += 1;
            }
        }
        if let Some(status) = exchange.status {
            *self.statuses.entry(status).or_default() += 1;
        }
    }

    /// Where it was answered. The first answer that is not as it should be is the one from which on they are told apart.
    fn record_latency(&mut self, exchange: &Exchange) {
        if exchange.status.is_none() {
            return;
        }
        let response = exchange.ended.saturating_sub(exchange.intended);
        match &mut self.response_ok {
            Some(ok) if exchange.outcome == Outcome::Ok => ok.record(response),
            None if exchange.outcome != Outcome::Ok => self.response_ok = self.response_ok().cloned(),
            _ => {}
        }
        self.response.record(response);
        self.service.record(exchange.ended.saturating_sub(exchange.sent));
    }

    /// Counts a moment that passed without a request.
    pub fn record_unsent(&mut self) {
        self.record_all_unsent(1);
    }

    /// Counts so many moments that passed without a request.
    pub fn record_all_unsent(&mut self, moments: u64) {
        self.intended += moments;
        self.unsent += moments;
    }

    /// See [`Histogram::pack`].
    pub fn pack(&mut self) {
        self.response.pack();
        self.response_ok.iter_mut().for_each(Histogram::pack);
        self.service.pack();
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Tally) {
        if self.response_ok.is_some() || other.response_ok.is_some() {
            let mine = self.response_ok.take().or_else(|| self.response_ok().cloned());
            self.response_ok = mine.zip(other.response_ok()).map(|(mut mine, theirs)| {
                mine.merge(theirs);
                mine
            });
        }
        self.intended += other.intended;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.late += other.late;
        self.ok += other.ok;
        self.shed += other.shed;
        self.refused += other.refused;
        self.failed += other.failed;
        self.wrong += other.wrong;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.response.merge(&other.response);
        self.service.merge(&other.service);
    }

    /// Share of the moments that came to a bad end: refused with an error, not answered, wrongly let in or never sent.
    /// 0 where there was nothing. What was shed is not in it.
    pub fn error_share(&self) -> f64 {
        share(self.refused + self.failed + self.wrong + self.unsent, self.intended)
    }

    /// Share of the moments that were turned away politely.
    pub fn shed_share(&self) -> f64 {
        share(self.shed, self.intended)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One second of a run, by the *intended* moment of its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// All tenants.
    pub all: Tally,
    /// By tenant's name, at most [`SHOWN_TENANTS`] and [`OTHERS`].
    pub tenants: BTreeMap<String, Tally>,
}

/// All that a run saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// From the first moment to the end of the schedule, or of the last answer where that was later, seconds; warm-up not
    /// counted.
    pub seconds_measured: f64,
    /// All tenants, all seconds.
    pub all: Tally,
    /// By tenant's name, every one of them.
    pub tenants: BTreeMap<String, Tally>,
    /// The time line, one entry for each second from the first moment on.
    pub seconds: Vec<Second>,
}
