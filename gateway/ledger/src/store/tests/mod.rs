//! Tests of the store that need to look behind its walls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod claims;
mod damage;
mod twin;

use rusqlite::Connection;
use sluis_model::event::{EventSink, Input, NewEvent};
use sluis_model::lane::Lane;

use super::*;
use crate::clock::ManualClock;
use crate::observer::NoObserver;
use crate::operate::{Operation, Subject};

/// A store with everything small, so that checkpoints and page splits happen in every test.
fn open(dir: &Path, now: u64, checkpoint_pages: i32) -> Result<Store, OpenError> {
    let settings = Settings {
        max_bytes: 1 << 40,
        shedding: Shedding { low: 100, normal: 100 },
        max_batch: 8,
        queue: 64,
        observer: Arc::new(NoObserver),
        clock: Clock::Manual(ManualClock::at(now)),
        checkpoint_pages,
        max_pages: None,
        tuning: Tuning { page_size: 1024, cache_kib: 64 },
    };
    Store::open(dir, settings)
}

/// An event that goes nowhere.
fn event() -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        tenant: "acme".into(),
        route: "orders".into(),
        event_type: "t".into(),
        key: None,
        content_type: "text/plain".to_owned(),
        body: bytes::Bytes::new(),
        sinks: Vec::new(),
        lane: Lane::Normal,
        causation_id: None,
        attributes: Vec::new(),
        correlation_id: "c".into(),
        traceparent: None,
        accepted_at: 0,
    }
}

#[test]
fn a_history_is_in_the_order_in_which_it_happened_whatever_the_clocks_of_those_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0, 12).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let event = NewEvent { sinks: vec![EventSink::unordered("erp")], ..event() };
    let status = runtime.block_on(async {
        store.accept(event.clone(), None, 1, u64::MAX).unwrap().await.unwrap().unwrap();
        let id = DeliveryId { event: 1, n: 0 };
        for (input, at) in [(Input::Lease, 100), (Input::Retry, 200), (Input::Discard, 150)] {
            store.record(Move::by("test", id, input, at)).await.unwrap();
        }
        store.status(&event.tenant, event.id).await.unwrap().unwrap()
    });
    let states: Vec<&str> = status.history.iter().rev().take(3).rev().map(|entry| entry.state).collect();
    assert_eq!(states, ["leased", "retry_wait", "discarded"]);
    assert_eq!(status.history.last().unwrap().at, 200);
}

#[test]
fn of_the_holds_of_a_sink_the_last_ones_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0, 12).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        store.hold("erp", 0, "operator:ann", "for good".to_owned()).await.unwrap();
        store.hold("crm", 0, "breaker", String::new()).await.unwrap();
        store.release("crm", 1, "breaker").await.unwrap();
        for at in 1..600 {
            store.hold("erp", at, "breaker", String::new()).await.unwrap();
            store.release("erp", at, "breaker").await.unwrap();
        }
    });
    let conn = Connection::open(dir.path().join("ledger.db")).unwrap();
    let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert!((500..=502).contains(&count("SELECT count(*) FROM holds WHERE sink = 'erp'")));
    assert_eq!(count("SELECT count(*) FROM holds WHERE sink = 'erp' AND since = 599"), 1);
    assert_eq!(count("SELECT count(*) FROM holds WHERE until IS NULL"), 1, "one that lasts is never forgotten");
    assert_eq!(count("SELECT count(*) FROM holds WHERE sink = 'crm'"), 1);
}

#[test]
fn of_the_audit_the_last_lines_of_each_tenant_are_kept_and_of_sinks_apart() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 0, 12).unwrap());
    let conn = Connection::open(dir.path().join("ledger.db")).unwrap();
    // A line of each, and then all that one tenant may have.
    let lines = "WITH RECURSIVE lines (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM lines WHERE n < 10002)
        INSERT INTO event_audit (at, tenant, actor, action, reason, n)
        SELECT n, 'umbrella', 'tenant:umbrella', 'discard', '', n FROM lines";
    conn.execute_batch(
        "INSERT INTO event_audit (at, tenant, actor, action, reason, n) VALUES
        (0, 'acme', 'tenant:acme', 'replay', '', 1), (0, NULL, 'operator:ann', 'pause', '', 1)",
    )
    .unwrap();
    conn.execute_batch(lines).unwrap();
    let store = open(dir.path(), 0, 12).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let order = |subject: Subject, operation: Operation| OperateEdit {
        subject,
        operation,
        edited: None,
        by: "operator:bob".to_owned(),
        reason: String::new(),
        at: 1,
    };
    runtime.block_on(async {
        for _ in 0..3 {
            let theirs = NewEvent { tenant: "umbrella".into(), sinks: vec![EventSink::unordered("erp")], ..event() };
            store.accept(theirs.clone(), None, 1, u64::MAX).unwrap().await.unwrap().unwrap();
            let subject = Subject::Event { id: theirs.id, tenant: None, sink: None };
            store.operate(order(subject, Operation::Discard), None).await.unwrap();
        }
        store.operate(order(Subject::Sink("erp".to_owned()), Operation::Pause), None).await.unwrap();
    });
    let lines = |tenant: &str| {
        let sql = format!("SELECT count(*), min(n), max(n) FROM event_audit WHERE tenant IS {tenant}");
        conn.query_row(&sql, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    };
    assert_eq!(lines("'umbrella'"), (10_000, 6, 10_005));
    assert_eq!(lines("'acme'"), (1, 1, 1));
    assert_eq!(lines("NULL"), (2, 1, 2));
}

#[test]
fn the_log_begins_anew_while_transactions_go_on_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0, 12).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..1_000 {
            store.accept(event(), None, 1, u64::MAX).unwrap().await.unwrap().unwrap();
        }
    });
    // All of it would be thousands of pages. A file keeps the greatest length that it ever had.
    let pages = dir.path().join("ledger.db-wal").metadata().unwrap().len() / 1024;
    assert!((12..200).contains(&pages), "{pages}");
    let main = dir.path().join("ledger.db").metadata().unwrap().len() / 1024;
    assert!(main > 100, "{main}");
}
