//! Idempotency keys: taken once, told again, and never free while it is not known what became of their request.

use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{Claim, ClaimFault, Claimed, Keyed, Ledger, Options, Place, StoredAnswer};
use tokio::task::JoinSet;

use crate::support::{NEW_YEAR, event, settings};

const HOUR: Duration = Duration::from_secs(3600);

struct House {
    dir: tempfile::TempDir,
    clock: ManualClock,
    ledger: Arc<Ledger>,
}

impl House {
    fn open() -> House {
        let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(NEW_YEAR));
        let ledger = open(dir.path(), &clock);
        House { dir, clock, ledger }
    }

    async fn restart(&mut self) {
        self.ledger.close().await;
        self.ledger = open(self.dir.path(), &self.clock);
    }

    async fn claim(&self, key: &str) -> Claimed {
        self.ledger.claim(keyed(key)).await.unwrap()
    }

    async fn take(&self, key: &str) -> Claim {
        match self.claim(key).await {
            Claimed::New(claim) => claim,
            other => panic!("{key} is not free: {other:?}"),
        }
    }
}

fn open(dir: &std::path::Path, clock: &ManualClock) -> Arc<Ledger> {
    let options = Options { clock: Clock::Manual(clock.clone()), ..Options::default() };
    Arc::new(Ledger::open_with(dir, &settings(), options).unwrap())
}

fn keyed(key: &str) -> Keyed {
    Keyed {
        tenant: "acme".into(),
        place: Place { route: "orders".into(), key: key.into() },
        fingerprint: [7; 32],
        ttl: 3_600_000,
        max_keys: 1000,
        resend: false,
    }
}

fn answer(body: &str) -> StoredAnswer {
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    StoredAnswer { status: 201, headers, body: body.to_owned().into() }
}

#[tokio::test]
async fn an_answer_is_told_again_until_it_is_old_enough() {
    let mut house = House::open();
    let mut claim = house.take("k").await;
    assert!(matches!(house.claim("k").await, Claimed::InProgress));
    claim.begin().await.unwrap();
    claim.complete(answer("done")).await.unwrap();
    house.restart().await;
    house.clock.advance(HOUR - Duration::from_millis(1));
    assert!(matches!(house.claim("k").await, Claimed::Replay(stored) if stored == answer("done")));
    let other = house.ledger.claim(Keyed { fingerprint: [8; 32], ..keyed("k") }).await.unwrap();
    assert!(matches!(other, Claimed::Reused(None)));
    house.clock.advance(Duration::from_millis(1));
    drop(house.take("k").await);
}

#[tokio::test]
async fn a_key_holds_in_its_tenant_and_route_only() {
    let house = House::open();
    house.take("k").await.complete(answer("done")).await.unwrap();
    for keyed in [
        Keyed { tenant: "globex".into(), ..keyed("k") },
        Keyed { place: Place { route: "invoices".into(), key: "k".into() }, ..keyed("k") },
    ] {
        assert!(matches!(house.ledger.claim(keyed).await.unwrap(), Claimed::New(_)));
    }
}

#[tokio::test]
async fn what_was_begun_and_let_go_is_unknown_also_after_a_restart() {
    let mut house = House::open();
    let mut claim = house.take("k").await;
    claim.begin().await.unwrap();
    drop(claim);
    // Before the writer got to it, and after.
    assert!(matches!(house.claim("k").await, Claimed::Unknown));
    house.restart().await;
    assert!(matches!(house.claim("k").await, Claimed::Unknown));
    let again = house.ledger.claim(Keyed { resend: true, ..keyed("k") }).await.unwrap();
    let Claimed::New(again) = again else { panic!("{again:?}") };
    again.complete(answer("done")).await.unwrap();
    assert!(matches!(house.claim("k").await, Claimed::Replay(_)));
}

#[tokio::test]
async fn what_was_released_or_never_begun_is_free() {
    let house = House::open();
    drop(house.take("k").await);
    let mut claim = house.take("k").await;
    claim.begin().await.unwrap();
    claim.release().await;
    drop(house.take("k").await);
}

#[tokio::test]
async fn a232_an_event_its_claim_and_its_answer_are_one_transaction() {
    let mut house = House::open();
    let mut claim = house.take("k").await;
    let event = event("{}");
    let id = event.id;
    house.ledger.accept_claimed(event.clone(), &mut claim, answer("kept"), u64::MAX).await.unwrap();
    drop(claim);
    house.restart().await;
    assert!(matches!(house.claim("k").await, Claimed::Replay(stored) if stored == answer("kept")));
    let other = house.ledger.claim(Keyed { fingerprint: [8; 32], ..keyed("k") }).await.unwrap();
    assert!(matches!(other, Claimed::Reused(Some(event)) if event == id));
    // An id that is there already: neither the event nor its claim is kept.
    let mut second = house.take("k2").await;
    house.ledger.accept_claimed(event, &mut second, answer("kept"), u64::MAX).await.unwrap_err();
    drop(second);
    drop(house.take("k2").await);
}

#[tokio::test]
async fn a_claim_that_was_begun_is_completed_with_its_event() {
    let mut house = House::open();
    let mut claim = house.take("k").await;
    claim.begin().await.unwrap();
    let first = event("{}");
    house.ledger.accept_claimed(first.clone(), &mut claim, answer("kept"), u64::MAX).await.unwrap();
    drop(claim);
    assert!(matches!(house.claim("k").await, Claimed::Replay(stored) if stored == answer("kept")));
    let mut second = house.take("k2").await;
    second.begin().await.unwrap();
    house.ledger.accept_claimed(first, &mut second, answer("kept"), u64::MAX).await.unwrap_err();
    drop(second);
    assert!(matches!(house.claim("k2").await, Claimed::Unknown), "its request may have been done");
    house.restart().await;
    assert!(matches!(house.claim("k").await, Claimed::Replay(_)));
    assert!(matches!(house.claim("k2").await, Claimed::Unknown));
}

#[tokio::test]
async fn a_tenant_with_too_many_keys_forgets_the_oldest_answer_and_never_one_in_flight() {
    let house = House::open();
    let one = |key: &str| Keyed { max_keys: 1, ..keyed(key) };
    let Claimed::New(first) = house.ledger.claim(one("a")).await.unwrap() else { panic!("not free") };
    first.complete(answer("a")).await.unwrap();
    let Claimed::New(mut second) = house.ledger.claim(one("b")).await.unwrap() else { panic!("not free") };
    second.begin().await.unwrap();
    assert!(matches!(house.ledger.claim(one("a")).await.unwrap(), Claimed::New(_)), "the oldest had to go");
    let Claimed::New(mut third) = house.ledger.claim(one("c")).await.unwrap() else { panic!("not free") };
    assert_eq!(third.begin().await, Err(ClaimFault::Full));
    // One that was begun has its room already.
    house.ledger.accept_claimed(event("{}"), &mut second, answer("b"), u64::MAX).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a232_of_many_at_once_one_goes_on() {
    let house = House::open();
    let mut racers = JoinSet::new();
    for _ in 0..100 {
        let ledger = Arc::clone(&house.ledger);
        racers.spawn(async move { ledger.claim(keyed("k")).await.unwrap() });
    }
    let claimed = racers.join_all().await;
    assert_eq!(claimed.iter().filter(|claimed| matches!(claimed, Claimed::New(_))).count(), 1);
    assert_eq!(claimed.iter().filter(|claimed| matches!(claimed, Claimed::InProgress)).count(), 99);
}
