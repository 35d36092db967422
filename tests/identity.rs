//! Tokens and keys through the whole gateway, against a real HTTP issuer. Every single fault of a token is tested
//! where it is decided (`model::identity`); here: that nothing passes, and that nothing that should pass is refused.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{Answer, Connection, request};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::{Issuer, Key, claims, header, now};
use crate::support::upstream::{Upstream, ok};

struct House {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn house(jwks: &str) -> House {
    let issuer = Issuer::start();
    let upstream = Upstream::start(|_| ok(b"in"));
    let gateway = Gateway::start(&config(&issuer, &upstream, jwks));
    House { issuer, upstream, gateway }
}

fn config(issuer: &Issuer, upstream: &Upstream, jwks: &str) -> String {
    format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nroutes:\n  - {{ name: orders, path: /orders, methods: [POST], auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, forward: {{ upstreams: [erp] }} }}\n  - {{ name: acme-only, path: /acme, methods: [POST], tenant: acme, auth: {{ issuers: [idp] }}, forward: {{ upstreams: [erp] }} }}\ntenants:\n  - {{ id: acme, limits: {{ rate: 100000, burst: 100000 }} }}\n  - {{ id: globex }}\n",
        issuer.yaml(jwks),
        upstream.url()
    )
}

impl House {
    fn post(&self, path: &str, authorization: &str) -> Answer {
        self.gateway.call("POST", path, &[("Authorization", authorization)], b"{}")
    }
}

#[test]
fn a_good_token_passes_and_its_tenant_reaches_the_upstream() {
    let house = house("");
    assert_eq!(house.post("/orders", &house.issuer.bearer("acme")).status, 200);
    let got = &house.upstream.got()[0];
    assert_eq!(got.header("x-sluis-tenant"), Some("acme"));
    assert_eq!(got.header("authorization"), None, "the token ends at the gateway");
}

#[test]
fn a103_to_a134_every_bad_token_gets_the_same_answer_and_nothing_is_forwarded() {
    let house = house("");
    let good = house.issuer.token("acme");
    let other = Key::new("k1");
    let signed = |h: serde_json::Value, c: serde_json::Value| house.issuer.key.sign(&h, &c);
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims("acme");
        claims[name] = value;
        signed(header("k1"), claims)
    };
    let with_header = |name: &str, value: serde_json::Value| {
        let mut header = header("k1");
        header[name] = value;
        signed(header, claims("acme"))
    };
    let parts: Vec<&str> = good.split('.').collect();
    let tokens = vec![
        String::new(),
        "x".repeat(9 * 1024),
        "a.b".to_owned(),
        format!("{good}.x"),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)),
        other.sign(&header("k1"), &claims("acme")),
        signed(header("k9"), claims("acme")),
        with_header("alg", json!("none")),
        with_header("alg", json!("HS256")),
        with_header("alg", json!("RS256")),
        with_header("crit", json!(["exp"])),
        with_header("typ", json!("id_token")),
        with_header("zip", json!("DEF")),
        with("iss", json!("https://evil.test")),
        with("iss", json!(["https://idp.test"])),
        with("aud", json!("someone")),
        with("aud", json!([])),
        with("exp", json!(now() - 3600)),
        with("exp", json!("tomorrow")),
        with("exp", json!(now() + 90_000)),
        with("nbf", json!(now() + 3600)),
        with("iat", json!(now() + 3600)),
        with("sub", json!(7)),
    ];
    let expected = house.post("/orders", "Bearer nonsense");
    assert_eq!((expected.status, expected.problem().as_str()), (401, "invalid-token"));
    assert_eq!(expected.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let strip = |answer: &Answer| {
        let mut problem = answer.json();
        problem["correlation_id"] = json!(null);
        problem
    };
    for token in &tokens {
        let answer = house.post("/orders", &format!("Bearer {token}"));
        assert_eq!(answer.status, 401, "{token}");
        assert_eq!(strip(&answer), strip(&expected), "{token}");
    }
    for authorization in ["Basic YTpi", "Bearer", &format!("Token {good}")] {
        assert_eq!(house.post("/orders", authorization).status, 401, "{authorization}");
    }
    let two = house.gateway.call(
        "POST",
        "/orders",
        &[("Authorization", &format!("Bearer {good}")), ("Authorization", &format!("Bearer {good}"))],
        b"{}",
    );
    assert_eq!(two.status, 400);
    let in_query = house.gateway.call("POST", &format!("/orders?access_token={good}"), &[], b"{}");
    assert_eq!(in_query.status, 401);
    assert_eq!(house.upstream.got().len(), 0, "nothing is forwarded");
    assert!(!house.gateway.log_text().contains(parts[2]), "no token in the log");
}

#[test]
fn a126_a127_tenant_and_scope_decide_after_the_token() {
    let house = house("");
    let mismatch = house.post("/acme", &house.issuer.bearer("globex"));
    assert_eq!((mismatch.status, mismatch.problem().as_str()), (403, "tenant-mismatch"));
    let unknown = house.post("/orders", &house.issuer.bearer("nobody"));
    assert_eq!((unknown.status, unknown.problem().as_str()), (403, "tenant-mismatch"));
    for tenant in [json!(null), json!(7), json!(["acme"])] {
        let mut claims = claims("acme");
        claims["tenant"] = tenant;
        let token = house.issuer.key.sign(&header("k1"), &claims);
        assert_eq!(house.post("/orders", &format!("Bearer {token}")).status, 403);
    }
    let mut claims = claims("acme");
    claims["scope"] = json!("orders:read");
    let token = house.issuer.key.sign(&header("k1"), &claims);
    let answer = house.post("/orders", &format!("Bearer {token}"));
    assert_eq!((answer.status, answer.problem().as_str()), (403, "insufficient-scope"));
    assert!(answer.header("www-authenticate").unwrap().contains("scope=\"orders:write\""));
    assert_eq!(house.upstream.got().len(), 0);
}

#[test]
fn a_refused_small_request_keeps_its_connection_and_a_large_one_hears_why() {
    let house = house("");
    let good = house.issuer.bearer("acme");
    let mut connection = Connection::open(house.gateway.http);
    for _ in 0..3 {
        connection.send(&request("POST", "/orders", &[], &[b'x'; 1000]));
        assert_eq!(connection.answer().status, 401);
        connection.send(&request("POST", "/orders", &[("Authorization", &good)], b"{}"));
        assert_eq!(connection.answer().status, 200);
    }
    let answer = house.gateway.call("POST", "/orders", &[], &vec![b'x'; 4_000_000]);
    assert_eq!(answer.status, 401, "a client in the middle of 4 MB sees the answer, not a reset");
}

#[test]
fn a144_keys_rotate_and_no_valid_token_is_refused() {
    let house = house(", cooldown: 1s");
    let old = house.issuer.bearer("acme");
    assert_eq!(house.post("/orders", &old).status, 200);
    let next = Key::new("k2");
    house.issuer.publish(Ok(&[&house.issuer.key, &next]));
    let new = format!("Bearer {}", next.sign(&header("k2"), &claims("acme")));
    // The new key is found by the unknown `kid`, once the cooldown of the first fetch is over; a client that retries
    // within it is told to, not let in.
    eventually("the new key is known", Duration::from_secs(10), || {
        (house.post("/orders", &new).status == 200).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(house.post("/orders", &old).status, 200, "old tokens hold while their key is published");
        assert_eq!(house.post("/orders", &new).status, 200);
    }
    assert!(house.issuer.fetches() <= 12, "{} fetches", house.issuer.fetches());
}

#[test]
fn a137_a_flood_of_unknown_kids_costs_one_fetch() {
    let house = house(", cooldown: 30s");
    let good = house.issuer.bearer("acme");
    assert_eq!(house.post("/orders", &good).status, 200);
    let before = house.issuer.fetches();
    let mut connection = Connection::open(house.gateway.http);
    let flood = house.issuer.key.sign(&header("unknown-0"), &claims("acme"));
    let mut refused = 0;
    for i in 0..2_000 {
        let token = if i % 2 == 0 {
            flood.clone()
        } else {
            house.issuer.key.sign(&header(&format!("unknown-{i}")), &claims("acme"))
        };
        let authorization = format!("Bearer {token}");
        connection.send(&request("POST", "/orders", &[("Authorization", &authorization)], b"{}"));
        match connection.try_answer(false) {
            Ok(answer) => {
                assert_eq!(answer.status, 401);
                refused += 1;
            }
            Err(_) => connection = Connection::open(house.gateway.http),
        }
        if i % 100 == 0 {
            assert_eq!(house.post("/orders", &good).status, 200, "valid tokens are served beside the flood");
        }
    }
    let fetches = house.issuer.fetches() - before;
    assert!(fetches <= 1, "{fetches} fetches for 2,000 tokens");
    let suppressed = house.gateway.metric("sluis_jwks_suppressed_total{issuer=\"idp\"}");
    // The one that made the fetch asks again, its key not being among those that came.
    assert_eq!(suppressed as usize, refused, "each of them was told to fetch no more");
}

#[test]
fn a139_an_issuer_outage_is_not_noticed_even_across_a_restart() {
    let mut house = house("");
    let good = house.issuer.bearer("acme");
    assert_eq!(house.post("/orders", &good).status, 200);
    // Keys serve from the moment they are fetched; the restart needs them on disk as well.
    let kept = house.gateway.dir().join("state/jwks/idp.json");
    eventually("the keys are kept", Duration::from_secs(10), || kept.exists().then_some(()));
    house.issuer.publish(Err(500));
    house.gateway.kill_and_restart();
    for _ in 0..20 {
        assert_eq!(house.post("/orders", &house.issuer.bearer("acme")).status, 200);
    }
}

#[test]
fn a139_without_any_keys_the_answer_is_503_and_never_a_pass() {
    let issuer = Issuer::start();
    issuer.publish(Err(500));
    let upstream = Upstream::start(|_| ok(b"in"));
    let gateway = Gateway::start(&config(&issuer, &upstream, ""));
    let bearer = issuer.bearer("acme");
    let answer = gateway.call("POST", "/orders", &[("Authorization", &bearer)], b"{}");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "jwks-unavailable"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(upstream.got().len(), 0);
}
