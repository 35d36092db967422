#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::Schedule;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap()
}

fn offsets(text: &str) -> Vec<f64> {
    schedule(text).moments().map(|(_, offset)| offset.as_secs_f64()).collect()
}

fn within(schedule: &Schedule, from: u64, to: u64) -> usize {
    let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
    schedule.moments().filter(|(_, offset)| (from..to).contains(offset)).count()
}

#[test]
fn each_kind_has_the_moments_that_it_says() {
    assert_eq!(offsets("4/s for 1s"), [0.0, 0.25, 0.5, 0.75]);
    assert_eq!(schedule("0.1/s for 30s").total(), 3);
    assert_eq!(schedule("5000/s for 1m").total(), 300_000);
    // The integral: 10·t + 5·t²/2 = 5 at t = 0.4495 s.
    let ramp = offsets("10/s..20/s over 2s");
    assert_eq!(ramp.len(), 30);
    assert!((ramp[5] - 0.449_489_743).abs() < 1e-8, "{}", ramp[5]);
    let steps = schedule("10/s,100/s each 2s");
    assert_eq!((within(&steps, 0, 2), within(&steps, 2, 4)), (20, 200));
    let burst = schedule("10/s for 10s, burst 500/s for 1s every 4s");
    assert_eq!((within(&burst, 0, 4), within(&burst, 4, 5), within(&burst, 5, 8)), (40, 500, 30));
    assert_eq!((within(&burst, 8, 9), within(&burst, 9, 10)), (500, 10));
    assert_eq!(burst.duration(), Duration::from_secs(10));
    let joined = schedule("10/s for 1s then 5/s for 2s");
    assert_eq!((joined.total(), joined.duration()), (20, Duration::from_secs(3)));
}

#[test]
fn a_trace_is_read_as_it_stands() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "offset\n0\n0.5,GET /\n\n0.5\n2.25 # late").unwrap();
    let path = file.path().display().to_string();
    assert_eq!(offsets(&format!("trace {path}")), [0.0, 0.5, 0.5, 2.25]);
    // A part of 2.5 moments before it: the trace begins with the fourth.
    assert_eq!(offsets(&format!("2.5/s for 1s then trace {path}")), [0.0, 0.4, 0.8, 1.0, 1.5, 1.5, 3.25]);
    writeln!(file, "1").unwrap();
    let error = format!("trace {path}").parse::<Schedule>().unwrap_err().to_string();
    assert!(error.contains("line 7") && error.contains("must ascend"), "{error}");
    let error = "trace /no/such/file".parse::<Schedule>().unwrap_err().to_string();
    assert!(error.contains("/no/such/file"), "{error}");
}

#[test]
fn a_trace_goes_with_its_schedule_and_its_file_need_not_be_there() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "0.000000001\n0.5\n0.5\n80000.123456789").unwrap();
    let path = file.path().display().to_string();
    let written = schedule(&format!("2.5/s for 500ms then trace {path}"));
    let json = serde_json::to_string(&written).unwrap();
    drop(file);
    let read: Schedule = serde_json::from_str(&json).unwrap();
    assert_eq!(read, written);
    assert!(read.moments().eq(written.moments()));
    let longer = u64::try_from(super::LONGEST.as_nanos()).unwrap() + 1;
    for (traces, says) in [
        (serde_json::json!([]), "no row"),
        (serde_json::json!([[]]), "no row"),
        (serde_json::json!([[longer]]), "at most 86400s"),
        (serde_json::json!([[u64::MAX, u64::MAX]]), "at most 86400s"),
        (serde_json::json!([[-1]]), "invalid value"),
    ] {
        let told = serde_json::json!({ "text": "trace moments.csv", "traces": traces });
        let error = serde_json::from_value::<Schedule>(told).unwrap_err().to_string();
        assert!(error.contains(says), "{traces}: {error}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_is_possible() {
    for (text, says) in [
        ("", "possible are"),
        ("fast", "possible are"),
        ("5000 for 60s", "as in `5000/s`"),
        ("0/s for 60s", "at least 0.001/s"),
        ("-5/s for 60s", "impossible"),
        ("NaN/s for 60s", "impossible"),
        ("inf/s for 60s", "impossible"),
        ("10000001/s for 1s", "at most 10000000/s"),
        ("10/s for 60", "with its unit"),
        ("10/s for 0s", "above 0"),
        ("10/s for -1s", "above 0"),
        ("10/s for 1e300h", "above 0"),
        ("10/s for 25h", "at most 86400s"),
        ("1000000/s for 24h", "at most 10000000000 are possible"),
        ("1/s for 60s, burst 5/s for 10s every 10s", "shorter than its period"),
        ("1/s for 24h, burst 5/s for 1ms every 2ms", "more than 1000"),
        ("1/s..2/s for 5s", "as in `5000/s`"),
        ("1/s for 1s then", "not understood"),
    ] {
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains(says), "`{text}`: {error}");
    }
}

fn rate() -> impl Strategy<Value = f64> {
    (1_u32..200_000).prop_map(|thousandths| f64::from(thousandths) / 1_000.0)
}

fn part() -> impl Strategy<Value = String> {
    let seconds = || (1_u32..5_000).prop_map(|ms| f64::from(ms) / 1_000.0);
    prop_oneof![
        (rate(), seconds()).prop_map(|(rate, length)| format!("{rate}/s for {length}s")),
        (rate(), rate(), seconds()).prop_map(|(from, to, length)| format!("{from}/s..{to}/s over {length}s")),
        (proptest::collection::vec(rate(), 1..5), seconds()).prop_map(|(rates, each)| {
            let rates: Vec<String> = rates.iter().map(|rate| format!("{rate}/s")).collect();
            format!("{} each {each}s", rates.join(","))
        }),
        (rate(), rate(), 2_u32..500).prop_map(|(rate, burst, ms)| {
            format!("{rate}/s for {}ms, burst {burst}/s for {ms}ms every {}ms", ms * 7, ms * 2)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn moments_ascend_within_the_schedule_and_shares_are_the_whole(
        parts in proptest::collection::vec(part(), 1..4), of in 1_u64..5,
    ) {
        let whole = schedule(&parts.join(" then "));
        let moments: Vec<_> = whole.moments().collect();
        prop_assert_eq!(moments.len() as u64, whole.total());
        prop_assert!(moments.iter().all(|(_, offset)| *offset <= whole.duration()));
        prop_assert!(moments.is_sorted_by_key(|(_, offset)| *offset));
        let mut shared: Vec<_> = (0..of).flat_map(|index| whole.share(index, of).moments().collect::<Vec<_>>()).collect();
        let counted: u64 = (0..of).map(|index| whole.share(index, of).total()).sum();
        prop_assert_eq!(counted, whole.total());
        shared.sort_unstable();
        prop_assert_eq!(shared, moments);
    }

    #[test]
    fn text_round_trips(parts in proptest::collection::vec(part(), 1..4)) {
        let written = schedule(&parts.join(" then "));
        prop_assert_eq!(&schedule(&written.to_string()), &written);
        let json = serde_json::to_string(&written).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Schedule>(&json).unwrap(), &written);
    }

    #[test]
    fn a_constant_rate_is_exact_however_far(rate in 1_u32..100_000, number in 0_u64..8_000_000_000) {
        let whole = Schedule::constant(f64::from(rate), Duration::from_secs(86_400)).unwrap();
        let (number, offset) = whole.share(number % whole.total(), whole.total()).moments().next().unwrap();
        let exact = u128::from(number) * 1_000_000_000 / u128::from(rate);
        prop_assert!(offset.as_nanos().abs_diff(exact) <= 20, "{} and {exact}", offset.as_nanos());
    }
}

#[test]
fn a_share_s_warm_up_takes_the_numbers_of_the_whole() {
    let whole = schedule("100/s for 10s");
    let of = |schedule: &Schedule| schedule.warm_up(Duration::from_secs(2)).unwrap().unwrap().total();
    assert_eq!((of(&whole), of(&whole.share(1, 4))), (200, 200));
    assert_eq!(whole.warm_up(Duration::ZERO).unwrap(), None);
}
