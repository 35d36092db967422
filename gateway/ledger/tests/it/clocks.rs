//! Clocks that jump: within a process the system's clock does not matter, and across a restart nothing expires or is
//! lost because it went back.

use std::time::Duration;

use sluis_ledger::Ledger;
use sluis_ledger::clock::{Clock, ManualClock};
use sluis_model::event::{DeliveryState, EventState, NewEvent};
use sluis_model::plan;

use crate::support::{ErpSink, NEW_YEAR, Running, Say, event, settings};

const HOUR: u64 = 3_600_000;

#[tokio::test]
async fn a233_after_a_restart_on_a_clock_an_hour_behind_nothing_expires_and_nothing_ready_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(422), Say::Status(200), Say::RetryAfter(503, "60"), Say::Nothing]);
    let one = plan::Sink { concurrency: 1, ..erp.plan() };
    let running = Running::start(dir.path(), [one.clone()]);
    let mut ids = Vec::new();
    for state in [DeliveryState::Dead, DeliveryState::Delivered, DeliveryState::RetryWait, DeliveryState::Leased] {
        let id = running.accept(event("{}")).await;
        running.until_delivery(id, state).await;
        ids.push(id);
    }
    ids.push(running.accept(event("{}")).await);
    running.drop_dead().await;
    erp.drain();
    let running = Running::start_at(dir.path(), [one], ManualClock::at(NEW_YEAR - HOUR));
    let arrived = [erp.next().await.id(), erp.next().await.id()];
    assert!(arrived.contains(&ids[3]) && arrived.contains(&ids[4]), "what was ready goes now, not in an hour");
    running.until(ids[4], EventState::Completed).await;
    let state = async |at: usize| running.status(ids[at]).await.deliveries[0].state;
    assert_eq!((state(0).await, state(1).await), (DeliveryState::Dead, DeliveryState::Delivered));
    assert_eq!(state(2).await, DeliveryState::RetryWait);
    running.clock.advance(Duration::from_millis(HOUR + 59_999));
    assert_eq!(state(2).await, DeliveryState::RetryWait, "a wait that was asked for ends when it was to");
    running.clock.advance(Duration::from_millis(1));
    running.until(ids[2], EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a233_a_failed_attempt_before_its_events_time_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(500)]);
    let running = Running::start_at(dir.path(), [erp.plan()], ManualClock::at(NEW_YEAR - HOUR));
    let id = running.accept(NewEvent { accepted_at: NEW_YEAR - HOUR, ..event("{}") }).await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    assert!(status.deliveries[0].next_attempt_at.unwrap() <= NEW_YEAR - HOUR + 1_000);
    running.clock.advance(Duration::from_secs(1));
    running.until(id, EventState::Completed).await;
    assert_eq!(erp.drain().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a233_a_clock_an_hour_ahead_delivers_what_is_due_and_gives_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(503, "600")]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    running.until_delivery(id, DeliveryState::RetryWait).await;
    running.stop().await;
    erp.drain();
    let running = Running::start_at(dir.path(), [erp.plan()], ManualClock::at(NEW_YEAR + HOUR));
    assert_eq!(erp.next().await.id(), id);
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

#[test]
fn a233_within_a_process_time_is_the_time_of_its_start_carried_on() {
    let clock = Clock::system();
    let copy = clock.clone();
    let (first, second) = (clock.now(), copy.now());
    assert!(second >= first, "copies agree, and it never goes back");
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path(), &settings()).unwrap());
    assert!(clock.now() >= second);
}
