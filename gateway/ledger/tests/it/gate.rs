//! What stands between a sink and what is due for it: its breaker, maintenance, its rate, its recovery. Nothing of that
//! costs an attempt, and whatever is out of the way lets the worker go on at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::EventStatus;
use sluis_model::breaker::BreakerSettings;
use sluis_model::event::{DeliveryState, EventSink, EventState, NewEvent};
use sluis_model::maintenance::{Calendar, Window};
use sluis_model::pacing::PacingSettings;
use sluis_model::plan;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{ErpSink, NEW_YEAR, NO_BREAKER, Running, Say, UNPACED, event};

const BREAKER: BreakerSettings = BreakerSettings { consecutive_failures: 5, ..NO_BREAKER };

/// A sink with a breaker, asked by one worker at a time.
fn guarded(erp: &ErpSink) -> plan::Sink {
    plan::Sink { breaker: BREAKER, concurrency: 1, ..erp.plan() }
}

fn held_by(status: &EventStatus, actor: &str) -> bool {
    status.deliveries[0].state == DeliveryState::Held && status.history.iter().any(|entry| entry.actor == actor)
}

async fn until_not_held(running: &Running) {
    running.until_backlog(|_| running.ledger.sink_holds("erp").is_empty()).await;
}

#[tokio::test]
async fn a252_five_failures_open_the_breaker_and_what_waits_is_held_without_an_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.otherwise(Say::Status(503));
    let running = Running::start(dir.path(), [guarded(&erp)]);
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(running.accept(event("{}")).await);
    }
    for _ in 0..5 {
        erp.next().await;
    }
    for (n, id) in ids.iter().enumerate() {
        let status = running.until_that(*id, |status| held_by(status, "breaker")).await;
        assert_eq!(status.deliveries[0].attempts, u32::from(n < 5), "only what was tried has attempts");
        let hold = status.history.iter().rfind(|entry| entry.state == "held").unwrap();
        assert_eq!(hold.reason, "circuit_open");
        assert_eq!(status.deliveries[0].next_attempt_at, None);
    }
    let holds = running.ledger.sink_holds("erp");
    assert_eq!((holds.len(), &*holds[0].actor), (1, "breaker"));
    assert_eq!(running.ledger.backlog().count(DeliveryState::Held), 8);
    running.clock.advance(Duration::from_millis(9_999));
    running.accept(event("{}")).await;
    assert!(erp.drain().is_empty(), "nobody is asked while it is open");
    running.stop().await;
}

#[tokio::test]
async fn a253_one_probe_goes_at_a_time_and_its_failure_doubles_the_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.otherwise(Say::Status(503));
    let running = Running::start(dir.path(), [plan::Sink { concurrency: 4, ..guarded(&erp) }]);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(running.accept(event("{}")).await);
    }
    let attempts = async || {
        let mut sum = 0;
        for id in &ids {
            sum += running.status(*id).await.deliveries[0].attempts;
        }
        sum
    };
    running.until_backlog(|backlog| backlog.count(DeliveryState::Held) == 12).await;
    let before = attempts().await;
    assert!((5..=8).contains(&before), "the fifth failure opens it, a few were under way: {before}");
    erp.drain();
    let gate = Arc::new(Semaphore::new(0));
    erp.say([Say::Status(500), Say::When(Arc::clone(&gate))]);
    running.clock.advance(Duration::from_secs(10));
    erp.next().await;
    running.until_backlog(|backlog| backlog.count(DeliveryState::Held) == 12).await;
    assert_eq!(attempts().await, before + 1, "one probe, one attempt");
    running.clock.advance(Duration::from_millis(19_999));
    assert!(erp.drain().is_empty(), "twice as long");
    running.clock.advance(Duration::from_millis(1));
    erp.next().await;
    running.clock.advance(Duration::from_secs(5));
    running.accept(event("{}")).await;
    assert!(erp.drain().is_empty(), "no second one beside it");
    assert_eq!(attempts().await, before + 2);
    erp.otherwise(Say::Status(200));
    gate.add_permits(1);
    running.until_backlog(|backlog| backlog.events == 0).await;
    until_not_held(&running).await;
    for id in ids {
        let status = running.status(id).await;
        assert!(status.history.iter().any(|entry| (&*entry.actor, &*entry.reason) == ("breaker", "released")));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_breaker_that_opens_and_closes_while_nothing_is_due_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(503), 5));
    let running = Running::start(dir.path(), [guarded(&erp)]);
    let id = running.accept(event("{}")).await;
    for wait in [1, 2, 4, 8] {
        erp.next().await;
        running.until_delivery(id, DeliveryState::RetryWait).await;
        running.clock.advance(Duration::from_secs(wait));
    }
    erp.next().await;
    let status = running.until_delivery(id, DeliveryState::Held).await;
    assert_eq!(status.deliveries[0].attempts, 5);
    running.clock.advance(Duration::from_secs(16));
    running.until(id, EventState::Completed).await;
    until_not_held(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn after_an_outage_the_sink_gets_a_tenth_and_then_evenly_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(503), 5));
    let ramp = PacingSettings { slow_start: Duration::from_secs(60), ..UNPACED };
    let running = Running::start(dir.path(), [plan::Sink { pacing: ramp, ..guarded(&erp) }]);
    for _ in 0..60 {
        running.accept(event("{}")).await;
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::Held) == 60).await;
    running.replan([plan::Sink { pacing: ramp, concurrency: 20, ..guarded(&erp) }]);
    erp.drain();
    erp.say([Say::Status(200)]);
    erp.otherwise(Say::Nothing);
    running.clock.advance(Duration::from_secs(10));
    // The first of these is the probe.
    for _ in 0..3 {
        erp.next().await;
    }
    // Those that are leased ahead wait for their slots.
    running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) > 2).await;
    // Of 2, 8, 14 and 20 a quarter is kept for critical deliveries, where there are four.
    for (seconds, more) in [(20, 4), (20, 5), (20, 4)] {
        assert!(erp.drain().is_empty());
        running.clock.advance(Duration::from_secs(seconds));
        for _ in 0..more {
            erp.next().await;
        }
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) > 15).await;
    assert!(erp.drain().is_empty());
    running.drop_dead().await;
}

/// Passes, with what the worker does in it.
async fn a_second(running: &Running) {
    running.clock.advance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(3)).await;
    running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 0).await;
}

#[tokio::test]
async fn a_ten_minute_outage_kills_nothing_and_disorders_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.otherwise(Say::Status(502));
    let ramp = PacingSettings { slow_start: Duration::from_secs(60), ..UNPACED };
    let plan =
        plan::Sink { concurrency: 8, breaker: BREAKER, pacing: ramp, order: plan::Order::DlqAndContinue, ..erp.plan() };
    let running = Running::start(dir.path(), [plan.clone()]);
    let mut accepted: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    let mut accept = async |n: usize| {
        let key = format!("key-{}", n % 7);
        let event = NewEvent { key: Some(key.clone()), sinks: vec![plan.of_event()], ..event("{}") };
        accepted.entry(key).or_default().push(running.accept(event).await);
    };
    for second in 0..600 {
        if second % 6 == 0 {
            accept(second / 6).await;
        }
        a_second(&running).await;
    }
    let asked = erp.drain().len();
    assert!((5..40).contains(&asked), "ten minutes of an outage cost {asked} attempts");
    assert_eq!(running.ledger.backlog().count(DeliveryState::Dead), 0);
    erp.otherwise(Say::Status(200));
    let mut got: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    let mut seconds = 0;
    while running.ledger.backlog().events > 0 {
        a_second(&running).await;
        seconds += 1;
        assert!(seconds < 300, "still {:#?}", running.ledger.backlog());
        for one in erp.drain() {
            let ids = got.entry(one.header("ce-partitionkey").to_owned()).or_default();
            if !ids.contains(&one.id()) {
                ids.push(one.id());
            }
        }
    }
    for one in erp.drain() {
        got.entry(one.header("ce-partitionkey").to_owned()).or_default().push(one.id());
    }
    let once = |ids: &Vec<Uuid>| ids.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(got.values().map(once).sum::<usize>(), 100);
    assert_eq!(got, accepted);
    running.stop().await;
}

#[tokio::test]
async fn a_maintenance_window_holds_by_the_clock_and_lets_go_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let night = Window::single(NEW_YEAR + 10_000, NEW_YEAR + 3_600_000).unwrap();
    let plan = plan::Sink { maintenance: Calendar::new(vec![night]), ..erp.plan() };
    let running = Running::start(dir.path(), [plan]);
    let before = running.accept(event("{}")).await;
    running.until(before, EventState::Completed).await;
    erp.drain();
    running.clock.advance(Duration::from_secs(10));
    let id = running.accept(event("{}")).await;
    let status = running.until_that(id, |status| held_by(status, "maintenance")).await;
    assert_eq!(status.history.last().unwrap().reason, "until 2026-01-01T01:00:00Z");
    running.clock.advance(Duration::from_secs(3_589));
    running.accept(event("{}")).await;
    assert!(erp.drain().is_empty());
    running.clock.advance(Duration::from_secs(1));
    assert_eq!(erp.next().await.header("x-sluis-attempt"), "1");
    running.until_backlog(|backlog| backlog.events == 0).await;
    until_not_held(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_hold_ends_with_its_window_though_what_it_held_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let night = Window::single(NEW_YEAR, NEW_YEAR + 60_000).unwrap();
    let plan = plan::Sink { maintenance: Calendar::new(vec![night]), order: plan::Order::None, ..erp.plan() };
    let running = Running::start(dir.path(), [plan::Sink { compact_by_key: true, ..plan }]);
    let stock =
        || NewEvent { sinks: vec![EventSink { name: "erp".into(), in_order: true, compacts: true }], ..event("{}") };
    let id = running.accept(stock()).await;
    running.until_that(id, |status| held_by(status, "maintenance")).await;
    let by = sluis_ledger::By { actor: "operator:ann".to_owned(), reason: String::new() };
    let subject = sluis_ledger::Subject::Event { id, tenant: None, sink: None };
    running.ledger.operate(subject, sluis_ledger::Operation::Discard, by).await.unwrap();
    running.until(id, EventState::Discarded).await;
    running.clock.advance(Duration::from_secs(60));
    until_not_held(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_plan_without_the_maintenance_window_lets_go_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let night = Window::single(NEW_YEAR, NEW_YEAR + 3_600_000).unwrap();
    let running = Running::start(dir.path(), [plan::Sink { maintenance: Calendar::new(vec![night]), ..erp.plan() }]);
    let id = running.accept(event("{}")).await;
    running.until_that(id, |status| held_by(status, "maintenance")).await;
    running.replan([erp.plan()]);
    assert_eq!(erp.next().await.id(), id);
    running.until(id, EventState::Completed).await;
    until_not_held(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_rate_spreads_what_is_due_and_a_plan_without_it_sends_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let slow = PacingSettings { rate: Some(10), ..UNPACED };
    let running = Running::start(dir.path(), [plan::Sink { pacing: slow, ..erp.plan() }]);
    for _ in 0..8 {
        running.accept(event("{}")).await;
    }
    erp.next().await;
    for sent in 1..5 {
        running.until_backlog(|backlog| backlog.count(DeliveryState::Delivered) == sent).await;
        running.clock.advance(Duration::from_millis(99));
        assert!(erp.drain().is_empty(), "ten a second");
        running.clock.advance(Duration::from_millis(1));
        erp.next().await;
    }
    running.replan([erp.plan()]);
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn an_open_breaker_uses_nothing_of_the_rate() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(503), 5));
    let paced = PacingSettings { rate: Some(50), ..UNPACED };
    let running = Running::start(dir.path(), [plan::Sink { pacing: paced, concurrency: 8, ..guarded(&erp) }]);
    for _ in 0..20 {
        running.accept(event("{}")).await;
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::Held) == 20).await;
    erp.drain();
    running.clock.advance(Duration::from_secs(10));
    // The probe, and as many as the rate has saved up.
    for _ in 0..5 {
        erp.next().await;
    }
    running.stop().await;
}

#[tokio::test]
async fn retries_past_their_budget_are_put_off_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(500), 6));
    let mean = PacingSettings { retry_percent: 0, retry_floor_per_second: 1, ..UNPACED };
    let running = Running::start(dir.path(), [plan::Sink { pacing: mean, concurrency: 1, ..erp.plan() }]);
    let (mut ids, mut due) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        ids.push(running.accept(event("{}")).await);
        erp.next().await;
    }
    for id in &ids {
        let status = running.until_delivery(*id, DeliveryState::RetryWait).await;
        due.push(status.deliveries[0].next_attempt_at.unwrap());
    }
    assert!(due[0] <= NEW_YEAR + 1_000, "the first is within the budget");
    for (n, at) in due.iter().enumerate().skip(1) {
        assert_eq!(*at, NEW_YEAR + n as u64 * 1_000);
    }
    running.clock.advance(Duration::from_secs(5));
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn what_one_tenant_has_put_off_puts_off_no_other_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(500), 41));
    let mean = PacingSettings { retry_percent: 0, retry_floor_per_second: 1, ..UNPACED };
    let running = Running::start(dir.path(), [plan::Sink { pacing: mean, ..erp.plan() }]);
    for _ in 0..40 {
        running.accept(event("{}")).await;
        erp.next().await;
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::RetryWait) == 40).await;
    let other = NewEvent { tenant: "umbrella".into(), ..event("{}") };
    let id = other.id;
    running.ledger.accept(other, u64::MAX).await.unwrap();
    erp.next().await;
    running.until_backlog(|backlog| backlog.count(DeliveryState::RetryWait) == 41).await;
    let status = running.ledger.status("umbrella", id).await.unwrap().unwrap();
    assert_eq!(status.deliveries[0].next_attempt_at, Some(NEW_YEAR + 1_000));
    running.stop().await;
}

#[tokio::test]
async fn a_new_plan_neither_closes_the_breaker_nor_forgets_the_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.otherwise(Say::Status(503));
    let running = Running::start(dir.path(), [guarded(&erp)]);
    for _ in 0..6 {
        running.accept(event("{}")).await;
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::Held) == 6).await;
    erp.drain();
    running.replan([plan::Sink { concurrency: 2, ..guarded(&erp) }]);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::Held).await;
    assert_eq!(status.deliveries[0].attempts, 0);
    erp.otherwise(Say::Nothing);
    running.clock.advance(Duration::from_secs(10));
    erp.next().await;
    running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 1).await;
    assert!(erp.drain().is_empty(), "nothing but the probe");
    running.drop_dead().await;
}

#[tokio::test]
async fn what_could_not_be_leased_is_tried_again_before_its_tenants_next_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(429, "36000")]);
    let night = Window::single(NEW_YEAR + 10_000, NEW_YEAR + 20_000).unwrap();
    let plan = plan::Sink { maintenance: Calendar::new(vec![night]), ..erp.plan() };
    let running = Running::start(dir.path(), [plan]);
    let later = running.accept(event("{}")).await;
    erp.next().await;
    running.until_delivery(later, DeliveryState::RetryWait).await;
    running.clock.advance(Duration::from_secs(10));
    let id = running.accept(event("{}")).await;
    running.until_that(id, |status| held_by(status, "maintenance")).await;
    let somebody = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    running.clock.advance(Duration::from_secs(10));
    // Longer than the writer waits for the end of the hold, and then for the lease.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    somebody.execute_batch("ROLLBACK").unwrap();
    assert_eq!(erp.next().await.id(), id);
    running.stop().await;
}

#[tokio::test]
async fn a_worker_rests_while_only_the_reserve_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Nothing, 3));
    let running = Running::start(dir.path(), [plan::Sink { concurrency: 4, ..erp.plan() }]);
    for _ in 0..6 {
        running.accept(event("{}")).await;
    }
    for _ in 0..3 {
        erp.next().await;
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let parks = metrics.worker_park_count(0) - before;
    assert!(parks < 100, "{parks} naps in a tenth of a second");
    running.drop_dead().await;
}
