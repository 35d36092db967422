//! The issuer's endpoint: its key set at `/jwks.json`, which can be slow, wrong or away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::behaviour::{Behaviour, State};
use super::server::{Answer, Handler, Server};
use crate::workload::draw::Draw;

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
    behaviour: Behaviour,
    since: Instant,
}

impl Idp {
    /// On a free port of loopback, with this key set.
    pub fn start(jwks: String) -> std::io::Result<Idp> {
        Idp::start_at(([127, 0, 0, 1], 0).into(), jwks)
    }

    /// At this address.
    pub fn start_at(address: SocketAddr, jwks: String) -> std::io::Result<Idp> {
        let serves = Serves { set: jwks.into(), behaviour: Behaviour::default(), since: Instant::now() };
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

    /// Behaves like this from here on. It answers as many at once as ask.
    pub fn behave(&self, behaviour: Behaviour) {
        let door = behaviour.state.door();
        self.change(|serves| (serves.behaviour, serves.since) = (behaviour, Instant::now()));
        self.server.set_door(door);
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
        let mut draw = Draw::of(3, self.fetches.fetch_add(1, Ordering::Relaxed));
        let serves = self.serves.load_full();
        let Behaviour { latency, errors, state, .. } = &serves.behaviour;
        tokio::time::sleep(latency.draw(&mut draw, serves.since.elapsed())).await;
        let error = errors.filter(|errors| errors.draw(&mut draw)).map(|errors| errors.status);
        let (status, body) = match (state, error, request.uri().path()) {
            (State::Down, ..) => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
            (_, Some(status), _) => (status, Bytes::new()),
            (_, None, "/jwks.json") => (StatusCode::OK, serves.set.clone()),
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
