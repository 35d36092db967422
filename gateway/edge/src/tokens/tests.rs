//! Catalogue of bad inputs, section 2E: the part that needs the cache, the keys' source, or both.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde_json::json;
use sluis_model::plan::Issuer;
use sluis_model::refusal::{Refusal, TokenFault};

use super::{TokenCache, Tokens, bearer};
use crate::jwks::test_issuer::{House, NOW, Reply, Server, Signer, answer, issuer, key_set, ok, payload};

/// Instead of 250 ms, where a test counts requests that must not fail: the machine of the test may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// One issuer over HTTP, one cache, one plan.
struct Door {
    signer: Signer,
    server: Server,
    house: House,
    cache: Arc<TokenCache>,
    tokens: Tokens,
}

impl Door {
    /// With its keys fetched.
    async fn open() -> Self {
        Door::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Issuer)) -> Self {
        let signer = Signer::new("k1");
        let server = Server::start(ok(&key_set(&[&signer]))).await;
        let mut settings = issuer(server.url());
        change(&mut settings);
        let house = House::new();
        let cache = Arc::new(TokenCache::new(1_024));
        let tokens = Tokens::new(Arc::clone(&cache), house.jwks.reconcile(&[Arc::new(settings)]));
        house.until(|status| status.counts.changed == 1).await;
        Door { signer, server, house, cache, tokens }
    }

    async fn knock(&self, token: &str) -> Result<String, Refusal> {
        self.knock_at(token, NOW).await
    }

    async fn knock_at(&self, token: &str, now: u64) -> Result<String, Refusal> {
        knock(&self.tokens, token, now).await
    }
}

async fn knock(tokens: &Tokens, token: &str, now: u64) -> Result<String, Refusal> {
    let identity = tokens.identify(format!("Bearer {token}").as_bytes(), &[0], now).await?;
    Ok(identity.subject.to_string())
}

fn invalid<T>(fault: TokenFault) -> Result<T, Refusal> {
    Err(Refusal::InvalidToken(fault))
}

#[test]
fn a103_only_a_bearer_credential_is_one() {
    for credential in ["Bearer abc", "bearer abc", "BEARER abc", "Bearer   abc"] {
        assert_eq!(bearer(credential.as_bytes()), Some(&b"abc"[..]), "{credential}");
    }
    for other in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer    ",
        "Basic dXNlcjpwYXNz",
        "Bearerabc",
        "Bearer\tabc",
        "Token abc",
        " Bearer abc",
        "é",
    ] {
        assert_eq!(bearer(other.as_bytes()), None, "{other:?}");
    }
}

#[tokio::test]
async fn a103_what_is_no_bearer_credential_is_a_missing_token() {
    let door = Door::open().await;
    for other in ["", "Basic dXNlcjpwYXNz", "Bearer "] {
        assert_eq!(door.tokens.identify(other.as_bytes(), &[0], NOW).await.map(drop), invalid(TokenFault::Missing));
    }
    let two = format!("Bearer {0}, Bearer {0}", door.signer.token("shop"));
    assert_eq!(door.tokens.identify(two.as_bytes(), &[0], NOW).await.map(drop), invalid(TokenFault::Malformed));
}

#[tokio::test]
async fn a104_a_megabyte_is_not_even_hashed() {
    let door = Door::open().await;
    let credential = [b"Bearer ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(door.tokens.identify(&credential, &[0], NOW).await.map(drop), invalid(TokenFault::TooLarge));
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < Duration::from_millis(1), "{quickest:?}");
    assert!(door.tokens.lookup(&credential[7..], &[0], NOW).is_none());
}

#[tokio::test]
async fn a_token_is_verified_once() {
    let door = Door::open().await;
    let token = door.signer.token("shop");
    assert!(door.tokens.lookup(token.as_bytes(), &[0], NOW).is_none());
    for _ in 0..3 {
        assert_eq!(door.knock(&token).await.as_deref(), Ok("shop"));
    }
    assert!(door.tokens.lookup(token.as_bytes(), &[0], NOW).is_some());
    let counts = door.cache.counts();
    assert_eq!((counts.hits, counts.misses, counts.entries), (3, 1, 1));
    // What does not hold is not kept.
    let forged = Signer::new("k1").token("shop");
    for _ in 0..3 {
        assert_eq!(door.knock(&forged).await, invalid(TokenFault::Signature));
    }
    assert_eq!(door.cache.counts().entries, 1);
    // A hit is of the very token: another signature under the same claims is another token.
    let (input, _) = token.rsplit_once('.').unwrap();
    assert_eq!(door.knock(&format!("{input}.{}", "A".repeat(86))).await, invalid(TokenFault::Signature));
}

#[tokio::test]
async fn a_route_trusts_its_issuers_only_also_on_a_hit() {
    let door = Door::open().await;
    let token = door.signer.token("shop");
    assert!(door.knock(&token).await.is_ok());
    let credential = format!("Bearer {token}");
    for allowed in [&[][..], &[1], &[7]] {
        assert!(door.tokens.lookup(token.as_bytes(), allowed, NOW).is_none());
        let refused = door.tokens.identify(credential.as_bytes(), allowed, NOW).await;
        assert_eq!(refused.map(drop), invalid(TokenFault::Issuer));
    }
}

#[tokio::test]
async fn a114_nothing_in_a_token_makes_a_connection() {
    let door = Door::open().await;
    let attacker = Signer::new("k1");
    let trap = Server::start(ok(&key_set(&[&attacker]))).await;
    let header = json!({
        "alg": "ES256", "typ": "at+jwt", "kid": "k1", "jku": trap.url(), "x5u": trap.url(), "jwk": attacker.jwk(), "x5c": [trap.url()],
    });
    let forged = attacker.sign(header.clone(), payload("https://id.example", "shop"));
    assert_eq!(door.knock(&forged).await, invalid(TokenFault::Signature));
    // As its own issuer, too.
    let elsewhere = attacker.sign(header, payload(&trap.url(), "shop"));
    assert_eq!(door.knock(&elsewhere).await, invalid(TokenFault::Issuer));
    assert_eq!((trap.fetches(), door.server.fetches()), (0, 1));
}

#[tokio::test]
async fn a117_keys_of_one_issuer_never_vouch_for_another() {
    let (ours, theirs) = (Signer::new("ours"), Signer::new("theirs"));
    let (our_server, their_server) =
        (Server::start(ok(&key_set(&[&ours]))).await, Server::start(ok(&key_set(&[&theirs]))).await);
    let mut second = issuer(their_server.url());
    second.name = "second".into();
    second.issuer = "https://other.example".into();
    let house = House::new();
    let issuers = house.jwks.reconcile(&[Arc::new(issuer(our_server.url())), Arc::new(second)]);
    let tokens = Tokens::new(Arc::new(TokenCache::new(64)), issuers);
    let who = async |signer: &Signer, kid: &str, iss: &str| {
        let token = signer.sign(json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), payload(iss, "shop"));
        tokens.identify(format!("Bearer {token}").as_bytes(), &[0, 1], NOW).await.map(|identity| identity.issuer)
    };
    assert_eq!(who(&ours, "ours", "https://id.example").await, Ok(0));
    assert_eq!(who(&theirs, "theirs", "https://other.example").await, Ok(1));
    assert_eq!(who(&theirs, "theirs", "https://id.example").await, invalid(TokenFault::UnknownKey));
    assert_eq!(who(&theirs, "ours", "https://id.example").await, invalid(TokenFault::Signature));
}

#[tokio::test]
async fn a135_a_withdrawn_key_ends_its_cached_tokens() {
    let door = Door::open().await;
    let token = door.signer.token("shop");
    assert!(door.knock(&token).await.is_ok());
    let next = Signer::new("k2");
    door.server.set(ok(&key_set(&[&next])));
    door.house.jwks.refresh("main");
    door.house.until(|status| status.counts.changed == 2).await;
    assert!(door.tokens.lookup(token.as_bytes(), &[0], NOW).is_none());
    assert_eq!(door.knock(&token).await, invalid(TokenFault::UnknownKey));
    assert_eq!(door.knock(&next.token("shop")).await.as_deref(), Ok("shop"));
}

#[tokio::test]
async fn a136_a_cached_token_ends_with_its_time() {
    let door = Door::open().await;
    let token = door.signer.token("shop");
    assert!(door.knock(&token).await.is_ok());
    let exp = NOW + 600;
    assert!(door.knock_at(&token, exp + 29).await.is_ok());
    assert_eq!(door.cache.counts().misses, 1);
    assert_eq!(door.knock_at(&token, exp + 30).await, invalid(TokenFault::Expired));
}

#[tokio::test]
async fn a146_nbf_counts_on_a_hit_as_well() {
    let door = Door::open().await;
    let mut claims = payload("https://id.example", "shop");
    claims["nbf"] = NOW.into();
    let token = door.signer.sign(json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}), claims);
    assert!(door.knock(&token).await.is_ok());
    assert!(door.tokens.lookup(token.as_bytes(), &[0], NOW - 30).is_some());
    assert!(door.tokens.lookup(token.as_bytes(), &[0], NOW - 31).is_none());
}

#[tokio::test]
async fn a137_ten_thousand_unknown_kids_are_one_fetch() {
    let door = Arc::new(Door::open().await);
    let good = door.signer.token("shop");
    let start = Instant::now();
    let mut flood = tokio::task::JoinSet::new();
    for lane in 0..100 {
        let (door, good) = (Arc::clone(&door), good.clone());
        flood.spawn(async move {
            for number in 0..100 {
                let kid = format!("random-{lane}-{number}");
                let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
                // A valid signature is not needed to get this far; this one belongs to other bytes.
                let (_, signature) = good.rsplit_once('.').unwrap();
                let claims = payload("https://id.example", "flood");
                let input =
                    [header, claims].map(|part| crate::jwks::test_issuer::b64(part.to_string().as_bytes())).join(".");
                assert_eq!(door.knock(&format!("{input}.{signature}")).await, invalid(TokenFault::UnknownKey));
            }
            // Valid tokens pass all the while.
            assert!(door.knock(&good).await.is_ok());
        });
    }
    flood.join_all().await;
    assert!(start.elapsed() < Duration::from_secs(30), "within one cooldown: {:?}", start.elapsed());
    assert_eq!(door.server.fetches(), 2, "the first, and one for all unknown kids");
    assert_eq!(door.cache.counts().entries, 1, "nothing is remembered about them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a138_a_thousand_first_requests_are_one_fetch() {
    let signer = Signer::new("k1");
    let server =
        Server::start(Reply::After(Duration::from_millis(100), answer("200 OK", &[], &key_set(&[&signer])))).await;
    let tokens: Vec<String> = (0..1_000).map(|number| signer.token(&format!("shop-{number}"))).collect();
    let house = House::new();
    let mut door =
        Tokens::new(Arc::new(TokenCache::new(2_048)), house.jwks.reconcile(&[Arc::new(issuer(server.url()))]));
    door.key_wait = PATIENCE;
    let door = Arc::new(door);
    let mut requests = tokio::task::JoinSet::new();
    for token in tokens {
        let door = Arc::clone(&door);
        requests.spawn(async move { knock(&door, &token, NOW).await });
    }
    let answers = requests.join_all().await;
    assert_eq!(
        answers.iter().filter(|answer| answer.is_ok()).count(),
        1_000,
        "{:?}",
        answers.iter().find(|answer| answer.is_err())
    );
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a139_without_any_keys_requests_wait_a_moment_and_get_503() {
    let silent = Server::start(Reply::Silence).await;
    let house = House::new();
    let tokens = Tokens::new(Arc::new(TokenCache::new(64)), house.jwks.reconcile(&[Arc::new(issuer(silent.url()))]));
    let signer = Signer::new("k1");
    let start = Instant::now();
    assert_eq!(knock(&tokens, &signer.token("shop"), NOW).await, Err(Refusal::JwksUnavailable));
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&start.elapsed()), "{:?}", start.elapsed());
    // A token that would not do in any case does not wait.
    let token = signer.token("shop");
    let late = pin!(knock(&tokens, &token, NOW + 86_400)).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(late, Poll::Ready(invalid(TokenFault::Expired)));

    // Refused at once by the network: 503 without a wait once that is known.
    let gone = Server::start(Reply::Silence).await;
    let url = gone.url();
    drop(gone);
    let house = House::new();
    let tokens = Tokens::new(Arc::new(TokenCache::new(64)), house.jwks.reconcile(&[Arc::new(issuer(url))]));
    house.until(|status| status.counts.failed >= 1).await;
    assert_eq!(knock(&tokens, &signer.token("shop"), NOW).await, Err(Refusal::JwksUnavailable));
}

#[tokio::test]
async fn a139_keys_that_are_too_old_are_503_also_for_cached_tokens() {
    let door = Door::with(|issuer| {
        issuer.jwks.refresh = Duration::from_millis(200);
        issuer.jwks.stale_if_error = Duration::from_millis(400);
    })
    .await;
    let token = door.signer.token("shop");
    assert!(door.knock(&token).await.is_ok());
    door.server.set(Reply::Now(answer("500 Oops", &[], "")));
    door.house.until(|status| status.keys.is_none()).await;
    assert_eq!(door.knock(&token).await, Err(Refusal::JwksUnavailable));
    door.server.set(ok(&key_set(&[&door.signer])));
    door.house.until(|status| status.keys.is_some()).await;
    assert!(door.knock(&token).await.is_ok());
}

/// New key published and used at once, both in use, old key gone: under traffic, no request with a valid token fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a144_rotation_loses_no_request() {
    let mut door = Door::with(|issuer| issuer.jwks.cooldown = Duration::from_millis(200)).await;
    door.tokens.key_wait = PATIENCE;
    let door = Arc::new(door);
    let next = Arc::new(Signer::new("k2"));
    let (old_is_good, next_is_good) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let end = Arc::new(AtomicBool::new(false));
    let mut traffic = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let (door, next, end) = (Arc::clone(&door), Arc::clone(&next), Arc::clone(&end));
        let (old_is_good, next_is_good) = (Arc::clone(&old_is_good), Arc::clone(&next_is_good));
        traffic.spawn(async move {
            let mut served = 0;
            while !end.load(Ordering::SeqCst) {
                for (signer, good) in [(&door.signer, &old_is_good), (&*next, &next_is_good)] {
                    if good.load(Ordering::SeqCst) {
                        let answer = door.knock(&signer.token(&format!("lane-{lane}-{served}"))).await;
                        assert!(answer.is_ok(), "{answer:?} after {served}");
                        served += 1;
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            served
        });
    }
    let pause = || tokio::time::sleep(Duration::from_millis(300));
    pause().await;
    door.server.set(ok(&key_set(&[&door.signer, &next])));
    next_is_good.store(true, Ordering::SeqCst);
    pause().await;
    old_is_good.store(false, Ordering::SeqCst);
    pause().await;
    door.server.set(ok(&key_set(&[&next])));
    door.house.jwks.refresh("main");
    door.house.until(|status| status.counts.changed == 3).await;
    pause().await;
    end.store(true, Ordering::SeqCst);
    let served: usize = traffic.join_all().await.into_iter().sum();
    assert!(served > 100, "{served}");
    assert_eq!(door.knock(&door.signer.token("late")).await, invalid(TokenFault::UnknownKey));
    assert!(door.server.fetches() <= 5, "{}", door.server.fetches());
}

#[tokio::test]
async fn a_changed_plan_verifies_again() {
    let door = Door::open().await;
    let token = door.signer.token("shop");
    assert!(door.knock(&token).await.is_ok());

    let mut narrower = issuer(door.server.url());
    narrower.audiences = vec!["stock".into()];
    let narrower = Tokens::new(Arc::clone(&door.cache), door.house.jwks.reconcile(&[Arc::new(narrower)]));
    assert!(narrower.lookup(token.as_bytes(), &[0], NOW).is_none());
    assert_eq!(knock(&narrower, &token, NOW).await, invalid(TokenFault::Audience));
    assert!(door.knock(&token).await.is_ok(), "requests of the old plan end as they began");

    // The same issuer at another position: a hit must not name the wrong one.
    let mut first = issuer(door.server.url());
    first.name = "first".into();
    first.issuer = "https://other.example".into();
    let moved = door.house.jwks.reconcile(&[Arc::new(first), Arc::new(issuer(door.server.url()))]);
    let moved = Tokens::new(Arc::clone(&door.cache), moved);
    let identity = moved.identify(format!("Bearer {token}").as_bytes(), &[0, 1], NOW).await.unwrap();
    assert_eq!(identity.issuer, 1);
}

#[tokio::test]
async fn the_cache_is_bounded_by_count_and_by_size() {
    let door = Door::open().await;
    for number in 0..3_000 {
        assert!(door.knock(&door.signer.token(&format!("shop-{number}"))).await.is_ok());
    }
    assert!(door.cache.counts().entries <= 1_024, "{}", door.cache.counts().entries);
    for number in 0..1_000 {
        let mut claims = payload("https://id.example", &format!("large-{number}"));
        claims["fill"] = "x".repeat(5_000).into();
        let token = door.signer.sign(json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}), claims);
        assert!(door.knock(&token).await.is_ok());
    }
    let bytes = door.cache.entries.iter().map(|(_, entry)| entry.identity.claims.len()).sum::<usize>();
    assert!(bytes <= 1_024 * super::UNIT, "{bytes}");
}
