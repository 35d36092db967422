//! Acceptance: what is refused, when, and how commits are shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluis_ledger::{AcceptError, Health, Ledger, Observer, Options, ReadError};
use sluis_model::event::{EventState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::shedding::Shedding;
use tokio::task::JoinSet;

use crate::support::{ErpSink, NEW_YEAR, Running, event, open, settings};

#[derive(Default)]
struct Counts {
    commits: AtomicUsize,
    accepted: AtomicUsize,
    largest: AtomicUsize,
}

impl Observer for Counts {
    fn accepted(&self, _: &str, _: u64) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn committed(&self, batch: usize, fsync: Duration) {
        assert!(fsync > Duration::ZERO);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(batch, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn many_producers_share_commits_and_one_alone_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let counts = Arc::new(Counts::default());
    let options = Options { observer: Arc::clone(&counts) as _, ..Options::default() };
    let plan = plan::Ledger { max_batch: 64, ..settings() };
    let ledger = Arc::new(Ledger::open_with(dir.path(), &plan, options).unwrap());
    for _ in 0..5 {
        ledger.accept(event("{}"), u64::MAX).await.unwrap();
    }
    assert_eq!(counts.commits.load(Ordering::Relaxed), 5);
    let mut producers = JoinSet::new();
    for _ in 0..1000 {
        let ledger = Arc::clone(&ledger);
        producers.spawn(async move { ledger.accept(event("{}"), u64::MAX).await });
    }
    assert!(producers.join_all().await.iter().all(Result::is_ok));
    let (commits, accepted) = (counts.commits.load(Ordering::Relaxed) - 5, counts.accepted.load(Ordering::Relaxed));
    assert_eq!(accepted, 1005);
    assert!((16..200).contains(&commits), "{commits} commits for 1000 events");
    assert!(counts.largest.load(Ordering::Relaxed) <= 64, "no batch is larger than the plan says");
}

#[tokio::test]
async fn a235_a_tenant_at_its_share_is_refused_and_leaves_the_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = sluis_ledger::clock::ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let share = 20_000;
    let mut producers = JoinSet::new();
    for _ in 0..100 {
        let ledger = Arc::clone(&ledger);
        producers.spawn(async move { ledger.accept(event(&"x".repeat(1000)), share).await });
    }
    let answers = producers.join_all().await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(AcceptError::TenantFull))));
    let backlog = ledger.backlog();
    assert_eq!(backlog.events, accepted);
    assert!(backlog.bytes <= share && backlog.bytes > share - 2000, "{backlog:?}");
    assert_eq!(ledger.room("acme", backlog.bytes, Lane::Normal), Err(AcceptError::TenantFull));
    assert_eq!(ledger.room("globex", share, Lane::Normal), Ok(()));
    let mut other = event("{}");
    other.tenant = "globex".into();
    ledger.accept(other, share).await.unwrap();
}

#[tokio::test]
async fn the_backlog_as_a_whole_is_bounded_and_delivery_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = sluis_ledger::clock::ManualClock::at(NEW_YEAR);
    let options = Options { clock: sluis_ledger::clock::Clock::Manual(clock.clone()), ..Options::default() };
    let plan = plan::Ledger { max_bytes: 10_000, ..settings() };
    let ledger = Arc::new(Ledger::open_with(dir.path(), &plan, options).unwrap());
    let mut ids = Vec::new();
    let refused = loop {
        let event = event(&"x".repeat(1000));
        let id = event.id;
        match ledger.accept(event, u64::MAX).await {
            Ok(()) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!((refused, ids.len()), (AcceptError::Full, 6));
    let erp = ErpSink::start().await;
    let running = Running::deliver(ledger, [erp.plan()], clock);
    for id in ids {
        running.until(id, EventState::Completed).await;
    }
    // The numbers follow the commit that a reader may see already.
    while running.ledger.backlog().bytes > 0 {
        tokio::task::yield_now().await;
    }
    running.accept(event(&"x".repeat(1000))).await;
    running.stop().await;
}

#[tokio::test]
async fn the_least_urgent_are_refused_first_as_the_backlog_fills() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan::Ledger { max_bytes: 100_000, shedding: Shedding { low: 85, normal: 95 }, ..settings() };
    let options = Options { min_free: 0, ..Options::default() };
    let ledger = Ledger::open_with(dir.path(), &plan, options).unwrap();
    let mut levels = Vec::new();
    for lane in [Lane::Low, Lane::Normal, Lane::High, Lane::Critical] {
        let refused = loop {
            let event = NewEvent { lane, ..event(&"x".repeat(100)) };
            if let Err(error) = ledger.accept(event, u64::MAX).await {
                break error;
            }
        };
        levels.push((refused, ledger.backlog().bytes / 1000));
    }
    let full = (AcceptError::Full, 99);
    assert_eq!(levels, [(AcceptError::Shed, 84), (AcceptError::Shed, 94), full, full]);
    assert_eq!(ledger.room("acme", u64::MAX, Lane::Normal), Err(AcceptError::Shed));
    assert_eq!(ledger.room("acme", u64::MAX, Lane::High), Ok(()), "one that is small enough");
}

#[tokio::test]
async fn a_closed_ledger_says_so_and_has_kept_what_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(dir.path(), &settings()).unwrap());
    let first = event("{}");
    let id = first.id;
    ledger.accept(first, u64::MAX).await.unwrap();
    assert_eq!(ledger.health(), Health::Ok);
    ledger.close().await;
    assert_eq!(ledger.health(), Health::Closed);
    assert_eq!(ledger.accept(event("{}"), u64::MAX).await, Err(AcceptError::Closed));
    assert_eq!(ledger.room("acme", u64::MAX, Lane::Normal), Err(AcceptError::Closed));
    assert_eq!(ledger.status("acme", id).await, Err(ReadError::Closed));
    drop(ledger);
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name == "ledger.db-wal"), "one file is left behind: {files:?}");
    let ledger = Ledger::open(dir.path(), &settings()).unwrap();
    assert!(ledger.status("acme", id).await.unwrap().is_some());
}

#[tokio::test]
async fn a231_empty_and_large_bodies_are_kept_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    let large: Vec<u8> = (0..24u32 << 20).map(|n| (n % 251) as u8).collect();
    for body in [Vec::new(), large] {
        let mut sent = event("");
        sent.body = body.clone().into();
        let id = running.accept(sent).await;
        assert!(erp.next().await.body == body);
        running.until(id, EventState::Completed).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn the_same_id_twice_is_one_event_and_another_tenant_never_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), &settings()).unwrap();
    let first = event("{}");
    let id = first.id;
    ledger.accept(first.clone(), u64::MAX).await.unwrap();
    let bytes = ledger.backlog().bytes;
    assert_eq!(ledger.accept(first, u64::MAX).await, Err(AcceptError::Duplicate));
    assert_eq!((ledger.backlog().events, ledger.backlog().bytes), (1, bytes));
    assert_eq!(ledger.status("globex", id).await, Ok(None));
    assert_eq!(ledger.status("acme", uuid::Uuid::now_v7()).await, Ok(None));
}

#[tokio::test]
async fn the_status_is_json_with_rfc_3339_times() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    erp.say([crate::support::Say::Status(503)]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, sluis_model::event::DeliveryState::RetryWait).await;
    let mut json = serde_json::to_value(&status).unwrap();
    let due = json["deliveries"][0]["next_attempt_at"].take();
    assert!(due.as_str().unwrap().starts_with("2026-01-01T00:00:0"), "{due}");
    json["history"][3]["took_ms"].take();
    let at = "2026-01-01T00:00:00Z";
    let expected = serde_json::json!({
        "id": id.to_string(), "state": "in_progress", "type": "erp.order.created", "route": "orders",
        "key": "order 42", "correlation_id": "corr-1", "accepted_at": at,
        "deliveries": [{
            "sink": "erp", "state": "retry_wait", "attempts": 1, "next_attempt_at": null,
            "last_error": {
                "kind": "http", "class": "transient", "status": 503, "attempt": 1, "at": at,
                "message": "the sink answered 503 Service Unavailable",
            },
        }],
        "history": [
            {"at": at, "state": "accepted", "actor": "gateway"},
            {"at": at, "sink": "erp", "state": "ready", "actor": "gateway"},
            {"at": at, "sink": "erp", "state": "leased", "actor": "worker"},
            {"at": at, "sink": "erp", "state": "retry_wait", "actor": "worker", "reason": "http 503", "took_ms": null},
        ],
    });
    assert_eq!(json, expected);
    running.stop().await;
}
