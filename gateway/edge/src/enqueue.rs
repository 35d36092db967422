//! The journey to the ledger: 202 with a `Location` once the event is on disk, and the resource behind that location.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use pingora::http::ResponseHeader;
use serde::Serialize;
use sluis_ledger::{AcceptError, ClaimFault, ReadError};
use sluis_model::event::NewEvent;
use sluis_model::lane::Lane;
use sluis_model::plan::{Auth, Sink};
use sluis_model::refusal::{Refusal, TokenFault};
use uuid::Uuid;

use crate::clock::Clock;
use crate::state::{App, Generation, TenantState};

/// Where events can be asked for; no route can be configured below it.
pub const EVENTS_PATH: &str = "/v1/events/";

/// An event about to be accepted.
pub struct Enqueue<'a> {
    /// Whose it is.
    pub tenant: &'a TenantState,
    /// Name of the route.
    pub route: Arc<str>,
    /// CloudEvents type.
    pub event_type: Arc<str>,
    /// Ordering key.
    pub key: Option<String>,
    /// Media type of the body.
    pub content_type: String,
    /// What the sinks get.
    pub body: Bytes,
    /// Where to.
    pub sinks: &'a [Arc<Sink>],
    /// How urgent it is.
    pub lane: Lane,
    /// Of the request.
    pub correlation_id: Arc<str>,
    /// Of the request.
    pub traceparent: Arc<str>,
}

#[derive(Serialize)]
struct Accepted<'a> {
    id: &'a str,
    state: &'static str,
    status_url: &'a str,
    correlation_id: &'a str,
}

/// Whether the ledger would take something of this tenant's in this lane now; cheap, asked before a body is read.
pub fn room(app: &App, tenant: &TenantState, lane: Lane) -> Result<(), Refusal> {
    app.ledger.room(&tenant.tenant.id, tenant.tenant.limits.queue_bytes, lane).map_err(|error| refusal(&error))
}

/// Accepts the event; returns its answer only after the commit is on disk.
pub async fn enqueue(app: &App, enqueue: Enqueue<'_>) -> Result<(ResponseHeader, Bytes), Refusal> {
    let id = Uuid::now_v7();
    let limits = &enqueue.tenant.tenant.limits;
    let event = NewEvent {
        id,
        tenant: enqueue.tenant.tenant.id.clone(),
        route: enqueue.route,
        event_type: enqueue.event_type,
        key: enqueue.key,
        content_type: enqueue.content_type,
        body: enqueue.body,
        sinks: enqueue.sinks.iter().map(|sink| sink.of_event()).collect(),
        lane: enqueue.lane,
        causation_id: None,
        attributes: Vec::new(),
        correlation_id: enqueue.correlation_id.clone(),
        traceparent: Some(enqueue.traceparent),
        accepted_at: Clock::unix_millis(),
    };
    app.ledger.accept(event, limits.queue_bytes).await.map_err(|error| refusal(&error))?;
    enqueue.tenant.metrics.accepted.inc();
    let id = id.to_string();
    let location = format!("{EVENTS_PATH}{id}");
    let accepted =
        Accepted { id: &id, state: "accepted", status_url: &location, correlation_id: &enqueue.correlation_id };
    let body = serde_json::to_vec(&accepted).map_err(|_| Refusal::Internal)?;
    let head = head(202, &[(LOCATION.as_str(), &location), (RETRY_AFTER.as_str(), "1")])?;
    Ok((head, body.into()))
}

/// `GET /v1/events/{id}`: the state of an event of the caller's own tenant. Another tenant's is not found.
pub async fn status(
    app: &App,
    generation: &Generation,
    headers: &http::HeaderMap,
    id: &str,
) -> Result<(ResponseHeader, Bytes), Refusal> {
    let tenant = caller(generation, headers).await?;
    let id = Uuid::try_parse(id).map_err(|_| Refusal::EventNotFound)?;
    let found = app.ledger.status(&tenant, id).await.map_err(|error| match error {
        ReadError::Busy => Refusal::Overloaded,
        ReadError::Storage | ReadError::Closed => Refusal::QueueStorageFault,
    })?;
    let event = found.ok_or(Refusal::EventNotFound)?;
    let body = serde_json::to_vec(&event).map_err(|_| Refusal::Internal)?;
    let fields: &[(&str, &str)] = if event.state.is_final() { &[] } else { &[(RETRY_AFTER.as_str(), "1")] };
    Ok((head(200, fields)?, body.into()))
}

/// The tenant behind a token of any issuer that a route trusts.
async fn caller(generation: &Generation, headers: &http::HeaderMap) -> Result<Arc<str>, Refusal> {
    let mut issuers: Vec<usize> = generation
        .routes
        .iter()
        .filter_map(|route| match &route.route.auth {
            Auth::Jwt { issuers, .. } => Some(issuers.iter().copied()),
            Auth::Public => None,
        })
        .flatten()
        .collect();
    issuers.sort_unstable();
    issuers.dedup();
    let mut credentials = headers.get_all(http::header::AUTHORIZATION).iter();
    let credential = credentials.next().ok_or(Refusal::InvalidToken(TokenFault::Missing))?;
    if credentials.next().is_some() {
        return Err(Refusal::AmbiguousCredentials);
    }
    let identity = generation.tokens.identify(credential.as_bytes(), &issuers, Clock::unix_seconds()).await?;
    let tenant = identity.tenant.clone().ok_or(Refusal::TenantMismatch)?;
    if generation.tenants.contains_key(&tenant) { Ok(tenant) } else { Err(Refusal::TenantMismatch) }
}

fn head(status: u16, fields: &[(&'static str, &str)]) -> Result<ResponseHeader, Refusal> {
    let build = || {
        let mut head = ResponseHeader::build_no_case(status, Some(8))?;
        head.insert_header(CONTENT_TYPE, "application/json")?;
        head.insert_header(CACHE_CONTROL, "no-store")?;
        for (name, value) in fields {
            head.insert_header(*name, *value)?;
        }
        Ok::<_, Box<pingora::Error>>(head)
    };
    build().map_err(|_| Refusal::Internal)
}

fn refusal(error: &AcceptError) -> Refusal {
    match error {
        AcceptError::TenantFull => Refusal::TenantQueueFull,
        AcceptError::Full | AcceptError::Shed => Refusal::QueueFull,
        AcceptError::DiskFull => Refusal::InsufficientStorage,
        AcceptError::Claim(ClaimFault::Full) => Refusal::IdempotencyFull,
        AcceptError::Claim(ClaimFault::Taken) => Refusal::IdempotencyInProgress,
        AcceptError::Claim(ClaimFault::Unavailable) => Refusal::QueueStorageFault,
        AcceptError::Storage | AcceptError::Closed | AcceptError::Duplicate => Refusal::QueueStorageFault,
    }
}
