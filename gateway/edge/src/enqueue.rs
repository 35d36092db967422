//! The journey to the ledger: 202 with a `Location` once the event is on disk.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use pingora::http::ResponseHeader;
use serde::Serialize;
use sluis_ledger::{AcceptError, Claim};
use sluis_model::event::NewEvent;
use sluis_model::lane::Lane;
use sluis_model::plan::Sink;
use sluis_model::refusal::Refusal;
use uuid::Uuid;

use crate::event_status::EVENTS_PATH;
use crate::idempotency;
use crate::reply::json_head;
use crate::state::{App, TenantState};

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
    /// CloudEvents attributes beyond those that have a field here.
    pub attributes: Vec<(String, String)>,
    /// What the client preferred (RFC 7240 §3), where it had its will.
    pub preference: Option<&'static str>,
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

/// Accepts the event; returns its answer only after the commit is on disk. Under an idempotency key the same commit holds
/// the answer, so that a repetition gets it whatever happens.
pub async fn enqueue(
    app: &App,
    enqueue: Enqueue<'_>,
    claim: Option<&mut Claim>,
) -> Result<(ResponseHeader, Bytes), Refusal> {
    let id = Uuid::now_v7();
    let (head, body) = accepted(id, &enqueue)?;
    let Enqueue { tenant, correlation_id, .. } = enqueue;
    let event = NewEvent {
        id,
        tenant: tenant.tenant.id.clone(),
        route: enqueue.route,
        event_type: enqueue.event_type,
        key: enqueue.key,
        content_type: enqueue.content_type,
        body: enqueue.body,
        sinks: enqueue.sinks.iter().map(|sink| sink.of_event()).collect(),
        lane: enqueue.lane,
        causation_id: None,
        attributes: enqueue.attributes,
        correlation_id: correlation_id.clone(),
        traceparent: Some(enqueue.traceparent),
        accepted_at: app.ledger.now(),
    };
    let queue_bytes = tenant.tenant.limits.queue_bytes;
    let kept = match claim {
        None => app.ledger.accept(event, queue_bytes).await,
        Some(claim) => {
            let answer = idempotency::stored(&head, &body, &correlation_id);
            app.ledger.accept_claimed(event, claim, answer, queue_bytes).await
        }
    };
    kept.map_err(|error| refusal(&error))?;
    tenant.metrics.accepted.inc();
    Ok((head, body))
}

/// The 202 of an event.
fn accepted(id: Uuid, enqueue: &Enqueue<'_>) -> Result<(ResponseHeader, Bytes), Refusal> {
    let id = id.to_string();
    let location = format!("{EVENTS_PATH}{id}");
    let accepted =
        Accepted { id: &id, state: "accepted", status_url: &location, correlation_id: &enqueue.correlation_id };
    let body = serde_json::to_vec(&accepted).map_err(|_| Refusal::Internal)?;
    let mut fields = vec![(LOCATION.as_str(), location.as_str()), (RETRY_AFTER.as_str(), "1")];
    fields.extend(enqueue.preference.map(|preference| ("preference-applied", preference)));
    Ok((json_head(202, &fields)?, body.into()))
}

fn refusal(error: &AcceptError) -> Refusal {
    match error {
        AcceptError::TenantFull => Refusal::TenantQueueFull,
        AcceptError::Full | AcceptError::Shed => Refusal::QueueFull,
        AcceptError::DiskFull => Refusal::InsufficientStorage,
        AcceptError::Claim(fault) => idempotency::unclaimed(*fault),
        AcceptError::Storage | AcceptError::Closed | AcceptError::Duplicate => Refusal::QueueStorageFault,
    }
}
