//! What a tenant may have of idempotency keys and answers, and what makes room.

use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{AcceptError, ClaimFault, ClaimQuota, Keyed, Ledger};
use sluis_model::event::NewEvent;

use crate::claims::{answer, keyed, new, said};
use crate::support::{NEW_YEAR, event, open};

#[tokio::test]
async fn a_tenant_has_so_many_keys_and_the_oldest_finished_ones_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let few = |key: &str| Keyed { quota: ClaimQuota { keys: 3, bytes: 1 << 20 }, ..keyed(key) };
    for key in ["a", "b", "c"] {
        new(&ledger, few(key)).await.complete(answer(key)).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }
    new(&ledger, few("d")).await.complete(answer("d")).await.unwrap();
    assert_eq!(said(&ledger, few("a")).await, "new", "the oldest one went");
    for key in ["b", "c", "d"] {
        assert_eq!(said(&ledger, few(key)).await, format!("replay {key}"), "and no other");
    }
    let mut in_flight = Vec::new();
    for key in ["e", "f", "g"] {
        let mut claim = new(&ledger, few(key)).await;
        claim.begin().await.unwrap();
        in_flight.push(claim);
    }
    assert_eq!(said(&ledger, few("d")).await, "new");
    let mut one_more = new(&ledger, few("h")).await;
    assert_eq!(one_more.begin().await, Err(ClaimFault::Full));
    let refused = ledger.accept_claimed(event("{}"), &mut one_more, answer("h"), u64::MAX).await;
    assert_eq!(refused, Err(AcceptError::Claim(ClaimFault::Full)));
    assert_eq!(ledger.backlog().bytes, 0, "nothing of a refused event counts");
    let mut other = new(&ledger, Keyed { tenant: "umbrella".into(), ..few("a") }).await;
    other.begin().await.unwrap();
    in_flight.pop().unwrap().release().await;
    one_more.begin().await.unwrap();
    ledger.close().await;
}

/// An event that is accepted now: the time of its claim counts from then.
fn event_now(clock: &ManualClock) -> NewEvent {
    NewEvent { accepted_at: Clock::Manual(clock.clone()).now(), ..event("{}") }
}

/// Of these keys the ones that have an answer.
async fn answered(ledger: &Arc<Ledger>, of: impl Fn(&str) -> Keyed, keys: &[String]) -> Vec<String> {
    let mut answered = Vec::new();
    for key in keys {
        if said(ledger, of(key)).await.starts_with("replay") {
            answered.push(key.clone());
        }
    }
    answered
}

#[tokio::test]
async fn a_tenant_has_so_many_bytes_of_answers_and_the_oldest_ones_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    // Each with 39 bytes of fields: ten of them have room.
    let some = |key: &str| Keyed { quota: ClaimQuota { keys: 1_000, bytes: 10_600 }, ..keyed(key) };
    let keys: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
    let mut in_flight = new(&ledger, some("in flight")).await;
    in_flight.begin().await.unwrap();
    let mut other = new(&ledger, Keyed { tenant: "umbrella".into(), ..some("a") }).await;
    let theirs = NewEvent { tenant: "umbrella".into(), ..event_now(&clock) };
    ledger.accept_claimed(theirs, &mut other, answer("theirs"), u64::MAX).await.unwrap();
    drop(other);
    for (n, key) in keys.iter().enumerate() {
        let mut claim = new(&ledger, some(key)).await;
        let told = answer(&"x".repeat(1_000));
        match n % 2 {
            0 => claim.complete(told).await.unwrap(),
            _ => ledger.accept_claimed(event_now(&clock), &mut claim, told, u64::MAX).await.unwrap(),
        }
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(answered(&ledger, some, &keys).await, keys[20..], "the oldest ones went");
    // All of them make room for a large one, which may be too much by an eighth.
    new(&ledger, some("large")).await.complete(answer(&"x".repeat(11_500))).await.unwrap();
    assert_eq!(answered(&ledger, some, &keys).await, [""; 0]);
    let larger = new(&ledger, some("larger")).await;
    assert_eq!(larger.complete(answer(&"x".repeat(12_000))).await, Err(ClaimFault::Full));
    assert_eq!(said(&ledger, some("larger")).await, "unknown", "it was done, and its answer is not kept");
    let mut event_claim = new(&ledger, some("larger event")).await;
    let refused = ledger.accept_claimed(event("{}"), &mut event_claim, answer(&"x".repeat(12_000)), u64::MAX).await;
    assert_eq!(refused, Err(AcceptError::Claim(ClaimFault::Full)));
    assert_eq!(said(&ledger, Keyed { tenant: "umbrella".into(), ..some("a") }).await, "replay theirs");
    in_flight.complete(answer("late")).await.unwrap();
    assert_eq!(said(&ledger, some("in flight")).await, "replay late");
    ledger.close().await;
}

#[tokio::test]
async fn a_tenant_whose_quota_was_larger_goes_on_and_has_less_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let keys: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    for key in &keys {
        new(&ledger, keyed(key)).await.complete(answer(&"x".repeat(1_000))).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }
    let less = |key: &str| Keyed { quota: ClaimQuota { keys: 1_000, bytes: 2_200 }, ..keyed(key) };
    for (n, left) in [136, 72, 8, 0].into_iter().enumerate() {
        let mut claim = new(&ledger, less(&format!("new {n}"))).await;
        let told = answer(&"x".repeat(1_000));
        ledger.accept_claimed(event_now(&clock), &mut claim, told, u64::MAX).await.unwrap();
        assert_eq!(answered(&ledger, less, &keys).await, keys[200 - left..]);
    }
    ledger.close().await;
}
