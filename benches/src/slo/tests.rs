use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::record::{Digits, Exchange, Failure, Outcome, Second};

/// A hundred requests of 1 to 100 ms, two of them refused, one failed, one shed.
fn hundred() -> Tally {
    let mut tally = Tally::new(Digits::Three);
    for n in 1..=100 {
        let (status, outcome) = match n {
            1 | 2 => (Some(500), Outcome::Refused),
            3 => (None, Outcome::Failed(Failure::Timeout)),
            4 => (Some(429), Outcome::Shed),
            _ => (Some(200), Outcome::Ok),
        };
        let intended = Duration::from_secs(n);
        let sent = intended + Duration::from_micros(500);
        let ended = intended + Duration::from_millis(n);
        tally.record(&Exchange { tenant: 0, intended, sent, ended, status, outcome });
    }
    tally
}

fn judged(text: &str) -> Verdict {
    let all = hundred();
    let tenants = BTreeMap::from([("acme".to_owned(), hundred())]);
    let delivery = Delivery { accepted: 96, arrived: 95, lost: 1, duplicated: 3, ..Delivery::NONE };
    let observed = Observed { all: &all, tenants: &tenants, seconds: 10.0, delivery: Some(&delivery) };
    Slo::parse(text).unwrap().judge(observed)
}

#[test]
fn lines_hold_or_not_and_say_what_was_seen() {
    let expected = [
        ("p90<92ms", "91.0 ms", true),
        ("p50<0.04s", "51.0 ms", false),
        ("p50(service)<=50.6ms", "50.5 ms", true),
        ("max>99900us", "100 ms", true),
        ("p50(ok)<=52.1ms", "52.0 ms", true),
        ("mean(ok)>52ms", "52.5 ms", true),
        ("error<3.1%", "3.00 %", true),
        ("error<3%", "3.00 %", false),
        ("error=3", "3", true),
        ("shed<=1", "1", true),
        ("refused>=2", "2", true),
        ("lost=0", "1", false),
        ("lost<2%", "1.04 %", true),
        ("duplicated<=3", "3", true),
        ("rate>=9.6/s", "9.6/s", true),
        ("rate>9.6/s", "9.6/s", false),
        ("tenant:acme.p99.9<2s", "100 ms", true),
        ("tenant:globex.p99<2s", "no request of this tenant", false),
        ("fairness>=0.99", "1.000", true),
    ];
    let text: Vec<&str> = expected.iter().map(|(text, ..)| *text).collect();
    let verdict = judged(&text.join(" , "));
    assert!(!verdict.holds);
    let seen: Vec<(&str, &str, bool)> =
        verdict.lines.iter().map(|line| (line.wanted.as_str(), line.seen.as_str(), line.holds)).collect();
    assert_eq!(seen, expected);
    assert!(judged("p99<101ms,error<5%").holds);
}

#[test]
fn answers_of_a_queue_that_had_grown_by_the_schedule_s_end_are_no_rate_of_the_schedule() {
    let mut run = crate::result::tests::sample(10, &hundred());
    for (measured, seconds) in [(9.0, 9.0), (10.0, 10.0), (10.9, 10.0), (11.5, 10.5), (21.0, 20.0)] {
        run.recording.seconds_measured = measured;
        assert_eq!(Observed::of(&run).seconds, seconds, "{measured}");
    }
}

#[test]
fn what_was_not_seen_does_not_hold() {
    let (all, tenants) = (Tally::new(Digits::Three), BTreeMap::new());
    let observed = Observed { all: &all, tenants: &tenants, seconds: 0.0, delivery: None };
    let verdict = Slo::parse("p99<1s,p99(ok)<1s,error<1%,lost=0,rate>=0/s,fairness>0").unwrap().judge(observed);
    let seen: Vec<&str> = verdict.lines.iter().map(|line| line.seen.as_str()).collect();
    assert!(verdict.lines.iter().all(|line| !line.holds), "{verdict:?}");
    let nothing = ["nothing was answered", "nothing was answered as it should be", "no request"];
    assert_eq!(seen[..3], nothing);
    assert_eq!(seen[3..], ["the sink was not asked", "no request", "no request"]);
}

#[test]
fn a_mistake_is_shown_at_its_place() {
    let said = |text: &str| Slo::parse(text).unwrap_err().to_string();
    assert_eq!(
        said("p99<25ms,erorr<0.1%"),
        "unknown measure; did you mean `error`?\n  p99<25ms,erorr<0.1%\n           ^^^^^"
    );
    assert_eq!(said("p99<25"), "p99 is a latency, with us, ms or s behind the number\n  p99<25\n      ^^");
    for (text, what) in [
        ("", "nothing here"),
        ("p99<25ms,", "nothing here"),
        ("p99", "no comparison"),
        ("p99=<2ms", "no comparison; there are <, <=, =, >= and >"),
        ("p99=2ms", "only counts are equal"),
        ("p100<2ms", "less than p100, which is `max`"),
        ("p9x<2ms", "no percentile"),
        ("p99(client)<2ms", "`client` is no latency"),
        ("error(service)<1%", "no latency"),
        ("error<101%", "more than 100 %"),
        ("lost<0.5", "a part of one"),
        ("lost<-1", "a number is wanted"),
        ("rate>5ms", "a number a second"),
        ("zebra<1%", "there are p50 … p99.99"),
        ("tenant:acme<1%", "a tenant's line is like"),
        ("tenant:acme.lost=0", "not known by tenant"),
        ("tenant:.p99<1s", "a tenant's line is like"),
    ] {
        assert!(said(text).contains(what), "{text}: {}", said(text));
    }
    assert!(Slo::parse(&"p99<1s,".repeat(10_000)).is_err());
    assert!(Slo::parse(&["p99<1s"; 101].join(",")).is_err());
}

#[test]
fn a_watch_ends_a_run_over_its_window_only() {
    let second = |ok: u64, failed: u64| {
        let mut all = Tally::new(Digits::Two);
        (all.intended, all.sent, all.ok, all.failed) = (ok + failed, ok + failed, ok, failed);
        Second { all, tenants: BTreeMap::new() }
    };
    let watch = |text: &str, window| Watch::new(Slo::parse(text).unwrap(), window);
    for name in ["lost", "unsent"] {
        assert_eq!(watch(&format!("{name}>0"), 3).unwrap_err(), WatchError::NotLive(name.to_owned()));
    }
    assert_eq!(watch("error>0", 0).unwrap_err(), WatchError::Window(0));
    let mut watch = watch("p99>1s,error>20%", 3).unwrap();
    assert_eq!(watch.second(second(50, 50)), None);
    assert_eq!(watch.second(second(100, 0)), None);
    assert_eq!(watch.second(second(100, 0)), None, "50 of 300");
    assert_eq!(watch.second(second(60, 40)), None, "40 of 300");
    let why = watch.second(second(60, 40)).unwrap();
    assert_eq!(why, "error>20%: 26.67 % over the last 3 s");
}

#[test]
fn where_nothing_was_accepted_nothing_is_known_of_what_arrived() {
    let (all, tenants) = (hundred(), BTreeMap::new());
    let delivery = Delivery { invented: 2, ..Delivery::NONE };
    let observed = Observed { all: &all, tenants: &tenants, seconds: 10.0, delivery: Some(&delivery) };
    let verdict = Slo::parse("lost=0,invented<1%").unwrap().judge(observed);
    assert!(verdict.lines.iter().all(|line| !line.holds && line.seen == "nothing was accepted"), "{verdict:?}");
}

#[test]
fn what_is_still_under_way_is_neither_lost_nor_not() {
    let (all, tenants) = (hundred(), BTreeMap::new());
    let delivery = Delivery { accepted: 96, arrived: 90, lost: 6, duplicated: 1, ..Delivery::NONE }.cut_short();
    let observed = Observed { all: &all, tenants: &tenants, seconds: 10.0, delivery: Some(&delivery) };
    let verdict = Slo::parse("lost=0,lost<50%,duplicated=1").unwrap().judge(observed);
    let seen: Vec<(&str, bool)> = verdict.lines.iter().map(|line| (line.seen.as_str(), line.holds)).collect();
    assert_eq!(seen, [("some were still under way", false), ("some were still under way", false), ("1", true)]);
    assert_eq!((delivery.lost, delivery.outstanding), (0, 6));
}

#[test]
fn lines_about_latency_alone_are_blind_to_outcomes() {
    let blind = |text: &str| Slo::parse(text).unwrap().is_blind_to_outcomes();
    assert!(blind("p99<1s") && blind("p99(ok)<1s,late=0,lost=0"));
    assert!(!blind("p99<1s,error<1%") && !blind("p99<1s,tenant:acme.shed=0") && !blind("rate>9/s,p99<1s"));
    assert!(!blind("lost=0"));
}

#[test]
fn a_search_s_lines_speak_of_errors_and_of_what_was_shed() {
    let wanted = |text: &str| {
        let (all, tenants) = (hundred(), BTreeMap::new());
        let observed = Observed { all: &all, tenants: &tenants, seconds: 10.0, delivery: None };
        let verdict = Slo::parse(text).unwrap().with_errors().judge(observed);
        verdict.lines.into_iter().map(|line| line.wanted).collect::<Vec<_>>()
    };
    assert_eq!(wanted("p99<1s"), ["p99<1s", "error<1%", "shed<1%"]);
    assert_eq!(wanted("error<5%"), ["error<5%", "shed<1%"]);
    assert_eq!(wanted("shed<5%,error=0"), ["shed<5%", "error=0"]);
}
