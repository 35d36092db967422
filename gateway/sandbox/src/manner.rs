//! How much of the CPU a tenant's calls took lately, and what follows for its next one. A call's first tick is for those
//! who need little more, and many at once who take all of it leave nothing to others.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ticker::TICK;

/// What long calls take is made good by time: eight times as much of it, so an eighth of a core is always anybody's.
const MADE_GOOD_BY: u32 = 8;
/// CPU time that was not made good yet, from which on a tenant is heavy: more than a mapping in an interpreter takes.
pub(crate) const HEAVY: Duration = Duration::from_millis(4);
/// No more than this is remembered.
const MOST: Duration = Duration::from_millis(64);
/// Calls that are timed exactly after one of which nobody knows what it took.
const DOUBTED_CALLS: u8 = 64;

/// Whether a tenant is heavy. Then its next call waits for a turn before it begins. Only calls count that last longer than
/// a tick, whatever it makes of short ones.
#[derive(Debug)]
pub struct Manner {
    born: Instant,
    /// When all will be made good (a generic cell rate algorithm, ITU-T I.371), in microseconds of its age.
    made_good_at: AtomicU64,
    /// Calls that are to be timed exactly.
    doubted: AtomicU8,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { born: Instant::now(), made_good_at: AtomicU64::new(0), doubted: AtomicU8::new(0) }
    }
}

impl Manner {
    pub(crate) fn is_heavy(&self) -> bool {
        // Most never had a long call; they need not ask for the time.
        self.made_good_at.load(Ordering::Relaxed) != 0 && self.is_heavy_at(self.age())
    }

    fn is_heavy_at(&self, age: u64) -> bool {
        self.made_good_at.load(Ordering::Relaxed) >= age.saturating_add(makes_good(HEAVY))
    }

    /// A long call took so much more.
    pub(crate) fn took(&self, time: Duration) {
        self.took_at(time, self.age());
    }

    fn took_at(&self, time: Duration, age: u64) {
        let most = age.saturating_add(makes_good(MOST));
        let later = |at: u64| Some(at.max(age).saturating_add(makes_good(time)).min(most));
        // Never answers no.
        let _ = self.made_good_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Whether its next call is to be timed exactly, which costs a system call more.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed) > 0
    }

    /// A call took longer than a tick takes to come: it was kept waiting, or did something that no tick interrupts, as
    /// filling a lot of memory.
    pub(crate) fn doubt(&self) {
        self.doubted.store(DOUBTED_CALLS, Ordering::Relaxed);
    }

    /// A call was timed exactly, and took so much in all.
    pub(crate) fn was_timed(&self, used: Duration) {
        match self.doubted.load(Ordering::Relaxed) {
            0 => {}
            left if used < TICK => self.doubted.store(left - 1, Ordering::Relaxed),
            _ => self.doubt(),
        }
    }

    fn age(&self) -> u64 {
        micros(self.born.elapsed())
    }
}

fn makes_good(time: Duration) -> u64 {
    micros(time.saturating_mul(MADE_GOOD_BY))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tenant_takes_is_made_good_by_eight_times_as_much_of_time() {
        let manner = Manner::default();
        assert!(!manner.is_heavy_at(0));
        manner.took_at(HEAVY / 2, 1_000);
        assert!(!manner.is_heavy_at(1_000));
        manner.took_at(HEAVY, 1_000);
        assert!(manner.is_heavy_at(1_000));
        // Half of the threshold is over, so 2 ms have to be made good by 16.
        assert!(manner.is_heavy_at(17_000) && !manner.is_heavy_at(17_001));
        // A call of 2 ms each 16 is its share, for ever; each 15 is not.
        let (fair, greedy) = (Manner::default(), Manner::default());
        for n in 1..1_000 {
            fair.took_at(HEAVY / 2, n * 16_000);
            greedy.took_at(HEAVY / 2, n * 15_000);
        }
        assert!(!fair.is_heavy_at(999 * 16_000) && greedy.is_heavy_at(999 * 15_000));
    }

    #[test]
    fn no_more_is_remembered_than_half_a_second_makes_good() {
        let manner = Manner::default();
        manner.took_at(Duration::from_secs(10), 5_000_000);
        assert!(manner.is_heavy_at(5_480_000) && !manner.is_heavy_at(5_480_001));
        manner.took_at(Duration::MAX, u64::MAX);
        assert!(manner.is_heavy_at(u64::MAX));
    }

    #[test]
    fn a_call_of_which_nobody_knows_has_the_next_ones_timed() {
        let manner = Manner::default();
        manner.was_timed(Duration::ZERO);
        assert!(!manner.is_doubted());
        manner.doubt();
        for _ in 1..DOUBTED_CALLS {
            manner.was_timed(TICK / 2);
        }
        assert!(manner.is_doubted());
        manner.was_timed(TICK);
        for _ in 0..DOUBTED_CALLS {
            assert!(manner.is_doubted());
            manner.was_timed(TICK / 2);
        }
        assert!(!manner.is_doubted());
    }
}
