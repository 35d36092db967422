//! One request's life, read from top to bottom: head, admit, body, plugin, journey, answer, record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use sluis_model::hook::{CheckedDecision, CheckedEnqueue, RequestView};
use sluis_model::lane::Lane;
use sluis_model::plan::{BodyFormat, OnError, ServerLimits};
use sluis_model::refusal::{Blame, Refusal};

use crate::admit::{self, Admitted, Learnt};
use crate::decide::Asked;
use crate::enqueue::{self, Enqueue};
use crate::event_status::{self, EVENTS_PATH};
use crate::forward::exchange::{ONE_WRITE, RequestBody};
use crate::forward::head::{BodyLength, HeaderChange, Outgoing, Provenance};
use crate::forward::{Attempts, Failure, Job, forward};
use crate::head::{self, Inbound};
use crate::record::Record;
use crate::serving::Picked;
use crate::state::{App, Context, UpstreamEntry};
use crate::{body, decide, relay, reply};

/// What pingora serves with: the process and the options of its HTTP machinery.
pub struct Ingress {
    app: Arc<App>,
    options: HttpServerOptions,
    limits: ServerLimits,
}

impl Ingress {
    /// `limits` are those of the plan at start: pingora asks for them once per connection.
    pub fn new(app: Arc<App>, limits: ServerLimits) -> Self {
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(limits.requests_per_connection);
        options.h2_idle_timeout = Some(limits.idle_timeout);
        Ingress { app, options, limits }
    }
}

#[async_trait]
impl HttpServerApp for Ingress {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let generation = self.app.generation.load_full();
        let limits = &generation.plan.server.limits;
        if !read_head(&mut session, limits).await? {
            return None;
        }
        let leaving = *shutdown.borrow() || self.app.draining.load(Ordering::Relaxed);
        settle_connection(&mut session, limits, leaving);
        let mut record = Record::begin(&self.app, &session);
        let cx = Context { app: &self.app, generation: &generation };
        match serve(cx, &mut session, &mut record).await {
            Ok(()) => {}
            Err(Failure::Refuse(refusal)) => {
                record.refused(&refusal);
                if session.response_written().is_some_and(|head| !head.status.is_informational()) {
                    // The head is out: breaking off is the only way left to say that this is not the whole answer.
                    record.finish(&self.app, &generation, session.body_bytes_sent(), true);
                    session.shutdown().await;
                    return None;
                }
                if reply::refuse(&mut session, &refusal, &record.correlation_id).await.is_err() {
                    record.client_gone();
                }
            }
            Err(Failure::ClientGone) => {
                record.client_gone();
                record.finish(&self.app, &generation, session.body_bytes_sent(), true);
                return None;
            }
        }
        record.finish(&self.app, &generation, session.body_bytes_sent(), false);
        finish(session).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(head::h2_options(&self.limits))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// Reads the head. `Some(false)`: it was refused, or the connection ended.
async fn read_head(session: &mut ServerSession, limits: &ServerLimits) -> Option<bool> {
    session.set_read_timeout(Some(limits.head_timeout));
    session.set_write_timeout(Some(limits.write_timeout));
    session.set_total_drain_timeout(Some(Duration::from_secs(1)));
    // A first request must come within the head deadline; a later one may come after an idle wait.
    let first = session.get_keepalive_reuses_remaining() == Some(limits.requests_per_connection);
    let wait = if first { limits.head_timeout } else { limits.idle_timeout + limits.head_timeout };
    // pingora's timers are coarse and shared: every request waits here, few for long.
    match pingora::time::timeout(wait, session.read_request()).await {
        Ok(Ok(read)) => Some(read),
        Ok(Err(error)) => {
            tracing::debug!(%error, "request head");
            if !matches!(error.etype(), pingora::ErrorType::ConnectionClosed | pingora::ErrorType::ReadError) {
                session.set_keepalive(None);
                let _ = head::refuse_unread(session, &Refusal::MalformedRequest).await;
            }
            Some(false)
        }
        Err(_) => Some(false),
    }
}

fn settle_connection(session: &mut ServerSession, limits: &ServerLimits, leaving: bool) {
    session.set_read_timeout(Some(limits.body_timeout));
    if leaving {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        session.set_keepalive(Some(limits.idle_timeout.as_secs().max(1)));
    }
}

/// A request whose body may be acted on.
struct Request<'g> {
    inbound: Inbound,
    admitted: Admitted<'g>,
    /// Which versions of the plugin in the route's slot take it, from the first hook to the last.
    picked: Option<Picked>,
    body: RequestBody,
}

/// The way to an upstream that was decided.
struct Way {
    entry: Arc<UpstreamEntry>,
    target: String,
    change: HeaderChange,
}

/// From a read head to a written answer.
async fn serve(cx: Context<'_>, session: &mut ServerSession, record: &mut Record) -> Result<(), Failure> {
    let inbound = Inbound::read(session, &cx.generation.plan.server.limits)?;
    record.inbound(&inbound);
    if let Some(id) = inbound.path().strip_prefix(EVENTS_PATH) {
        return event_status::serve(cx, session, id, inbound.query(), record).await;
    }

    let mut learnt = Learnt::default();
    let admitted = {
        let request = session.req_header();
        let head = admit::Head {
            host: inbound.host(),
            path: inbound.path(),
            method: &request.method,
            headers: &request.headers,
        };
        admit::admit(cx.app, cx.generation, head, record.began, &mut learnt).await
    };
    record.learnt(learnt);
    let admitted = admitted?;

    let picked = pick(&admitted)?;
    record.picked(picked.as_ref());
    let body = read_body(session, &admitted, picked.as_ref()).await?;
    let mut request = Request { inbound, admitted, picked, body };
    let decision = match decide(cx, session, &request, record).await {
        Err(Failure::Refuse(refusal)) => rescue(cx, session, &mut request, refusal, record).await?,
        decided => decided?,
    };
    if decision.is_some() {
        // Whoever else is ready computes first, then all of them write: whoever reads on another core is woken once for
        // the lot and not for each. Measured at saturation: a tenth less CPU a request, and no higher p99.
        tokio::task::yield_now().await;
    }
    journey(cx, session, request, decision, record).await
}

/// Who takes the request in the route's slot; a slot that must be filled and is not answers 503.
fn pick(admitted: &Admitted<'_>) -> Result<Option<Picked>, Refusal> {
    let (Some(slot), Some(tenant)) = (&admitted.route.route.plugin, &admitted.tenant) else {
        return Ok(None);
    };
    let slot = tenant.slots.get(slot).ok_or(Refusal::PluginUnavailable)?;
    let serving = slot.plugin.serving.load();
    let serving = serving.as_ref().ok_or(Refusal::PluginUnavailable)?;
    Ok(Some(serving.pick()))
}

/// Reads the body whole where the plugin, the ledger or the route's format needs it, or where it is small enough to be
/// sent in one piece; leaves it to stream otherwise.
async fn read_body(
    session: &mut ServerSession,
    admitted: &Admitted<'_>,
    picked: Option<&Picked>,
) -> Result<RequestBody, Failure> {
    let route = &admitted.route.route;
    let guest_reads = picked.is_some_and(|picked| picked.reads_body());
    if guest_reads || route.action.enqueue.is_some() || route.body_format != BodyFormat::Any {
        let body = body::read_whole(session, route.body_limit).await?;
        if !route.body_format.admits(&body) {
            return Err(Refusal::MalformedJson.into());
        }
        return Ok(RequestBody::Whole(body));
    }
    match body::length(session) {
        BodyLength::None => Ok(RequestBody::Whole(Bytes::new())),
        BodyLength::Known(length) if length <= ONE_WRITE as u64 => {
            Ok(RequestBody::Whole(body::read_whole(session, ONE_WRITE).await?))
        }
        _ => Ok(RequestBody::Stream),
    }
}

/// What becomes of the request: the plugin's word, or none for the route's default.
async fn decide(
    cx: Context<'_>,
    session: &ServerSession,
    request: &Request<'_>,
    record: &Record,
) -> Result<Option<CheckedDecision>, Failure> {
    let Request { inbound, admitted, picked, body } = request;
    let (Some(picked), Some(tenant)) = (picked, &admitted.tenant) else {
        return Ok(None);
    };
    let hooks = picked.serves.plugin.hooks();
    if !hooks.on_request && !hooks.on_request_head {
        return Ok(None);
    }
    let head = session.req_header();
    let parameters: Vec<(&str, &str)> = admitted.parameters.iter().map(|(n, v)| (&**n, &**v)).collect();
    let headers = decide::visible_fields(&head.headers);
    let view = RequestView {
        method: head.method.as_str(),
        path: inbound.path(),
        query: inbound.query(),
        route: &admitted.route.route.name,
        parameters: &parameters,
        headers: &headers,
        tenant: &tenant.tenant.id,
        subject: admitted.identity.as_ref().map_or("", |identity| &identity.subject),
        claims: admitted.identity.as_ref().map_or("{}", |identity| &identity.claims),
        correlation_id: &record.correlation_id,
        body: match body {
            RequestBody::Whole(body) => body,
            RequestBody::Stream => &[],
        },
    };
    Ok(Some(decide::on_request(cx, Asked { route: admitted.route, tenant, picked }, view).await?))
}

/// What becomes of a request whose plugin gave no decision, by the slot's `on_error`.
async fn rescue(
    cx: Context<'_>,
    session: &ServerSession,
    request: &mut Request<'_>,
    refusal: Refusal,
    record: &mut Record,
) -> Result<Option<CheckedDecision>, Failure> {
    let route = request.admitted.route;
    let on_error = on_error(&request.admitted).filter(|_| refusal.answer().blame == Blame::Guest);
    let fallback = request.picked.as_ref().and_then(|picked| picked.fallback.clone());
    let leads_on = !route.upstreams.is_empty() || route.route.action.enqueue.is_some();
    request.picked = match (on_error, fallback) {
        (Some(OnError::Bypass), _) if leads_on => None,
        (Some(OnError::Previous), Some(serves)) => Some(Picked { serves, shadow: None, fallback: None }),
        _ => return Err(refusal.into()),
    };
    record.picked(request.picked.as_ref());
    decide(cx, session, request, record).await
}

fn on_error(admitted: &Admitted<'_>) -> Option<OnError> {
    let slot = admitted.route.route.plugin.as_ref()?;
    Some(admitted.tenant.as_ref()?.slots.get(slot)?.on_error)
}

/// Walks the way that was decided.
async fn journey(
    cx: Context<'_>,
    session: &mut ServerSession,
    mut request: Request<'_>,
    decision: Option<CheckedDecision>,
    record: &mut Record,
) -> Result<(), Failure> {
    let route = request.admitted.route;
    match decision {
        Some(CheckedDecision::Refuse(problem)) => Err(Refusal::PluginRefused(Box::new(problem)).into()),
        Some(CheckedDecision::Respond(response)) => {
            let (head, body) = relay::guest_answer(response)?;
            answer(session, head, body, record).await
        }
        Some(CheckedDecision::Enqueue(enqueue)) => keep(cx, session, request, enqueue, record).await,
        Some(CheckedDecision::Forward(forward)) => {
            let named = route.upstreams.iter().find(|entry| entry.state.settings.name == forward.upstream.name);
            let way = Way {
                entry: named.ok_or(Refusal::PluginOutputInvalid)?.clone(),
                target: forward.target.unwrap_or_else(|| request.inbound.target()),
                change: HeaderChange { set: forward.set_headers, remove: forward.remove_headers },
            };
            if let Some(body) = forward.body {
                request.body = RequestBody::Whole(body.into());
            }
            send(cx, session, request, way, record).await
        }
        None => match (route.upstreams.first(), &route.route.action.enqueue) {
            (Some(entry), _) => {
                let target = request.inbound.target();
                let way = Way { entry: entry.clone(), target, change: HeaderChange::default() };
                send(cx, session, request, way, record).await
            }
            (None, Some(action)) => {
                let enqueue = CheckedEnqueue {
                    event_type: action.event_type.clone(),
                    key: None,
                    content_type: None,
                    body: None,
                    sinks: action.sinks.clone(),
                };
                keep(cx, session, request, enqueue, record).await
            }
            (None, None) => Err(Refusal::Internal.into()),
        },
    }
}

/// Keeps the request durably; the client gets 202.
async fn keep(
    cx: Context<'_>,
    session: &mut ServerSession,
    request: Request<'_>,
    enqueue: CheckedEnqueue,
    record: &mut Record,
) -> Result<(), Failure> {
    let body = match (enqueue.body, request.body) {
        (Some(body), _) => body.into(),
        (None, RequestBody::Whole(body)) => body,
        (None, RequestBody::Stream) => return Err(Refusal::Internal.into()),
    };
    let event = Enqueue {
        tenant: request.admitted.tenant.as_ref().ok_or(Refusal::Internal)?,
        route: request.admitted.route.route.name.clone(),
        event_type: enqueue.event_type,
        key: enqueue.key,
        content_type: enqueue.content_type.unwrap_or_else(|| content_type(session)),
        body,
        sinks: &enqueue.sinks,
        lane: request.admitted.route.route.action.enqueue.as_ref().map_or(Lane::Normal, |action| action.lane),
        correlation_id: record.correlation_id.clone(),
        traceparent: record.traceparent.clone(),
    };
    let (head, body) = enqueue::enqueue(cx.app, event).await?;
    answer(session, head, body, record).await
}

/// Forwards and relays the answer.
async fn send(
    cx: Context<'_>,
    session: &mut ServerSession,
    request: Request<'_>,
    way: Way,
    record: &mut Record,
) -> Result<(), Failure> {
    let Request { inbound, mut admitted, picked, body } = request;
    let Way { entry, target, change } = way;
    let leave = match admitted.leave.take() {
        Some(leave) => leave,
        None => admit::leave(&entry.state, cx.app.clock.now())?,
    };
    if matches!(body, RequestBody::Stream) {
        body::invite(session).await?;
    }
    let outgoing = Outgoing {
        method: session.req_header().method.clone(),
        target,
        change,
        nominated: inbound.into_nominated(),
        provenance: Provenance {
            correlation_id: record.correlation_id.clone(),
            traceparent: record.traceparent.clone(),
            tenant: admitted.tenant.as_ref().map(|tenant| tenant.tenant.id.clone()),
            client: record.client,
            tls: record.tls,
        },
        length: outgoing_length(session, &body),
    };
    let _permit = leave.permit;
    record.upstream(&entry.state.settings.name);
    let mut attempts = Attempts::default();
    let began = Instant::now();
    let retry_unsafe = admitted.route.route.retry_unsafe;
    let job = Job { upstream: &entry.state, outgoing: &outgoing, body, retry_unsafe, clock: cx.app.clock, began };
    let forwarded = forward(session, &job, leave.pass, &mut attempts).await;
    if attempts.retries > 0 {
        entry.metrics.retries.inc_by(u64::from(attempts.retries));
    }
    entry.metrics.duration.observe(began.elapsed().as_secs_f64());
    match forwarded {
        Ok(forwarded) => {
            entry.metrics.count(forwarded.head().status.as_u16());
            relay::relay(cx, session, &admitted, picked.as_ref(), forwarded, record).await
        }
        Err(failure) => {
            entry.metrics.failed.inc();
            Err(failure)
        }
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

/// Writes a whole answer.
pub async fn answer(
    session: &mut ServerSession,
    head: ResponseHeader,
    body: Bytes,
    record: &mut Record,
) -> Result<(), Failure> {
    record.answered(head.status.as_u16());
    reply::respond(session, head, body, &record.correlation_id).await.map_err(|_| Failure::ClientGone)
}

async fn finish(session: ServerSession) -> Option<ReusedHttpStream> {
    let settings = HttpPersistentSettings::for_session(&session);
    let mut session = session;
    relay::linger(&mut session).await;
    let stream = session.finish().await.ok()??;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

fn content_type(session: &ServerSession) -> String {
    let value = session.get_header_bytes(http::header::CONTENT_TYPE);
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_empty() => text.to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}
