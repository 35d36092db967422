//! What a process that ends leaves to the next one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{AcceptError, By, Filter, Ledger, Operation, Options, Subject, verify};
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::plan;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{ErpSink, Got, NEW_YEAR, Running, Say, event, open, settings};

#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), []);
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        ids.insert(running.accept(event("{}")).await);
    }
    running.stop().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    assert_eq!(running.ledger.backlog().events, 20);
    let mut arrived = BTreeSet::new();
    for _ in 0..20 {
        arrived.insert(erp.next().await.id());
    }
    assert_eq!(arrived, ids);
    for id in ids {
        running.until(id, EventState::Completed).await;
    }
    running.stop().await;
}

/// Opens files that know less than had happened, and delivers what is undone in them. All events must be there; what is not
/// known to be done is sent anew, and nothing else. Answers how many that were.
async fn again(dir: &Path, ids: &[Uuid], erp: &mut ErpSink) -> usize {
    erp.drain();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir, &clock);
    let mut undone = BTreeSet::new();
    for id in ids {
        let status = ledger.status("acme", *id).await.unwrap().expect("no event is lost");
        if status.state != EventState::Completed {
            undone.insert(*id);
        }
    }
    let running = Running::deliver(ledger, [erp.plan()], clock);
    for id in ids {
        running.until(*id, EventState::Completed).await;
    }
    running.stop().await;
    let arrived: Vec<Uuid> = erp.drain().iter().map(Got::id).collect();
    assert_eq!(arrived.len(), undone.len());
    assert_eq!(BTreeSet::from_iter(arrived), undone);
    assert_eq!(verify(dir).unwrap().findings, []);
    undone.len()
}

/// A ledger that moves nothing of its log into the main file before it ends: what each of them holds is no chance then.
fn open_unmoved(dir: &Path, clock: &ManualClock) -> Arc<Ledger> {
    let options =
        Options { clock: Clock::Manual(clock.clone()), min_free: 0, checkpoint_pages: u32::MAX, ..Options::default() };
    Arc::new(Ledger::open_with(dir, &settings(), options).unwrap())
}

#[tokio::test]
async fn a227_where_outcomes_are_lost_everything_is_sent_anew_and_no_event_is_lost() {
    let (dir, main_alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), []);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(running.accept(event("{}")).await);
    }
    // All of it is in the main file then, and what becomes of it comes to the log.
    running.stop().await;
    let clock = ManualClock::at(NEW_YEAR);
    let running = Running::deliver(open_unmoved(dir.path(), &clock), [erp.plan()], clock);
    for id in &ids {
        running.until(*id, EventState::Completed).await;
    }
    std::fs::copy(dir.path().join("ledger.db"), main_alone.path().join("ledger.db")).unwrap();
    running.stop().await;
    assert_eq!(again(main_alone.path(), &ids, &mut erp).await, 20);
    assert_eq!(again(dir.path(), &ids, &mut erp).await, 0);
}

#[tokio::test]
async fn a227_where_outcomes_are_older_than_their_events_what_they_lack_is_sent_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (main, log) = (dir.path().join("ledger.db"), dir.path().join("ledger.db-wal"));
    let mut erp = ErpSink::start().await;
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open_unmoved(dir.path(), &clock);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let event = event("{}");
        ids.push(event.id);
        ledger.accept(event, u64::MAX).await.unwrap();
    }
    let accepted = log.metadata().unwrap().len();
    let running = Running::deliver(ledger, [plan::Sink { concurrency: 1, ..erp.plan() }], clock);
    for id in &ids {
        running.until(*id, EventState::Completed).await;
    }
    let (main, log) = (std::fs::read(main).unwrap(), std::fs::read(log).unwrap());
    running.stop().await;
    let whole = log.len() as u64;
    let mut undone = Vec::new();
    for part in 0..=8 {
        let older = tempfile::tempdir().unwrap();
        let end = accepted + (whole - accepted) * part / 8;
        std::fs::write(older.path().join("ledger.db"), &main).unwrap();
        std::fs::write(older.path().join("ledger.db-wal"), &log[..end as usize]).unwrap();
        undone.push(again(older.path(), &ids, &mut erp).await);
    }
    assert_eq!((undone[0], undone[8]), (20, 0));
    assert!(undone.is_sorted_by(|more, fewer| more >= fewer), "{undone:?}");
    assert!((1..20).contains(&undone[4]), "{undone:?}");
}

/// A small form of a backlog of ten gigabytes.
#[tokio::test]
async fn a230_a_large_backlog_is_there_at_once_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    let mut producers = JoinSet::new();
    for _ in 0..3000 {
        let ledger = Arc::clone(&ledger);
        producers.spawn(async move {
            let mut tried = event(&"x".repeat(10_000));
            // The queue for the writer is shorter than this crowd.
            while let Err(refused) = ledger.accept(tried.clone(), u64::MAX).await {
                assert_eq!(refused, AcceptError::Full);
                tokio::task::yield_now().await;
                tried.id = Uuid::now_v7();
            }
        });
    }
    producers.join_all().await;
    let before = ledger.backlog();
    ledger.close().await;
    drop(ledger);
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    assert_eq!(ledger.backlog(), before);
    assert_eq!((before.events, before.count(DeliveryState::Ready)), (3000, 3000));
    let mut erp = ErpSink::start().await;
    let running = Running::deliver(ledger, [erp.plan()], ManualClock::at(NEW_YEAR));
    assert_eq!(erp.next().await.body.len(), 10_000);
    running.drop_dead().await;
}

#[tokio::test]
async fn an_attempt_that_was_cut_off_is_repeated_with_a_higher_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Nothing]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    assert_eq!(erp.next().await.header("x-sluis-attempt"), "1");
    running.drop_dead().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    let again = erp.next().await;
    assert_eq!((again.id(), again.header("x-sluis-attempt")), (id, "2"));
    let status = running.until(id, EventState::Completed).await;
    let history: Vec<_> = status.history.iter().map(|e| (e.state, &*e.actor, &*e.reason)).collect();
    let expected = [
        ("accepted", "gateway", ""),
        ("ready", "gateway", ""),
        ("leased", "worker", ""),
        ("ready", "recovery", "interrupted"),
        ("leased", "worker", ""),
        ("delivered", "worker", "http 200"),
    ];
    assert_eq!(history, expected);
    running.stop().await;
}

#[tokio::test]
async fn a_retry_keeps_its_time_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(503, "3600")]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    running.until_delivery(id, DeliveryState::RetryWait).await;
    running.stop().await;
    erp.drain();
    let clock = ManualClock::at(NEW_YEAR + 3_599_999);
    let running = Running::start_at(dir.path(), [erp.plan()], clock);
    let later = running.accept(event("{}")).await;
    assert_eq!(erp.next().await.id(), later, "the other one is not due");
    running.clock.advance(Duration::from_millis(1));
    assert_eq!(erp.next().await.id(), id);
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a237_a_shutdown_waits_for_the_attempts_under_way_and_begins_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Slow(Duration::from_millis(200))]);
    let one = plan::Sink { concurrency: 1, ..erp.plan() };
    let running = Running::start(dir.path(), [one]);
    let first = running.accept(event("{}")).await;
    erp.next().await;
    let second = running.accept(event("{}")).await;
    running.stop().await;
    let running = Running::start(dir.path(), []);
    assert_eq!(running.status(first).await.state, EventState::Completed, "its answer was waited for and recorded");
    assert_eq!(running.status(second).await.state, EventState::Accepted);
    assert!(erp.drain().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_sink_never_has_more_in_flight_than_its_plan_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Nothing, 3));
    let running = Running::start(dir.path(), [plan::Sink { concurrency: 3, ..erp.plan() }]);
    for _ in 0..10 {
        running.accept(event("{}")).await;
    }
    for _ in 0..3 {
        erp.next().await;
    }
    // The next ones are leased ahead, as many again, and wait for the slots of these.
    while running.ledger.backlog().count(DeliveryState::Leased) < 5 {
        tokio::task::yield_now().await;
    }
    assert!(running.ledger.backlog().count(DeliveryState::Leased) <= 6);
    assert!(erp.drain().is_empty());
    running.replan([plan::Sink { concurrency: 5, ..erp.plan() }]);
    for _ in 0..7 {
        erp.next().await;
    }
    running.drop_dead().await;
}

#[tokio::test]
async fn events_that_have_rotted_are_given_up_and_hold_nobody_up() {
    const ROT: [&str; 4] =
        ["content_type = CAST(x'6aff' AS TEXT)", "key = CAST(x'ff' AS TEXT)", "attributes = '['", "body = x'00'"];
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let mut ids = Vec::new();
    for _ in 0..=ROT.len() {
        let event = event("{}");
        ids.push(event.id);
        ledger.accept(event, u64::MAX).await.unwrap();
    }
    ledger.close().await;
    drop(ledger);
    let conn = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    for (n, rot) in ROT.iter().enumerate() {
        assert_eq!(conn.execute(&format!("UPDATE events SET {rot} WHERE seq = ?1"), (n as i64 + 1,)).unwrap(), 1);
    }
    drop(conn);
    let running = Running::start_at(dir.path(), [erp.plan()], clock);
    assert_eq!(erp.next().await.id(), ids[ROT.len()]);
    for id in &ids[..ROT.len()] {
        let status = running.until(*id, EventState::Failed).await;
        assert_eq!(status.history.last().unwrap().reason, "poison: stored bytes are damaged");
    }
    // People find them, and an order does no harm.
    let filter = Filter { states: vec![DeliveryState::Dead], ..Filter::default() };
    assert_eq!(running.ledger.list(filter, None, 10).await.unwrap().deliveries.len(), ROT.len());
    for id in &ids[..ROT.len()] {
        assert!(running.ledger.event(None, *id).await.unwrap().is_some());
        let by = By { actor: "operator:ann".to_owned(), reason: "once more".to_owned() };
        let subject = Subject::Event { id: *id, tenant: None, sink: None };
        running.ledger.operate(subject, Operation::Replay { force: false }, by).await.unwrap();
        running.until_that(*id, |status| status.deliveries.len() == 2 && status.state == EventState::Failed).await;
    }
    assert!(erp.drain().is_empty(), "none of them is ever sent");
    running.stop().await;
}
