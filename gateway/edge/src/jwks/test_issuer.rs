//! An issuer for tests: real keys, and a real HTTP server that can be made to misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sluis_model::identity::SkippedKey;
use sluis_model::plan::{Algorithm, Issuer, Jwks as Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::{FetchOutcome, HttpFetch, Jwks, JwksContext, JwksObserver};

/// The moment that wall clocks of tests show.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A P-256 key with a name.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    kid: String,
}

impl Signer {
    pub fn new(kid: &str) -> Self {
        Signer { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), kid: kid.into() }
    }

    pub fn jwk(&self) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": b64(&point[..32]), "y": b64(&point[32..])})
    }

    /// A good token of the issuer `https://id.example`, good from `NOW` for ten minutes.
    pub fn token(&self, subject: &str) -> String {
        self.sign(json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid}), payload("https://id.example", subject))
    }

    pub fn sign(&self, header: Value, payload: Value) -> String {
        let input = format!("{}.{}", b64(header.to_string().as_bytes()), b64(payload.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", b64(signature.as_ref()))
    }
}

pub(crate) fn payload(issuer: &str, subject: &str) -> Value {
    json!({"iss": issuer, "aud": "orders", "sub": subject, "tenant": "acme", "iat": NOW - 1, "exp": NOW + 600})
}

pub(crate) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// What the server sends back, byte for byte.
#[derive(Clone)]
pub(crate) enum Reply {
    /// At once.
    Now(Vec<u8>),
    /// After a while.
    After(Duration, Vec<u8>),
    /// One byte at a time, with this pause.
    Drip(Duration, Vec<u8>),
    /// Nothing, with the connection open.
    Silence,
}

/// `200` with this body.
pub(crate) fn ok(body: &str) -> Reply {
    Reply::Now(answer("200 OK", &[("Content-Type", "application/json")], body))
}

pub(crate) fn answer(status: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{fields}\r\n{body}", body.len())
        .into_bytes()
}

/// A server on a free port.
pub(crate) struct Server {
    pub address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    connections: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Server {
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reply = Arc::new(Mutex::new(reply));
        let connections = Arc::new(AtomicUsize::new(0));
        let (current, counter) = (Arc::clone(&reply), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let reply = current.lock().unwrap().clone();
                tokio::spawn(async move { serve(&mut stream, reply).await });
            }
        });
        Server { address, reply, connections, task: task.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    pub fn set(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// Connections so far; every fetch makes one.
    pub fn fetches(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the head of a request, then answers; ends when the client has gone.
pub(crate) async fn serve<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S, reply: Reply) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    match reply {
        Reply::Now(bytes) => drop(stream.write_all(&bytes).await),
        Reply::After(pause, bytes) => {
            tokio::time::sleep(pause).await;
            let _ = stream.write_all(&bytes).await;
        }
        Reply::Drip(pause, bytes) => {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        }
        Reply::Silence => drop(stream.read_u8().await),
    }
    let _ = stream.shutdown().await;
}

/// Settings that fetch from `url` by plain HTTP; times short enough for tests on the real clock.
pub(crate) fn issuer(url: String) -> Issuer {
    Issuer {
        name: "main".into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into()],
        algorithms: vec![Algorithm::ES256],
        types: vec!["at+jwt".into()],
        allow_missing_type: false,
        tenant_claim: "tenant".into(),
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(86_400),
        jwks: Settings {
            url,
            allow_insecure: true,
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

/// Remembers what it was told, and holds a wall clock that tests may turn.
pub(crate) struct Witness {
    pub wall: AtomicU64,
    pub outcomes: Mutex<Vec<FetchOutcome>>,
    pub skipped: Mutex<Vec<SkippedKey>>,
    pub store_failures: AtomicUsize,
    pub expired: AtomicUsize,
    pub jumps: Mutex<Vec<i64>>,
}

impl Witness {
    pub fn new() -> Arc<Self> {
        Arc::new(Witness {
            wall: AtomicU64::new(NOW),
            outcomes: Mutex::default(),
            skipped: Mutex::default(),
            store_failures: AtomicUsize::new(0),
            expired: AtomicUsize::new(0),
            jumps: Mutex::default(),
        })
    }
}

impl JwksObserver for Witness {
    fn fetched(&self, _: &str, outcome: FetchOutcome) {
        self.outcomes.lock().unwrap().push(outcome);
    }

    fn key_skipped(&self, _: &str, key: &SkippedKey) {
        self.skipped.lock().unwrap().push(key.clone());
    }

    fn keys_expired(&self, _: &str) {
        self.expired.fetch_add(1, Ordering::SeqCst);
    }

    fn store_failed(&self, _: &str, _: &str) {
        self.store_failures.fetch_add(1, Ordering::SeqCst);
    }

    fn clock_jumped(&self, seconds: i64) {
        self.jumps.lock().unwrap().push(seconds);
    }
}

/// Sources over a state directory of their own.
pub(crate) struct House {
    pub jwks: Jwks,
    pub witness: Arc<Witness>,
    pub state: Arc<tempfile::TempDir>,
}

impl House {
    pub fn new() -> Self {
        House::with(Arc::new(HttpFetch::default()), Arc::new(tempfile::tempdir().unwrap()))
    }

    pub fn with(fetch: Arc<dyn super::Fetch>, state: Arc<tempfile::TempDir>) -> Self {
        let witness = Witness::new();
        let clock = Arc::clone(&witness);
        let context = JwksContext {
            runtime: Handle::current(),
            state_dir: state.path().to_owned(),
            fetch,
            wall: Arc::new(move || clock.wall.load(Ordering::SeqCst)),
            observer: Arc::<Witness>::clone(&witness),
        };
        House { jwks: Jwks::new(context), witness, state }
    }

    /// The next process over the same state directory.
    pub fn restarted(&self) -> Self {
        House::with(Arc::new(HttpFetch::default()), Arc::clone(&self.state))
    }

    /// Waits until `done` says so of the only issuer's status; real time, at most ten seconds.
    pub async fn until(&self, done: impl Fn(&super::SourceStatus) -> bool) -> super::SourceStatus {
        for _ in 0..1_000 {
            let status = self.jwks.status().remove(0);
            if done(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within ten seconds: {:?}", self.jwks.status());
    }
}
