//! The ways that a request can go once it is decided: to an upstream, to the ledger, or straight back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use sluis_ledger::Claim;
use sluis_model::cloud_event::{self, Incoming};
use sluis_model::hook::{CheckedDecision, CheckedEnqueue, CheckedForward};
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
    /// The plugin's, where it gave one.
    body: Option<Bytes>,
    /// Whole exchange, at most.
    total: Duration,
}

/// What is to be kept of a request.
struct Kept {
    /// The plugin's; the sender's or the route's where none.
    event_type: Option<Arc<str>>,
    /// The plugin's; the sender's where none.
    key: Option<String>,
    /// The plugin's; the request's where none.
    content_type: Option<String>,
    /// The plugin's; the request's where none.
    body: Option<Bytes>,
    sinks: Vec<Arc<Sink>>,
    /// The CloudEvent that the request is.
    event: Option<Incoming>,
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
            let CheckedEnqueue { event_type, key, content_type, body, sinks } = enqueue;
            let (body, event) = (body.map(Bytes::from), event(session, &request)?);
            let kept = Kept { event_type, key, content_type, body, sinks, event, doubtful: false, preference: None };
            return keep(cx, session, request, kept, record).await;
        }
        Some(CheckedDecision::Forward(forward)) => Some(forward),
        None if route.upstreams.is_empty() => {
            let kept = Kept { event: event(session, &request)?, ..unshaped(&request)? };
            return keep(cx, session, request, kept, record).await;
        }
        None => None,
    };
    let prefers = preferred(session, &request);
    let way = way(&request, forward, prefers)?;
    if prefers.respond_async && prefers.wait.is_none() {
        let event = event(session, &request)?;
        let kept = Kept { event, preference: Some(RESPOND_ASYNC), ..rerouted(&request, way)? };
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
        body: None,
        total: prefers.wait.map_or(total, |wait| wait.min(total)),
    };
    if let Some(forward) = forward {
        way.target = forward.target.unwrap_or(way.target);
        way.change = HeaderChange { set: forward.set_headers, remove: forward.remove_headers };
        way.body = forward.body.map(Bytes::from);
    }
    Ok(way)
}

/// The CloudEvent that the request is, if it is one.
fn event(session: &ServerSession, request: &Request<'_>) -> Result<Option<Incoming>, Refusal> {
    let RequestBody::Whole(body) = &request.body else { return Err(Refusal::Internal) };
    let event = cloud_event::incoming(&session.req_header().headers, body)?;
    let data = event.as_ref().and_then(|event| event.data.as_ref());
    match data.is_none_or(|data| request.admitted.route.route.body_format.admits(data)) {
        true => Ok(event),
        false => Err(Refusal::MalformedJson),
    }
}

/// A request as its route's event.
fn unshaped(request: &Request<'_>) -> Result<Kept, Refusal> {
    let action = request.admitted.route.route.action.enqueue.as_ref().ok_or(Refusal::Internal)?;
    let sinks = action.sinks.clone();
    let (event_type, key, content_type, body, event, preference) = (None, None, None, None, None, None);
    Ok(Kept { event_type, key, content_type, body, sinks, event, doubtful: false, preference })
}

/// The same, as a plugin shaped it for the way that it does not go.
fn rerouted(request: &Request<'_>, way: Way) -> Result<Kept, Refusal> {
    let set = way.change.set.into_iter().find(|(name, _)| name == CONTENT_TYPE);
    let content_type = set.and_then(|(_, value)| value.to_str().ok().map(str::to_owned));
    Ok(Kept { content_type, body: way.body, ..unshaped(request)? })
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
    let action = route.action.enqueue.as_ref().ok_or(Refusal::Internal)?;
    let Incoming { event_type, key, content_type, data, mut attributes } = kept.event.unwrap_or_default();
    if kept.doubtful {
        attributes.push(("sluisoutcome".to_owned(), "unknown".to_owned()));
        attributes.sort_unstable();
    }
    let own_type = content_type.filter(|_| kept.body.is_none());
    let body = match (kept.body.or(data), &request.body) {
        (Some(body), _) => body,
        (None, RequestBody::Whole(body)) => body.clone(),
        (None, RequestBody::Stream(_)) => return Err(Refusal::Internal.into()),
    };
    let sent_type = Some(event_type).filter(|sent| !sent.is_empty()).map(Arc::from);
    let event = Enqueue {
        tenant: request.admitted.tenant.as_ref().ok_or(Refusal::Internal)?,
        route: route.name.clone(),
        event_type: kept.event_type.or(sent_type).unwrap_or_else(|| action.event_type.clone()),
        key: kept.key.or(key),
        content_type: kept.content_type.or(own_type).unwrap_or_else(|| self::content_type(session)),
        body,
        sinks: &kept.sinks,
        lane: action.lane,
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
        // What is no CloudEvent could be forwarded as well, so it is kept as it is.
        let event = event(session, &request).unwrap_or_default();
        let kept = Kept { event, doubtful: stranded.sent, preference, ..rerouted(&request, way)? };
        return keep(cx, session, request, kept, record).await;
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
    let body = way.body.clone().map_or_else(|| request.body.clone(), RequestBody::Whole);
    if matches!(body, RequestBody::Stream(_)) {
        body::invite(session).await.map_err(Stranded::before)?;
    }
    let outgoing = outgoing(session, request, way, &body, record);
    record.upstream(&entry.state.settings.name);
    let mut attempts = Attempts::default();
    let began = Instant::now();
    let job = Job {
        upstream: &entry.state,
        outgoing: &outgoing,
        body,
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

fn outgoing(
    session: &mut ServerSession,
    request: &mut Request<'_>,
    way: &Way,
    body: &RequestBody,
    record: &Record,
) -> Outgoing {
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
        length: outgoing_length(session, body),
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
        RequestBody::Stream(_) => body::length(session),
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
