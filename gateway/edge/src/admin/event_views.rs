//! What the operators' listener takes and answers about events and sinks, as JSON. Times are RFC 3339.
#![allow(missing_docs, reason = "what needs a word has one; the rest says it by its name")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluis_ledger::{EventStatus, LastError, Listed, OperateEntry, SinkHold, rfc3339};
use sluis_model::event::NewEvent;
use utoipa::{IntoParams, ToSchema};

use super::filter::DeadFilter;

/// A part of a list of deliveries, newest event first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageView {
    pub deliveries: Vec<DeliveryView>,
    /// Goes into `cursor` for what comes after; absent at the end. A page may be short of its limit and still have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A delivery of an event to a sink.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Id of the event.
    pub event: String,
    pub tenant: String,
    pub sink: String,
    pub state: &'static str,
    pub lane: &'static str,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    pub route: String,
    /// The ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    pub accepted_at: String,
    /// When it last moved.
    pub changed_at: String,
    pub correlation_id: String,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ErrorView>,
    /// A newer event of its key was delivered after it was given up: it is sent anew with `force` only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overtaken: bool,
}

/// A failed attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorView {
    /// `http` with a status, a word for what failed below HTTP, or `plugin`.
    pub kind: String,
    /// `transient`, `throttled`, `permanent`, `ambiguous` or `poison`.
    pub class: String,
    /// HTTP status of the sink's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub message: String,
    /// Number of the attempt.
    pub attempt: u32,
    pub at: String,
}

/// An event: what its tenant's status resource tells, and more.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    pub tenant: String,
    pub lane: &'static str,
    /// Media type of the body.
    pub content_type: String,
    /// Bytes of the body.
    pub size: usize,
    /// The event that this one was sent anew for, with another body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// CloudEvents attributes that it came with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub status: EventStatus,
}

/// An order about an event.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventOrder {
    /// Only the delivery to this sink; all where absent.
    pub sink: Option<String>,
    /// For history and audit.
    pub reason: Option<String>,
}

/// How what was given up is sent anew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// Only the delivery to this sink; all that are dead where absent. With a `body` it must leave exactly one.
    pub sink: Option<String>,
    /// For history and audit.
    pub reason: Option<String>,
    /// Another body: a JSON value as it stands here, `{"text": …}` for any other text, or `{"base64": …}` for bytes. It
    /// leaves as a new event that names the old one as its cause.
    #[schema(value_type = Option<Object>)]
    pub body: Option<Box<RawValue>>,
    /// Media type of that body; the old one's where absent.
    pub content_type: Option<String>,
    /// Also where a newer event of its key was delivered after it was given up.
    pub force: bool,
    /// Say what would be moved, and move nothing.
    pub dry_run: bool,
}

/// A body that is not JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NotJson {
    Text(String),
    Base64(String),
}

/// What came of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Moved {
    /// The event that was asked for.
    pub event: String,
    pub tenant: String,
    /// `replay`, `discard`, `hold` or `release`.
    pub action: &'static str,
    /// Deliveries that were moved, or would be.
    pub deliveries: usize,
    /// The event that leaves in its place, where the body was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Nothing was moved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What is to be done with all that was given up and passes a filter.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadOrder {
    /// Which.
    pub filter: DeadFilter,
    /// Deliveries at most, the oldest; 1 to 10,000, 1,000 where absent.
    pub max: Option<usize>,
    /// Deliveries a second, 1 to 1,000; 50 where absent.
    pub rate: Option<u32>,
    /// For history and audit.
    pub reason: Option<String>,
    /// Send those anew, too, of whose key a newer event was delivered after they were given up.
    pub force: bool,
    /// Say what would be moved, and move nothing.
    pub dry_run: bool,
}

/// What a job would move.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rehearsal {
    /// Always true.
    pub dry_run: bool,
    /// Deliveries that pass the filter, up to `max`.
    pub matched: usize,
    /// Whether there are more than `max`.
    pub more: bool,
    /// The oldest of them.
    pub deliveries: Vec<DeliveryView>,
}

/// A job under way, or its end. The last 16 are kept, in memory: a restart ends and forgets them.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    pub id: String,
    /// `replay` or `discard`.
    pub action: &'static str,
    /// `running`, `done`, `canceled` or `failed`.
    pub state: &'static str,
    pub actor: String,
    pub reason: String,
    pub filter: DeadFilter,
    /// Deliveries a second.
    pub rate: u32,
    /// Deliveries that it is about.
    pub matched: usize,
    /// Whether there were more than `max`.
    pub more: bool,
    /// Deliveries that were moved.
    pub moved: usize,
    /// Deliveries that were not there to be moved any more.
    pub skipped: usize,
    /// Deliveries that stayed dead because a newer event of their key was delivered; `force` moves them.
    pub overtaken: usize,
    pub started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What waits for the sinks.
#[derive(Debug, Serialize, ToSchema)]
pub struct SinksView {
    /// Events that are not settled.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where accepting ends.
    pub max_bytes: u64,
    /// Age of the oldest event with a delivery that is not final, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    pub sinks: Vec<SinkView>,
}

/// A sink.
#[derive(Debug, Serialize, ToSchema)]
pub struct SinkView {
    pub sink: String,
    /// Whether the plan has it; what waits for one that it does not have is not sent.
    pub configured: bool,
    /// Deliveries by state, without those that are zero.
    pub states: BTreeMap<&'static str, u64>,
    /// Deliveries that wait for a worker, by lane.
    pub lanes: BTreeMap<&'static str, u64>,
    /// Who keeps it from sending, and why.
    pub holds: Vec<HoldView>,
}

/// Somebody who keeps a sink from sending.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldView {
    pub since: String,
    /// An operator, `breaker`, `maintenance` or `config`.
    pub actor: String,
    pub reason: String,
}

/// Which lines of the audit.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// About this tenant's events. Tenants see none but their own.
    pub tenant: Option<String>,
    /// Those before this one.
    pub before: Option<i64>,
}

/// A line of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperationView {
    /// Goes into `before` for the lines before it.
    pub seq: i64,
    pub at: String,
    /// Whose event it was about; absent for a sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub actor: String,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    pub reason: String,
}

impl EventView {
    /// An event, and what became of it.
    pub fn new(event: NewEvent, status: EventStatus) -> Self {
        EventView {
            tenant: event.tenant.to_string(),
            lane: event.lane.label(),
            content_type: event.content_type,
            size: event.body.len(),
            causation_id: event.causation_id.map(|id| id.to_string()),
            attributes: event.attributes.into_iter().collect(),
            status,
        }
    }
}

impl From<Listed> for DeliveryView {
    fn from(listed: Listed) -> Self {
        DeliveryView {
            event: listed.event.to_string(),
            tenant: listed.tenant,
            sink: listed.sink,
            state: listed.state.label(),
            lane: listed.lane.label(),
            event_type: listed.event_type,
            route: listed.route,
            key: listed.key,
            attempts: listed.attempts,
            next_attempt_at: listed.next_attempt_at.map(rfc3339),
            accepted_at: rfc3339(listed.accepted_at),
            changed_at: rfc3339(listed.changed_at),
            correlation_id: listed.correlation_id,
            last_error: listed.last_error.map(ErrorView::from),
            overtaken: listed.overtaken,
        }
    }
}

impl From<LastError> for ErrorView {
    fn from(error: LastError) -> Self {
        let LastError { kind, class, status, message, attempt, at } = error;
        ErrorView { kind, class, status, message, attempt, at: rfc3339(at) }
    }
}

impl From<SinkHold> for HoldView {
    fn from(hold: SinkHold) -> Self {
        HoldView { since: rfc3339(hold.since), actor: hold.actor, reason: hold.reason }
    }
}

impl From<OperateEntry> for OperationView {
    fn from(entry: OperateEntry) -> Self {
        let OperateEntry { seq, at, tenant, actor, action, event, sink, reason } = entry;
        let event = event.map(|id| id.to_string());
        OperationView { seq, at: rfc3339(at), tenant, actor, action, event, sink, reason }
    }
}
