//! When fetches happen, on a clock that the tests turn. Network and time do not mix there, so the answers are scripted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sluis_model::plan::{Issuer, Jwks as Settings};
use tokio::time::Instant;

use crate::jwks::test_issuer::{House, NOW, Signer, issuer, key_set};
use crate::jwks::{Fetch, FetchFault, FetchOutcome, Fetched, Trusted, Waited};

/// Gives one answer until another is set, and notes when it was asked.
struct Script {
    answer: Mutex<Result<Fetched, FetchFault>>,
    asked: Mutex<Vec<Instant>>,
}

#[async_trait]
impl Fetch for Script {
    async fn fetch(&self, _: &Settings) -> Result<Fetched, FetchFault> {
        self.asked.lock().unwrap().push(Instant::now());
        self.answer.lock().unwrap().clone()
    }
}

impl Script {
    fn new(answer: Result<Fetched, FetchFault>) -> Arc<Self> {
        Arc::new(Script { answer: Mutex::new(answer), asked: Mutex::default() })
    }

    fn set(&self, answer: Result<Fetched, FetchFault>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Pauses between the fetches, in seconds.
    fn pauses(&self) -> Vec<f64> {
        self.asked.lock().unwrap().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

fn keys(signers: &[&Signer], max_age: Option<u64>) -> Result<Fetched, FetchFault> {
    Ok(Fetched { body: key_set(signers).into(), max_age: max_age.map(Duration::from_secs) })
}

/// A house with one issuer, fetched from the script once.
async fn settled(script: &Arc<Script>, issuer: Issuer) -> (House, Arc<Trusted>) {
    let house = House::with(Arc::<Script>::clone(script), Arc::new(tempfile::tempdir().unwrap()));
    let trusted = house.jwks.reconcile(&[Arc::new(issuer)]).remove(0);
    assert_eq!(trusted.keys.wait(0, Instant::now() + Duration::from_secs(1)).await, Waited::Completed);
    (house, trusted)
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[tokio::test(start_paused = true)]
async fn a145_freshness_is_clamped_and_refreshed_ahead() {
    let signer = Signer::new("k1");
    for (max_age, fresh) in
        [(Some(0), 60.0), (Some(59), 60.0), (Some(300), 300.0), (Some(999_999_999), 600.0), (None, 600.0)]
    {
        let script = Script::new(keys(&[&signer], max_age));
        let (_house, _trusted) = settled(&script, issuer(String::new())).await;
        tokio::time::sleep(minutes(60)).await;
        let pauses = script.pauses();
        assert!(pauses.len() >= 6, "{pauses:?}");
        for pause in &pauses {
            assert!((fresh * 0.75..=fresh * 0.85).contains(pause), "max-age {max_age:?}: {pause} s");
        }
        assert!(pauses.iter().any(|pause| (pause - pauses[0]).abs() > 1e-6), "no jitter: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a139_failures_back_off_and_the_last_good_keys_serve_until_they_are_too_old() {
    let signer = Signer::new("k1");
    let script = Script::new(keys(&[&signer], None));
    let mut settings = issuer(String::new());
    settings.jwks.stale_if_error = minutes(60);
    let (house, trusted) = settled(&script, settings).await;
    let generation = trusted.keys.generation();
    script.set(Err(FetchFault::Connection));

    tokio::time::sleep(minutes(59)).await;
    assert!(trusted.keys.current().is_some());
    assert_eq!(trusted.keys.generation(), generation);
    let pauses = script.pauses();
    for (pause, expected) in pauses[1..].iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]) {
        assert!((expected * 0.8..=expected * 1.2).contains(pause), "{pauses:?}");
    }
    let status = house.jwks.status().remove(0);
    assert_eq!((status.fault, status.keys), (Some(FetchFault::Connection), Some(1)));
    assert!(status.age.unwrap() >= minutes(59));

    tokio::time::sleep(minutes(2)).await;
    assert!(trusted.keys.current().is_none());
    assert_eq!((trusted.keys.generation(), house.witness.expired.load(Ordering::SeqCst)), (0, 1));

    script.set(keys(&[&signer], None));
    tokio::time::sleep(minutes(1)).await;
    assert!(trusted.keys.current().is_some());
    assert!(trusted.keys.generation() > generation);
    assert!(house.jwks.status()[0].fault.is_none());
}

#[tokio::test(start_paused = true)]
async fn a144_who_asks_while_another_asks_waits_for_the_same_fetch() {
    let signer = Signer::new("k1");
    let script = Script::new(keys(&[&signer], None));
    let (_house, trusted) = settled(&script, issuer(String::new())).await;
    tokio::time::sleep(minutes(1)).await;
    let (asked, seen) = (script.asked(), trusted.keys.completed());
    let ask = || trusted.keys.wait_for_unknown_kid(seen, Instant::now() + Duration::from_millis(250));
    // All of them look before the task that fetches has had a moment to begin.
    let answers = tokio::join!(ask(), ask(), ask());
    assert_eq!(answers, (Waited::Completed, Waited::Completed, Waited::Completed));
    assert_eq!(script.asked(), asked + 1);
    assert_eq!(ask().await, Waited::Completed, "who looked before and asks after finds it done");
    let seen = trusted.keys.completed();
    let again = trusted.keys.wait_for_unknown_kid(seen, Instant::now() + Duration::from_millis(250)).await;
    assert_eq!((again, script.asked()), (Waited::Idle, asked + 1), "the cooldown holds");
}

#[tokio::test(start_paused = true)]
async fn a143_a_set_that_is_refused_leaves_the_old_one() {
    let (one, twin, two) = (Signer::new("k1"), Signer::new("k1"), Signer::new("k2"));
    let script = Script::new(keys(&[&one], None));
    let (house, trusted) = settled(&script, issuer(String::new())).await;
    let generation = trusted.keys.generation();
    for bad in [keys(&[&one, &twin], None), Ok(Fetched { body: "{}".into(), max_age: None })] {
        script.set(bad);
        tokio::time::sleep(minutes(10)).await;
        assert_eq!((trusted.keys.generation(), trusted.keys.current().unwrap().keys.len()), (generation, 1));
    }
    assert!(
        house
            .witness
            .outcomes
            .lock()
            .unwrap()
            .iter()
            .any(|outcome| { matches!(outcome, FetchOutcome::Failed(fault) if fault.label() == "duplicate_kid") })
    );
    // A leaked private key is dropped and reported, its neighbours serve.
    let mut leaked = two.jwk();
    leaked["d"] = "AAAA".into();
    let body = serde_json::json!({"keys": [one.jwk(), leaked]}).to_string();
    script.set(Ok(Fetched { body: body.into(), max_age: None }));
    house.jwks.refresh("main");
    tokio::time::sleep(minutes(1)).await;
    // The usable keys are the same, so nothing that was verified is in doubt.
    assert_eq!(trusted.keys.generation(), generation);
    script.set(Ok(Fetched {
        body: serde_json::json!({"keys": [two.jwk(), {"kty": "oct", "k": "AA", "kid": "k3"}]}).to_string().into(),
        max_age: None,
    }));
    house.jwks.refresh("main");
    tokio::time::sleep(minutes(1)).await;
    assert!(trusted.keys.generation() > generation);
    assert_eq!(house.witness.skipped.lock().unwrap().last().unwrap().kid, "k3");
}

#[tokio::test(start_paused = true)]
async fn a137_a_kid_storm_is_one_fetch_per_cooldown() {
    let signer = Signer::new("k1");
    let script = Script::new(keys(&[&signer], None));
    let (house, trusted) = settled(&script, issuer(String::new())).await;
    for round in 1..=4_usize {
        for _ in 0..1_000 {
            let seen = trusted.keys.completed();
            let _ = trusted.keys.wait_for_unknown_kid(seen, Instant::now() + Duration::from_millis(250)).await;
        }
        assert_eq!(script.asked(), 1 + round);
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    assert_eq!(house.jwks.status()[0].counts.suppressed, 4 * 999);
}

#[tokio::test(start_paused = true)]
async fn a146_the_wall_clock_moves_no_schedule_and_its_jumps_are_reported() {
    let signer = Signer::new("k1");
    let script = Script::new(keys(&[&signer], None));
    let (house, trusted) = settled(&script, issuer(String::new())).await;
    let generation = trusted.keys.generation();
    let elapse = async |seconds: u64| {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            house.witness.wall.fetch_add(1, Ordering::SeqCst);
        }
    };
    elapse(30).await;
    assert!(house.witness.jumps.lock().unwrap().is_empty());
    house.witness.wall.fetch_add(3_600, Ordering::SeqCst);
    elapse(30).await;
    house.witness.wall.fetch_sub(7_200, Ordering::SeqCst);
    elapse(3_540).await;
    let jumps: Vec<i64> =
        house.witness.jumps.lock().unwrap().iter().map(|jump| (*jump as f64 / 100.0).round() as i64 * 100).collect();
    assert_eq!(jumps, [3_600, -7_200]);
    assert_eq!(trusted.keys.generation(), generation);
    for pause in script.pauses() {
        assert!((450.0..=510.0).contains(&pause), "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_in_other_words_change_nothing() {
    let (one, two) = (Signer::new("k1"), Signer::new("k2"));
    let script = Script::new(keys(&[&one, &two], None));
    let (house, trusted) = settled(&script, issuer(String::new())).await;
    let generation = trusted.keys.generation();
    script.set(keys(&[&two, &one], None));
    tokio::time::sleep(minutes(10)).await;
    assert_eq!(trusted.keys.generation(), generation);
    let counts = house.jwks.status()[0].counts;
    assert_eq!((counts.changed, counts.failed), (1, 0));
    assert!(counts.unchanged >= 1);
    // An empty set is believed: that is how the last key is withdrawn.
    script.set(keys(&[], None));
    tokio::time::sleep(minutes(10)).await;
    assert!(trusted.keys.generation() > generation);
    assert_eq!(trusted.keys.current().unwrap().keys.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn stored_keys_age_across_restarts() {
    let signer = Signer::new("k1");
    let script = Script::new(keys(&[&signer], None));
    let (house, trusted) = settled(&script, issuer(String::new())).await;
    drop(trusted);
    let down = Script::new(Err(FetchFault::Connection));
    let restart = |later: u64| {
        let next = House::with(Arc::<Script>::clone(&down), Arc::clone(&house.state));
        next.witness.wall.store(NOW + later, Ordering::SeqCst);
        next
    };
    let next = restart(3_600 * 23);
    let trusted = next.jwks.reconcile(&[Arc::new(issuer(String::new()))]).remove(0);
    assert!(trusted.keys.current().is_some(), "without waiting for anything");
    assert_eq!(next.jwks.status()[0].age.unwrap().as_secs(), 3_600 * 23);
    tokio::time::sleep(minutes(59)).await;
    assert!(trusted.keys.current().is_some());
    tokio::time::sleep(minutes(2)).await;
    assert!(trusted.keys.current().is_none(), "24 hours after the fetch, not after the restart");

    let next = restart(3_600 * 24);
    assert!(next.jwks.reconcile(&[Arc::new(issuer(String::new()))])[0].keys.current().is_none());
    let mut moved = issuer("http://other.example/".into());
    moved.jwks.allow_insecure = true;
    let next = restart(60);
    assert!(next.jwks.reconcile(&[Arc::new(moved)])[0].keys.current().is_none(), "another URL is another issuer");
}

/// An issuer that takes requests and never answers.
struct Silence;

#[async_trait]
impl Fetch for Silence {
    async fn fetch(&self, _: &Settings) -> Result<Fetched, FetchFault> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_crowd_that_waits_is_bounded() {
    let house = House::with(Arc::new(Silence), Arc::new(tempfile::tempdir().unwrap()));
    let trusted = house.jwks.reconcile(&[Arc::new(issuer(String::new()))]).remove(0);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..5_000 {
        let keys = Arc::clone(&trusted.keys);
        crowd.spawn(async move { keys.wait(0, Instant::now() + Duration::from_millis(250)).await });
    }
    let waits = crowd.join_all().await;
    let of = |kind| waits.iter().filter(|waited| **waited == kind).count();
    assert_eq!((of(Waited::TimedOut), of(Waited::Idle)), (4_096, 904));
}
