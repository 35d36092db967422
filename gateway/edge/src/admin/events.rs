//! Events and what becomes of them: found, shown, sent anew, given up, held; and who did that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use sluis_ledger::{EventStatus, Ledger, NewBody, Operated, Operation, Subject};
use sluis_model::event::{DeliveryState, NewEvent};
use uuid::Uuid;

use super::caller::EventsCaller;
use super::event_views::{EventOrder, EventView, Moved, NotJson, OperationView, OperationsQuery, PageView, Replay};
use super::filter::{EventsQuery, cursor_text};
use super::problem::Problem;
use super::strict::{Id, Strict, StrictQuery};
use crate::rollouts::Rollouts;

/// Lines of the audit in one answer.
const AUDIT_PAGE: usize = 100;
/// Longest media type that is taken, characters.
const CONTENT_TYPE: usize = 255;

type App = State<Arc<Rollouts>>;

/// Deliveries of events that pass a filter, newest event first.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventsQuery),
    responses((status = 200, body = PageView), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    State(app): App,
    caller: EventsCaller,
    StrictQuery(query): StrictQuery<EventsQuery>,
) -> Result<Json<PageView>, Problem> {
    page(&app.app().ledger, query.filter(&caller)?, &query).await
}

/// An event: its head, its deliveries, its history.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = EventView), (status = 404, body = Problem)))]
pub async fn show(State(app): App, caller: EventsCaller, Id(id): Id) -> Result<Json<EventView>, Problem> {
    let (event, status) = find(&app.app().ledger, &caller, id).await?;
    Ok(Json(EventView::new(event, status)))
}

/// The body of an event, as it was accepted.
#[utoipa::path(get, path = "/v1/events/{id}/body", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 404, body = Problem)))]
pub async fn body(State(app): App, caller: EventsCaller, Id(id): Id) -> Result<Response, Problem> {
    let (event, _) = find(&app.app().ledger, &caller, id).await?;
    let octets = HeaderValue::from_static("application/octet-stream");
    let media_type = HeaderValue::from_str(&event.content_type).unwrap_or(octets);
    // What a tenant's customer sent is nothing that a browser may run.
    let mut response = (
        [
            (header::CONTENT_DISPOSITION, "attachment"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("content-security-policy"), "sandbox"),
        ],
        event.body,
    )
        .into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// Sends what was given up anew: as another delivery, or with another body as another event.
#[utoipa::path(post, path = "/v1/events/{id}/replay", tag = "events", params(("id" = String, Path)),
    request_body = Replay,
    responses((status = 200, body = Moved), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Nothing of it was given up, or a newer event of its key was delivered")))]
pub async fn replay(
    State(app): App,
    caller: EventsCaller,
    Id(id): Id,
    Strict(order): Strict<Replay>,
) -> Result<Json<Moved>, Problem> {
    let ledger = &app.app().ledger;
    let Replay { sink, reason, body, content_type, force, dry_run } = order;
    let body = body.as_deref().map(|body| new_body(body, content_type.as_deref())).transpose()?;
    if body.is_none() && content_type.is_some() {
        return Err(Problem::malformed("`content_type` is that of a `body`, and there is none"));
    }
    if body.is_none() && !dry_run {
        return operate(ledger, &caller, id, Operation::Replay { force }, EventOrder { sink, reason }).await;
    }
    let (event, status) = find(ledger, &caller, id).await?;
    let dead = dead_sinks(&status, sink.as_deref(), force)?;
    let edited = body.map(|body| only(&dead).map(|sink| (sink, body))).transpose()?;
    let operated = match edited {
        Some((sink, body)) if !dry_run => {
            let sink = caller.generation().plan.sinks.get(sink).ok_or_else(|| {
                Problem::not_possible(format!("the configuration has no sink {sink:?} any more: nothing goes there"))
            })?;
            let (tenant, by) = (caller.only().cloned(), caller.by(reason.as_deref()));
            ledger.replay_edited(id, tenant, sink.of_event(), body, force, by).await?
        }
        _ => Operated { tenant: Some(event.tenant.to_string()), deliveries: dead.len(), event: None },
    };
    Ok(Json(Moved { dry_run, ..moved(id, Operation::Replay { force }, operated) }))
}

/// Gives up for good what waits or is dead.
#[utoipa::path(post, path = "/v1/events/{id}/discard", tag = "events", params(("id" = String, Path)),
    request_body = EventOrder,
    responses((status = 200, body = Moved), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn discard(
    State(app): App,
    caller: EventsCaller,
    Id(id): Id,
    Strict(order): Strict<EventOrder>,
) -> Result<Json<Moved>, Problem> {
    operate(&app.app().ledger, &caller, id, Operation::Discard, order).await
}

/// Lets what waits do so until it is released.
#[utoipa::path(post, path = "/v1/events/{id}/hold", tag = "events", params(("id" = String, Path)),
    request_body = EventOrder,
    responses((status = 200, body = Moved), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn hold(
    State(app): App,
    caller: EventsCaller,
    Id(id): Id,
    Strict(order): Strict<EventOrder>,
) -> Result<Json<Moved>, Problem> {
    operate(&app.app().ledger, &caller, id, Operation::Hold, order).await
}

/// Lets what was held go on.
#[utoipa::path(post, path = "/v1/events/{id}/release", tag = "events", params(("id" = String, Path)),
    request_body = EventOrder,
    responses((status = 200, body = Moved), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn release(
    State(app): App,
    caller: EventsCaller,
    Id(id): Id,
    Strict(order): Strict<EventOrder>,
) -> Result<Json<Moved>, Problem> {
    operate(&app.app().ledger, &caller, id, Operation::Release, order).await
}

/// What was done to events and sinks, by whom and why, the last first.
#[utoipa::path(get, path = "/v1/audit/events", tag = "events", params(OperationsQuery),
    responses((status = 200, body = Vec<OperationView>), (status = 404, body = Problem)))]
pub async fn audit(
    State(app): App,
    caller: EventsCaller,
    StrictQuery(query): StrictQuery<OperationsQuery>,
) -> Result<Json<Vec<OperationView>>, Problem> {
    let entries = app.app().ledger.operations(caller.whose(query.tenant)?, query.before, AUDIT_PAGE).await?;
    Ok(Json(entries.into_iter().map(OperationView::from).collect()))
}

/// The page that a query asks for.
pub async fn page(
    ledger: &Ledger,
    filter: sluis_ledger::Filter,
    query: &EventsQuery,
) -> Result<Json<PageView>, Problem> {
    let page = ledger.list(filter, query.cursor()?, query.limit()?).await?;
    let deliveries = page.deliveries.into_iter().map(Into::into).collect();
    Ok(Json(PageView { deliveries, next: page.next.map(cursor_text) }))
}

/// An event that the caller may see.
async fn find(ledger: &Ledger, caller: &EventsCaller, id: Uuid) -> Result<(NewEvent, EventStatus), Problem> {
    let tenant = caller.only().map(|tenant| &**tenant);
    let event = ledger.event(tenant, id).await?.ok_or_else(|| Problem::not_found("event"))?;
    let status = ledger.status(&event.tenant, id).await?.ok_or_else(|| Problem::not_found("event"))?;
    Ok((event, status))
}

async fn operate(
    ledger: &Ledger,
    caller: &EventsCaller,
    id: Uuid,
    operation: Operation,
    order: EventOrder,
) -> Result<Json<Moved>, Problem> {
    let subject = Subject::Event { id, tenant: caller.only().cloned(), sink: order.sink };
    let operated = ledger.operate(subject, operation, caller.by(order.reason.as_deref())).await?;
    Ok(Json(moved(id, operation, operated)))
}

fn moved(id: Uuid, operation: Operation, operated: Operated) -> Moved {
    Moved {
        event: id.to_string(),
        tenant: operated.tenant.unwrap_or_default(),
        action: operation.label(),
        deliveries: operated.deliveries,
        replaced_by: operated.event.map(|id| id.to_string()),
        dry_run: false,
    }
}

/// The sinks that gave the event up, of those that were asked for; at least one. None that was overtaken, unless forced.
fn dead_sinks<'s>(status: &'s EventStatus, sink: Option<&str>, force: bool) -> Result<Vec<&'s str>, Problem> {
    let asked = || status.deliveries.iter().filter(|delivery| sink.is_none_or(|sink| sink == delivery.sink));
    if asked().next().is_none() {
        return Err(Problem::not_found("delivery of this event"));
    }
    let dead = || asked().filter(|delivery| delivery.state == DeliveryState::Dead);
    if !force && dead().any(|delivery| delivery.overtaken) {
        return Err(Problem::overtaken());
    }
    let dead: Vec<&str> = dead().map(|delivery| &*delivery.sink).collect();
    if dead.is_empty() {
        return Err(Problem::not_possible("no delivery of the event is dead"));
    }
    Ok(dead)
}

/// The one sink that an edited event goes to.
fn only<'s>(dead: &[&'s str]) -> Result<&'s str, Problem> {
    match dead {
        [sink] => Ok(sink),
        _ => Err(Problem::malformed(format!("a `body` goes to one sink; choose `sink` among {}", dead.join(", ")))),
    }
}

/// A body as it was written in an order.
fn new_body(body: &RawValue, content_type: Option<&str>) -> Result<NewBody, Problem> {
    let content_type = match content_type {
        Some(text) if text.is_empty() || text.len() > CONTENT_TYPE || HeaderValue::from_str(text).is_err() => {
            return Err(Problem::malformed("`content_type` is not a media type"));
        }
        text => text.map(str::to_owned),
    };
    let body = match serde_json::from_str(body.get()) {
        Ok(NotJson::Text(text)) => Bytes::from(text),
        Ok(NotJson::Base64(text)) => {
            let bytes = STANDARD.decode(text);
            bytes.map_err(|error| Problem::malformed(format!("`base64` is not that: {error}")))?.into()
        }
        Err(_) => Bytes::copy_from_slice(body.get().as_bytes()),
    };
    Ok(NewBody { content_type, body })
}
