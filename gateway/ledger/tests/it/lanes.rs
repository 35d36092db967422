//! Lanes and shares, seen from the sink: what is urgent does not wait behind what can wait, and nobody waits behind
//! somebody else's backlog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluis_model::event::{DeliveryState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::plan::{self, Order};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{ErpSink, Running, Say, event};

fn in_lane(lane: Lane) -> NewEvent {
    NewEvent { lane, key: None, ..event("{}") }
}

async fn accept_many(running: &Running, count: usize, one: impl Fn() -> NewEvent) -> Vec<Uuid> {
    let mut accepting = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (ledger, one) = (Arc::clone(&running.ledger), one());
        accepting.spawn(async move {
            let id = one.id;
            ledger.accept(one, u64::MAX).await.unwrap();
            id
        });
        if accepting.len() >= 500 {
            accepting.join_next().await;
        }
    }
    accepting.join_all().await
}

/// A sink that answers when it is told to, with a backlog that fills it.
async fn busy(concurrency: usize, backlog: usize) -> (tempfile::TempDir, ErpSink, Running, Arc<Semaphore>) {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let gate = Arc::new(Semaphore::new(0));
    erp.otherwise(Say::When(Arc::clone(&gate)));
    let running = Running::start(dir.path(), [plan::Sink { concurrency, ..erp.plan() }]);
    accept_many(&running, backlog, || in_lane(Lane::Low)).await;
    (dir, erp, running, gate)
}

#[tokio::test]
async fn critical_events_overtake_a_backlog_of_ten_thousand_and_have_slots_of_their_own() {
    let (_dir, mut erp, running, gate) = busy(8, 10_000).await;
    for _ in 0..6 {
        erp.next().await;
    }
    // As many again are leased ahead.
    running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 12).await;
    assert!(erp.drain().is_empty(), "a quarter is kept free");
    let urgent = [running.accept(in_lane(Lane::Critical)).await, running.accept(in_lane(Lane::Critical)).await];
    assert_eq!([erp.next().await.id(), erp.next().await.id()], urgent, "at once, though all others are taken");
    let third = running.accept(in_lane(Lane::Critical)).await;
    let mut before = 0;
    while {
        gate.add_permits(1);
        erp.next().await.id() != third
    } {
        before += 1;
    }
    assert!(before <= 7, "a turn of the others and what was leased ahead at most, not ten thousand: {before}");
    running.drop_dead().await;
}

#[tokio::test]
async fn lanes_take_turns_of_eight_four_two_and_one() {
    let (_dir, mut erp, running, gate) = busy(1, 1).await;
    erp.next().await;
    let mut lanes = BTreeMap::new();
    for lane in Lane::ALL.into_iter().rev() {
        for id in accept_many(&running, 40, || in_lane(lane)).await {
            lanes.insert(id, lane.label());
        }
    }
    let mut counts = BTreeMap::new();
    for _ in 0..60 {
        gate.add_permits(1);
        *counts.entry(lanes[&erp.next().await.id()]).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("critical", 32), ("high", 16), ("low", 4), ("normal", 8)]));
    running.drop_dead().await;
}

#[tokio::test]
async fn a_few_events_of_one_tenant_do_not_wait_behind_ten_thousand_of_another() {
    let (_dir, mut erp, running, gate) = busy(8, 10_000).await;
    for _ in 0..6 {
        erp.next().await;
    }
    let mine = accept_many(&running, 5, || NewEvent { tenant: "umbrella".into(), ..in_lane(Lane::Low) }).await;
    let mut arrived = 0;
    // Six were leased ahead before they came; of those behind them every other place is theirs, give or take a turn.
    for _ in 0..24 {
        gate.add_permits(1);
        arrived += usize::from(mine.contains(&erp.next().await.id()));
    }
    assert_eq!(arrived, 5);
    running.drop_dead().await;
}

#[tokio::test]
async fn what_stands_before_an_urgent_event_of_its_key_is_as_urgent() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let gate = Arc::new(Semaphore::new(0));
    erp.otherwise(Say::When(Arc::clone(&gate)));
    let plan = plan::Sink { concurrency: 1, order: Order::DlqAndContinue, ..erp.plan() };
    let keyed =
        |key: &str, lane: Lane| NewEvent { key: Some(key.to_owned()), sinks: vec![plan.of_event()], ..in_lane(lane) };
    let running = Running::start(dir.path(), [plan.clone()]);
    running.accept(keyed("busy", Lane::Low)).await;
    erp.next().await;
    for n in 0..50 {
        running.accept(keyed(&format!("other {n}"), Lane::High)).await;
    }
    let mut line = Vec::new();
    for lane in [Lane::Low, Lane::Normal, Lane::Critical, Lane::Low] {
        line.push(running.accept(keyed("a", lane)).await);
    }
    let (mut arrived, mut others) = (Vec::new(), 0);
    while arrived.len() < 3 {
        gate.add_permits(1);
        let id = erp.next().await.id();
        match line.iter().position(|one| *one == id) {
            Some(at) => arrived.push(at),
            None => others += 1,
        }
    }
    assert_eq!(arrived, [0, 1, 2]);
    assert!(others <= 12, "a turn of the others while the next one comes forward, not all fifty: {others}");
    running.drop_dead().await;
}

#[tokio::test]
async fn a_lane_that_waited_for_a_minute_comes_first() {
    let (_dir, mut erp, running, gate) = busy(1, 1).await;
    erp.next().await;
    accept_many(&running, 200, || in_lane(Lane::Critical)).await;
    // Its turn would come after those of eight critical ones; one more is leased ahead when the minute is over.
    let patient = running.accept(in_lane(Lane::Low)).await;
    let mut before = 0;
    while {
        gate.add_permits(1);
        erp.next().await.id() != patient
    } {
        before += 1;
        running.clock.advance(Duration::from_secs(30));
    }
    assert!(before <= 4, "{before}");
    running.drop_dead().await;
}
