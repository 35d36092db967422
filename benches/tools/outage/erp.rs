//! The ERP stand-in: takes a moment for each order, can be down, and remembers what it got and when.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluis_bench::Error;
use tokio::net::TcpListener;

use super::Course;

/// How long it takes for an order.
const WORK: Duration = Duration::from_millis(2);

/// See the module.
pub struct Erp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    jwks: String,
    down: AtomicBool,
    at_once: AtomicUsize,
    got: Mutex<Got>,
}

/// What it got.
#[derive(Default)]
pub struct Got {
    /// Of each order that was taken: its number, and when it came first.
    pub orders: HashMap<u64, Instant>,
    /// Orders that came again.
    pub again: u64,
    /// Orders that came behind a later one of their key.
    pub disordered: u64,
    /// The last number of each key.
    last: HashMap<u64, u64>,
    /// When requests came, taken or not, and how many were there at once.
    pub requests: Vec<(Instant, bool, usize)>,
}

impl Erp {
    /// On a free port and a thread that lives as long as the process.
    pub fn start(jwks: String) -> Result<Erp, Error> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared { jwks, ..Shared::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = shared.clone();
        std::thread::Builder::new().name("erp".to_owned()).spawn(move || {
            runtime.block_on(async move {
                if let Ok(listener) = TcpListener::from_std(socket) {
                    serve(listener, serving).await;
                }
            });
        })?;
        Ok(Erp { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes down and up as the course says.
    #[allow(clippy::disallowed_methods)]
    pub fn switch_at(&self, began: Instant, course: Course) -> JoinHandle<()> {
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            for (at, down) in [(course.down, true), (course.up, false)] {
                std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
                shared.down.store(down, Ordering::Relaxed);
            }
        })
    }

    /// Waits until it has so many orders, at most until `until`. Answers when that was.
    #[allow(clippy::disallowed_methods)]
    pub fn wait_for(&self, orders: u64, began: Instant, until: Duration) -> Option<Duration> {
        while began.elapsed() < until {
            if self.got(|got| got.orders.len() as u64 >= orders) {
                return Some(began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Looks at what it got.
    pub fn got<T>(&self, look: impl FnOnce(&Got) -> T) -> T {
        look(&self.shared.got.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Orders taken in each second.
    pub fn seconds(&self, began: Instant) -> Vec<u64> {
        self.got(|got| {
            let mut seconds = Vec::new();
            for at in got.orders.values() {
                let second = at.saturating_duration_since(began).as_secs() as usize;
                if seconds.len() <= second {
                    seconds.resize(second + 1, 0);
                }
                seconds[second] += 1;
            }
            seconds
        })
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let shared = shared.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, shared.clone()));
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/jwks.json" {
        return Ok(Response::new(Full::new(Bytes::from(shared.jwks.clone()))));
    }
    let at = Instant::now();
    let at_once = shared.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let down = shared.down.load(Ordering::Relaxed);
    if !down {
        tokio::time::sleep(WORK).await;
    }
    shared.at_once.fetch_sub(1, Ordering::Relaxed);
    let mut got = shared.got.lock().unwrap_or_else(PoisonError::into_inner);
    got.requests.push((at, !down, at_once));
    let mut response = Response::new(Full::new(Bytes::new()));
    if down {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    } else {
        got.take(&body, at);
    }
    Ok(response)
}

impl Got {
    fn take(&mut self, body: &[u8], at: Instant) {
        let order: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let (Some(number), Some(key)) = (order["number"].as_u64(), order["key"].as_u64()) else { return };
        if self.orders.contains_key(&number) {
            self.again += 1;
            return;
        }
        self.orders.insert(number, at);
        let last = self.last.entry(key).or_insert(number);
        self.disordered += u64::from(*last > number);
        *last = number.max(*last);
    }
}
