//! The status resource of an event: what its owner may see, as JSON.

use serde::{Serialize, Serializer};
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::lane::Lane;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// An event as its tenant sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventStatus {
    /// The id given with the 202.
    #[serde(serialize_with = "text")]
    pub id: Uuid,
    /// Follows from the deliveries.
    #[serde(serialize_with = "event_state")]
    pub state: EventState,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The route that it came by.
    pub route: String,
    /// Ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Correlation id of the request.
    pub correlation_id: String,
    /// Milliseconds since the epoch; RFC 3339 in JSON, as every time here.
    #[serde(serialize_with = "instant")]
    pub accepted_at: u64,
    /// One per sink.
    pub deliveries: Vec<DeliveryStatus>,
    /// Every transition, oldest first.
    pub history: Vec<HistoryEntry>,
}

/// One delivery of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryStatus {
    /// The sink's name.
    pub sink: String,
    /// Where it stands; `held` where its whole sink is held.
    #[serde(serialize_with = "delivery_state")]
    pub state: DeliveryState,
    /// Attempts begun.
    pub attempts: u32,
    /// When the next one is due.
    #[serde(serialize_with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<u64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// When it was confirmed or given up.
    #[serde(serialize_with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<u64>,
    /// A newer event of its key was delivered after it was given up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overtaken: bool,
}

/// The last failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// `http` with a status, a word for what failed below HTTP, or `plugin`.
    pub kind: String,
    /// `transient`, `throttled`, `permanent`, `ambiguous` or `poison`.
    pub class: String,
    /// HTTP status of the sink's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// One line for people.
    pub message: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// When it failed.
    #[serde(serialize_with = "instant")]
    pub at: u64,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// When.
    #[serde(serialize_with = "instant")]
    pub at: u64,
    /// Whose delivery; none for the event as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// The state entered.
    pub state: &'static str,
    /// Who did it: `gateway`, `worker`, `order` (of its key), `breaker`, `maintenance`, `config`, `recovery`, `repair`, or
    /// somebody: `operator:…`, `tenant:…`.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long the attempt that ended here took, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// RFC 3339 with milliseconds, UTC.
pub fn rfc3339(ms: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}

pub(crate) fn text<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(crate) fn instant<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*ms))
}

pub(crate) fn maybe_instant<S: Serializer>(ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match ms {
        Some(ms) => instant(ms, serializer),
        None => serializer.serialize_none(),
    }
}

fn event_state<S: Serializer>(state: &EventState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.label())
}

pub(crate) fn delivery_state<S: Serializer>(state: &DeliveryState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.label())
}

pub(crate) fn lane<S: Serializer>(lane: &Lane, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(lane.label())
}

pub(crate) fn maybe_text<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => text(id, serializer),
        None => serializer.serialize_none(),
    }
}
