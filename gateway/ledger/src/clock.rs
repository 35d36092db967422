//! Wall time for schedules, steady within a process: a step of the system clock neither expires nor delays anything.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Where the ledger's time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's wall clock as it was at the start, carried on by the monotonic clock.
    System(SteadyClock),
    /// Moved by hand, for tests of schedules.
    Manual(ManualClock),
}

impl Clock {
    /// The clock of a running gateway.
    pub fn system() -> Clock {
        Clock::System(SteadyClock { base_ms: wall_ms(), started: Instant::now() })
    }

    /// Milliseconds since the epoch.
    pub fn now(&self) -> u64 {
        match self {
            Clock::System(clock) => {
                clock.base_ms + u64::try_from(clock.started.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
            }
            Clock::Manual(clock) => *clock.now.borrow(),
        }
    }

    /// Returns once `now` is at least `due` (milliseconds since the epoch).
    pub async fn sleep_until(&self, due: u64) {
        match self {
            // Naps: a suspended machine's timers may lag, and the due time may be days away.
            Clock::System(_) => loop {
                let now = self.now();
                if now >= due {
                    return;
                }
                tokio::time::sleep(Duration::from_millis((due - now).min(60_000))).await;
            },
            Clock::Manual(clock) => {
                let mut now = clock.now.subscribe();
                // The sender lives in `self`, so waiting cannot fail.
                let _ = now.wait_for(|now| *now >= due).await;
            }
        }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// See [`Clock::System`].
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    base_ms: u64,
    started: Instant,
}

/// See [`Clock::Manual`].
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<u64>>,
}

impl ManualClock {
    /// Starts at `now` milliseconds since the epoch.
    pub fn at(now: u64) -> ManualClock {
        ManualClock { now: Arc::new(watch::Sender::new(now)) }
    }

    /// Moves time forward and wakes who waits for it.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX / 2);
        self.now.send_modify(|now| *now += by);
    }
}
