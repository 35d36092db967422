use std::collections::BTreeMap;

use super::*;
use crate::record::{Recording, Second};
use crate::result::Ended;
use crate::result::tests::sample;

/// A run of seconds whose latencies are about `median` ms, log-normal, and whose level drifts from second to second as a
/// machine's does (an AR(1) process), with a share of errors.
fn run(seed: u64, median: f64, error: f64) -> RunResult {
    run_of(seed, 60, |_| median, error)
}

fn run_of(seed: u64, seconds: usize, median: impl Fn(usize) -> f64, error: f64) -> RunResult {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut drift = 0.0;
    let mut line = Vec::new();
    let mut all = Tally::new(Digits::Three);
    for second in 0..seconds {
        drift = 0.6 * drift + 0.05 * normal(&mut rng);
        let mut tally = Tally::new(Digits::Two);
        for _ in 0..REQUESTS {
            tally.intended += 1;
            tally.sent += 1;
            let refused = rng.f64() < error;
            tally.refused += u64::from(refused);
            tally.ok += u64::from(!refused);
            let micros = median(second) * 1e3 * (drift + 0.4 * normal(&mut rng)).exp();
            tally.response.record_n(micros as u64, 1);
        }
        all.merge(&tally);
        line.push(Second { all: tally, tenants: BTreeMap::new() });
    }
    let mut run = sample(seconds, &Tally::new(Digits::Two));
    run.recording = Recording { seconds_measured: seconds as f64, all, tenants: BTreeMap::new(), seconds: line };
    run
}

/// Box and Muller's way to a normal distribution.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

const QUICK: Method = Method { draws: 200, level: 0.99 };
/// Of each second.
const REQUESTS: usize = 40;

fn words(before: &[RunResult], after: &[RunResult]) -> BTreeMap<String, Word> {
    let comparison = compare_by(before, after, &[], QUICK).unwrap();
    comparison.changes.iter().map(|change| (change.measure.to_string(), change.word)).collect()
}

#[test]
fn equal_distributions_raise_few_alarms() {
    let mut alarms: BTreeMap<String, u32> = BTreeMap::new();
    for pair in 0..30 {
        for (measure, word) in words(&[run(2 * pair, 5.0, 0.01)], &[run(2 * pair + 1, 5.0, 0.01)]) {
            *alarms.entry(measure).or_default() += u32::from(matches!(word, Word::Better | Word::Worse));
        }
    }
    // An interval of 99 % from some fifteen blocks holds a little less than that; of thirty, three is far out.
    assert!(alarms.values().all(|alarms| *alarms <= 3), "{alarms:?}");
    assert_eq!(alarms["rate"], 0);
}

#[test]
fn a_real_change_is_told_with_its_size_and_direction() {
    let comparison =
        compare(&[run(1, 5.0, 0.001)], &[run(2, 6.5, 0.05)], &Gate::parse("p99:+10%,rate:-1%,error:+0.1%").unwrap())
            .unwrap();
    let of = |name: &str| comparison.changes.iter().find(|change| change.measure.to_string() == name).unwrap();
    let p99 = of("p99");
    let (low, high) = p99.interval.unwrap();
    assert!(p99.word == Word::Worse && low > 0.1 && low < 0.3 && high > 0.3, "{p99:?}");
    assert_eq!((of("error").word, of("rate").word, of("shed").word), (Word::Worse, Word::Worse, Word::Unchanged));
    assert!(comparison.gates.iter().all(|gate| gate.standing == Standing::Broken), "{:?}", comparison.gates);
    let back = words(&[run(2, 6.5, 0.05)], &[run(1, 5.0, 0.001)]);
    assert_eq!((back["p99"], back["error"], back["rate"]), (Word::Better, Word::Better, Word::Better));
}

#[test]
fn the_same_run_is_unchanged_and_the_answer_is_always_the_same() {
    let one = [run(7, 5.0, 0.01)];
    assert!(words(&one, &one).values().all(|word| *word == Word::Unchanged));
    let other = [run(8, 5.2, 0.01)];
    let gates = Gate::parse("p99:+10%").unwrap();
    assert_eq!(compare_by(&one, &other, &gates, QUICK), compare_by(&one, &other, &gates, QUICK));
}

#[test]
fn a_gate_breaks_only_where_the_interval_is_beyond_it() {
    let standing = |after: f64, gate: &str| {
        let gates = Gate::parse(gate).unwrap();
        compare_by(&[run(1, 5.0, 0.0)], &[run(2, after, 0.0)], &gates, QUICK).unwrap().gates.remove(0)
    };
    assert_eq!(standing(5.0, "p50:+20%").standing, Standing::Holds);
    assert_eq!(standing(8.0, "p50:+20%").standing, Standing::Broken);
    let between = standing(6.0, "p50:+20%");
    assert_eq!(between.standing, Standing::Undecided, "{between:?}");
    assert!(between.seen.contains(" to +"), "{}", between.seen);
}

#[test]
fn a_ramp_is_held_against_itself() {
    let ramp = |seed, factor: f64| run_of(seed, 60, |second| factor * (1.0 + second as f64), 0.0);
    let found = words(&[ramp(1, 1.0)], &[ramp(2, 1.3)]);
    assert_eq!(found["p50"], Word::Worse, "{found:?}");
    assert_eq!(found["p99"], Word::Worse, "{found:?}");
}

#[test]
fn runs_that_differ_among_themselves_widen_the_interval() {
    // From run to run the machine is 20 % slower or faster: one pair looks like a change, six runs do not.
    let before = [run(1, 5.0, 0.0), run(2, 6.0, 0.0), run(3, 5.0, 0.0)];
    let after = [run(4, 6.0, 0.0), run(5, 5.0, 0.0), run(6, 6.0, 0.0)];
    assert_eq!(words(&before[..1], &after[..1])["p50"], Word::Worse);
    assert_eq!(words(&before, &after)["p50"], Word::Noise);
}

#[test]
fn few_runs_widen_an_interval_as_student_s_t_does() {
    // 99 % of t, by its table, over that of the normal distribution.
    let table: [(f64, f64, f64); 3] = [(3.0, 4.0, 4.604), (5.0, 8.0, 3.355), (15.0, 14.0, 2.977)];
    for (n, df, t) in table {
        let exact = t / 2.575_829 * (n / (n - 1.0)).sqrt();
        let found = super::sample::widening(n, df);
        assert!((found / exact - 1.0).abs() < 0.02, "{n}: {found} instead of {exact}");
    }
}

#[test]
fn short_runs_are_noise_and_pass_no_gate() {
    let (one, other) = ([run_of(1, 5, |_| 5.0, 0.0)], [run_of(2, 5, |_| 50.0, 0.0)]);
    assert_eq!(words(&one, &other)["p50"], Word::Noise);
    assert_eq!(compare(&one, &other, &Gate::parse("p50:+5%").unwrap()), Err(CompareError::TooShort(5)));
    assert_eq!(compare(&one, &[], &[]), Err(CompareError::Runs(0)));
}

#[test]
fn a_rate_lost_to_a_queue_that_grew_breaks_a_gate() {
    // As many are due and answered in both; in the second the last answer comes six seconds after the schedule's end.
    let (one, mut other) = (run(1, 5.0, 0.0), run(2, 5.0, 0.0));
    other.recording.seconds_measured = 66.8;
    let comparison = compare(&[one], &[other], &Gate::parse("rate:-5%").unwrap()).unwrap();
    let rate = comparison.changes.iter().find(|change| change.measure == Measure::Rate).unwrap();
    let ((low, high), expected) = (rate.interval.unwrap(), 60.0 / 65.8 - 1.0);
    assert!((low - expected).abs() < 1e-9 && (high - expected).abs() < 1e-9, "{rate:?}");
    assert!((rate.middle() - expected).abs() < 1e-9 && rate.word == Word::Worse, "{rate:?}");
    assert_eq!(comparison.gates[0].standing, Standing::Broken);
}

#[test]
fn lost_orders_are_counted_not_drawn() {
    let delivery = |lost| Delivery { accepted: 1_000, arrived: 1_000 - lost, lost, ..Delivery::NONE };
    let (mut one, mut other) = (run(1, 5.0, 0.0), run(2, 5.0, 0.0));
    (one.delivery, other.delivery) = (Some(delivery(0)), Some(delivery(1)));
    let comparison = compare(&[one], &[other], &Gate::parse("lost:+0%,duplicated:+0%").unwrap()).unwrap();
    let standings: Vec<Standing> = comparison.gates.iter().map(|gate| gate.standing).collect();
    assert_eq!(standings, [Standing::Broken, Standing::Holds]);
    let without = compare(&[run(1, 5.0, 0.0)], &[run(2, 5.0, 0.0)], &Gate::parse("lost:+0%").unwrap()).unwrap();
    assert_eq!(without.gates[0].standing, Standing::Missing);
}

#[test]
fn other_machines_plans_and_broken_runs_are_said_loudly() {
    let (one, mut other) = (run(1, 5.0, 0.0), run(2, 5.0, 0.0));
    assert_eq!(Differences::between(std::slice::from_ref(&one), &[run(2, 5.0, 0.0)]), Differences::default());
    other.environment.cpu = "another".to_owned();
    other.environment.gateway = Some("0.2.0".to_owned());
    other.plan.schedule = "constant 7/s".to_owned();
    other.ended = Ended::Interrupted;
    other.generator.invalid.push("the generator was slow".to_owned());
    let found = Differences::between(&[one], &[other]);
    assert_eq!(found.quiet, ["gateway: unknown → 0.2.0"]);
    assert!(found.invalid && found.incomplete && found.loud.len() == 4, "{found:?}");
    assert!(found.loud[0].ends_with("→ another") && found.loud[1] == "schedule: constant 100/s → constant 7/s");
}

#[test]
fn a_gate_s_mistake_is_shown_at_its_place() {
    let said = |text: &str| Gate::parse(text).unwrap_err().to_string();
    assert_eq!(
        said("p99:+10%,rate:+5%"),
        "less of rate is worse, so what is allowed is like -5%\n  p99:+10%,rate:+5%\n                ^^^"
    );
    for (text, what) in [
        ("", "a gate is a measure"),
        ("p99", "a gate is a measure"),
        ("p9g:+1%", "no percentile"),
        ("eror:+1%", "did you mean `error`?"),
        ("p99:+1ms", "a percentage is wanted"),
        ("p99:+nan%", "from 0 to 100000"),
        ("max:+1%", "try p99.9"),
    ] {
        assert!(said(text).contains(what), "{text}: {}", said(text));
    }
}
