//! The ERP stand-in, upstream and sink in one: takes orders, remembers which, and behaves as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::behaviour::{Behaviour, State};
use super::server::{Answer, GivenUp, Handler, Server};
use crate::component::MARK_FIELD;
use crate::workload::Orders;
use crate::workload::draw::Draw;
use crate::workload::traffic::read_order_name;

/// Runs whose orders it knows at once.
const MAX_RUNS: usize = 64;
/// Seconds that it counts one by one: a day.
const MAX_SECONDS: usize = 86_400;
/// Fields that name an order.
const NAMED_BY: [&str; 3] = ["idempotency-key", "ce-sourceid", "ce-id"];
/// Largest order, whatever is larger is answered and not looked at.
const LOOKED_AT: usize = 1 << 20;

/// See the module.
pub struct Erp {
    server: Server,
    work: Arc<Work>,
}

/// Requests of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Second {
    /// Taken.
    pub taken: u64,
    /// Answered with an error.
    pub refused: u64,
}

struct Work {
    began: Instant,
    behaves: ArcSwap<Behaves>,
    runs: RwLock<HashMap<String, Arc<Orders>>>,
    requests: AtomicU64,
    at_once: AtomicUsize,
    at_most: AtomicUsize,
    seconds: Mutex<Vec<Second>>,
}

/// A behaviour in force.
struct Behaves {
    behaviour: Behaviour,
    since: Instant,
    desks: Arc<Semaphore>,
}

impl Behaves {
    fn now(behaviour: Behaviour) -> Behaves {
        let desks = Arc::new(Semaphore::new(behaviour.concurrency));
        Behaves { behaviour, since: Instant::now(), desks }
    }

    /// At the same desks, where there are as many as before: some may be taken.
    fn after(&self, behaviour: Behaviour) -> Behaves {
        let same = self.behaviour.concurrency == behaviour.concurrency;
        let desks = if same { self.desks.clone() } else { Arc::new(Semaphore::new(behaviour.concurrency)) };
        Behaves { behaviour, since: Instant::now(), desks }
    }
}

impl Erp {
    /// On a free port of loopback.
    pub fn start(behaviour: Behaviour) -> std::io::Result<Erp> {
        Erp::start_at(([127, 0, 0, 1], 0).into(), behaviour)
    }

    /// At this address.
    pub fn start_at(address: SocketAddr, behaviour: Behaviour) -> std::io::Result<Erp> {
        let work = Arc::new(Work {
            began: Instant::now(),
            behaves: ArcSwap::from_pointee(Behaves::now(behaviour.clone())),
            runs: RwLock::default(),
            requests: AtomicU64::new(0),
            at_once: AtomicUsize::new(0),
            at_most: AtomicUsize::new(0),
            seconds: Mutex::default(),
        });
        let erp = Erp { server: Server::start("erp", address, work.clone())?, work };
        erp.behave(behaviour);
        Ok(erp)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Behaves like this from here on. Orders that it works on are finished as they were begun, unless it is gone.
    pub fn behave(&self, behaviour: Behaviour) {
        let door = behaviour.state.door();
        let after = self.work.behaves.load().after(behaviour);
        self.work.behaves.store(Arc::new(after));
        self.server.set_door(door);
    }

    /// How it behaves now.
    pub fn behaviour(&self) -> Behaviour {
        self.work.behaves.load().behaviour.clone()
    }

    /// Enters what arrives of a run into its book. Whether there was room for one more run.
    pub fn expect(&self, run: &str, orders: Arc<Orders>) -> bool {
        let mut runs = self.work.runs.write().unwrap_or_else(PoisonError::into_inner);
        let room = runs.len() < MAX_RUNS || runs.contains_key(run);
        if room {
            runs.insert(run.to_owned(), orders);
        }
        room
    }

    /// Knows a run no more: what is still to come of it is nobody's to miss.
    pub fn forget(&self, run: &str) {
        self.work.runs.write().unwrap_or_else(PoisonError::into_inner).remove(run);
    }

    /// Orders that it worked on at once at most, since the start or since this was asked last.
    pub fn at_once_at_most(&self) -> usize {
        self.work.at_most.swap(self.work.at_once.load(Ordering::Relaxed), Ordering::Relaxed)
    }

    /// When it was started: what its seconds count from.
    pub fn began(&self) -> Instant {
        self.work.began
    }

    /// Requests by second.
    pub fn seconds(&self) -> Vec<Second> {
        self.work.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Work {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| GivenUp)?.to_bytes();
        let behaves = self.behaves.load_full();
        let Behaves { behaviour, since, desks } = &*behaves;
        if behaviour.state == State::Down {
            self.count(|second| second.refused += 1);
            return Ok(error(StatusCode::SERVICE_UNAVAILABLE, None));
        }
        // Never closed.
        let _desk = desks.acquire().await.map_err(|_| GivenUp)?;
        let _working = Working::begin(self);
        let mut draw = Draw::of(2, self.requests.fetch_add(1, Ordering::Relaxed));
        let took = behaviour.latency.draw(&mut draw, since.elapsed());
        if !took.is_zero() {
            tokio::time::sleep(took).await;
        }
        if let Some(errors) = behaviour.errors.filter(|errors| errors.draw(&mut draw)) {
            self.count(|second| second.refused += 1);
            return Ok(error(errors.status, errors.retry_after));
        }
        self.take(&head.headers, &body);
        self.count(|second| second.taken += 1);
        let mut response = json(StatusCode::OK, Bytes::from_static(b"{\"accepted\":true}"));
        if let Some(mark) = head.headers.get(MARK_FIELD) {
            response.headers_mut().insert(MARK_FIELD, mark.clone());
        }
        Ok(response)
    }
}

impl Work {
    /// Enters an order into the book of its run. What is no run's order is nobody's to miss.
    fn take(&self, fields: &HeaderMap, body: &[u8]) {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        if runs.is_empty() {
            return;
        }
        // A sink gives each event an id of its own, and its sender's as `sourceid`; what is forwarded keeps its id.
        let mut named = NAMED_BY.iter().filter_map(|field| fields.get(*field)?.to_str().ok());
        let known = |name: &str| {
            let (run, number) = read_order_name(name)?;
            Some((runs.get(run)?, number))
        };
        if let Some((orders, number)) =
            named.find_map(known).or_else(|| ids_in(body).into_iter().flatten().find_map(known))
        {
            orders.arrived(number);
        }
    }

    fn count(&self, count: impl FnOnce(&mut Second)) {
        let second = self.began.elapsed().as_secs() as usize;
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if second >= seconds.len() && second < MAX_SECONDS {
            seconds.resize(second + 1, Second::default());
        }
        if let Some(second) = seconds.get_mut(second) {
            count(second);
        }
    }
}

/// An order that is worked on.
struct Working<'a>(&'a Work);

impl<'a> Working<'a> {
    fn begin(work: &'a Work) -> Self {
        let at_once = work.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        work.at_most.fetch_max(at_once, Ordering::Relaxed);
        Working(work)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The members `sourceid` and `id` of a body that is a JSON object, a CloudEvent or any other.
fn ids_in(body: &[u8]) -> [Option<&str>; 2] {
    #[derive(Default, Deserialize)]
    struct Named<'a> {
        sourceid: Option<&'a str>,
        id: Option<&'a str>,
    }
    if body.len() > LOOKED_AT {
        return [None; 2];
    }
    let Named { sourceid, id } = serde_json::from_slice(body).unwrap_or_default();
    [sourceid, id]
}

fn error(status: StatusCode, retry_after: Option<Duration>) -> Response<Full<Bytes>> {
    let mut response = json(status, Bytes::from_static(b"{\"accepted\":false}"));
    if let Some(after) = retry_after {
        // Whole seconds, and none less than what was meant.
        response.headers_mut().insert(RETRY_AFTER, (after.as_secs_f64().ceil() as u64).into());
    }
    response
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
