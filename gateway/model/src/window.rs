//! Counts over a sliding window: a ring of slices, each one word, so that counting takes one compare-and-swap and no
//! lock. The window reaches from nine whole slices back to now; it moves on a slice at a time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slices of a window.
pub(crate) const SLICES: u32 = 10;

/// The counts. Each word holds a slice's number in its upper half and its count in the lower.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slices: [AtomicU64; SLICES as usize],
}

/// Number of the slice that `now` falls into, where a whole window is `length` nanoseconds.
pub(crate) fn slice_of(now: u64, length: u64) -> u32 {
    // Wraps after 2^32 slices: 136 years at one second each.
    (now / (length / u64::from(SLICES)).max(1)) as u32
}

impl Window {
    /// Counts one in slice `number`. A caller whose clock is a whole window behind is too late to count.
    pub(crate) fn add(&self, number: u32) {
        let counted = |word: u64| {
            let (slice, count) = unpack(word);
            match slice == number {
                true => Some(pack(slice, count.saturating_add(1))),
                false if is_newer(slice, number) => None,
                false => Some(pack(number, 1)),
            }
        };
        let _ = self.slot(number).fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
    }

    /// Takes back what [`Window::add`] counted in slice `number`, unless the window has moved past it.
    pub(crate) fn take_back(&self, number: u32) {
        let uncounted = |word: u64| {
            let (slice, count) = unpack(word);
            (slice == number).then(|| pack(slice, count.saturating_sub(1)))
        };
        let _ = self.slot(number).fetch_update(Ordering::Relaxed, Ordering::Relaxed, uncounted);
    }

    /// What the window holds, seen from slice `number`.
    pub(crate) fn sum(&self, number: u32) -> u64 {
        let held = |slot: &AtomicU64| {
            let (slice, count) = unpack(slot.load(Ordering::Relaxed));
            // Another thread's clock may be a little ahead: what it counted is not in the past, but it is real.
            let near = number.wrapping_sub(slice) < SLICES || slice.wrapping_sub(number) < SLICES;
            if near { u64::from(count) } else { 0 }
        };
        self.slices.iter().map(held).sum()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slot in &self.slices {
            slot.store(0, Ordering::Relaxed);
        }
    }

    fn slot(&self, number: u32) -> &AtomicU64 {
        &self.slices[(number % SLICES) as usize]
    }
}

fn is_newer(slice: u32, number: u32) -> bool {
    slice.wrapping_sub(number) < u32::MAX / 2
}

fn pack(slice: u32, count: u32) -> u64 {
    u64::from(slice) << 32 | u64::from(count)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of every single event.
        #[test]
        fn a_window_holds_what_the_last_ten_slices_counted(steps in proptest::collection::vec((0_u32..4, 0_u32..5), 1..200)) {
            let window = Window::default();
            let (mut now, mut events) = (0, Vec::new());
            for (forward, count) in steps {
                now += forward;
                for _ in 0..count {
                    window.add(now);
                    events.push(now);
                }
                let expected = events.iter().filter(|at| now - **at < SLICES).count() as u64;
                prop_assert_eq!(window.sum(now), expected);
            }
        }
    }

    #[test]
    fn what_was_taken_back_is_not_counted_and_the_past_stays_past() {
        let window = Window::default();
        window.add(15);
        window.add(15);
        window.take_back(15);
        assert_eq!(window.sum(15), 1);
        window.add(5);
        assert_eq!(window.sum(15), 1, "a window too late");
        window.add(25);
        window.take_back(15);
        assert_eq!(window.sum(25), 1);
        window.clear();
        assert_eq!(window.sum(25), 0);
    }

    #[test]
    fn threads_lose_no_count() {
        let window = Window::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|n| window.add(n / 1_000)));
            }
        });
        assert_eq!(window.sum(9), 40_000);
    }
}
