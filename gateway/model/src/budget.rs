//! The retry budget of one upstream: retries are at most a share of requests, so that they cannot make an outage
//! worse.

use crate::window::{Window, slice_of};

/// Length of the window, nanoseconds.
const WINDOW: u64 = 10_000_000_000;

/// Retries that a window always has room for. A share of little traffic rounds to nothing, yet a kept connection goes
/// stale there as elsewhere; three in ten seconds make no storm.
const MINIMUM: u64 = 3;

/// Counts requests and retries over ten seconds.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u32,
    requests: Window,
    retries: Window,
}

impl RetryBudget {
    /// Retries may be `percent` of requests; none at all where that is 0.
    pub fn new(percent: u32) -> Self {
        RetryBudget { percent, requests: Window::default(), retries: Window::default() }
    }

    /// Counts a request, once, whatever the number of its attempts. `now` is monotonic nanoseconds.
    pub fn request(&self, now: u64) {
        self.requests.add(slice_of(now, WINDOW));
    }

    /// Takes a retry, if the window has room for it.
    pub fn try_retry(&self, now: u64) -> bool {
        if self.percent == 0 {
            return false;
        }
        let slice = slice_of(now, WINDOW);
        // Counted first and taken back if too many: threads that ask at once can refuse each other, never overspend.
        self.retries.add(slice);
        let allowed = (self.requests.sum(slice) * u64::from(self.percent) / 100).max(MINIMUM);
        let within = self.retries.sum(slice) <= allowed;
        if !within {
            self.retries.take_back(slice);
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a256_retries_are_a_share_of_requests_and_come_back_with_time() {
        let budget = RetryBudget::new(20);
        (0..100).for_each(|_| budget.request(0));
        let taken = (0..100).filter(|_| budget.try_retry(1)).count();
        assert_eq!(taken, 20);
        assert!(!budget.try_retry(9 * SECOND), "nine seconds later they still count");
        assert!(budget.try_retry(10 * SECOND), "then there is the minimum again");
    }

    #[test]
    fn a256_an_idle_upstream_has_three_retries_and_zero_percent_means_none() {
        let idle = RetryBudget::new(20);
        assert_eq!((0..10).filter(|_| idle.try_retry(5 * SECOND)).count(), 3);
        let none = RetryBudget::new(0);
        (0..1_000).for_each(|_| none.request(0));
        assert!(!none.try_retry(0));
    }

    proptest! {
        #[test]
        fn a256_no_window_holds_more_retries_than_its_share(
            percent in 1_u32..=100,
            steps in proptest::collection::vec((0..2 * SECOND, 0_u32..8, 0_u32..8), 1..80),
        ) {
            let budget = RetryBudget::new(percent);
            let (mut now, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (forward, asked, again) in steps {
                now += forward;
                for _ in 0..asked {
                    budget.request(now);
                    requests.push(now);
                }
                for _ in 0..again {
                    let granted = budget.try_retry(now);
                    retries.extend(granted.then_some(now));
                    // The window is whole slices: at most nine seconds and what has passed of this one. A retry is
                    // judged when it is granted; requests that leave the window later do not undo it.
                    let within =
                        |times: &[u64]| times.iter().filter(|at| now / SECOND - **at / SECOND < 10).count() as u64;
                    let allowed = (within(&requests) * u64::from(percent) / 100).max(3);
                    prop_assert!(!granted || within(&retries) <= allowed);
                    prop_assert!(granted || within(&retries) >= allowed);
                }
            }
        }
    }

    #[test]
    fn a256_threads_together_do_not_overspend() {
        let budget = RetryBudget::new(10);
        (0..1_000).for_each(|_| budget.request(0));
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        taken.fetch_add(u64::from(budget.try_retry(0)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!((1..=100).contains(&taken.into_inner()));
    }
}
