use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn settings() -> BreakerSettings {
    BreakerSettings {
        consecutive_failures: 5,
        failure_percent: 50,
        minimum_outcomes: 20,
        window: Duration::from_secs(10),
        open: Duration::from_secs(10),
        max_open: Duration::from_secs(60),
    }
}

fn breaker() -> Arc<Breaker> {
    Arc::new(Breaker::new(settings()))
}

fn ask(breaker: &Arc<Breaker>, outcome: Outcome, now: u64) -> Option<Transition> {
    let pass = breaker.admit(now).unwrap();
    breaker.record(pass, outcome, now)
}

/// Opened at `now`.
fn opened(now: u64) -> Arc<Breaker> {
    let breaker = breaker();
    (0..4).for_each(|_| assert_eq!(ask(&breaker, Outcome::Failure, now), None));
    assert_eq!(ask(&breaker, Outcome::Failure, now), Some(Transition(State::Open)));
    breaker
}

#[test]
fn a252_five_failures_in_a_row_open_it_and_nothing_goes_through() {
    let breaker = opened(0);
    assert_eq!(breaker.admit(0).unwrap_err(), Duration::from_secs(10));
    assert_eq!(breaker.admit(9 * SECOND).unwrap_err(), Duration::from_secs(1));
    assert_eq!(breaker.state(9 * SECOND), State::Open);
    assert_eq!(breaker.state(10 * SECOND), State::HalfOpen, "due, though nobody came");
}

#[test]
fn a252_a_success_between_failures_begins_the_run_anew() {
    let breaker = breaker();
    for _ in 0..4 {
        for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Failure, Outcome::Failure, Outcome::Success] {
            assert_eq!(ask(&breaker, outcome, 0), None);
        }
        // Enough of them to stay under the share.
        (0..10).for_each(|_| assert_eq!(ask(&breaker, Outcome::Success, 0), None));
    }
    assert_eq!(breaker.state(0), State::Closed);
}

#[test]
fn a252_half_of_twenty_open_it_and_what_left_the_window_does_not_count() {
    let breaker = breaker();
    (0..9).for_each(|_| {
        ask(&breaker, Outcome::Failure, 0);
        ask(&breaker, Outcome::Success, 0);
    });
    assert_eq!(ask(&breaker, Outcome::Failure, 10 * SECOND), None, "the eighteen are gone");
    let outcomes = [Outcome::Success, Outcome::Failure];
    let changes: Vec<_> = (0..20).map(|n| ask(&breaker, outcomes[n % 2], 30 * SECOND)).collect();
    assert!(changes[..19].iter().all(Option::is_none), "nineteen are not enough to judge");
    assert_eq!(changes[19], Some(Transition(State::Open)));
}

#[test]
fn a253_a_probe_that_fails_doubles_the_opening_up_to_its_cap_and_one_that_succeeds_ends_it() {
    let breaker = opened(0);
    let mut now = 0;
    let mut open_for = 10;
    for expected in [20, 40, 60, 60] {
        now += open_for * SECOND;
        let probe = breaker.admit(now).unwrap();
        assert!(probe.is_probe());
        assert_eq!(breaker.admit(now).unwrap_err(), Duration::from_secs(1), "one at a time");
        assert_eq!(breaker.record(probe, Outcome::Failure, now), Some(Transition(State::Open)));
        assert_eq!(breaker.admit(now).unwrap_err(), Duration::from_secs(expected));
        open_for = expected;
    }
    now += open_for * SECOND;
    assert_eq!(ask(&breaker, Outcome::Success, now), Some(Transition(State::Closed)));
    assert!(!breaker.admit(now).unwrap().is_probe());
    (0..5).for_each(|_| _ = ask(&breaker, Outcome::Failure, now));
    assert_eq!(breaker.admit(now).unwrap_err(), Duration::from_secs(10), "the first opening's length again");
}

#[test]
fn a253_a_probe_without_a_verdict_makes_room_at_once() {
    let breaker = opened(0);
    let now = 10 * SECOND;
    drop(breaker.admit(now).unwrap());
    assert_eq!(ask(&breaker, Outcome::Ignored, now), None);
    assert_eq!(breaker.state(now), State::HalfOpen);
    assert_eq!(ask(&breaker, Outcome::Success, now), Some(Transition(State::Closed)));
}

#[test]
fn a253_a_probe_that_hangs_does_not_wedge_it_and_may_still_bring_its_verdict() {
    let breaker = opened(0);
    let hung = breaker.admit(10 * SECOND).unwrap();
    assert_eq!(breaker.admit(69 * SECOND).unwrap_err(), Duration::from_secs(1));
    let second = breaker.admit(70 * SECOND).unwrap();
    assert!(breaker.admit(70 * SECOND).is_err());
    drop(hung);
    assert!(breaker.admit(70 * SECOND).is_err(), "the place is the second's by now");
    assert_eq!(breaker.record(second, Outcome::Success, 71 * SECOND), Some(Transition(State::Closed)));

    let breaker = opened(0);
    let hung = breaker.admit(10 * SECOND).unwrap();
    let second = breaker.admit(70 * SECOND).unwrap();
    assert_eq!(breaker.record(hung, Outcome::Success, 70 * SECOND), Some(Transition(State::Closed)));
    assert_eq!(breaker.record(second, Outcome::Failure, 70 * SECOND), None, "it belongs to a period that is over");
    assert_eq!(breaker.state(70 * SECOND), State::Closed);
}

#[test]
fn a253_what_began_before_the_opening_has_no_say_after_it() {
    let breaker = breaker();
    let early: Vec<Pass> = (0..20).map(|_| breaker.admit(0).unwrap()).collect();
    (0..5).for_each(|_| _ = ask(&breaker, Outcome::Failure, 0));
    let mut early = early.into_iter();
    assert_eq!(breaker.record(early.next().unwrap(), Outcome::Success, SECOND), None);
    assert_eq!(breaker.state(SECOND), State::Open, "a late success does not close it");
    let probe = breaker.admit(10 * SECOND).unwrap();
    assert_eq!(breaker.record(early.next().unwrap(), Outcome::Success, 10 * SECOND), None);
    assert_eq!(breaker.state(10 * SECOND), State::HalfOpen);
    assert_eq!(breaker.record(probe, Outcome::Success, 10 * SECOND), Some(Transition(State::Closed)));
    for pass in early {
        assert_eq!(breaker.record(pass, Outcome::Failure, 10 * SECOND), None, "nor do late failures open it again");
    }
}

#[test]
fn a253_once_closed_it_counts_from_nothing() {
    let short = BreakerSettings { consecutive_failures: 0, open: Duration::from_secs(1), ..settings() };
    let breaker = Arc::new(Breaker::new(short));
    let opened = (0..20).find_map(|_| ask(&breaker, Outcome::Failure, 0));
    assert_eq!(opened, Some(Transition(State::Open)));
    assert_eq!(ask(&breaker, Outcome::Success, SECOND), Some(Transition(State::Closed)));
    (0..19).for_each(|_| assert_eq!(ask(&breaker, Outcome::Failure, SECOND), None, "the twenty before are forgotten"));
    assert_eq!(ask(&breaker, Outcome::Failure, SECOND), Some(Transition(State::Open)));
}

#[test]
fn a254_client_errors_are_answers() {
    let breaker = breaker();
    for status in (400..500).chain(200..400) {
        assert_eq!(ask(&breaker, Outcome::of_status(status), 0), None);
    }
    assert_eq!(breaker.state(0), State::Closed);
    assert_eq!(Outcome::of_status(500), Outcome::Failure);
    assert_eq!(Outcome::of_status(503), Outcome::Failure);
}

#[test]
fn rules_that_are_off_do_not_open_it() {
    let off = BreakerSettings { consecutive_failures: 0, failure_percent: 0, ..settings() };
    let breaker = Arc::new(Breaker::new(off));
    (0..1_000).for_each(|_| assert_eq!(ask(&breaker, Outcome::Failure, 0), None));
}

#[test]
fn a253_threads_get_one_probe_at_a_time() {
    let breaker = opened(0);
    let (out, most, probes) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..5_000 {
                    let Ok(pass) = breaker.admit(10 * SECOND) else { continue };
                    assert!(pass.is_probe());
                    probes.fetch_add(1, Ordering::SeqCst);
                    most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    out.fetch_sub(1, Ordering::SeqCst);
                    match n % 2 {
                        0 => drop(pass),
                        _ => assert_eq!(breaker.record(pass, Outcome::Ignored, 10 * SECOND), None),
                    }
                }
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
    assert!(probes.into_inner() > 1);
}

#[test]
fn a252_threads_open_it_once() {
    let breaker = breaker();
    let opened = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let Ok(pass) = breaker.admit(0) else { break };
                    opened.fetch_add(breaker.record(pass, Outcome::Failure, 0).is_some().into(), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(opened.into_inner(), 1);
}

/// The same rules without a thought for speed: every outcome kept, every pass known.
struct Twin {
    settings: BreakerSettings,
    state: State,
    /// Changes of state that make earlier passes void.
    period: usize,
    run: u32,
    outcomes: VecDeque<(u64, bool)>,
    open_for: u64,
    probe_at: u64,
    holder: Option<usize>,
}

impl Twin {
    fn new(settings: BreakerSettings) -> Self {
        let open_for = settings.open.as_nanos() as u64;
        let outcomes = VecDeque::new();
        Twin { settings, state: State::Closed, period: 0, run: 0, outcomes, open_for, probe_at: 0, holder: None }
    }

    /// Whether let through, and as a probe.
    fn admit(&mut self, id: usize, now: u64) -> Result<(usize, bool), u64> {
        match self.state {
            State::Closed => return Ok((self.period, false)),
            State::Open if now < self.probe_at => return Err(self.probe_at - now),
            State::HalfOpen if now < self.probe_at => return Err((self.probe_at - now).min(SECOND)),
            _ => {}
        }
        self.state = State::HalfOpen;
        self.holder = Some(id);
        self.probe_at = now + self.settings.max_open.as_nanos() as u64;
        Ok((self.period, true))
    }

    fn record(&mut self, id: usize, (period, probe): (usize, bool), outcome: Outcome, now: u64) -> Option<State> {
        if probe && outcome == Outcome::Ignored && self.holder == Some(id) {
            (self.holder, self.probe_at) = (None, 0);
        }
        if period != self.period || outcome == Outcome::Ignored {
            return None;
        }
        let before = self.state;
        match (probe, outcome) {
            (true, Outcome::Success) => {
                self.state = State::Closed;
                self.run = 0;
                self.outcomes.clear();
            }
            (true, _) => {
                self.open_for = (self.open_for * 2).min(self.settings.max_open.as_nanos() as u64);
                self.state = State::Open;
            }
            (false, outcome) => {
                let failed = outcome == Outcome::Failure;
                self.run = if failed { self.run + 1 } else { 0 };
                self.outcomes.push_back((now, failed));
                if failed && self.is_too_much(now) {
                    self.open_for = self.settings.open.as_nanos() as u64;
                    self.state = State::Open;
                }
            }
        }
        if self.state == before {
            return None;
        }
        self.period += 1;
        self.holder = None;
        if self.state == State::Open {
            self.probe_at = now + self.open_for;
        }
        Some(self.state)
    }

    fn is_too_much(&self, now: u64) -> bool {
        let slice = self.settings.window.as_nanos() as u64 / 10;
        let held: Vec<bool> =
            self.outcomes.iter().filter(|(at, _)| now / slice - at / slice < 10).map(|(_, failed)| *failed).collect();
        let failures = held.iter().filter(|failed| **failed).count();
        self.run >= self.settings.consecutive_failures
            || (held.len() >= self.settings.minimum_outcomes as usize
                && failures * 100 >= held.len() * self.settings.failure_percent as usize)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Record(usize, Outcome),
    Drop(usize),
    Forward(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![3 => Just(Outcome::Failure), 2 => Just(Outcome::Success), 1 => Just(Outcome::Ignored)];
    prop_oneof![
        4 => Just(Step::Admit),
        4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Record(which, outcome)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (0..30 * SECOND).prop_map(Step::Forward),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a253_it_does_what_its_naive_twin_does(
        consecutive_failures in 1_u32..6,
        minimum_outcomes in 1_u32..10,
        failure_percent in 1_u32..=100,
        open in 1_u64..=10,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        // Shorter than the window too: then what was counted before an opening is still within it afterwards.
        let open = Duration::from_secs(open);
        let settings = BreakerSettings { consecutive_failures, minimum_outcomes, failure_percent, open, ..settings() };
        let (breaker, mut twin) = (Arc::new(Breaker::new(settings)), Twin::new(settings));
        let mut passes: Vec<(usize, (usize, bool), Pass)> = Vec::new();
        let mut now = 0;
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Forward(nanos) => now += nanos,
                Step::Admit => match (breaker.admit(now), twin.admit(id, now)) {
                    (Ok(pass), Ok(mark)) => {
                        prop_assert_eq!(pass.is_probe(), mark.1);
                        passes.push((id, mark, pass));
                    }
                    (Err(wait), Err(expected)) => prop_assert_eq!(wait, Duration::from_nanos(expected)),
                    (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
                },
                Step::Record(..) | Step::Drop(_) if passes.is_empty() => {}
                Step::Record(which, outcome) => {
                    let (id, mark, pass) = passes.swap_remove(which % passes.len());
                    let changed = breaker.record(pass, outcome, now).map(|transition| transition.0);
                    prop_assert_eq!(changed, twin.record(id, mark, outcome, now));
                }
                Step::Drop(which) => {
                    let (id, mark, pass) = passes.swap_remove(which % passes.len());
                    drop(pass);
                    twin.record(id, mark, Outcome::Ignored, now);
                }
            }
            let expected = match twin.state {
                State::Open if now >= twin.probe_at => State::HalfOpen,
                state => state,
            };
            prop_assert_eq!(breaker.state(now), expected);
        }
    }
}
