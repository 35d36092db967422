//! Rates and in-flight permits: lock-free, pure; the time is an argument (monotonic nanoseconds).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// What a client is told to wait where the rate is 0: somebody has to change the configuration first.
const SHUT: Duration = Duration::from_secs(60);

/// A request rate with a burst, by the generic cell rate algorithm (ITU-T I.371 annex A). One number is remembered:
/// the theoretical arrival, the moment at which everything admitted so far would have come had it kept to the rate.
///
/// In any stretch of `t` seconds at most `burst + rate × t` are admitted, whatever the number of threads.
#[derive(Debug)]
pub struct Rate {
    /// Requests per second in the upper half, burst in the lower: one word, so that a reload is never seen by halves.
    settings: AtomicU64,
    /// Theoretical arrival of the next request.
    arrival: AtomicU64,
}

impl Rate {
    /// `per_second` sustained, `burst` at one moment (at least 1). A rate of 0 admits nothing.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Rate { settings: AtomicU64::new(pack(per_second, burst)), arrival: AtomicU64::new(0) }
    }

    /// New settings from now on. What was used stays used, as time: a wait that began under the old settings goes on,
    /// though no longer than a second past what the new ones could ever ask.
    pub fn set(&self, per_second: u32, burst: u32) {
        self.settings.store(pack(per_second, burst), Ordering::Relaxed);
    }

    /// Takes one, or says how long until there is one again.
    pub fn try_acquire(&self, now: u64) -> Result<(), Duration> {
        let settings = self.settings.load(Ordering::Relaxed);
        let (per_second, burst) = ((settings >> 32) as u32, settings as u32);
        if per_second == 0 {
            return Err(SHUT);
        }
        let interval = interval(per_second);
        let tolerance = interval * u64::from(burst.max(1) - 1);
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let ahead = arrival.saturating_sub(now);
            // These settings never let it run further ahead than this; older ones may have. The second of slack keeps
            // threads whose clocks differ by a little from taking turns at shortening it.
            let furthest = tolerance + interval;
            let (next, answer) = if ahead > furthest + SECOND {
                (now + furthest, Err(Duration::from_nanos(interval)))
            } else if ahead > tolerance {
                return Err(Duration::from_nanos(ahead - tolerance));
            } else {
                (arrival.max(now).saturating_add(interval), Ok(()))
            };
            match self.arrival.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return answer,
                Err(current) => arrival = current,
            }
        }
    }

    /// Gives back what was just taken and is not used after all.
    pub fn give_back(&self, count: u32) {
        let per_second = (self.settings.load(Ordering::Relaxed) >> 32) as u32;
        if per_second > 0 {
            let time = interval(per_second) * u64::from(count);
            let earlier = |arrival: u64| Some(arrival.saturating_sub(time));
            let _ = self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
        }
    }
}

/// Time between two requests, nanoseconds; `per_second` is not 0. Rounded up: the rate is never exceeded.
fn interval(per_second: u32) -> u64 {
    SECOND.div_ceil(u64::from(per_second))
}

fn pack(per_second: u32, burst: u32) -> u64 {
    u64::from(per_second) << 32 | u64::from(burst)
}

/// A number of things in flight at once; the limit may change while permits are out.
#[derive(Debug)]
pub struct Permits {
    limit: AtomicUsize,
    in_use: AtomicUsize,
}

/// One of them; given back when dropped.
#[derive(Debug)]
#[must_use = "dropped, it is given back"]
pub struct Permit(Arc<Permits>);

impl Permits {
    /// At most `limit`.
    pub fn new(limit: usize) -> Self {
        Permits { limit: AtomicUsize::new(limit), in_use: AtomicUsize::new(0) }
    }

    /// From now on at most `limit`; permits that are out stay out.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many are out.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Takes one, if there is one.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.limit();
        // Never counts past the limit, not even for a moment: adding first and looking then would refuse others.
        let taken = |in_use: usize| (in_use < limit).then_some(in_use + 1);
        self.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok().map(|_| Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
