//! One exchange: a request out, its answer in, and what to call what went wrong.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::Protocol;
use super::destination::{Destination, local};
use super::stream::Stream;
use crate::record::Failure;

/// Largest body of an answer, bytes: one that never ends is not read for ever.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

type Body = Full<Bytes>;

/// What counts of an answer that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Whether it says when to come again.
    pub retry_after: bool,
}

/// A connection, or a share of one, for one exchange at a time.
pub enum Client {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Client {
    /// Sends a request and reads its answer to the end, on the connection there is or on a new one. Dropped in the middle,
    /// it gives the connection up.
    pub async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Failure> {
        match self {
            Client::Http1(client) => client.exchange(request).await,
            Client::Http2(client) => client.exchange(request).await,
        }
    }

    /// What it came to that there was no answer in time to a request sent at this moment.
    pub fn timed_out(&mut self, sent: Instant) -> Failure {
        match self {
            Client::Http1(client) => {
                if client.connecting {
                    client.destination.unanswered()
                } else {
                    Failure::Timeout
                }
            }
            Client::Http2(client) => client.shared.timed_out(sent),
        }
    }
}

/// A connection for one exchange at a time.
pub struct Http1 {
    destination: Arc<Destination>,
    host: HeaderValue,
    turn: usize,
    kept: Option<Open>,
    connecting: bool,
    stray: Rc<Cell<u64>>,
}

/// The connection is driven by whoever waits for an answer on it: no task of its own to be woken.
struct Open {
    sender: http1::SendRequest<Body>,
    /// Until it has ended.
    driver: Option<http1::Connection<Stream, Body>>,
}

impl Http1 {
    /// Connects to the address in `turn` when there is something to send. Connections that held bytes behind an answer's
    /// end are counted in `stray`.
    pub fn new(destination: Arc<Destination>, turn: usize, stray: Rc<Cell<u64>>) -> Self {
        // An authority is made of what a field may hold.
        let host = HeaderValue::from_str(destination.authority.as_str()).unwrap_or(HeaderValue::from_static(""));
        Http1 { destination, host, turn, kept: None, connecting: false, stray }
    }

    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Failure> {
        self.connecting = false;
        let mut request = request.map(Full::new);
        let headers = request.headers_mut();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, self.host.clone());
        }
        if !self.destination.keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(mut kept) = self.kept.take() {
            match kept.exchange(request, &self.stray).await {
                Ok(answer) => {
                    self.kept = kept.driver.is_some().then_some(kept);
                    return Ok(answer);
                }
                // It was closed meanwhile and nothing was sent: that is no failure.
                Err(Broken::Unsent(unsent)) => request = *unsent,
                Err(Broken::Failed(failure)) => return Err(failure),
            }
        }
        self.connecting = true;
        let stream = self.destination.connect(self.turn).await?;
        let (sender, driver) = http1::handshake(stream).await.map_err(|e| failure(&e))?;
        self.connecting = false;
        let mut open = Open { sender, driver: Some(driver) };
        let answer = open.exchange(request, &self.stray).await.map_err(|broken| match broken {
            Broken::Unsent(_) => Failure::Reset,
            Broken::Failed(failure) => failure,
        })?;
        self.kept = (self.destination.keep_alive && open.driver.is_some()).then_some(open);
        Ok(answer)
    }
}

enum Broken {
    Unsent(Box<Request<Body>>),
    Failed(Failure),
}

impl Open {
    async fn exchange(&mut self, request: Request<Body>, stray: &Cell<u64>) -> Result<Answer, Broken> {
        let Open { sender, driver } = self;
        let exchange = async {
            if sender.ready().await.is_err() {
                return Err(Broken::Unsent(Box::new(request)));
            }
            let response = sender.try_send_request(request).await.map_err(|mut error: TrySendError<_>| match error
                .take_message()
            {
                Some(unsent) => Broken::Unsent(Box::new(unsent)),
                None => Broken::Failed(failure(error.error())),
            })?;
            read(response).await.map_err(Broken::Failed)
        };
        let mut exchange = pin!(exchange);
        poll_fn(|cx| {
            if let Poll::Ready(done) = exchange.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if let Some(Poll::Ready(ended)) = driver.as_mut().map(|driver| Pin::new(driver).poll(cx)) {
                stray.set(stray.get() + u64::from(ended.is_err_and(|e| unasked(&e))));
                *driver = None;
            }
            exchange.as_mut().poll(cx)
        })
        .await
    }
}

/// One stream at a time of a connection that several share.
pub struct Http2 {
    pub shared: Rc<Shared>,
}

/// A connection for several exchanges at once.
pub struct Shared {
    destination: Arc<Destination>,
    turn: usize,
    sender: RefCell<Option<http2::SendRequest<Body>>>,
    /// Held by who opens it.
    opening: tokio::sync::Mutex<()>,
    last_answer: Cell<Option<Instant>>,
}

impl Shared {
    pub fn new(destination: Arc<Destination>, turn: usize) -> Self {
        Shared {
            destination,
            turn,
            sender: RefCell::default(),
            opening: tokio::sync::Mutex::default(),
            last_answer: Cell::default(),
        }
    }

    fn good(&self) -> Option<http2::SendRequest<Body>> {
        self.sender.borrow().as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    async fn sender(&self) -> Result<http2::SendRequest<Body>, Failure> {
        if let Some(sender) = self.good() {
            return Ok(sender);
        }
        let _opening = self.opening.lock().await;
        if let Some(sender) = self.good() {
            return Ok(sender);
        }
        self.sender.replace(None);
        let stream = self.destination.connect(self.turn).await?;
        let (sender, driver) = http2::handshake(Local, stream).await.map_err(|e| failure(&e))?;
        // How it ends, its exchanges are told.
        tokio::task::spawn_local(driver);
        self.sender.replace(Some(sender.clone()));
        Ok(sender)
    }

    /// A connection that answered nothing since is given up, for all who share it: it may be one to nowhere.
    fn timed_out(&self, sent: Instant) -> Failure {
        if self.sender.borrow().is_none() {
            return self.destination.unanswered();
        }
        if self.last_answer.get().is_none_or(|last| last < sent) {
            self.sender.replace(None);
        }
        Failure::Timeout
    }
}

impl Http2 {
    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let mut request = absolute(request, &self.shared.destination).map(Full::new);
        // Twice: a connection may have been closed meanwhile, and nothing was sent. That is no failure.
        for _ in 0..2 {
            let mut sender = self.shared.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let answer = read(response).await?;
                    self.shared.last_answer.set(Some(Instant::now()));
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failure(error.error())),
                },
            }
            self.shared.sender.replace(None);
        }
        Err(Failure::Reset)
    }
}

/// With scheme and authority, which HTTP/2 sends in place of `Host` (RFC 9113 §8.3.1).
fn absolute(mut request: Request<Bytes>, destination: &Destination) -> Request<Bytes> {
    let host = request.headers_mut().remove(HOST);
    let host = host.and_then(|host| host.as_bytes().try_into().ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(destination.scheme.clone());
    parts.authority = Some(host.unwrap_or_else(|| destination.authority.clone()));
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    // All three are there.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}

/// Spawns what an HTTP/2 connection needs on the thread that it is on.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Reads an answer to its end.
async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            let early = e.source().and_then(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
            let short = early == Some(io::ErrorKind::UnexpectedEof) && head.headers.contains_key(CONTENT_LENGTH);
            if short { Failure::Protocol } else { failure(&e) }
        })?;
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
        if length > LARGEST_BODY {
            return Err(Failure::Protocol);
        }
    }
    Ok(Answer { status: head.status.as_u16(), retry_after: head.headers.contains_key(RETRY_AFTER) })
}

/// Whether a connection ended by bytes that came without a request: hyper has no word for it but the innermost error is
/// none of those that a mere end has.
fn unasked(error: &hyper::Error) -> bool {
    match error.source() {
        Some(source) => source.downcast_ref().is_some_and(unasked),
        None => !error.is_canceled() && !error.is_closed() && !error.is_incomplete_message(),
    }
}

/// What to call an error of the connection.
fn failure(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_user() {
        return Failure::Protocol;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let tls = io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            return if tls { Failure::Tls } else { local(io).unwrap_or(Failure::Reset) };
        }
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return http2_failure(h2);
        }
        cause = inner.source();
    }
    Failure::Reset
}

fn http2_failure(error: &h2::Error) -> Failure {
    use h2::Reason;
    let ended =
        [Reason::NO_ERROR, Reason::REFUSED_STREAM, Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM];
    match (error.get_io(), error.reason()) {
        (Some(io), _) => local(io).unwrap_or(Failure::Reset),
        (None, Some(reason)) if !ended.contains(&reason) => Failure::Protocol,
        (None, _) => Failure::Reset,
    }
}

/// What a client is made of for its place among the connections.
pub struct Clients {
    destination: Arc<Destination>,
    shared: Vec<Rc<Shared>>,
    /// Connections that held bytes behind an answer's end.
    pub stray: Rc<Cell<u64>>,
}

impl Clients {
    pub fn new(destination: Arc<Destination>, connections: usize) -> Self {
        let shared = match destination.protocol {
            Protocol::Http1 => Vec::new(),
            Protocol::Http2 => (0..connections).map(|turn| Rc::new(Shared::new(destination.clone(), turn))).collect(),
        };
        Clients { destination, shared, stray: Rc::default() }
    }

    /// The one with this number; streams are spread over the connections.
    pub fn client(&self, number: usize) -> Client {
        match self.shared.get(number % self.shared.len().max(1)) {
            Some(shared) => Client::Http2(Http2 { shared: shared.clone() }),
            None => Client::Http1(Box::new(Http1::new(self.destination.clone(), number, self.stray.clone()))),
        }
    }
}
