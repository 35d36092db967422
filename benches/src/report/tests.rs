//! The page as a whole: well-formed, complete, and harmless whatever a run brings along.

use std::time::Duration;

use super::sample::{self, Shape};
use super::{html, write};
use crate::record::{Digits, Exchange, Outcome, Second, Tally};
use crate::result::{Ended, Mark, RunResult, Series};

const SHORT: Shape = Shape { seconds: 20, rate: 60, down: 6.0..12.0, slower: 1.0 };

/// The body parsed as XML, which is stricter than HTML; the head's `meta` are the only tags that are never closed.
fn checked(runs: &[RunResult]) -> String {
    let page = html(runs);
    let from = page.find("<body>").expect("a body");
    let until = page.find("<script>").expect("its script");
    let body = format!("{}</body>", &page[from..until]);
    let options = roxmltree::ParsingOptions { nodes_limit: 2_000_000, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&body, options).unwrap_or_else(|error| {
        panic!("{error}");
    });
    for node in document.descendants().filter(|node| node.is_element()) {
        for attribute in node.attributes() {
            let value = attribute.value();
            let drawn = !attribute.name().starts_with("data-") && !["title", "aria-label"].contains(&attribute.name());
            assert!(!drawn || !(value.contains("NaN") || value.contains("inf")), "{}: {value}", attribute.name());
        }
    }
    page
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

#[test]
fn a_page_shows_the_whole_run() {
    let run = sample::run("erp-down", &SHORT);
    let page = checked(std::slice::from_ref(&run));
    for expected in [
        "✗ FAIL",
        "p99&lt;25ms",
        "A ERP down",
        "Breakers",
        ">Queue<",
        "globex",
        "Delivery",
        "The generator",
        "AMD EPYC 7763",
        "Where the answers lie",
        "Latency by percentile",
        "Not answered well, a second",
        "The worst second was at 16 s",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert_eq!(count(&page, "<svg class=\"plot\""), 8);
    assert_eq!(page, html(&[run]), "the same run gives the same page");
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let page = html(&[sample::run("a", &SHORT), sample::run("b", &SHORT)]);
    for outside in ["src=", "href=", "url(", "@import", "fetch(", "http-equiv=\"refresh\""] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn whatever_a_run_says_is_text() {
    let evil = "\"><script>alert(1)</script>&'<!--";
    let mut run = sample::run(evil, &SHORT);
    run.ended = Ended::Aborted { why: evil.to_owned() };
    run.generator.invalid = vec![evil.to_owned()];
    run.generator.warnings = vec![evil.to_owned()];
    for text in
        [&mut run.started, &mut run.plan.target, &mut run.plan.mix, &mut run.environment.cpu, &mut run.plan.digest]
    {
        *text = evil.to_owned();
    }
    run.marks.push(Mark { at: 1.0, until: None, text: evil.to_owned() });
    for series in &mut run.series {
        series.name = format!("x{{y=\"{evil}\"}}");
    }
    run.series[2].unit = evil.to_owned();
    let tally = run.recording.tenants["acme"].clone();
    run.recording.tenants.insert(evil.to_owned(), tally);
    let line = &mut run.verdict.as_mut().expect("a verdict").lines[0];
    (line.wanted, line.seen) = (evil.to_owned(), evil.to_owned());
    for page in [checked(std::slice::from_ref(&run)), checked(&[run.clone(), run])] {
        assert_eq!(count(&page, "<script"), 1, "its own only");
        assert!(page.contains("⚠ INVALID"));
    }
}

#[test]
fn runs_with_little_in_them_have_pages() {
    assert!(checked(&[]).contains("There is nothing to show"));
    let nothing = sample::empty("nothing");
    assert!(checked(std::slice::from_ref(&nothing)).contains("● MEASURED"));

    let mut unanswered = nothing.clone();
    let mut second = Second { all: Tally::new(Digits::Two), tenants: Default::default() };
    second.all.record_unsent();
    unanswered.recording.seconds.push(second);
    unanswered.recording.all.record_unsent();
    assert!(checked(std::slice::from_ref(&unanswered)).contains("1 not at all"));

    let one = sample::run("one second", &Shape { seconds: 1, rate: 5, down: 9.0..9.0, slower: 1.0 });
    checked(std::slice::from_ref(&one));
    checked(&[nothing, unanswered, one]);
}

#[test]
fn values_beyond_all_measure_stay_within_the_page() {
    let mut run = sample::run("huge", &SHORT);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -5.0];
    run.series.push(Series { name: "odd".to_owned(), unit: "odd".to_owned(), points: odd.map(|at| (at, at)).to_vec() });
    run.series[0].points.extend(odd.map(|at| (at, at)));
    run.marks.extend(odd.map(|at| Mark { at, until: Some(-at), text: "odd".to_owned() }));
    run.recording.all.intended = u64::MAX / 2;
    run.recording.seconds[3].all.ok = u64::MAX / 4;
    let late = Duration::from_secs(1 << 40);
    let moment = Duration::ZERO;
    let exchange = Exchange {
        tenant: 0,
        intended: moment,
        sent: moment,
        ended: late,
        status: Some(599),
        outcome: Outcome::Refused,
    };
    run.recording.all.record(&exchange);
    run.recording.seconds[0].all.record(&exchange);
    (run.plan.seconds, run.recording.seconds_measured, run.generator.busiest_thread) =
        (f64::NAN, f64::INFINITY, f64::NAN);
    checked(&[run.clone()]);
    checked(&[run, sample::empty("other")]);
}

#[test]
fn a_long_run_has_a_page_of_bounded_size() {
    let mut run = sample::run("long", &SHORT);
    run.recording.seconds.iter_mut().skip(1).for_each(|second| second.tenants.clear());
    run.recording.seconds = run.recording.seconds.iter().cycle().take(1_300).cloned().collect();
    run.marks = (0..500).map(|n| Mark { at: f64::from(n) * 3.0, until: None, text: format!("reload {n}") }).collect();
    run.series[2].points = (0..6_000).map(|n| (f64::from(n) / 5.0, f64::from(n % 1_000))).collect();
    let tally = Tally::new(Digits::Two);
    run.recording.tenants.extend((0..60).map(|n| (format!("tenant-{n}"), tally.clone())));
    let page = checked(&[run]);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("And 23 tenants more") && page.contains("And 400 more"));
}

#[test]
fn several_runs_lie_over_each_other() {
    let runs: Vec<RunResult> = (0..10)
        .map(|n| {
            sample::run(
                &format!("run-{n}"),
                &Shape { slower: 1.0 + f64::from(n) / 10.0, seconds: 2, rate: 20, ..SHORT },
            )
        })
        .collect();
    let page = checked(&runs);
    assert!(page.contains("The first 8 of 10 runs"));
    assert!(page.contains("Load and place are the same in all of them") && page.contains("×1."));
    let mut other = runs[..2].to_vec();
    other[1].environment.cpu = "another".to_owned();
    assert!(checked(&other).contains("another, 8 cores"));
}

#[test]
fn a_page_is_written_in_one_piece() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    write(&path, "old").expect("written");
    write(&path, "new").expect("written over");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), "new");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left lying about");
    let error = write(&folder.path().join("none/page.html"), "x").expect_err("no such folder").to_string();
    assert!(error.starts_with("the report could not be written to ") && error.contains("none/page.html"), "{error}");
}

/// For whoever changes the page: `cargo nextest run -p sluis-bench --run-ignored only pages_to_look_at`.
#[test]
#[ignore = "writes pages for a browser into the temporary folder"]
fn pages_to_look_at() {
    let folder = std::env::temp_dir().join("sluis-report");
    std::fs::create_dir_all(&folder).expect("a folder");
    let shape = Shape { seconds: 120, rate: 400, down: 30.0..55.0, slower: 1.0 };
    let run = sample::run("erp-down", &shape);
    let mut good = sample::run("steady", &Shape { down: 0.0..0.0, ..shape });
    good.marks.clear();
    if let Some(verdict) = &mut good.verdict {
        verdict.holds = true;
        verdict.lines.retain(|line| line.holds);
    }
    let slower = sample::run("erp-down, plugin v8", &Shape { seconds: 120, rate: 400, down: 30.0..55.0, slower: 1.4 });
    let mut invalid = sample::run("flash-sale", &Shape { seconds: 50, rate: 400, down: 30.0..55.0, slower: 1.0 });
    invalid.plan.seconds = 120.0;
    invalid.generator.invalid = vec!["the busiest thread used 99 % of its core".to_owned()];
    invalid.generator.warnings = vec!["load and gateway share a machine".to_owned()];
    invalid.ended = Ended::Interrupted;
    for (name, runs) in [
        ("fail", vec![run.clone()]),
        ("pass", vec![good]),
        ("invalid", vec![invalid]),
        ("several", vec![run, slower]),
        ("empty", vec![sample::empty("nothing")]),
    ] {
        write(&folder.join(format!("{name}.html")), &html(&runs)).expect("written");
    }
}
