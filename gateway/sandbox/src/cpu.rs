//! Time on the CPU of one call: the sum over its polls, by the thread's own clock, so that a machine busy with other
//! work is not held against the guest.
//!
//! The thread's clock is a system call, twice as long as the rest of a short call's book-keeping. So until its first
//! tick a call is timed by the wall's clock, and no more than that tick is put to its account; it is timed exactly from its
//! start on where somebody doubts that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::ticker::TICK;

/// No poll is running.
const STOPPED: u64 = u64::MAX;

/// Adds up polls; shared between the future that polls and the store whose epoch callback asks. Only one thread at a
/// time polls a call, so plain loads and stores suffice.
#[derive(Debug)]
pub(crate) struct CpuClock {
    begun: Instant,
    /// By the thread's clock from the start on.
    exact: bool,
    /// By the thread's clock from here on: past the first tick, or exact.
    long: AtomicBool,
    /// More time passed before the first tick than that takes.
    doubtful: AtomicBool,
    /// Nanoseconds of finished polls.
    used: AtomicU64,
    /// The running poll's start, or [`STOPPED`].
    started: AtomicU64,
    /// Nanoseconds that were told, see [`CpuClock::untold`].
    told: AtomicU64,
}

impl CpuClock {
    /// A clock that runs from now, on this thread; whether it is exact before the first tick.
    pub(crate) fn started(exact: bool) -> CpuClock {
        CpuClock {
            begun: Instant::now(),
            exact,
            long: AtomicBool::new(exact),
            doubtful: AtomicBool::new(false),
            used: AtomicU64::new(0),
            started: AtomicU64::new(if exact { thread_time() } else { 0 }),
            told: AtomicU64::new(0),
        }
    }

    /// Whether the thread's clock counted from the start on.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether it may have used more than was put to its account before its first tick.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Time used since this was asked last.
    pub(crate) fn untold(&self) -> Duration {
        let used = nanos(self.used());
        Duration::from_nanos(used.saturating_sub(self.told.swap(used, Ordering::Relaxed)))
    }

    /// Runs, if it does not already.
    pub(crate) fn start(&self) {
        if self.started.load(Ordering::Relaxed) == STOPPED {
            self.started.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Stops, on the thread that started it.
    pub(crate) fn stop(&self) {
        let used = self.used();
        self.used.store(nanos(used), Ordering::Relaxed);
        self.started.store(STOPPED, Ordering::Relaxed);
    }

    /// A tick has passed: what is used so far. From here on the thread's clock counts.
    pub(crate) fn tick(&self) -> Duration {
        if !self.long.load(Ordering::Relaxed) {
            self.stop();
            self.long.store(true, Ordering::Relaxed);
            self.start();
        }
        self.used()
    }

    /// Time since it was made, whoever had the CPU.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Time used, the running poll included; asked on the thread that polls.
    pub(crate) fn used(&self) -> Duration {
        let used = self.used.load(Ordering::Relaxed);
        let running = match self.started.load(Ordering::Relaxed) {
            STOPPED => 0,
            started => self.now().saturating_sub(started),
        };
        let used = Duration::from_nanos(used.saturating_add(running));
        if self.long.load(Ordering::Relaxed) {
            return used;
        }
        // Ticks come late now and then.
        if used >= 2 * TICK {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        used.min(TICK)
    }

    fn now(&self) -> u64 {
        if self.long.load(Ordering::Relaxed) { thread_time() } else { nanos(self.begun.elapsed()) }
    }
}

fn thread_time() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_between_start_and_stop_counts() {
        let clock = CpuClock::started(false);
        clock.tick();
        burn(Duration::from_millis(3));
        clock.stop();
        let first = clock.used();
        assert!(first >= Duration::from_millis(3), "{first:?}");
        burn(Duration::from_millis(3));
        assert_eq!(clock.used(), first);
        clock.start();
        burn(Duration::from_millis(2));
        assert!(clock.used() >= first + Duration::from_millis(2));
    }

    #[test]
    fn at_most_a_tick_counts_before_the_first_one_is_told() {
        let clock = CpuClock::started(false);
        burn(TICK / 4);
        clock.stop();
        let first = clock.used();
        assert!(first >= TICK / 4);
        clock.start();
        burn(2 * TICK);
        assert_eq!(clock.used(), TICK);
        assert!(clock.is_doubtful());
        assert!(clock.tick() < 2 * TICK);
        burn(2 * TICK);
        assert!(clock.used() >= 3 * TICK);
    }

    #[test]
    fn an_exact_clock_counts_all_of_it_and_tells_it_once() {
        let clock = CpuClock::started(true);
        burn(3 * TICK);
        let first = clock.untold();
        assert!(first >= 3 * TICK && !clock.is_doubtful(), "{first:?}");
        burn(TICK);
        clock.stop();
        let second = clock.untold();
        assert!(second >= TICK, "{second:?}");
        assert_eq!((first + second, clock.untold()), (clock.used(), Duration::ZERO));
    }

    fn burn(time: Duration) {
        let until = thread_time() + nanos(time);
        while thread_time() < until {
            std::hint::spin_loop();
        }
    }
}
