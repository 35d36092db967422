//! Catalogue of bad inputs, section 2E, as far as it needs neither clock nor network.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod claims;
mod collections;
mod keys;
mod signatures;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::test_keys::TestKey;
use super::{Identity, KeySet, Unverified};
use crate::plan::{Algorithm, Issuer, Jwks};
use crate::refusal::TokenFault;

/// The moment of every test.
const NOW: u64 = 1_800_000_000;

/// An issuer that uses everything, at the largest leeway.
fn issuer() -> Issuer {
    Issuer {
        name: "main".into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into(), "stock".into()],
        algorithms: ALL.to_vec(),
        types: vec!["at+jwt".into(), "jwt".into()],
        allow_missing_type: false,
        tenant_claim: "tenant".into(),
        leeway: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(86_400),
        jwks: Jwks {
            url: "https://id.example/jwks.json".into(),
            allow_insecure: false,
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(86_400),
            timeout: Duration::from_secs(5),
            max_bytes: 256 * 1024,
            max_keys: 100,
            ca: None,
        },
    }
}

const ALL: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The payload of a token that is good at `NOW`.
fn payload() -> Value {
    json!({
        "iss": "https://id.example", "aud": "orders", "sub": "acme-shop", "tenant": "acme", "scope": "orders:write orders:read",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600,
    })
}

/// `payload()` with one member set, or removed by `Value::Null`.
fn payload_with(name: &str, value: Value) -> Value {
    let mut payload = payload();
    match value {
        Value::Null => drop(payload.as_object_mut().unwrap().remove(name)),
        value => payload[name] = value,
    }
    payload
}

const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt","kid":"k1"}"#;

/// One P-256 key under `k1`, and its issuer.
struct Bench {
    key: TestKey,
    issuer: Issuer,
    keys: KeySet,
}

impl Bench {
    fn new() -> Self {
        let key = TestKey::p256();
        let keys = set(&[key.jwk("k1")]);
        Bench { key, issuer: issuer(), keys }
    }

    fn verify(&self, token: impl AsRef<[u8]>) -> Result<Arc<Identity>, TokenFault> {
        self.verify_at(token, NOW)
    }

    fn verify_at(&self, token: impl AsRef<[u8]>, now: u64) -> Result<Arc<Identity>, TokenFault> {
        Unverified::parse(token.as_ref())?.check(0, &self.issuer, now)?.verify(&self.keys)
    }

    /// Signs this payload under the usual header.
    fn claims(&self, payload: &Value) -> Result<Arc<Identity>, TokenFault> {
        self.verify(self.key.token(HEADER, &payload.to_string()))
    }

    /// Signs the usual payload under this header.
    fn header(&self, header: &str) -> Result<Arc<Identity>, TokenFault> {
        self.verify(self.key.token(header, &payload().to_string()))
    }
}

fn set(jwks: &[Value]) -> KeySet {
    set_for(&ALL, jwks)
}

fn set_for(algorithms: &[Algorithm], jwks: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes(), algorithms, 100).unwrap()
}

#[test]
fn a_good_token_becomes_an_identity() {
    let bench = Bench::new();
    let identity = bench.claims(&payload()).unwrap();
    assert_eq!(identity.tenant.as_deref(), Some("acme"));
    assert_eq!(&*identity.subject, "acme-shop");
    assert_eq!((identity.expires_at, identity.not_before), (NOW + 600, NOW - 10));
    assert_eq!(serde_json::from_str::<Value>(&identity.claims).unwrap(), payload());
    assert!(identity.has_scopes(&["orders:read".into(), "orders:write".into()]));
}
