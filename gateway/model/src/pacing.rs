//! What a sink is to be asked at most, beside its concurrency: a budget of retries, a slow start after an outage, and a
//! rate. Pure; the time is an argument (milliseconds since the epoch). Whatever is refused here is put off, never failed.

use std::time::Duration;

use crate::limits::Rate;
use crate::window::{Window, slice_of};

/// How a sink is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacingSettings {
    /// Attempts per second, and a tenth of that at once; as many as come where none.
    pub rate: Option<u32>,
    /// Retries may be this share of all attempts of a minute, in percent …
    pub retry_percent: u32,
    /// … and this many per second in any case.
    pub retry_floor_per_second: u32,
    /// Time from a tenth of the concurrency to all of it after an outage; zero turns that off.
    pub slow_start: Duration,
}

/// Length of the retry budget's window, milliseconds.
const WINDOW: u64 = 60_000;

/// What one sink was asked lately.
#[derive(Debug)]
pub struct Pacing {
    settings: PacingSettings,
    rate: Option<Rate>,
    floor: Rate,
    attempts: Window,
    retries: Window,
    recovered_at: Option<u64>,
}

impl Pacing {
    /// Nothing was asked yet, and no outage was seen.
    pub fn new(settings: PacingSettings) -> Self {
        Pacing {
            settings,
            rate: settings.rate.map(|rate| Rate::new(rate, burst(rate))),
            floor: Rate::new(settings.retry_floor_per_second, settings.retry_floor_per_second),
            attempts: Window::default(),
            retries: Window::default(),
            recovered_at: None,
        }
    }

    /// New settings from now on; what was asked is not forgotten.
    pub fn set(&mut self, settings: PacingSettings) {
        match (&self.rate, settings.rate) {
            (Some(rate), Some(per_second)) => rate.set(per_second, burst(per_second)),
            (_, rate) => self.rate = rate.map(|rate| Rate::new(rate, burst(rate))),
        }
        self.floor.set(settings.retry_floor_per_second, settings.retry_floor_per_second);
        self.settings = settings;
    }

    /// Counts the first attempt of a delivery.
    pub fn first_attempt(&mut self, now: u64) {
        self.attempts.add(slice_of(now, WINDOW));
    }

    /// Takes a retry from the budget and counts the attempt, or says before when it is not worth asking again.
    pub fn retry_at(&mut self, now: u64) -> Result<(), u64> {
        let slice = slice_of(now, WINDOW);
        // The floor is asked first: it counts towards the share, so that together they allow the larger of the two.
        if let Err(wait) = self.floor.try_acquire(nanos(now)) {
            let (retries, attempts) = (self.retries.sum(slice) + 1, self.attempts.sum(slice) + 1);
            if retries * 100 > attempts * u64::from(self.settings.retry_percent) {
                return Err(after(now, wait));
            }
        }
        self.attempts.add(slice);
        self.retries.add(slice);
        Ok(())
    }

    /// The sink answers again after an outage.
    pub fn recovered(&mut self, now: u64) {
        self.recovered_at = Some(now);
    }

    /// How many of `full` deliveries in flight the sink is to have now: a tenth after an outage, then evenly more; at
    /// least one, unless `full` is zero.
    pub fn concurrency(&self, full: usize, now: u64) -> usize {
        // A clock that was set back behind the recovery tells nothing.
        let Some(elapsed) = self.recovered_at.and_then(|at| now.checked_sub(at)).map(u128::from) else { return full };
        let period = self.settings.slow_start.as_millis();
        if elapsed >= period {
            return full;
        }
        let ramped = (full as u128).saturating_mul(period + 9 * elapsed).div_ceil(10 * period);
        usize::try_from(ramped).unwrap_or(full).min(full)
    }

    /// When [`Pacing::concurrency`] is more than it is now; none where it does not rise.
    pub fn widens_at(&self, full: usize, now: u64) -> Option<u64> {
        let at = self.recovered_at?;
        let elapsed = u128::from(now.checked_sub(at)?);
        let period = self.settings.slow_start.as_millis();
        let have = self.concurrency(full, now);
        if elapsed >= period || have >= full {
            return None;
        }
        // The first moment for which the formula above is greater than `have`.
        let rest = (have as u128).saturating_mul(10 * period).saturating_sub((full as u128).saturating_mul(period));
        let moment = (rest / (full as u128).saturating_mul(9).max(1) + 1).min(period);
        Some(at.saturating_add(u64::try_from(moment).unwrap_or(u64::MAX)))
    }

    /// Takes `wanted` attempts from the rate, or as many as there are; then also says when there is another one.
    pub fn take(&mut self, wanted: usize, now: u64) -> (usize, Option<u64>) {
        let Some(rate) = &self.rate else { return (wanted, None) };
        for granted in 0..wanted {
            if let Err(wait) = rate.try_acquire(nanos(now)) {
                return (granted, Some(after(now, wait)));
            }
        }
        (wanted, None)
    }

    /// Gives back attempts that were just taken from the rate and for which nothing was due.
    pub fn give_back(&mut self, unused: usize) {
        if let Some(rate) = &self.rate {
            rate.give_back(u32::try_from(unused).unwrap_or(u32::MAX));
        }
    }
}

fn burst(rate: u32) -> u32 {
    (rate / 10).max(1)
}

fn nanos(millis: u64) -> u64 {
    millis.saturating_mul(1_000_000)
}

/// Rounded up: not a moment too early.
fn after(now: u64, wait: Duration) -> u64 {
    now.saturating_add(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: PacingSettings = PacingSettings {
        rate: None,
        retry_percent: 20,
        retry_floor_per_second: 10,
        slow_start: Duration::from_secs(60),
    };
    /// The epoch is long ago.
    const START: u64 = 1_800_000_000_000;

    fn paced(rate: u32) -> Pacing {
        Pacing::new(PacingSettings { rate: Some(rate), ..SETTINGS })
    }

    #[test]
    fn retries_are_a_fifth_of_attempts_where_there_are_many() {
        let mut pacing = Pacing::new(SETTINGS);
        (0..1_000).for_each(|_| pacing.first_attempt(START));
        let granted = (0..1_000).filter(|_| pacing.retry_at(START).is_ok()).count();
        assert_eq!(granted, 250, "a fifth of 1,250");
        assert_eq!(pacing.retry_at(START), Err(START + 100), "the floor's next");
        assert_eq!(pacing.retry_at(START + 100), Ok(()));
    }

    #[test]
    fn ten_retries_a_second_are_always_there() {
        let mut pacing = Pacing::new(SETTINGS);
        let mut granted = 0;
        for now in (START..START + 60_000).step_by(10) {
            granted += usize::from(pacing.retry_at(now).is_ok());
        }
        assert!((600..=610).contains(&granted), "{granted}");
    }

    #[test]
    fn the_first_minute_after_an_outage_is_a_ramp() {
        let mut pacing = Pacing::new(SETTINGS);
        assert_eq!(pacing.concurrency(100, START), 100, "no outage yet");
        pacing.recovered(START);
        let ramp = [0, 20_000, 40_000, 59_999, 60_000].map(|passed| pacing.concurrency(100, START + passed));
        assert_eq!(ramp, [10, 40, 70, 100, 100]);
        assert_eq!(pacing.concurrency(1, START), 1);
        assert_eq!(pacing.concurrency(0, START), 0);
        assert_eq!(pacing.concurrency(100, START - 1), 100, "the clock was set back");
        pacing.set(PacingSettings { slow_start: Duration::ZERO, ..SETTINGS });
        assert_eq!(pacing.concurrency(100, START), 100);
    }

    #[test]
    fn a_rate_grants_what_there_is_and_says_when_there_is_more() {
        let mut pacing = paced(50);
        assert_eq!(pacing.take(3, START), (3, None));
        assert_eq!(pacing.take(10, START), (2, Some(START + 20)));
        assert_eq!(pacing.take(10, START), (0, Some(START + 20)));
        pacing.give_back(2);
        assert_eq!(pacing.take(10, START), (2, Some(START + 20)));
        pacing.set(PacingSettings { rate: None, ..SETTINGS });
        assert_eq!(pacing.take(usize::MAX, START), (usize::MAX, None));
    }

    #[test]
    fn new_settings_do_not_fill_the_rate_again() {
        let mut pacing = paced(10);
        assert_eq!(pacing.take(1, START), (1, None));
        pacing.set(PacingSettings { rate: Some(10), ..SETTINGS });
        assert_eq!(pacing.take(1, START), (0, Some(START + 100)));
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut pacing = paced(1);
        for now in [0, u64::MAX, 0, u64::MAX / 2] {
            let _ = (pacing.take(2, now), pacing.retry_at(now), pacing.first_attempt(now), pacing.recovered(now));
            assert!(pacing.concurrency(usize::MAX, now) >= 1);
        }
    }

    proptest! {
        /// Against a list of every attempt: what goes beyond the share keeps to the floor, what is refused would have gone
        /// beyond it, and who comes when told to is let through.
        #[test]
        fn retries_beyond_their_share_keep_to_the_floor(
            percent in 0u32..=100,
            floor in 1u32..20,
            steps in proptest::collection::vec((0u64..4_000, 0u32..12, 0u32..12), 1..60),
        ) {
            let settings = PacingSettings { retry_percent: percent, retry_floor_per_second: floor, ..SETTINGS };
            let mut pacing = Pacing::new(settings);
            let (mut now, mut attempts, mut retries, mut beyond) = (START, Vec::new(), Vec::new(), Vec::new());
            for (forward, first, again) in steps {
                now += forward;
                for _ in 0..first {
                    pacing.first_attempt(now);
                    attempts.push(now);
                }
                for _ in 0..again {
                    // The window is whole slices of six seconds: at most 54 seconds and what has passed of this one.
                    let count = |times: &[u64]| times.iter().filter(|at| now / 6_000 - **at / 6_000 < 10).count() as u64;
                    let share = (count(&attempts) + 1) * u64::from(percent) / 100;
                    match pacing.retry_at(now) {
                        Ok(()) => {
                            retries.push(now);
                            attempts.push(now);
                            if count(&retries) > share {
                                beyond.push(now);
                            }
                        }
                        Err(later) => {
                            prop_assert!(count(&retries) >= share);
                            prop_assert!(later > now && later <= now + 1_000);
                            let second = retries.iter().filter(|at| **at + 1_000 > now).count();
                            prop_assert!(second >= 1, "the floor was used");
                            now = later;
                            prop_assert_eq!(pacing.retry_at(now), Ok(()));
                            retries.push(now);
                            attempts.push(now);
                            beyond.push(now);
                        }
                    }
                }
            }
            for (first, from) in beyond.iter().enumerate() {
                for (last, to) in beyond.iter().enumerate().skip(first) {
                    let allowed = u64::from(floor) * 1_000 + (to - from) * u64::from(floor);
                    prop_assert!((last - first + 1) as u64 * 1_000 <= allowed);
                }
            }
        }

        #[test]
        fn a_ramp_only_rises(full in 0usize..100_000, period in 1u64..600_000, times in proptest::collection::vec(0u64..700_000, 1..30)) {
            let mut pacing = Pacing::new(PacingSettings { slow_start: Duration::from_millis(period), ..SETTINGS });
            pacing.recovered(START);
            let mut times = times;
            times.sort_unstable();
            let mut least = full.div_ceil(10);
            for passed in times {
                let now = pacing.concurrency(full, START + passed);
                prop_assert!(now >= least && now <= full);
                prop_assert!(passed < period || now == full);
                let wider = pacing.widens_at(full, START + passed);
                prop_assert_eq!(wider.is_some(), now < full);
                if let Some(at) = wider {
                    prop_assert!(at > START + passed);
                    prop_assert!(pacing.concurrency(full, at) > now);
                    prop_assert_eq!(pacing.concurrency(full, at - 1), now, "not before");
                }
                least = now;
            }
        }

        /// In any stretch the rate and its burst are kept, and what was given back can be had again.
        #[test]
        fn no_stretch_takes_more_than_the_rate(
            rate in 1u32..3_000,
            steps in proptest::collection::vec((0u64..500, 0usize..100, 0usize..100), 1..60),
        ) {
            let mut pacing = paced(rate);
            let (mut now, mut used) = (START, Vec::new());
            for (forward, wanted, unused) in steps {
                now += forward;
                let (granted, next) = pacing.take(wanted, now);
                prop_assert_eq!(next.is_some(), granted < wanted);
                let unused = unused.min(granted);
                pacing.give_back(unused);
                used.push((now, granted - unused));
                if unused > 0 {
                    prop_assert_eq!(pacing.take(unused, now), (unused, None));
                    pacing.give_back(unused);
                } else if let Some(next) = next {
                    prop_assert!(next > now);
                    now = next;
                    prop_assert_eq!(pacing.take(1, now), (1, None));
                    used.push((now, 1));
                }
            }
            for (first, (from, _)) in used.iter().enumerate() {
                let mut sum = 0;
                for (to, count) in &used[first..] {
                    sum += *count as u64;
                    let allowed = u64::from(burst(rate)) * 1_000 + (to - from) * u64::from(rate);
                    prop_assert!(sum * 1_000 <= allowed, "{} in {} ms", sum, to - from);
                }
            }
        }
    }
}
