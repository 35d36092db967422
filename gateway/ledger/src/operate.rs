//! What people see of events, and do to them: list, show, replay, discard, hold, release, pause and resume. Every order is
//! one transaction with its line in the audit; whoever asks for a tenant sees and moves nothing but that tenant's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use sluis_model::event::{DeliveryState, EventSink, NewEvent};
use sluis_model::lane::Lane;
use uuid::Uuid;

use crate::backlog::event_bytes;
use crate::error::{AcceptError, OperateError, ReadError};
use crate::ledger::Ledger;
use crate::status::LastError;
use crate::store::{Digested, OperateEdit, digest};

pub use crate::backlog::OPERATOR;

/// What an order is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Deliveries of an event: all of them, or those to one sink.
    Event {
        /// The event.
        id: Uuid,
        /// Whose it must be; anybody's where none.
        tenant: Option<Arc<str>>,
        /// To this sink only.
        sink: Option<String>,
    },
    /// A whole sink, of every tenant.
    Sink(String),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Dead deliveries are sent anew.
    Replay {
        /// Also where a newer event of its key has been delivered, which it may undo at the sink.
        force: bool,
    },
    /// Deliveries that wait or are dead are given up for good.
    Discard,
    /// Deliveries that wait do so until they are released.
    Hold,
    /// The opposite.
    Release,
    /// Nothing is sent to the sink until it is resumed.
    Pause,
    /// The opposite.
    Resume,
}

impl Operation {
    /// The word in the audit.
    pub fn label(self) -> &'static str {
        match self {
            Operation::Replay { .. } => "replay",
            Operation::Discard => "discard",
            Operation::Hold => "hold",
            Operation::Release => "release",
            Operation::Pause => "pause",
            Operation::Resume => "resume",
        }
    }
}

/// Who orders it, and why.
#[derive(Debug, Clone)]
pub struct By {
    /// As history and audit have it; begins with [`OPERATOR`] for operators.
    pub actor: String,
    /// In their words.
    pub reason: String,
}

/// What came of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operated {
    /// Whose event it is.
    pub tenant: Option<String>,
    /// Deliveries that were moved.
    pub deliveries: usize,
    /// The event that takes the place of one that was edited.
    pub event: Option<Uuid>,
}

/// Another body for an event that is sent anew.
#[derive(Debug, Clone)]
pub struct NewBody {
    /// Its media type; the old one's where none.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Which deliveries are listed; what is not set is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub tenant: Option<Arc<str>>,
    /// To which sink.
    pub sink: Option<String>,
    /// In one of these states, in any where there are none.
    pub states: Vec<DeliveryState>,
    /// With this ordering key.
    pub key: Option<String>,
    /// Of this CloudEvents type.
    pub event_type: Option<String>,
    /// By this route.
    pub route: Option<String>,
    /// Of this correlation id.
    pub correlation_id: Option<String>,
    /// Accepted at this time or later, milliseconds since the epoch.
    pub since: Option<u64>,
    /// Accepted before.
    pub until: Option<u64>,
    /// The oldest event first, and not the newest.
    pub oldest_first: bool,
}

/// Where a list goes on: after this delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Position of its event.
    pub event: i64,
    /// Its number.
    pub n: i64,
}

/// A part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What was found.
    pub deliveries: Vec<Listed>,
    /// Where to go on; none at the end. A page may be short of its limit, and even empty, and still not be the last:
    /// one question looks at no more than so many deliveries.
    pub next: Option<Cursor>,
}

/// A delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The event.
    #[serde(serialize_with = "crate::status::text")]
    pub event: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// Where it goes.
    pub sink: String,
    /// Where it stands; `held` where its whole sink is held.
    #[serde(serialize_with = "crate::status::delivery_state")]
    pub state: DeliveryState,
    /// How urgent it is.
    #[serde(serialize_with = "crate::status::lane")]
    pub lane: Lane,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The route that it came by.
    pub route: String,
    /// The event's ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the next one is due.
    #[serde(serialize_with = "crate::status::maybe_instant", skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<u64>,
    /// When the event was accepted.
    #[serde(serialize_with = "crate::status::instant")]
    pub accepted_at: u64,
    /// When the delivery last moved.
    #[serde(serialize_with = "crate::status::instant")]
    pub changed_at: u64,
    /// Of the request.
    pub correlation_id: String,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// A newer event of its key was delivered after it was given up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overtaken: bool,
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperateEntry {
    /// Its number.
    pub seq: i64,
    /// When.
    #[serde(serialize_with = "crate::status::instant")]
    pub at: u64,
    /// Whose event it was about; none for a sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who.
    pub actor: String,
    /// What, see [`Operation::label`].
    pub action: String,
    /// The event.
    #[serde(serialize_with = "crate::status::maybe_text", skip_serializing_if = "Option::is_none")]
    pub event: Option<Uuid>,
    /// The sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why a sink sends nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkHold {
    /// Since when.
    #[serde(serialize_with = "crate::status::instant")]
    pub since: u64,
    /// Who holds it: an operator, `breaker`, `maintenance` or `config`.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Ledger {
    /// A part of the deliveries that pass the filter, in its order: at most `limit`, after `cursor`.
    pub async fn list(&self, filter: Filter, cursor: Option<Cursor>, limit: usize) -> Result<Page, ReadError> {
        self.store.list(filter, cursor, limit).await
    }

    /// An event as it was accepted, with its body; none where there is none, or it is not this tenant's.
    pub async fn event(&self, tenant: Option<&str>, id: Uuid) -> Result<Option<NewEvent>, ReadError> {
        let found = self.store.event(id).await?;
        Ok(found.filter(|event| tenant.is_none_or(|tenant| tenant == &*event.tenant)))
    }

    /// The last `limit` lines of the audit before number `before`, of a tenant or of all.
    pub async fn operations(
        &self,
        tenant: Option<Arc<str>>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<OperateEntry>, ReadError> {
        self.store.operations(tenant, before, limit).await
    }

    /// Who holds a sink, and why.
    pub fn sink_holds(&self, sink: &str) -> Vec<SinkHold> {
        let holds = self.store.shared.room.holds();
        let told = holds.get(sink).into_iter().flatten();
        told.map(|hold| SinkHold { since: hold.since, actor: hold.actor.clone(), reason: hold.reason.clone() })
            .collect()
    }

    /// How many deliveries wait for a worker of a sink, by lane; those of a sink that is held too.
    pub fn waiting_by_lane(&self, sink: &str) -> BTreeMap<Lane, u64> {
        self.store.shared.room.waiting_by_lane(sink)
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// Where there is nothing that it could be done to; then nothing was changed.
    pub async fn operate(&self, subject: Subject, operation: Operation, by: By) -> Result<Operated, OperateError> {
        let (edited, at) = (None, self.clock.now());
        let edit = OperateEdit { subject, operation, edited, by: by.actor, reason: by.reason, at };
        self.store.operate(edit, None).await
    }

    /// Sends an event anew with another body, to the one sink that gave it up: as a new event that names the old one as
    /// its cause, and stands in its place among those of its key. `sink` says what that sink keeps of order; `force` as in
    /// [`Operation::Replay`].
    ///
    /// # Errors
    /// As [`Ledger::operate`].
    pub async fn replay_edited(
        &self,
        id: Uuid,
        tenant: Option<Arc<str>>,
        sink: EventSink,
        body: NewBody,
        force: bool,
        by: By,
    ) -> Result<Operated, OperateError> {
        let old = self.event(tenant.as_deref(), id).await?.ok_or(OperateError::NotFound)?;
        let at = self.clock.now();
        let subject = Subject::Event { id, tenant, sink: Some(sink.name.to_string()) };
        let event = NewEvent {
            id: Uuid::now_v7(),
            content_type: body.content_type.unwrap_or_else(|| old.content_type.clone()),
            body: body.body,
            // What it says is older than what waits.
            sinks: vec![EventSink { compacts: false, ..sink }],
            accepted_at: at,
            causation_id: Some(old.id),
            ..old
        };
        let bytes = event_bytes(&event);
        // Whatever its lane is: somebody waits for it.
        let room = self.store.shared.room.reserve(&event.tenant, u64::MAX, bytes, Lane::Critical);
        let room = room.map_err(|error| match error {
            AcceptError::Full | AcceptError::TenantFull | AcceptError::DiskFull => OperateError::Full,
            _ => OperateError::Unavailable,
        })?;
        let digest = digest(&Digested::of(&event));
        let edited = Some((event, bytes, digest));
        let edit = OperateEdit {
            subject,
            operation: Operation::Replay { force },
            edited,
            by: by.actor,
            reason: by.reason,
            at,
        };
        self.store.operate(edit, Some(room)).await
    }
}
