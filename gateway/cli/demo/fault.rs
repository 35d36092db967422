//! What makes a stand-in slow or broken: `POST /_fault`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

/// How a stand-in behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As it should.
    #[default]
    Ok,
    /// Correct, `latency_ms` late.
    Slow,
    /// Answers `status`.
    Error,
    /// Takes no connection and closes those it has, for `for_ms`.
    Down,
    /// Reads the request and breaks the connection.
    Reset,
}

/// Body of `POST /_fault`, and what `GET /_fault` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// How to behave.
    pub mode: Mode,
    /// For `slow`, at most ten minutes; 1000 if absent.
    pub latency_ms: Option<u64>,
    /// For `error`, 400 to 599; 503 if absent.
    pub status: Option<u16>,
    /// Requests that it holds for (not for `down`); for ever if absent.
    pub times: Option<u64>,
    /// Milliseconds that it holds for, at most ten minutes. For ever if absent, but 5000 for `down`.
    pub for_ms: Option<u64>,
}

const LONGEST_MS: u64 = 600_000;

impl Fault {
    /// Why this cannot be done, if so.
    fn problem(&self) -> Option<&'static str> {
        if self.latency_ms.is_some_and(|latency| latency > LONGEST_MS) {
            return Some("latency_ms is at most 600000");
        }
        if self.for_ms.is_some_and(|duration| duration > LONGEST_MS) {
            return Some("for_ms is at most 600000");
        }
        if self.status.is_some_and(|status| !(400..600).contains(&status)) {
            return Some("status is from 400 to 599");
        }
        if self.times == Some(0) {
            return Some("times is at least 1");
        }
        if self.mode == Mode::Down && self.times.is_some() {
            return Some("down counts no requests: use for_ms");
        }
        None
    }
}

/// What to do with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// Serve it this much later.
    After(Duration),
    /// Answer this status.
    Answer(StatusCode),
    /// Break the connection.
    Reset,
}

/// The fault in force.
#[derive(Debug)]
pub struct Faults {
    base_latency: Duration,
    state: Mutex<Active>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Active {
    fault: Fault,
    until: Option<Instant>,
}

impl Faults {
    /// No fault; every answer is `base_latency` late.
    pub fn new(base_latency: Duration) -> Arc<Self> {
        Arc::new(Faults { base_latency, state: Mutex::default(), changed: watch::channel(()).0 })
    }

    /// Puts a fault in force, in place of the one before.
    ///
    /// # Errors
    /// One sentence saying what in it cannot be done.
    pub fn set(&self, mut fault: Fault) -> Result<Fault, &'static str> {
        if let Some(problem) = fault.problem() {
            return Err(problem);
        }
        match fault.mode {
            Mode::Slow => fault.latency_ms = fault.latency_ms.or(Some(1000)),
            Mode::Error => fault.status = fault.status.or(Some(503)),
            Mode::Down => fault.for_ms = fault.for_ms.or(Some(5000)),
            Mode::Ok | Mode::Reset => {}
        }
        let until = fault.for_ms.map(|duration| Instant::now() + Duration::from_millis(duration));
        *self.lock() = Active { fault, until };
        self.changed.send_replace(());
        Ok(fault)
    }

    /// The fault in force.
    pub fn now(&self) -> Fault {
        let mut active = self.lock();
        active.expire();
        active.fault
    }

    /// Decides on the next request, and counts it.
    pub fn next(&self) -> Verdict {
        let mut active = self.lock();
        active.expire();
        let fault = active.fault;
        if let Some(times) = &mut active.fault.times {
            *times -= 1;
            if *times == 0 {
                active.fault = Fault::default();
            }
        }
        match fault.mode {
            Mode::Ok if self.base_latency.is_zero() => Verdict::Serve,
            Mode::Ok => Verdict::After(self.base_latency),
            Mode::Slow => Verdict::After(Duration::from_millis(fault.latency_ms.unwrap_or_default())),
            Mode::Error => {
                let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
                Verdict::Answer(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE))
            }
            Mode::Down | Mode::Reset => Verdict::Reset,
        }
    }

    /// Whether connections end with RST.
    pub fn resets_connections(&self) -> bool {
        self.now().mode == Mode::Reset
    }

    /// Returns once the stand-in has to be down.
    pub async fn down(&self) {
        let mut changed = self.changed.subscribe();
        while self.now().mode != Mode::Down {
            let _ = changed.changed().await;
        }
    }

    /// Returns once the stand-in has to be up.
    pub async fn up_again(&self) {
        let mut changed = self.changed.subscribe();
        while self.now().mode == Mode::Down {
            let until = self.lock().until.unwrap_or_else(Instant::now);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// `GET` and `POST /_fault`.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/_fault", get(show).post(change)).with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        // Every change is one assignment: a panic elsewhere leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn expire(&mut self) {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            *self = Active::default();
        }
    }
}

async fn show(State(faults): State<Arc<Faults>>) -> axum::Json<Fault> {
    axum::Json(faults.now())
}

async fn change(
    State(faults): State<Arc<Faults>>,
    body: axum::body::Bytes,
) -> Result<axum::Json<Fault>, (StatusCode, String)> {
    // The body alone counts, so that a plain `curl -d` needs no header.
    let fault = serde_json::from_slice(&body).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    faults.set(fault).map(axum::Json).map_err(|problem| (StatusCode::BAD_REQUEST, format!("{problem}\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_after_its_requests_or_its_time() {
        let faults = Faults::new(Duration::ZERO);
        assert_eq!(faults.next(), Verdict::Serve);

        faults.set(Fault { mode: Mode::Error, status: Some(500), times: Some(2), ..Fault::default() }).unwrap();
        let failed = Verdict::Answer(StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!([faults.next(), faults.next(), faults.next()], [failed, failed, Verdict::Serve]);

        faults.set(Fault { mode: Mode::Slow, for_ms: Some(100), ..Fault::default() }).unwrap();
        assert_eq!(faults.next(), Verdict::After(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(faults.next(), Verdict::Serve);
    }

    #[tokio::test(start_paused = true)]
    async fn down_ends_by_itself() {
        let faults = Faults::new(Duration::ZERO);
        let begin = Instant::now();
        faults.set(Fault { mode: Mode::Down, ..Fault::default() }).unwrap();
        faults.down().await;
        faults.up_again().await;
        assert_eq!((begin.elapsed(), faults.now().mode), (Duration::from_secs(5), Mode::Ok));
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_changes_nothing() {
        let faults = Faults::new(Duration::ZERO);
        for bad in [
            Fault { mode: Mode::Slow, latency_ms: Some(LONGEST_MS + 1), ..Fault::default() },
            Fault { mode: Mode::Error, status: Some(200), ..Fault::default() },
            Fault { mode: Mode::Error, times: Some(0), ..Fault::default() },
            Fault { mode: Mode::Down, times: Some(1), ..Fault::default() },
        ] {
            assert!(faults.set(bad).is_err(), "{bad:?}");
        }
        assert_eq!(faults.now(), Fault::default());
    }
}
