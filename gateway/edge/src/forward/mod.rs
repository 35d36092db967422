//! To an upstream and back: one path for every body, protocol and retry.
//!
//! Head and body are both final before the first byte goes out. An attempt is repeated only where the upstream
//! cannot have acted on it: nothing was sent, or a connection kept from before closed without a byte of answer and
//! the request is idempotent (RFC 9110 §9.2.2) or its route says that it may be sent twice.

pub mod connect;
pub mod exchange;
pub mod h1;
pub mod h2;
pub mod head;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::protocols::http::ServerSession;
use pingora::time::timeout;
use sluis_model::breaker::{Outcome, Pass};
use sluis_model::plan::UpstreamProtocol;
use sluis_model::refusal::Refusal;

use crate::clock::Clock;
use crate::forward::connect::ConnectError;
use crate::forward::exchange::{Answer, AttemptError, Client, H1Request, ONE_WRITE, RequestBody, over_h1, over_h2};
use crate::forward::h1::AnswerError;
use crate::forward::head::{BodyLength, Outgoing};
use crate::upstream::{EndpointState, UpstreamState};

/// An attempt that ended without an answer: what the client is told, or that there is nobody to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Say no.
    Refuse(Refusal),
    /// The client went away.
    ClientGone,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refuse(refusal)
    }
}

/// An answer on its way back. Dropping it early counts as the client's doing, not the upstream's.
pub struct Forwarded {
    answer: Answer,
    upstream: Arc<UpstreamState>,
    endpoint: usize,
    pass: Option<Pass>,
    deadline: Instant,
    clock: Clock,
}

/// Facts about a forward, for the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attempts {
    /// Attempts beyond the first.
    pub retries: u32,
    /// An upstream may have got some of the request.
    pub sent: bool,
}

/// A request that is to be forwarded.
pub struct Job<'a> {
    /// Where to.
    pub upstream: &'a Arc<UpstreamState>,
    /// Its head.
    pub outgoing: &'a Outgoing,
    /// Its body.
    pub body: RequestBody,
    /// Its route says that it may be sent twice.
    pub retry_unsafe: bool,
    /// The answer is wanted although the client goes away: it is kept. Such a body is whole.
    pub stays: bool,
    /// Whole exchange, at most: what the upstream is given, or less.
    pub total: Duration,
    /// Clocks.
    pub clock: Clock,
    /// The moment it sets out: its deadlines count from here, and every decision of a first attempt is of this moment.
    pub began: Instant,
}

/// Sends the request and reads the answer's head. `pass` is the breaker's leave, reported back in every case.
pub async fn forward(
    session: &mut ServerSession,
    job: &Job<'_>,
    pass: Pass,
    attempts: &mut Attempts,
) -> Result<Forwarded, Failure> {
    let deadline = job.began + job.total;
    match try_endpoints(session, job, deadline, attempts).await {
        Ok((answer, endpoint)) => {
            let outcome = Outcome::of_status(answer.head.status.as_u16());
            let upstream = job.upstream.clone();
            let mut forwarded = Forwarded { answer, upstream, endpoint, pass: Some(pass), deadline, clock: job.clock };
            if outcome == Outcome::Failure || forwarded.is_done() {
                forwarded.report(outcome, Instant::now());
            }
            Ok(forwarded)
        }
        Err(failure) => {
            let outcome = match &failure {
                Failure::Refuse(
                    Refusal::UpstreamUnreachable
                    | Refusal::UpstreamTimeout
                    | Refusal::UpstreamTls
                    | Refusal::BadUpstreamResponse,
                ) => Outcome::Failure,
                _ => Outcome::Ignored,
            };
            record(job.upstream, pass, outcome, job.clock.now());
            Err(failure)
        }
    }
}

async fn try_endpoints(
    session: &mut ServerSession,
    job: &Job<'_>,
    deadline: Instant,
    attempts: &mut Attempts,
) -> Result<(Answer, usize), Failure> {
    let Job { upstream, outgoing, body, retry_unsafe, clock, began, .. } = job;
    upstream.budget.request(clock.at(*began));
    let mut now = *began;
    let mut dials = 0;
    let mut resent = 0;
    let mut fresh_only = false;
    loop {
        let (at, endpoint) = upstream.pick(clock.at(now));
        let attempted = attempt(session, job, endpoint, fresh_only, now, deadline).await;
        attempts.sent |= !matches!(attempted, Err(Attempt::NoConnection(_)));
        match attempted {
            Ok(answer) => return Ok((answer, at)),
            Err(Attempt::NoConnection(error)) => {
                endpoint.shun(clock.now());
                dials += 1;
                if dials >= upstream.connect_attempts() {
                    return Err(connect_refusal(&error).into());
                }
            }
            Err(Attempt::Failed { error: AttemptError::Answer(AnswerError::Untouched), reused: true })
                if resent < upstream.settings.retries
                    && matches!(body, RequestBody::Whole(_))
                    && (*retry_unsafe || is_idempotent(&outgoing.method))
                    && upstream.budget.try_retry(clock.now()) =>
            {
                resent += 1;
                fresh_only = true;
            }
            Err(Attempt::Failed { error, .. }) => return Err(attempt_failure(&error)),
            Err(Attempt::Deadline) => return Err(Refusal::UpstreamTimeout.into()),
        }
        attempts.retries += 1;
        now = Instant::now();
    }
}

/// How one attempt went wrong.
enum Attempt {
    NoConnection(ConnectError),
    Failed { error: AttemptError, reused: bool },
    Deadline,
}

async fn attempt(
    session: &mut ServerSession,
    job: &Job<'_>,
    endpoint: &EndpointState,
    fresh_only: bool,
    now: Instant,
    deadline: Instant,
) -> Result<Answer, Attempt> {
    let Job { upstream, outgoing, .. } = job;
    let settings = &upstream.settings;
    let body = job.body.clone();
    let awaited = AtomicBool::new(false);
    // Whose body did not come in the whole time, and what it was sent to did its part.
    let late = |reused| match awaited.load(Ordering::Relaxed) {
        true => Attempt::Failed { error: AttemptError::ClientTimeout, reused },
        false => Attempt::Deadline,
    };
    // A streamed body takes as long as its client does: its pace is bounded by the client's read timeout and the
    // whole by `total_timeout`.
    let until = match &body {
        RequestBody::Whole(_) => deadline.min(now + settings.first_byte_timeout),
        RequestBody::Stream(_) => deadline,
    };
    if settings.protocol == UpstreamProtocol::Http2 {
        let (handle, reused) =
            endpoint.h2.handle(&endpoint.dialer, settings.response_head_bytes).await.map_err(Attempt::NoConnection)?;
        let head = outgoing.encode_h2(&session.req_header().headers, upstream, endpoint).map_err(|_| {
            Attempt::Failed { error: AttemptError::Answer(AnswerError::Malformed("request head")), reused }
        })?;
        let client = Client { session, stays: job.stays, awaited: &awaited };
        return match timeout(left(until), over_h2(handle, head, body, client)).await {
            Ok(done) => done.map_err(|error| Attempt::Failed { error, reused }),
            Err(_) => Err(late(reused)),
        };
    }
    let kept = if fresh_only { None } else { endpoint.pool.take(now) };
    let (transport, reused, left) = match kept {
        Some(transport) => (transport, true, until.saturating_duration_since(now)),
        None => (endpoint.dialer.dial().await.map_err(Attempt::NoConnection)?, false, left(until)),
    };
    let room = match &body {
        RequestBody::Whole(body) if body.len() <= ONE_WRITE => body.len(),
        _ => 0,
    };
    let head = outgoing.encode_h1(&session.req_header().headers, upstream, endpoint, room);
    let request = H1Request {
        head,
        body,
        chunked: outgoing.length == BodyLength::Unknown,
        is_head: outgoing.method == Method::HEAD,
        max_answer_head: settings.response_head_bytes,
    };
    // Pinned here, so that it is not moved into the timeout: it is a few kilobytes.
    let exchange = pin!(over_h1(transport, request, Client { session, stays: job.stays, awaited: &awaited }));
    match timeout(left, exchange).await {
        Ok(done) => done.map_err(|error| Attempt::Failed { error, reused }),
        Err(_) => Err(late(reused)),
    }
}

impl Forwarded {
    /// The answer's head.
    pub fn head(&self) -> &h1::AnswerHead {
        &self.answer.head
    }

    /// The answer's fields, once; none are left.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.answer.head.headers)
    }

    /// Length of the body, where the head told it.
    pub fn content_length(&self) -> Option<u64> {
        self.answer.body.content_length()
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.answer.body.is_done()
    }

    /// The next piece of the body; errors once the answer breaks off, stalls or passes the total deadline. The breaker
    /// hears of the end with the last piece, before the client can have it: whoever saw a probe succeed is let in.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let limit = left(self.deadline).min(self.upstream.settings.idle_timeout);
        let failed = match timeout(limit, self.answer.body.next()).await {
            Ok(Ok(piece)) => {
                if piece.is_none() || self.is_done() {
                    self.report(Outcome::Success, Instant::now());
                }
                return Ok(piece);
            }
            Ok(Err(_)) => Refusal::BadUpstreamResponse,
            Err(_) => Refusal::UpstreamTimeout,
        };
        self.report(Outcome::Failure, Instant::now());
        Err(failed)
    }

    /// The answer came to its end: keeps the connection for the next request, and reports success of an answer without
    /// a body, where its head did not tell so.
    pub fn complete(mut self) {
        let now = Instant::now();
        self.report(Outcome::Success, now);
        self.answer.body.release(self.upstream.endpoint(self.endpoint), now);
    }

    fn report(&mut self, outcome: Outcome, now: Instant) {
        if let Some(pass) = self.pass.take() {
            record(&self.upstream, pass, outcome, self.clock.at(now));
        }
    }
}

fn record(upstream: &UpstreamState, pass: Pass, outcome: Outcome, now: u64) {
    if let Some(transition) = upstream.breaker.record(pass, outcome, now) {
        tracing::warn!(upstream = &*upstream.settings.name, state = transition.label(), "circuit breaker");
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

fn connect_refusal(error: &ConnectError) -> Refusal {
    match error {
        ConnectError::Unreachable(_) => Refusal::UpstreamUnreachable,
        ConnectError::Timeout => Refusal::UpstreamTimeout,
        ConnectError::Tls(reason) => {
            tracing::warn!(reason, "upstream tls");
            Refusal::UpstreamTls
        }
    }
}

fn attempt_failure(error: &AttemptError) -> Failure {
    match error {
        AttemptError::ClientGone => Failure::ClientGone,
        AttemptError::ClientMalformed => Refusal::MalformedRequest.into(),
        AttemptError::ClientTimeout => Refusal::RequestTimeout.into(),
        AttemptError::Answer(error) => {
            tracing::debug!(%error, "upstream answer");
            Refusal::BadUpstreamResponse.into()
        }
    }
}
