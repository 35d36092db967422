//! What is true: delays as the server had them, and what follows from them for whoever comes at given moments and finds
//! so many connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Delay, and how many of a thousand requests have it. Nobody knows what a request takes through the kernel and two
/// runtimes, 0.05 to 0.2 ms where this was tried: that is what the percentiles of the shortest are off by.
const MIX: [(Duration, u64); 4] = [
    (Duration::from_millis(10), 900),
    (Duration::from_millis(30), 90),
    (Duration::from_millis(100), 9),
    (Duration::from_millis(300), 1),
];
/// How long the server answers nothing.
pub const STALL: Duration = Duration::from_secs(2);

/// The delays of a run, and what they really were.
pub struct Programme {
    /// From the first moment on.
    stall: Duration,
    began: OnceLock<Instant>,
    took: Mutex<Vec<Duration>>,
}

/// Each request's time by the server's own clock, µs, ascending.
pub struct Truth {
    /// From its moment to its answer.
    pub response: Vec<u64>,
    /// From when there was a connection for it to its answer.
    pub service: Vec<u64>,
}

impl Programme {
    pub fn new(requests: u64, stall: Duration) -> Self {
        let took = (0..requests).map(delay).collect();
        Programme { stall, began: OnceLock::new(), took: Mutex::new(took) }
    }

    pub fn delay(&self, number: u64) -> Duration {
        delay(number)
    }

    /// What a timer made of it.
    pub fn took(&self, number: u64, took: Duration) {
        if let Some(entry) = self.took.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number as usize) {
            *entry = took;
        }
    }

    /// Until when nothing is answered that would be now. The first request to end tells when the run began.
    pub fn stall_left(&self, now: Instant) -> Duration {
        let start = *self.began.get_or_init(|| now - MIX[0].0) + self.stall;
        if now < start { Duration::ZERO } else { (start + STALL).saturating_duration_since(now) }
    }

    /// Requests at `interval`, first come first served, on so many connections.
    pub fn truth(&self, interval: f64, connections: usize) -> Truth {
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free: BinaryHeap<Reverse<Duration>> = (0..connections).map(|_| Reverse(Duration::ZERO)).collect();
        let (mut response, mut service) = (Vec::new(), Vec::new());
        for (number, took) in took.iter().enumerate() {
            let moment = Duration::from_secs_f64(number as f64 * interval);
            let start = free.pop().map_or(moment, |Reverse(since)| since.max(moment));
            let end = start + *took;
            let stalled = (self.stall..self.stall + STALL).contains(&end);
            let end = if stalled { self.stall + STALL } else { end };
            free.push(Reverse(end));
            response.push(micros(end - moment));
            service.push(micros(end - start));
        }
        response.sort_unstable();
        service.sort_unstable();
        Truth { response, service }
    }
}

fn delay(number: u64) -> Duration {
    // Scattered, and yet each exactly as often as it says.
    let mut place = number * 7_919 % 1_000;
    for (delay, share) in MIX {
        match place.checked_sub(share) {
            None => return delay,
            Some(left) => place = left,
        }
    }
    MIX[0].0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The value that this share of the sorted values does not exceed.
pub fn at(sorted: &[u64], quantile: f64) -> u64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
