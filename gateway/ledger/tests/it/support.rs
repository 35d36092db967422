//! A ledger in a temporary directory, and an HTTP sink that answers what it is told to and remembers what it got.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{Backlog, EventStatus, Ledger, Options};
use sluis_model::breaker::BreakerSettings;
use sluis_model::event::{DeliveryState, EventSink, EventState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::maintenance::Calendar;
use sluis_model::pacing::PacingSettings;
use sluis_model::plan;
use sluis_model::retry::RetrySettings;
use sluis_model::shedding::Shedding;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
pub const NEW_YEAR: u64 = 1_767_225_600_000;

/// Longer than anything here takes, shorter than patience.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn settings() -> plan::Ledger {
    plan::Ledger {
        max_bytes: 1 << 30,
        retention: Duration::from_secs(7 * 86_400),
        dead_retention: Duration::from_secs(30 * 86_400),
        max_batch: 256,
        // Whatever else fills the disk that the tests run on.
        shedding: Shedding { low: 100, normal: 100 },
    }
}

pub const RETRY: RetrySettings = RetrySettings {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(900),
    max_age: Duration::from_secs(86_400),
    max_attempts: 200,
};

/// As much at once as there is.
pub const UNPACED: PacingSettings =
    PacingSettings { rate: None, retry_percent: 100, retry_floor_per_second: 10_000, slow_start: Duration::ZERO };

/// A breaker that stays closed.
pub const NO_BREAKER: BreakerSettings = BreakerSettings {
    consecutive_failures: 0,
    failure_percent: 0,
    minimum_outcomes: 1,
    window: Duration::from_secs(10),
    open: Duration::from_secs(10),
    max_open: Duration::from_secs(60),
};

/// An event of acme for the sink `erp`.
pub fn event(body: &str) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        tenant: "acme".into(),
        route: "orders".into(),
        event_type: "erp.order.created".into(),
        key: Some("order 42".to_owned()),
        content_type: "application/json".to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        sinks: vec![EventSink::unordered("erp")],
        lane: Lane::Normal,
        causation_id: None,
        attributes: Vec::new(),
        correlation_id: "corr-1".into(),
        traceparent: Some("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".into()),
        accepted_at: NEW_YEAR,
    }
}

/// What a sink got.
#[derive(Debug, Clone)]
pub struct Got {
    pub method: http::Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn id(&self) -> Uuid {
        self.header("ce-id").parse().unwrap()
    }
}

/// What a sink answers.
#[derive(Debug, Clone)]
pub enum Say {
    Status(u16),
    RetryAfter(u16, &'static str),
    Body(u16, String),
    /// The status and the beginning of a body that does not end.
    Unfinished(u16, &'static str),
    /// Takes the request, and never answers.
    Nothing,
    /// Answers 200 after this time.
    Slow(Duration),
    /// Answers 200 once this has a permit for it.
    When(Arc<Semaphore>),
    /// Closes the connection after the request.
    HangUp,
}

/// What a sink answers, in this order; and what after that.
struct Script {
    queued: VecDeque<Say>,
    otherwise: Say,
}

/// A sink on a free port: answers what is queued, then 200.
pub struct ErpSink {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    got: mpsc::Receiver<Got>,
}

impl ErpSink {
    pub async fn start() -> ErpSink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { queued: VecDeque::new(), otherwise: Say::Status(200) }));
        let (sender, got) = mpsc::channel(100_000);
        let said = Arc::clone(&script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, sender) = (Arc::clone(&said), sender.clone());
                let service = service_fn(move |request| answer(request, Arc::clone(&script), sender.clone()));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        ErpSink { address, script, got }
    }

    /// Queues answers.
    pub fn say(&self, answers: impl IntoIterator<Item = Say>) {
        self.script.lock().unwrap().queued.extend(answers);
    }

    /// What it answers once the queue is empty.
    pub fn otherwise(&self, answer: Say) {
        self.script.lock().unwrap().otherwise = answer;
    }

    /// The next request.
    pub async fn next(&mut self) -> Got {
        tokio::time::timeout(PATIENCE, self.got.recv()).await.expect("the sink got nothing").unwrap()
    }

    /// Requests that are there already.
    pub fn drain(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }

    pub fn plan(&self) -> plan::Sink {
        plan::Sink {
            name: "erp".into(),
            kind: plan::SinkKind::Http(plan::HttpSink {
                url: format!("http://{}/inbox?from=sluis", self.address),
                method: http::Method::POST,
                timeout: Duration::from_secs(10),
                headers: vec![("authorization".to_owned(), plan::Secret::new("Bearer erp"))],
                ca: None,
                format: plan::EventFormat::Binary,
            }),
            plugin: None,
            retry: RETRY,
            concurrency: 8,
            order: plan::Order::None,
            compact_by_key: false,
            pacing: UNPACED,
            breaker: NO_BREAKER,
            maintenance: Calendar::default(),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
    sender: mpsc::Sender<Got>,
) -> Result<Response<Either<Full<Bytes>, Unfinished>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let say = {
        let mut script = script.lock().unwrap();
        script.queued.pop_front().unwrap_or_else(|| script.otherwise.clone())
    };
    let path = head.uri.to_string();
    sender.send(Got { method: head.method, path, headers: head.headers, body }).await.unwrap();
    let mut response = Response::new(Either::Left(Full::default()));
    match say {
        Say::Status(status) => *response.status_mut() = StatusCode::from_u16(status).unwrap(),
        Say::RetryAfter(status, after) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("retry-after", after.parse().unwrap());
        }
        Say::Body(status, body) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.body_mut() = Either::Left(body.into());
        }
        Say::Unfinished(status, beginning) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.body_mut() = Either::Right(Unfinished(Some(Bytes::from_static(beginning.as_bytes()))));
        }
        Say::Nothing => match std::future::pending::<Infallible>().await {},
        Say::Slow(wait) => tokio::time::sleep(wait).await,
        Say::When(permits) => permits.acquire().await.unwrap().forget(),
        Say::HangUp => return Err(std::io::Error::other("told to hang up")),
    }
    Ok(response)
}

/// A body that goes no further than its beginning.
struct Unfinished(Option<Bytes>);

impl hyper::body::Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |beginning| Poll::Ready(Some(Ok(hyper::body::Frame::data(beginning)))))
    }
}

/// A ledger that delivers, on a clock moved by hand.
pub struct Running {
    pub ledger: Arc<Ledger>,
    pub clock: ManualClock,
    pub sinks: watch::Sender<Arc<HashMap<Arc<str>, Arc<plan::Sink>>>>,
    shutdown: watch::Sender<bool>,
    worker: tokio::task::JoinHandle<()>,
}

pub fn open(dir: &Path, clock: &ManualClock) -> Arc<Ledger> {
    let options = Options { clock: Clock::Manual(clock.clone()), min_free: 0, ..Options::default() };
    Arc::new(Ledger::open_with(dir, &settings(), options).unwrap())
}

impl Running {
    pub fn start(dir: &Path, sinks: impl IntoIterator<Item = plan::Sink>) -> Running {
        Running::start_at(dir, sinks, ManualClock::at(NEW_YEAR))
    }

    pub fn start_at(dir: &Path, sinks: impl IntoIterator<Item = plan::Sink>, clock: ManualClock) -> Running {
        let ledger = open(dir, &clock);
        Running::deliver(ledger, sinks, clock)
    }

    pub fn deliver(ledger: Arc<Ledger>, sinks: impl IntoIterator<Item = plan::Sink>, clock: ManualClock) -> Running {
        let (sinks, plan) = watch::channel(Arc::new(by_name(sinks)));
        let (shutdown, down) = watch::channel(false);
        let worker = tokio::spawn(Arc::clone(&ledger).deliver(plan, down));
        Running { ledger, clock, sinks, shutdown, worker }
    }

    pub fn replan(&self, sinks: impl IntoIterator<Item = plan::Sink>) {
        self.sinks.send_replace(Arc::new(by_name(sinks)));
    }

    pub async fn accept(&self, event: NewEvent) -> Uuid {
        let id = event.id;
        self.ledger.accept(event, u64::MAX).await.unwrap();
        id
    }

    pub async fn status(&self, id: Uuid) -> EventStatus {
        self.ledger.status("acme", id).await.unwrap().expect("the event is there")
    }

    pub fn clock_now(&self) -> u64 {
        Clock::Manual(self.clock.clone()).now()
    }

    /// Waits until the event is in this state.
    pub async fn until(&self, id: Uuid, state: EventState) -> EventStatus {
        self.until_that(id, |status| status.state == state).await
    }

    /// Waits until the event's first delivery is in this state.
    pub async fn until_delivery(&self, id: Uuid, state: DeliveryState) -> EventStatus {
        self.until_that(id, |status| status.deliveries[0].state == state).await
    }

    pub async fn until_that(&self, id: Uuid, so: impl Fn(&EventStatus) -> bool) -> EventStatus {
        let wait = async {
            loop {
                let status = self.status(id).await;
                if so(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(status) => status,
            Err(_) => panic!("still {:#?}", self.status(id).await),
        }
    }

    /// Waits until the backlog is so.
    pub async fn until_backlog(&self, so: impl Fn(&Backlog) -> bool) {
        let wait = async {
            while !so(&self.ledger.backlog()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("still {:#?}", self.ledger.backlog());
        }
    }

    /// Ends as a gateway does on SIGTERM.
    pub async fn stop(self) {
        self.shutdown.send_replace(true);
        tokio::time::timeout(PATIENCE, self.worker).await.expect("the worker does not end").unwrap();
        self.ledger.close().await;
    }

    /// Ends in the middle of what it does: attempts under way are cut off, their leases stay.
    pub async fn drop_dead(self) {
        self.worker.abort();
        let _ = self.worker.await;
        self.ledger.close().await;
    }
}

pub fn by_name(sinks: impl IntoIterator<Item = plan::Sink>) -> HashMap<Arc<str>, Arc<plan::Sink>> {
    sinks.into_iter().map(|sink| (Arc::clone(&sink.name), Arc::new(sink))).collect()
}
