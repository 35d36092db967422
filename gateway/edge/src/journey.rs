//! The ways that a request can go once it is decided: to an upstream, to the ledger, or straight back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use sluis_ledger::Claim;
use sluis_model::hook::{CheckedDecision, CheckedEnqueue, CheckedForward};
use sluis_model::lane::Lane;
use sluis_model::limits::Permit;
use sluis_model::plan::{Otherwise, Sink};
use sluis_model::prefer::{Preferences, preferences};
use sluis_model::refusal::Refusal;

use crate::admit::{self, Admitted};
use crate::enqueue::{self, Enqueue};
use crate::forward::exchange::RequestBody;
use crate::forward::head::{BodyLength, HeaderChange, Outgoing, Provenance};
use crate::forward::{Attempts, Failure, Forwarded, Job, forward};
use crate::head::Inbound;
use crate::record::Record;
use crate::relay::Asker;
use crate::serving::Picked;
use crate::state::{Context, UpstreamEntry};
use crate::{body, idempotency, relay, reply};

/// A request whose body may be acted on.
pub struct Request<'g> {
    /// Its target, normalised.
    pub inbound: Inbound,
    /// What the checks found.
    pub admitted: Admitted<'g>,
    /// Which versions of the plugin in the route's slot take it, from the first hook to the last.
    pub picked: Option<Picked>,
    /// Its body.
    pub body: RequestBody,
    /// Its idempotency key, where it has one.
    pub claim: Option<Claim>,
}

/// The way to an upstream that was decided.
struct Way {
    entry: Arc<UpstreamEntry>,
    target: String,
    change: HeaderChange,
    body: RequestBody,
    /// Whole exchange, at most.
    total: Duration,
}

/// What is to be kept of a request.
struct Kept {
    event_type: Arc<str>,
    key: Option<String>,
    content_type: Option<String>,
    body: Bytes,
    sinks: Vec<Arc<Sink>>,
    /// It was sent to an upstream, and nobody knows what became of it there.
    doubtful: bool,
    preference: Option<&'static str>,
}

/// What is told of an answer that was preferred to come before the work is done (RFC 7240 §3).
const RESPOND_ASYNC: &str = "respond-async";

/// Walks the way that was decided; none is the route's default.
pub async fn walk(
    cx: Context<'_>,
    session: &mut ServerSession,
    mut request: Request<'_>,
    decision: Option<CheckedDecision>,
    record: &mut Record,
) -> Result<(), Failure> {
    let route = request.admitted.route;
    let forward = match decision {
        Some(CheckedDecision::Refuse(problem)) => return Err(Refusal::PluginRefused(Box::new(problem)).into()),
        Some(CheckedDecision::Respond(response)) => {
            let (head, body) = relay::guest_answer(response)?;
            let correlation_id = record.correlation_id.clone();
            if let Some(claim) = request.claim.take() {
                idempotency::keep_own(claim, &head, &body, &correlation_id).await?;
            }
            return answer(session, head, body, &correlation_id, record).await;
        }
        Some(CheckedDecision::Enqueue(enqueue)) => {
            let kept = shaped(&request, enqueue)?;
            return keep(cx, session, request, kept, record).await;
        }
        Some(CheckedDecision::Forward(forward)) => Some(forward),
        None if route.upstreams.is_empty() => {
            let kept = unshaped(&request, request.body.clone(), None)?;
            return keep(cx, session, request, kept, record).await;
        }
        None => None,
    };
    let prefers = preferred(session, &request);
    let way = way(&request, forward, prefers)?;
    if prefers.respond_async && prefers.wait.is_none() {
        let kept = Kept { preference: Some(RESPOND_ASYNC), ..unshaped(&request, way.body, Some(&way.change))? };
        return keep(cx, session, request, kept, record).await;
    }
    send(cx, session, request, way, prefers, record).await
}

/// What the client prefers, where its route lets it choose and its method is one that makes an event.
fn preferred(session: &ServerSession, request: &Request<'_>) -> Preferences {
    let head = session.req_header();
    match request.admitted.route.route.action.prefer && !head.method.is_safe() {
        true => preferences(&head.headers),
        false => Preferences::default(),
    }
}

/// The way to an upstream that the plugin named, or to the route's first.
fn way(request: &Request<'_>, forward: Option<CheckedForward>, prefers: Preferences) -> Result<Way, Refusal> {
    let upstreams = &request.admitted.route.upstreams;
    let entry = match &forward {
        Some(forward) => upstreams.iter().find(|entry| entry.state.settings.name == forward.upstream.name),
        None => upstreams.first(),
    };
    let entry = entry.ok_or(Refusal::PluginOutputInvalid)?.clone();
    let total = entry.state.settings.total_timeout;
    let mut way = Way {
        entry,
        target: request.inbound.target(),
        change: HeaderChange::default(),
        body: request.body.clone(),
        total: prefers.wait.map_or(total, |wait| wait.min(total)),
    };
    if let Some(forward) = forward {
        way.target = forward.target.unwrap_or(way.target);
        way.change = HeaderChange { set: forward.set_headers, remove: forward.remove_headers };
        way.body = forward.body.map_or(way.body, |body| RequestBody::Whole(body.into()));
    }
    Ok(way)
}

/// An event as a plugin shaped it.
fn shaped(request: &Request<'_>, enqueue: CheckedEnqueue) -> Result<Kept, Refusal> {
    let CheckedEnqueue { event_type, key, content_type, body, sinks } = enqueue;
    let body = match body {
        Some(body) => body.into(),
        None => whole(request.body.clone())?,
    };
    Ok(Kept { event_type, key, content_type, body, sinks, doubtful: false, preference: None })
}

/// A request as its route's event, with the changes with which it was to be forwarded.
fn unshaped(request: &Request<'_>, body: RequestBody, change: Option<&HeaderChange>) -> Result<Kept, Refusal> {
    let action = request.admitted.route.route.action.enqueue.as_ref().ok_or(Refusal::Internal)?;
    let set = change.and_then(|change| change.set.iter().find(|(name, _)| name == CONTENT_TYPE));
    Ok(Kept {
        event_type: action.event_type.clone(),
        key: None,
        content_type: set.and_then(|(_, value)| value.to_str().ok()).map(str::to_owned),
        body: whole(body)?,
        sinks: action.sinks.clone(),
        doubtful: false,
        preference: None,
    })
}

fn whole(body: RequestBody) -> Result<Bytes, Refusal> {
    match body {
        RequestBody::Whole(body) => Ok(body),
        RequestBody::Stream => Err(Refusal::Internal),
    }
}

/// Keeps the request durably; the client gets 202.
async fn keep(
    cx: Context<'_>,
    session: &mut ServerSession,
    mut request: Request<'_>,
    kept: Kept,
    record: &mut Record,
) -> Result<(), Failure> {
    let route = &request.admitted.route.route;
    let mut attributes = Vec::new();
    if kept.doubtful {
        attributes.push(("sluisoutcome".to_owned(), "unknown".to_owned()));
    }
    let event = Enqueue {
        tenant: request.admitted.tenant.as_ref().ok_or(Refusal::Internal)?,
        route: route.name.clone(),
        event_type: kept.event_type,
        key: kept.key,
        content_type: kept.content_type.unwrap_or_else(|| content_type(session)),
        body: kept.body,
        sinks: &kept.sinks,
        lane: route.action.enqueue.as_ref().map_or(Lane::Normal, |action| action.lane),
        correlation_id: record.correlation_id.clone(),
        traceparent: record.traceparent.clone(),
        attributes,
        preference: kept.preference,
    };
    match enqueue::enqueue(cx.app, event, request.claim.as_mut()).await {
        Ok((head, body)) => {
            let correlation_id = record.correlation_id.clone();
            answer(session, head, body, &correlation_id, record).await
        }
        Err(refusal) => {
            if let Some(claim) = request.claim.take().filter(|_| !kept.doubtful) {
                claim.release().await;
            }
            Err(refusal.into())
        }
    }
}

/// Forwards and relays the answer; keeps the request where there is none and its route would rather have that.
async fn send(
    cx: Context<'_>,
    session: &mut ServerSession,
    mut request: Request<'_>,
    way: Way,
    prefers: Preferences,
    record: &mut Record,
) -> Result<(), Failure> {
    let stranded = match depart(cx, session, &mut request, &way, record).await {
        Ok((forwarded, _permit)) => {
            let Request { admitted, picked, claim, .. } = request;
            let asker = Asker { admitted: &admitted, picked: picked.as_ref(), claim };
            return relay::relay(cx, session, asker, forwarded, record).await;
        }
        Err(stranded) => stranded,
    };
    let action = &request.admitted.route.route.action;
    let falls_back = action.otherwise == Otherwise::Enqueue || prefers.respond_async;
    if falls_back && stranded.may_be_kept() && !session.req_header().method.is_safe() {
        let preference = prefers.respond_async.then_some(RESPOND_ASYNC);
        let kept = unshaped(&request, way.body, Some(&way.change))?;
        return keep(cx, session, request, Kept { doubtful: stranded.sent, preference, ..kept }, record).await;
    }
    // One that was begun and is dropped is unknown from then on.
    if let Some(claim) = request.claim.take().filter(|_| !stranded.sent) {
        claim.release().await;
    }
    Err(stranded.failure)
}

/// A request that was to be forwarded and got no answer.
struct Stranded {
    failure: Failure,
    /// An upstream may have got some of it.
    sent: bool,
}

impl Stranded {
    fn before(failure: impl Into<Failure>) -> Stranded {
        Stranded { failure: failure.into(), sent: false }
    }

    /// Whether the upstream was in the way, and not the client or the gateway. Of what was sent only that which ran out of
    /// time may be kept: what broke may have been answered.
    fn may_be_kept(&self) -> bool {
        let Failure::Refuse(refusal) = &self.failure else { return false };
        match refusal {
            Refusal::UpstreamTimeout => true,
            Refusal::CircuitOpen(_)
            | Refusal::UpstreamMaintenance(_)
            | Refusal::UpstreamBusy
            | Refusal::UpstreamUnreachable
            | Refusal::UpstreamTls => !self.sent,
            _ => false,
        }
    }
}

/// Sends the request and reads the head of its answer. The permit is the upstream's, until the answer is written.
async fn depart(
    cx: Context<'_>,
    session: &mut ServerSession,
    request: &mut Request<'_>,
    way: &Way,
    record: &mut Record,
) -> Result<(Forwarded, Permit), Stranded> {
    let entry = &way.entry;
    let leave = match request.admitted.leave.take() {
        Some(leave) => leave,
        None => admit::leave(&entry.state, cx.app.clock.now()).map_err(Stranded::before)?,
    };
    if let Some(claim) = &mut request.claim {
        // Before the first byte leaves it is on disk that it may have.
        claim.begin().await.map_err(|fault| Stranded::before(idempotency::unclaimed(fault)))?;
    }
    if matches!(way.body, RequestBody::Stream) {
        body::invite(session).await.map_err(Stranded::before)?;
    }
    let outgoing = outgoing(session, request, way, record);
    record.upstream(&entry.state.settings.name);
    let mut attempts = Attempts::default();
    let began = Instant::now();
    let job = Job {
        upstream: &entry.state,
        outgoing: &outgoing,
        body: way.body.clone(),
        retry_unsafe: request.admitted.route.route.retry_unsafe,
        stays: request.claim.is_some(),
        total: way.total,
        clock: cx.app.clock,
        began,
    };
    let forwarded = forward(session, &job, leave.pass, &mut attempts).await;
    if attempts.retries > 0 {
        entry.metrics.retries.inc_by(u64::from(attempts.retries));
    }
    entry.metrics.duration.observe(began.elapsed().as_secs_f64());
    match forwarded {
        Ok(forwarded) => {
            entry.metrics.count(forwarded.head().status.as_u16());
            Ok((forwarded, leave.permit))
        }
        Err(failure) => {
            entry.metrics.failed.inc();
            Err(Stranded { failure, sent: attempts.sent })
        }
    }
}

fn outgoing(session: &mut ServerSession, request: &mut Request<'_>, way: &Way, record: &Record) -> Outgoing {
    Outgoing {
        method: session.req_header().method.clone(),
        target: way.target.clone(),
        change: way.change.clone(),
        nominated: request.inbound.take_nominated(),
        provenance: Provenance {
            correlation_id: record.correlation_id.clone(),
            traceparent: record.traceparent.clone(),
            tenant: request.admitted.tenant.as_ref().map(|tenant| tenant.tenant.id.clone()),
            client: record.client,
            tls: record.tls,
        },
        length: outgoing_length(session, &way.body),
    }
}

/// A body that is there has its length told, even an empty one that the client announced.
fn outgoing_length(session: &mut ServerSession, body: &RequestBody) -> BodyLength {
    match body {
        RequestBody::Whole(body) if !body.is_empty() => BodyLength::Known(body.len() as u64),
        RequestBody::Whole(_) => match body::length(session) {
            BodyLength::None => BodyLength::None,
            _ => BodyLength::Known(0),
        },
        RequestBody::Stream => body::length(session),
    }
}

/// Writes an answer of the gateway's own.
pub async fn answer(
    session: &mut ServerSession,
    head: ResponseHeader,
    body: Bytes,
    correlation_id: &str,
    record: &mut Record,
) -> Result<(), Failure> {
    record.answered(head.status.as_u16());
    reply::respond(session, head, body, correlation_id).await.map_err(|_| Failure::ClientGone)
}

fn content_type(session: &ServerSession) -> String {
    let value = session.get_header_bytes(CONTENT_TYPE);
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_empty() => text.to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}
