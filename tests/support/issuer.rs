//! A token issuer: an ES256 key per `kid`, a JWKS over real HTTP, and tokens with any claims.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::upstream::{Reply, Upstream};

/// A signing key.
pub struct Key {
    pub kid: String,
    pair: EcdsaKeyPair,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        Key { kid: kid.to_owned(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        })
    }

    /// Signs any header and payload.
    pub fn sign(&self, header: &Value, payload: &Value) -> String {
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An issuer that serves its keys.
pub struct Issuer {
    pub key: Arc<Key>,
    server: Upstream,
    published: Arc<Mutex<Result<Value, u16>>>,
    fetches: Arc<AtomicUsize>,
}

pub const ISSUER: &str = "https://idp.test";

impl Issuer {
    pub fn start() -> Self {
        let key = Arc::new(Key::new("k1"));
        let published = Arc::new(Mutex::new(Ok(json!({ "keys": [key.jwk()] }))));
        let fetches = Arc::new(AtomicUsize::new(0));
        let (answer, counted) = (published.clone(), fetches.clone());
        let server = Upstream::start(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            match &*answer.lock().unwrap() {
                Ok(keys) => {
                    let body = keys.to_string();
                    Reply::Last(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
                }
                Err(status) => Reply::Last(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").into_bytes()),
            }
        });
        Issuer { key, server, published, fetches }
    }

    /// What the gateway's configuration says of it; `more` goes into the `jwks` mapping.
    pub fn yaml(&self, more: &str) -> String {
        format!(
            "issuers:\n  - name: idp\n    issuer: {ISSUER}\n    audiences: [erp]\n    algorithms: [ES256]\n    types: [at+jwt, jwt]\n    jwks: {{ url: \"{}/jwks.json\", allow_insecure: true{more} }}\n",
            self.server.url()
        )
    }

    /// Publishes these keys from now on, or fails with a status.
    pub fn publish(&self, keys: Result<&[&Key], u16>) {
        let value = keys.map(|keys| json!({ "keys": keys.iter().map(|k| k.jwk()).collect::<Vec<_>>() }));
        *self.published.lock().unwrap() = value;
    }

    /// How often the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// A good token of a tenant.
    pub fn token(&self, tenant: &str) -> String {
        self.key.sign(&header("k1"), &claims(tenant))
    }

    /// The value of `Authorization` for somebody who works for a tenant and holds this scope.
    pub fn bearer_of(&self, subject: &str, tenant: &str, scope: &str) -> String {
        let mut payload = claims(tenant);
        payload["sub"] = subject.into();
        payload["scope"] = scope.into();
        format!("Bearer {}", self.key.sign(&header("k1"), &payload))
    }

    /// The value of `Authorization` for it.
    pub fn bearer(&self, tenant: &str) -> String {
        format!("Bearer {}", self.token(tenant))
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn header(kid: &str) -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid })
}

pub fn claims(tenant: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": "erp", "sub": "user-1", "tenant": tenant, "scope": "orders:write orders:read",
        "iat": now(), "nbf": now() - 5, "exp": now() + 600,
    })
}
