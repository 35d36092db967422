//! The end of retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{Ledger, Observer, Options};
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::plan;

use crate::support::{ErpSink, NEW_YEAR, Running, Say, event, settings};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Default)]
struct Purged {
    in_time: AtomicUsize,
    early: AtomicUsize,
}

impl Observer for Purged {
    fn purged(&self, events: usize, early: bool) {
        if early { &self.early } else { &self.in_time }.fetch_add(events, Ordering::Relaxed);
    }
}

/// A look at everything happens at the start, and once in a while.
async fn look(
    dir: &std::path::Path,
    now: Duration,
    erp: &ErpSink,
    observer: Arc<dyn Observer>,
    max_bytes: u64,
) -> Running {
    let clock = ManualClock::at(NEW_YEAR + now.as_millis() as u64);
    let options = Options { clock: Clock::Manual(clock.clone()), observer, ..Options::default() };
    let plan = plan::Ledger { max_bytes, ..settings() };
    Running::deliver(Arc::new(Ledger::open_with(dir, &plan, options).unwrap()), [erp.plan()], clock)
}

async fn until_gone(running: &Running, id: uuid::Uuid) {
    for _ in 0..5_000 {
        if running.ledger.status("acme", id).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{id} is still there");
}

#[tokio::test]
async fn completed_events_go_after_a_week_and_dead_ones_after_a_month() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let purged = Arc::new(Purged::default());
    erp.say([Say::Status(400), Say::RetryAfter(503, "86400")]);
    let mut dead_and_waiting = Vec::new();
    let running = look(dir.path(), Duration::ZERO, &erp, Arc::clone(&purged) as _, 1 << 30).await;
    for state in [DeliveryState::Dead, DeliveryState::RetryWait] {
        let id = running.accept(event("{}")).await;
        running.until_delivery(id, state).await;
        dead_and_waiting.push(id);
    }
    let mut done = Vec::new();
    for _ in 0..300 {
        done.push(running.accept(event("{}")).await);
    }
    for id in &done {
        running.until(*id, EventState::Completed).await;
    }
    running.stop().await;

    erp.say(std::iter::repeat_n(Say::Status(500), 1_000));
    let running = look(dir.path(), 7 * DAY, &erp, Arc::clone(&purged) as _, 1 << 30).await;
    running.status(done[0]).await;
    running.stop().await;
    assert_eq!(purged.in_time.load(Ordering::Relaxed), 0, "not before its time");

    let running = look(dir.path(), 7 * DAY + Duration::from_secs(60), &erp, Arc::clone(&purged) as _, 1 << 30).await;
    for id in &done {
        until_gone(&running, *id).await;
    }
    assert_eq!(running.status(dead_and_waiting[0]).await.state, EventState::Failed);
    assert_eq!(running.ledger.backlog().count(DeliveryState::Delivered), 0);
    running.stop().await;

    let running = look(dir.path(), 31 * DAY, &erp, Arc::clone(&purged) as _, 1 << 30).await;
    until_gone(&running, dead_and_waiting[0]).await;
    running.status(dead_and_waiting[1]).await;
    assert_eq!(purged.early.load(Ordering::Relaxed), 0);
    running.stop().await;
}

#[tokio::test]
async fn completed_events_make_room_before_their_time_when_the_store_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let purged = Arc::new(Purged::default());
    let running = look(dir.path(), Duration::ZERO, &erp, Arc::clone(&purged) as _, 100_000).await;
    let mut done = Vec::new();
    for _ in 0..200 {
        let id = running.accept(event(&"x".repeat(1000))).await;
        running.until(id, EventState::Completed).await;
        done.push(id);
    }
    until_gone(&running, done[0]).await;
    assert!(purged.early.load(Ordering::Relaxed) > 0);
    // The oldest, and no more of them than must.
    running.status(*done.last().unwrap()).await;
    // Room was made: what comes now is kept and delivered.
    let next = running.accept(event("next")).await;
    running.until(next, EventState::Completed).await;
    until_stored(dir.path(), |bytes| bytes <= 100_000).await;
    running.stop().await;
    assert!(stored(dir.path()) > 90_000, "{} bytes are left", stored(dir.path()));
    let positions: Vec<bool> = kept(dir.path(), &done);
    assert!(positions.is_sorted(), "the oldest go first: {positions:?}");
}

#[tokio::test]
async fn open_events_never_make_room_and_those_behind_them_do() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let purged = Arc::new(Purged::default());
    erp.say(std::iter::repeat_n(Say::RetryAfter(503, "86400"), 40));
    let running = look(dir.path(), Duration::ZERO, &erp, Arc::clone(&purged) as _, 100_000).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let id = running.accept(event(&"x".repeat(1000))).await;
        running.until_delivery(id, DeliveryState::RetryWait).await;
        waiting.push(id);
    }
    for _ in 0..40 {
        let id = running.accept(event(&"x".repeat(1000))).await;
        running.until(id, EventState::Completed).await;
    }
    until_stored(dir.path(), |bytes| bytes <= 100_000).await;
    for id in waiting {
        assert_eq!(running.status(id).await.deliveries[0].state, DeliveryState::RetryWait);
    }
    running.stop().await;
}

#[tokio::test]
async fn what_a_purge_freed_goes_back_to_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let purged = Arc::new(Purged::default());
    let running = look(dir.path(), Duration::ZERO, &erp, Arc::clone(&purged) as _, 1 << 30).await;
    let mut last = None;
    for _ in 0..60 {
        let id = running.accept(event(&"x".repeat(200_000))).await;
        running.until(id, EventState::Completed).await;
        last = Some(id);
    }
    running.stop().await;
    let length = || dir.path().join("ledger.db").metadata().unwrap().len();
    assert!(length() > 10 << 20);
    let running = look(dir.path(), 8 * DAY, &erp, Arc::clone(&purged) as _, 1 << 30).await;
    until_gone(&running, last.unwrap()).await;
    // Down to what is worth the work.
    let conn = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    let free = || conn.pragma_query_value(None, "freelist_count", |row| row.get::<_, u32>(0)).unwrap();
    until(|| free() <= 256).await;
    drop(conn);
    running.stop().await;
    assert!(length() < 3 << 20, "{} bytes", length());
}

fn stored(dir: &std::path::Path) -> i64 {
    let conn = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    conn.query_row("SELECT bytes FROM stored", (), |row| row.get(0)).unwrap()
}

/// Which of these are still there.
fn kept(dir: &std::path::Path, ids: &[uuid::Uuid]) -> Vec<bool> {
    let conn = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    let mut event = conn.prepare("SELECT 1 FROM events WHERE id = ?1").unwrap();
    ids.iter().map(|id| event.exists((id.as_bytes(),)).unwrap()).collect()
}

async fn until(so: impl Fn() -> bool) {
    for _ in 0..5_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never is so");
}

async fn until_stored(dir: &std::path::Path, so: impl Fn(i64) -> bool) {
    until(|| so(stored(dir))).await;
}
