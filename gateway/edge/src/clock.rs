//! The only place where the edge reads clocks for decisions; everything below takes time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since the process began, and wall-clock time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero, now.
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Monotonic nanoseconds.
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Monotonic nanoseconds of a moment that was looked at before.
    pub fn at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds since the epoch; for `exp` and `nbf` only.
    pub fn unix_seconds() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Milliseconds since the epoch; for what people read.
    pub fn unix_millis() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    }
}
