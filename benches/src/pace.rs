//! The moments of an open loop: each request has its own, whether or not the one before it was answered.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

/// Sends the moment of each request when it has come, `rate(elapsed)` of them a second, until `total` time has passed or
/// nobody listens. Blocks; a thread of its own, as a runtime's timers are a millisecond coarse.
#[allow(clippy::disallowed_methods)]
pub fn pace(moments: &Sender<Instant>, total: Duration, rate: impl Fn(Duration) -> f64) {
    let start = Instant::now();
    let mut at = Duration::ZERO;
    while at < total {
        let intended = start + at;
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        if moments.blocking_send(intended).is_err() {
            return;
        }
        at += Duration::from_secs_f64(1.0 / rate(at).max(0.01));
    }
}

/// Whole microseconds, at least one.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}
