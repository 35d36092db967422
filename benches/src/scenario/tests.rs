use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::{Arrival, Seen, judge};
use super::timeline::Action;
use super::*;
use crate::parts::{Held, State};
use crate::record::{self, Digits, Exchange, Recording, Second, Tally};
use crate::result::{Delivery, Verdict};

const SMALL: &str = "
name: mine
shows: A test.
load:
  - schedule: 100/s for 4s
    workload: {tenants: 'acme,globex', users: 10}
";

fn with(more: &str) -> Result<Scenario, Invalid> {
    Scenario::parse(&format!("{SMALL}{more}"), None)
}

fn refused(more: &str) -> String {
    with(more).unwrap_err().to_string()
}

#[test]
fn every_scenario_that_comes_along_can_be_run_or_says_what_it_needs() {
    let known = [
        "broker-down",
        "bulk-import-beside-orders",
        "deploy-under-load",
        "erp-down",
        "erp-flap",
        "erp-maintenance-10min",
        "erp-slow",
        "flash-sale",
        "hostile-plugin",
        "idp-down",
        "key-rotation",
        "kill-9",
        "noisy-neighbour",
        "overload-10x",
        "reload-under-load",
        "slow-clients",
    ];
    assert_eq!(names(), known);
    for name in names() {
        let scenario = Scenario::parse(embedded(name).unwrap(), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scenario.name, name);
        assert!(!scenario.shows.is_empty() && !scenario.pass.is_empty());
        assert!(scenario.length() <= Duration::from_secs(40), "{name} takes {:?}", scenario.length());
        assert_eq!(scenario.missing().is_some(), name == "broker-down");
    }
}

#[test]
fn a_trace_s_moments_decide_about_a_scenario_too() {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let load = format!("schedule: trace {}", trace.path().display());
    let text = |moments: &str| {
        std::fs::write(trace.path(), moments).unwrap();
        let yaml = SMALL.replace("schedule: 100/s for 4s", &load);
        Scenario::parse(&format!("{yaml}pass: [{{slo: 'error=0'}}]\n"), None).unwrap().text
    };
    let one = text("0\n1\n4\n");
    assert_eq!(text("0\n1.0\n4\n"), one);
    assert_ne!(text("0\n2\n4\n"), one);
}

#[test]
fn what_cannot_be_run_is_skipped_with_its_reason_before_anything_starts() {
    let options = |components: &str| Options {
        sluis: "/there/is/no/such/program".into(),
        components: components.into(),
        dir: None,
    };
    let skipped = |name: &str, options: Options| {
        let scenario = Scenario::parse(embedded(name).unwrap(), None).unwrap();
        match run(&scenario, &options, &crate::load::Stop::new(), &mut |_| {}).unwrap() {
            super::Outcome::Skipped { why } => why,
            super::Outcome::Ran(_) => panic!("it ran"),
        }
    };
    assert!(skipped("broker-down", options(".")).contains("sinks for NATS, RabbitMQ and Kafka"));
    let why = skipped("hostile-plugin", options("/there/is/no/such/folder"));
    assert!(why.contains("order-map.wasm") && why.contains("plugins/build.sh"), "{why}");
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    let pass = "pass: [{slo: error=0}]\n";
    assert!(with(pass).is_ok());
    assert!(refused(&format!("{pass}schedul: x\n")).contains("schedul"));
    assert!(refused(&format!("{pass}needs: [teleport]\n")).starts_with("needs: `teleport` is not among"));
    assert!(refused(&format!("{pass}at: [{{at: 1s, erp: broken}}]\n")).contains("broken"));
    assert!(refused(&format!("{pass}at: [{{at: 1s}}]\n")).starts_with("at[0]: exactly one of"));
    assert!(refused(&format!("{pass}at: [{{at: 1s, erp: down, idp: down}}]\n")).starts_with("at[0]: exactly one of"));
    assert!(refused(&format!("{pass}at: [{{at: 2s, until: 1s, erp: down}}]\n")).contains("not after"));
    assert!(refused(&format!("{pass}at: [{{at: 1s, until: 2s, keys: rotate}}]\n")).contains("cannot be undone"));
    assert!(refused(&format!("{pass}at: [{{at: 1s, every: 1s, keys: rotate}}]\n")).contains("needs an `until`"));
    assert!(refused(&format!("{pass}at: [{{at: 1s, every: 1ms, until: 3h, keys: rotate}}]\n")).contains("1000 steps"));
    assert!(refused("pass: []\n").starts_with("pass: a scenario without"));
    assert!(refused("pass: [{slo: 'p99<1s', with: [0s, 1s]}]\n").contains("no use"));
    assert!(refused("pass: [{slo: 'p99<fast'}]\n").starts_with("pass[0].slo"));
    assert!(refused("pass: [{slo: 'tenant:hooli.error=0'}]\n").contains("no load has a tenant `hooli`"));
    assert!(refused("pass: [{slo: 'lost=0', between: [0s, 1s]}]\n").contains("for the whole only"));
    assert!(refused("pass: [{compare: p99, between: [0s, 1s], at_most: 1x}]\n").contains("needs `with`"));
    assert!(
        refused("pass: [{compare: p99, between: [0s, 1s], with: [1s, 2s], at_most: 5ms}]\n").contains("write 1.5x")
    );
    assert!(refused("pass: [{arrival: p101, at_most: 1s}]\n").contains("no percentile"));
    assert!(refused("pass: [{drained: 1s, erp_at_once: 3}]\n").contains("one of slo"));
    assert!(refused("pass: [{slow_clients: 3}]\n").contains("needs `at_most`"));
    assert!(refused("pass: [{slow_clients: 3, at_most: 1s, of: acme}]\n").contains("no use"));
    let twice = SMALL.replace("tenants: 'acme,globex'", "tenants: acme");
    let twice = format!("{twice}  - {{schedule: 1/s for 1s, workload: {{tenants: acme}}}}\n{pass}");
    assert!(Scenario::parse(&twice, None).unwrap_err().to_string().contains("in another load already"));
    let bad = SMALL.replace("100/s for 4s", "100 per second");
    assert!(Scenario::parse(&format!("{bad}{pass}"), None).unwrap_err().to_string().starts_with("load[0].schedule"));
}

#[test]
fn a_time_scale_shortens_times_and_leaves_rates_alone() {
    let yaml = format!(
        "{}time_scale: 20\nat: [{{at: 20s, until: 40s, erp: down}}]\n\
         pass: [{{compare: p99, between: [20s, 40s], with: [0s, 20s], at_most: 2x}}]\n",
        SMALL.replace("100/s for 4s", "100/s,200/s each 1m then 50/s for 100s, burst 500/s for 2s every 20s")
    );
    let scaled = Scenario::parse(&yaml, None).unwrap();
    assert_eq!(scaled.length(), Duration::from_secs(11));
    assert_eq!(scaled.streams[0].schedule.first_rate(), 100.0);
    assert_eq!(scaled.steps[0].at, Duration::from_secs(1));
    assert_eq!(Scenario::parse(&yaml, Some(1.0)).unwrap().length(), Duration::from_secs(220));
    assert!(Scenario::parse(&yaml, Some(0.0)).is_err());
}

#[test]
fn a_fault_ends_as_the_erp_was_before() {
    let scenario = with(
        "
erp: {concurrency: 7}
at:
  - {at: 3s, until: 4s, erp: refused}
  - {at: 1s, until: 2s, erp: {latency: 50ms}}
  - {at: 1s, every: 500ms, until: 2s, keys: rotate}
pass: [{slo: error=0}]
",
    )
    .unwrap();
    let erp: Vec<_> = scenario
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Erp(behaviour) => Some((step.at.as_secs(), behaviour.state, behaviour.concurrency)),
            _ => None,
        })
        .collect();
    assert_eq!(erp, [(1, State::Up, 7), (2, State::Up, 7), (3, State::Refused, 7), (4, State::Up, 7)]);
    let rotations = scenario.steps.iter().filter(|step| matches!(step.action, Action::Keys(_))).count();
    assert_eq!(rotations, 3);
    assert_eq!(scenario.steps[0].text.as_deref(), Some("ERP takes 50ms"));
}

const SLOW: Held = Held { connected: 12, ended: 8, longest: Duration::from_millis(3_500) };

/// A recording of four seconds: 10 ms, 10 ms, 30 ms, and in the fourth nothing but refusals.
fn recording() -> Recording {
    let mut all = Tally::new(Digits::Three);
    let seconds = [(10, 200), (10, 200), (30, 200), (5, 503)].into_iter().enumerate().map(|(n, (ms, status))| {
        let mut second = Tally::new(Digits::Two);
        for _ in 0..100 {
            let at = Duration::from_secs(n as u64);
            let outcome = if status == 200 { record::Outcome::Ok } else { record::Outcome::Refused };
            let exchange = Exchange {
                tenant: 0,
                intended: at,
                sent: at,
                ended: at + Duration::from_millis(ms),
                status: Some(status),
                outcome,
            };
            second.record(&exchange);
            all.record(&exchange);
        }
        Second { tenants: BTreeMap::from([("acme".to_owned(), second.clone())]), all: second }
    });
    let seconds = seconds.collect();
    Recording { seconds_measured: 4.0, tenants: BTreeMap::from([("acme".to_owned(), all.clone())]), all, seconds }
}

fn verdict(pass: &str, delivery: Delivery, arrivals: &[Arrival<'_>], drained: Option<u64>) -> Verdict {
    let scenario = with(&format!("pass: {pass}\n")).unwrap();
    judged(&scenario, &recording(), delivery, arrivals, drained)
}

fn judged(
    scenario: &Scenario,
    recording: &Recording,
    delivery: Delivery,
    arrivals: &[Arrival<'_>],
    drained: Option<u64>,
) -> Verdict {
    let drained = drained.map(Duration::from_secs);
    let seen = Seen { recording, planned: 4.0, delivery: &delivery, arrivals, drained, erp_at_once: 9, slow: SLOW };
    judge(&scenario.pass, &seen)
}

fn holds(pass: &str) -> bool {
    verdict(pass, Delivery { accepted: 300, arrived: 300, ..Delivery::NONE }, &[], Some(3)).holds
}

#[test]
fn lines_are_judged_for_their_part() {
    assert!(!holds("[{slo: error=0}]"));
    assert!(holds("[{slo: 'error=0,p99<40ms', between: [0s, 3s]}]"));
    assert!(!holds("[{slo: 'error=0', between: [2s, 4s]}]"));
    assert!(holds("[{slo: 'tenant:acme.error=100', between: [3s, 4s]}, {slo: lost=0}]"));
    assert!(!holds("[{slo: 'p99<40ms', between: [8s, 9s]}]"), "of nothing, nothing holds");
    assert!(holds("[{compare: p99, of: acme, between: [2s, 3s], with: [0s, 2s], at_most: 3.1x}]"));
    assert!(holds("[{compare: p99, between: [2s, 3s], with: [0s, 2s], at_most: 1.5x + 16ms}]"));
    assert!(!holds("[{compare: p99, between: [2s, 3s], with: [0s, 2s], at_most: 1.5x + 10ms}]"));
    assert!(!holds("[{compare: p99, of: globex, between: [2s, 3s], with: [0s, 2s], at_most: 9x}]"));
    assert!(holds("[{erp_at_once: 9}, {drained: 3s}]") && !holds("[{erp_at_once: 8}]") && !holds("[{drained: 2s}]"));
    assert!(!verdict("[{drained: 60s}]", Delivery::NONE, &[], None).holds);
    assert!(!verdict("[{slo: lost=0}]", Delivery { accepted: 5, lost: 1, ..Delivery::NONE }, &[], Some(1)).holds);
    assert!(holds("[{slow_clients: 8, at_most: 4s}]"));
    assert!(!holds("[{slow_clients: 9, at_most: 4s}]"), "nine came, but only eight were told to go");
    assert!(!holds("[{slow_clients: 8, at_most: 3s}]"));
    let lines = verdict("[{slo: 'p50<1s', between: [0s, 1s]}]", Delivery::NONE, &[], None).lines;
    assert_eq!(lines[0].wanted, "0s to 1s: p50<1s");
}

#[test]
fn a_rate_lost_to_a_queue_that_grew_is_seen() {
    let scenario = with("pass: [{slo: 'rate>=70/s'}]\n").unwrap();
    let holds = |measured: f64| {
        let recording = Recording { seconds_measured: measured, ..recording() };
        judged(&scenario, &recording, Delivery::NONE, &[], None).holds
    };
    // 300 good answers of four seconds' moments.
    assert!(holds(4.0) && holds(4.9) && !holds(6.0));
}

#[test]
fn what_never_arrived_has_waited_longer_than_any_other() {
    let arrival = |tenant, accepted: u64, waited: Option<u64>| Arrival {
        tenant,
        accepted: Duration::from_millis(accepted),
        arrived: waited.map(|waited| Duration::from_millis(accepted + waited)),
    };
    let mut arrivals: Vec<Arrival<'_>> = (0..99).map(|n| arrival("acme", n, Some(100))).collect();
    arrivals.push(arrival("acme", 99, None));
    arrivals.push(arrival("globex", 3_000, Some(5_000)));
    let holds = |pass: &str| verdict(pass, Delivery::NONE, &arrivals, None).holds;
    assert!(holds("[{arrival: p99, of: acme, at_most: 101ms}]"));
    assert!(!holds("[{arrival: p99, of: acme, at_most: 99ms}]"));
    assert!(!holds("[{arrival: max, of: acme, at_most: 1h}]"));
    assert!(holds("[{arrival: max, between: [3s, 4s], at_most: 5010ms}]"));
    assert!(!holds("[{arrival: p50, between: [2s, 3s], at_most: 1h}]"), "nothing was accepted then");
}
