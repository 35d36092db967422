//! Copies of a ledger in use, and what is found and mended in one that is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sluis_ledger::{EventStatus, Finding, Ledger, OpenError, Options, Report, UpkeepError, backup, repair, verify};
use sluis_model::event::{DeliveryState, EventSink, NewEvent};
use uuid::Uuid;

use crate::support::{ErpSink, NEW_YEAR, Running, Say, event, settings};

/// An event that goes in the order of its key.
fn ordered(key: &str) -> NewEvent {
    let sink = EventSink { name: "erp".into(), in_order: true, compacts: false };
    NewEvent { key: Some(key.to_owned()), sinks: vec![sink], ..event("{}") }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_ledger_holds_together_and_has_all_that_was_accepted_before_it() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, to) = (parent.path().join("ledger"), parent.path().join("backup"));
    // Small enough that the log is moved often, which the backup stands in the way of.
    let options = Options { min_free: 0, checkpoint_pages: 64, ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(&dir, &settings(), options).unwrap());
    let mut before = Vec::new();
    for n in 0..200 {
        let event = ordered(&format!("key {}", n % 7));
        before.push(event.id);
        ledger.accept(event, u64::MAX).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let (ledger, done) = (Arc::clone(&ledger), Arc::clone(&done));
            tokio::spawn(async move {
                let mut accepted = 0;
                while !done.load(Ordering::Relaxed) {
                    ledger.accept(event(&"x".repeat(3000)), u64::MAX).await.unwrap();
                    accepted += 1;
                }
                accepted
            })
        })
        .collect();
    let copied = {
        let (dir, to) = (dir.clone(), to.clone());
        tokio::task::spawn_blocking(move || {
            backup(&dir, &to).unwrap();
            assert!(matches!(backup(&dir, &to), Err(UpkeepError::Exists { .. })));
            backup(&dir, &to.with_file_name("second")).unwrap();
        })
    };
    copied.await.unwrap();
    done.store(true, Ordering::Relaxed);
    for producer in producers {
        assert!(producer.await.unwrap() > 0, "accepting goes on meanwhile");
    }
    assert!(matches!(verify(&dir), Err(UpkeepError::Open(OpenError::InUse { .. }))), "not while it is in use");
    drop(ledger);
    assert_eq!(names(parent.path()), ["backup", "ledger", "second"], "nothing half done is left");
    assert_eq!((mode(&to), names(&to)), (0o700, vec!["ledger.db".to_owned()]));
    assert_eq!(mode(&to.join("ledger.db")), 0o600);
    for dir in [&dir, &to] {
        let report = verify(dir).unwrap();
        assert_eq!((&report.findings, report.shrinks), (&Vec::new(), true), "{}", dir.display());
        assert!(report.events >= 200 && report.deliveries == report.events);
    }
    assert_eq!(names(&to), ["ledger.db"], "looking at it leaves nothing behind");
    let restored = Ledger::open(&to, &settings()).unwrap();
    for id in before {
        assert!(restored.status("acme", id).await.unwrap().is_some());
    }
}

#[test]
fn what_is_no_ledger_is_neither_copied_nor_verified() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, to) = (parent.path().join("theirs"), parent.path().join("to"));
    std::fs::create_dir(&dir).unwrap();
    let gone = |error: UpkeepError| matches!(error, UpkeepError::Open(OpenError::Io { .. }));
    assert!(gone(backup(&dir, &to).unwrap_err()) && gone(verify(&dir).unwrap_err()));
    std::fs::write(dir.join("ledger.db"), "somebody's notes ".repeat(1000)).unwrap();
    let foreign = |error: UpkeepError| matches!(error, UpkeepError::Open(OpenError::NotALedger { .. }));
    assert!(foreign(backup(&dir, &to).unwrap_err()) && foreign(verify(&dir).unwrap_err()));
    std::fs::remove_file(dir.join("ledger.db")).unwrap();
    drop(Ledger::open(&dir, &settings()).unwrap());
    let conn = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    for format in [3, 999] {
        conn.pragma_update(None, "user_version", format).unwrap();
        let refused = match verify(&dir).unwrap_err() {
            UpkeepError::OlderFormat { found, .. } | UpkeepError::Open(OpenError::NewerFormat { found, .. }) => found,
            other => panic!("{other}"),
        };
        assert_eq!(refused, format);
    }
    assert_eq!(names(parent.path()), ["theirs"]);
}

/// A ledger with events in every state that counts: delivered, dead, waiting, in lines.
async fn some_ledger(dir: &Path) -> Vec<Uuid> {
    let erp = ErpSink::start().await;
    erp.say([Say::Status(200), Say::Status(400), Say::RetryAfter(503, "86400")]);
    let running = Running::start(dir, [erp.plan()]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = running.accept(event("{}")).await;
        let tried = |status: &EventStatus| {
            status.deliveries[0].attempts == 1 && status.deliveries[0].state != DeliveryState::Leased
        };
        running.until_that(id, tried).await;
        ids.push(id);
    }
    running.stop().await;
    let ledger = Ledger::open(dir, &settings()).unwrap();
    for n in 0..6 {
        let event = ordered(&format!("key {}", n % 2));
        ids.push(event.id);
        ledger.accept(event, u64::MAX).await.unwrap();
    }
    ids
}

fn tamper(dir: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    conn.execute_batch(sql).unwrap();
}

fn findings(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_does_not_hold_is_found_and_what_can_be_counted_is_mended() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ledger");
    let ids = some_ledger(&dir).await;
    assert_eq!(findings(&verify(&dir).unwrap()), [""; 0]);
    tamper(
        &dir,
        "UPDATE tenant_backlog SET events = 77, bytes = bytes + 1;
         UPDATE sink_depth SET deliveries = 9 WHERE state = 0;
         UPDATE stored SET bytes = 1;
         INSERT INTO claim_usage VALUES ('acme', 3, 4);
         INSERT INTO kv_usage VALUES ('globex', 5);
         UPDATE deliveries SET state = 4, due = NULL WHERE state = 0 AND key = 'key 0';
         UPDATE deliveries SET state = 0, due = 1 WHERE state = 4 AND key = 'key 1';
         UPDATE events SET body = x'00' WHERE seq = 1;
         DELETE FROM transitions WHERE event = 2 AND step = 1;
         INSERT INTO failures VALUES (999, 0, 0, 1, '', '', NULL, '', x'');",
    );
    let before = verify(&dir).unwrap();
    let said = findings(&before).join("\n");
    for expected in [
        "undelivered events of acme: 77 kept, 8 counted",
        "undelivered bytes of acme",
        "deliveries by sink and state of erp 0: 9 kept, 3 counted",
        "stored bytes of all: 1 kept",
        "idempotency keys of acme: 3 kept, 0 counted",
        "bytes of idempotent answers of acme: 4 kept, 0 counted",
        "bytes of plugin state of globex: 5 kept, 0 counted",
        "line of key \"key 0\" of acme to erp: 0 at its front instead of 1",
        "line of key \"key 1\" of acme to erp: 3 at its front instead of 1",
        &format!("event {} is not as it was accepted", ids[0]),
        "delivery 0 of event at 2: 2 steps, 1 written down or another end",
        "1 rows of failures without their event",
    ] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    let repaired = repair(&dir, NEW_YEAR).unwrap();
    let lasting: Vec<Finding> = before.findings.iter().filter(|f| !f.is_repairable()).cloned().collect();
    let rest: Vec<&Finding> = repaired.after.findings.iter().filter(|f| f.is_repairable()).collect();
    assert_eq!(rest, [&lasting[0]; 0]);
    // Events stay as they are; that a front was not where its history ends is mended with it.
    assert!(repaired.after.findings.iter().all(|finding| lasting.contains(finding)));
    let after = findings(&repaired.after).join("\n");
    for stays in ["is not as it was accepted", "delivery 0 of event at 2: 2 steps", "1 rows of failures without"] {
        assert!(after.contains(stays), "{stays} in\n{after}");
    }
    assert_eq!(verify(&repaired.kept).unwrap(), before, "and the files as they were are beside it");
    assert_eq!(names(parent.path()).len(), 2);
    // It delivers again, in order.
    let mut erp = ErpSink::start().await;
    let running = Running::start(&dir, [erp.plan()]);
    let mut arrived = Vec::new();
    for _ in 0..6 {
        arrived.push(erp.next().await.id());
    }
    for key in 0..2 {
        let mine: Vec<Uuid> = ids[3..].iter().skip(key).step_by(2).copied().collect();
        let got: Vec<Uuid> = arrived.iter().filter(|id| mine.contains(id)).copied().collect();
        assert_eq!(got, mine);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_damaged_file_is_told_and_not_mended() {
    let dir = tempfile::tempdir().unwrap();
    some_ledger(dir.path()).await;
    let database = dir.path().join("ledger.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let page = 8192;
    for at in bytes.len() / page / 2..bytes.len() / page {
        bytes[at * page..at * page + 100].fill(0xa5);
    }
    std::fs::write(&database, &bytes).unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(matches!(report.findings[0], Finding::Structure(_)), "{:?}", findings(&report));
    assert!(matches!(repair(dir.path(), NEW_YEAR), Err(UpkeepError::Damaged)));
    assert_eq!(std::fs::read(&database).unwrap(), bytes);
}

#[tokio::test]
async fn a_file_that_cannot_shrink_is_told_and_its_backup_can() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, to) = (parent.path().join("ledger"), parent.path().join("to"));
    some_ledger(&dir).await;
    tamper(&dir, "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM; PRAGMA journal_mode = WAL;");
    assert!(!verify(&dir).unwrap().shrinks);
    backup(&dir, &to).unwrap();
    let copy = verify(&to).unwrap();
    assert_eq!((copy.shrinks, copy.events, copy.findings), (true, 9, Vec::new()));
}
