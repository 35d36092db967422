//! The issuer's endpoint: its key set at `/jwks.json`, which can be slow or away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::behaviour::State;
use super::server::{Answer, Handler, Server};

/// See the module.
pub struct Idp {
    server: Server,
    keys: Arc<Keys>,
}

struct Keys {
    serves: ArcSwap<Serves>,
    fetches: AtomicU64,
}

#[derive(Clone)]
struct Serves {
    set: Bytes,
    state: State,
    latency: Duration,
}

impl Idp {
    /// On a free port of loopback, with this key set.
    pub fn start(jwks: String) -> std::io::Result<Idp> {
        Idp::start_at(([127, 0, 0, 1], 0).into(), jwks)
    }

    /// At this address.
    pub fn start_at(address: SocketAddr, jwks: String) -> std::io::Result<Idp> {
        let serves = Serves { set: jwks.into(), state: State::Up, latency: Duration::ZERO };
        let keys = Arc::new(Keys { serves: ArcSwap::from_pointee(serves), fetches: AtomicU64::new(0) });
        Ok(Idp { server: Server::start("idp", address, keys.clone())?, keys })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Publishes this set from here on.
    pub fn publish(&self, jwks: String) {
        self.change(|serves| serves.set = jwks.into());
    }

    /// Is there, or not, from here on.
    pub fn set_state(&self, state: State) {
        self.change(|serves| serves.state = state);
        self.server.set_door(state.door());
    }

    /// Takes so long for each answer from here on.
    pub fn set_latency(&self, latency: Duration) {
        self.change(|serves| serves.latency = latency);
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> u64 {
        self.keys.fetches.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Serves)) {
        let mut serves = Serves::clone(&self.keys.serves.load());
        change(&mut serves);
        self.keys.serves.store(Arc::new(serves));
    }
}

impl Handler for Keys {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let serves = self.serves.load_full();
        tokio::time::sleep(serves.latency).await;
        let (status, body) = match (serves.state, request.uri().path()) {
            (State::Down, _) => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
            (_, "/jwks.json") => (StatusCode::OK, serves.set.clone()),
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
