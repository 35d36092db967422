//! Idempotency keys: of many requests that are the same, one goes on, and nobody is told what is not so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::clock::ManualClock;
use sluis_ledger::{Claim, ClaimFault, ClaimQuota, Claimed, Keyed, Ledger, Place, StoredAnswer};
use sluis_model::event::NewEvent;

use crate::support::{NEW_YEAR, Running, event, open};

const TTL: u64 = 3_600_000;

pub fn keyed(key: &str) -> Keyed {
    Keyed {
        tenant: "acme".into(),
        place: Place { route: "orders".into(), key: key.into() },
        fingerprint: [7; 32],
        ttl: TTL,
        quota: ClaimQuota { keys: 1_000, bytes: 1 << 20 },
        resend: false,
    }
}

pub fn answer(text: &str) -> StoredAnswer {
    let headers = vec![("location".to_owned(), "/orders/1".to_owned()), ("x-a".to_owned(), "ü".to_owned())];
    StoredAnswer { status: 201, headers, body: text.to_owned().into() }
}

pub async fn new(ledger: &Arc<Ledger>, keyed: Keyed) -> Claim {
    match ledger.claim(keyed).await.unwrap() {
        Claimed::New(claim) => claim,
        other => panic!("{other:?}"),
    }
}

pub async fn said(ledger: &Arc<Ledger>, keyed: Keyed) -> String {
    match ledger.claim(keyed).await.unwrap() {
        Claimed::New(_) => "new".to_owned(),
        Claimed::Replay(answer) => format!("replay {}", String::from_utf8_lossy(&answer.body)),
        Claimed::InProgress => "in progress".to_owned(),
        Claimed::Reused(event) => format!("reused {}", event.is_some()),
        Claimed::Unknown => "unknown".to_owned(),
    }
}

/// The files as they are at this moment, opened by another process.
fn crashed(dir: &Path, clock: &ManualClock) -> (tempfile::TempDir, Arc<Ledger>) {
    let after = tempfile::tempdir().unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        if dir.join(name).exists() {
            std::fs::copy(dir.join(name), after.path().join(name)).unwrap();
        }
    }
    let ledger = open(after.path(), clock);
    (after, ledger)
}

#[tokio::test]
async fn a_request_is_new_then_in_progress_then_answered_the_same_for_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let mut claim = new(&ledger, keyed("a")).await;
    assert_eq!(said(&ledger, keyed("a")).await, "in progress");
    assert_eq!(said(&ledger, Keyed { fingerprint: [8; 32], ..keyed("a") }).await, "reused false");
    let elsewhere = Keyed { place: Place { route: "stock".into(), key: "a".into() }, ..keyed("a") };
    assert_eq!(said(&ledger, elsewhere).await, "new", "a key holds on its route");
    assert_eq!(said(&ledger, Keyed { tenant: "umbrella".into(), ..keyed("a") }).await, "new", "and within its tenant");
    claim.begin().await.unwrap();
    assert_eq!(said(&ledger, keyed("a")).await, "in progress");
    clock.advance(Duration::from_secs(1_800));
    claim.complete(answer("one")).await.unwrap();
    match ledger.claim(keyed("a")).await.unwrap() {
        Claimed::Replay(told) => assert_eq!(told, answer("one"), "byte for byte"),
        other => panic!("{other:?}"),
    }
    assert_eq!(said(&ledger, Keyed { fingerprint: [8; 32], ..keyed("a") }).await, "reused false");
    clock.advance(Duration::from_millis(TTL - 1));
    assert_eq!(said(&ledger, keyed("a")).await, "replay one", "the time counts from the answer");
    clock.advance(Duration::from_millis(1));
    assert_eq!(said(&ledger, keyed("a")).await, "new");
    ledger.close().await;
}

#[tokio::test]
async fn what_was_released_or_never_begun_is_new_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    drop(new(&ledger, keyed("a")).await);
    assert_eq!(said(&ledger, keyed("a")).await, "new");
    let mut claim = new(&ledger, keyed("a")).await;
    claim.begin().await.unwrap();
    claim.release().await;
    assert_eq!(said(&ledger, keyed("a")).await, "new");
    new(&ledger, keyed("a")).await.release().await;
    assert_eq!(said(&ledger, keyed("a")).await, "new");
    ledger.close().await;
}

#[tokio::test]
async fn of_a_begun_claim_that_is_dropped_nobody_knows_what_became() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let mut claim = new(&ledger, keyed("a")).await;
    claim.begin().await.unwrap();
    drop(claim);
    for _ in 0..3 {
        assert_eq!(said(&ledger, keyed("a")).await, "unknown");
    }
    assert_eq!(said(&ledger, Keyed { fingerprint: [8; 32], ..keyed("a") }).await, "reused false");
    let mut again = new(&ledger, Keyed { resend: true, ..keyed("a") }).await;
    again.begin().await.unwrap();
    again.complete(answer("two")).await.unwrap();
    assert_eq!(said(&ledger, keyed("a")).await, "replay two");
    ledger.close().await;
}

#[tokio::test]
async fn a_claim_whose_end_could_not_be_stored_is_unknown_and_not_for_ever_in_progress() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    let mut claim = new(&ledger, keyed("a")).await;
    claim.begin().await.unwrap();
    let somebody = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(claim.complete(answer("one")).await, Err(ClaimFault::Unavailable));
    // What is written of its end after the lock is gone is said by the memory before.
    assert_eq!(said(&ledger, keyed("a")).await, "unknown");
    somebody.execute_batch("ROLLBACK").unwrap();
    assert_eq!(said(&ledger, keyed("a")).await, "unknown");
    let again = new(&ledger, Keyed { resend: true, ..keyed("a") }).await;
    again.complete(answer("two")).await.unwrap();
    assert_eq!(said(&ledger, keyed("a")).await, "replay two");
    ledger.close().await;
}

#[tokio::test]
async fn a_claim_whose_end_was_refused_is_unknown_for_its_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let mut sent = new(&ledger, keyed("sent")).await;
    sent.begin().await.unwrap();
    let mut left = new(&ledger, keyed("left")).await;
    let mut commits = ledger.commits();
    let somebody = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let mut begin = std::pin::pin!(left.begin());
        assert!(tokio::time::timeout(Duration::ZERO, begin.as_mut()).await.is_err());
        somebody.execute_batch("ROLLBACK").unwrap();
        commits.changed().await.unwrap();
        // Stored, and nobody was told so.
    }
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop(left);
    assert_eq!(sent.complete(answer("one")).await, Err(ClaimFault::Unavailable));
    // What stood before this in the queue was refused before it.
    assert_eq!(new(&ledger, keyed("behind")).await.begin().await, Err(ClaimFault::Unavailable));
    somebody.execute_batch("ROLLBACK").unwrap();
    for key in ["sent", "left"] {
        assert_eq!(said(&ledger, keyed(key)).await, "unknown");
    }
    new(&ledger, keyed("behind")).await.complete(answer("")).await.unwrap();
    let unknown = "SELECT count(*) FROM claims WHERE key IN ('sent', 'left') AND state = 2";
    assert_eq!(somebody.query_row(unknown, (), |row| row.get::<_, i64>(0)).unwrap(), 2);
    clock.advance(Duration::from_millis(TTL));
    for key in ["sent", "left"] {
        assert_eq!(said(&ledger, keyed(key)).await, "new");
    }
    ledger.close().await;
}

/// Polled once, and given up.
async fn give_up<T>(future: impl Future<Output = T>) {
    let _ = tokio::time::timeout(Duration::ZERO, future).await;
}

#[tokio::test]
async fn a_caller_that_leaves_at_any_moment_leaves_nothing_wrong_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    for n in 0..50 {
        let key = n.to_string();
        let mut claim = new(&ledger, keyed(&key)).await;
        give_up(claim.begin()).await;
        // Sometimes stored before it was given up, and never sent.
        if n % 2 == 0 {
            tokio::task::yield_now().await;
        }
        drop(claim);
        // Whatever was written after all is written before what comes now.
        let mut claim = new(&ledger, Keyed { resend: true, ..keyed(&key) }).await;
        claim.begin().await.unwrap();
        give_up(claim.complete(answer("one"))).await;
        // Something behind it in the queue.
        new(&ledger, keyed(&format!("behind {n}"))).await.complete(answer("")).await.unwrap();
        assert_eq!(said(&ledger, keyed(&key)).await, "replay one", "what was answered stays so");
    }
    ledger.close().await;
}

#[tokio::test]
async fn a_crash_and_a_restart_keep_what_was_stored_and_make_the_rest_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    new(&ledger, keyed("done")).await.complete(answer("one")).await.unwrap();
    let mut begun = new(&ledger, keyed("begun")).await;
    begun.begin().await.unwrap();
    let taken = new(&ledger, keyed("taken")).await;
    let states = async |ledger: &Arc<Ledger>| {
        [said(ledger, keyed("done")).await, said(ledger, keyed("begun")).await, said(ledger, keyed("taken")).await]
    };
    let (_files, after) = crashed(dir.path(), &clock);
    assert_eq!(states(&after).await, ["replay one", "unknown", "new"]);
    after.close().await;
    assert_eq!(states(&ledger).await, ["replay one", "in progress", "in progress"], "the first one lives on");
    drop((begun, taken));
    ledger.close().await;
    drop(ledger);
    let ledger = open(dir.path(), &clock);
    assert_eq!(states(&ledger).await, ["replay one", "unknown", "new"]);
    clock.advance(Duration::from_millis(TTL));
    assert_eq!(states(&ledger).await, ["new", "new", "new"]);
    ledger.close().await;
}

#[tokio::test]
async fn a232_a_claim_and_its_event_are_kept_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let mut known = Vec::new();
    for n in 0..40 {
        let (key, one) = (n.to_string(), event("{}"));
        let mut claim = new(&ledger, keyed(&key)).await;
        known.push((key, one.id));
        let accepting = ledger.accept_claimed(one, &mut claim, answer("202"), u64::MAX);
        match n % 4 {
            0 => give_up(accepting).await,
            _ => accepting.await.unwrap(),
        }
        if n % 8 != 0 {
            continue;
        }
        let (_files, after) = crashed(dir.path(), &clock);
        for (key, id) in &known {
            let has_event = after.status("acme", *id).await.unwrap().is_some();
            let says = said(&after, keyed(key)).await;
            assert_eq!(says, if has_event { "replay 202" } else { "new" });
            let other = said(&after, Keyed { fingerprint: [8; 32], ..keyed(key) }).await;
            assert_eq!(other, if has_event { "reused true" } else { "new" });
        }
        after.close().await;
    }
    ledger.close().await;
}

#[tokio::test]
async fn an_event_may_take_the_place_of_a_request_that_was_begun() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    let mut claim = new(&ledger, keyed("a")).await;
    claim.begin().await.unwrap();
    let one = event("{}");
    ledger.accept_claimed(one, &mut claim, answer("202"), u64::MAX).await.unwrap();
    drop(claim);
    assert_eq!(said(&ledger, keyed("a")).await, "replay 202");
    assert_eq!(said(&ledger, Keyed { fingerprint: [8; 32], ..keyed("a") }).await, "reused true");
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a232_of_a_hundred_requests_with_one_key_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    for round in 0..5 {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let ledger = Arc::clone(&ledger);
            asking.spawn(async move {
                match ledger.claim(keyed(&format!("round {round}"))).await.unwrap() {
                    Claimed::New(mut claim) => {
                        let one: NewEvent = event("{}");
                        ledger.accept_claimed(one, &mut claim, answer("202"), u64::MAX).await.unwrap();
                        true
                    }
                    Claimed::InProgress => false,
                    Claimed::Replay(told) => {
                        assert_eq!(told, answer("202"));
                        false
                    }
                    other => panic!("{other:?}"),
                }
            });
        }
        let new = asking.join_all().await.into_iter().filter(|new| *new).count();
        assert_eq!(new, 1);
    }
    assert_eq!(ledger.backlog().events, 5);
    ledger.close().await;
}

#[tokio::test]
async fn a233_keys_outlive_a_clock_that_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    new(&ledger, keyed("a")).await.complete(answer("one")).await.unwrap();
    ledger.close().await;
    drop(ledger);
    let running = Running::start_at(dir.path(), [], ManualClock::at(NEW_YEAR - 3_600_000));
    assert_eq!(said(&running.ledger, keyed("a")).await, "replay one");
    running.clock.advance(Duration::from_millis(TTL + 3_599_999));
    assert_eq!(said(&running.ledger, keyed("a")).await, "replay one");
    running.stop().await;
}
