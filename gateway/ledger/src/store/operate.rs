//! What people do to events and sinks, as statements of the running transaction, each with its line in the audit.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::{DeliveryState, EventSink, Input, NewEvent};
use uuid::Uuid;

use super::DeliveryId;
use super::changes::{Changes, NewDelivery, Old};
use super::questions::Move;
use super::statements::{Row, lane_at};
use crate::backlog::OPERATOR;
use crate::error::OperateError;
use crate::operate::{Operated, Operation, Subject};

/// Lines of the audit that are kept of a tenant, and of the orders about sinks: as many as one order about many dead events
/// may make.
const AUDIT: i64 = 10_000;

/// An order of somebody's.
#[derive(Debug)]
pub(crate) struct OperateEdit {
    pub subject: Subject,
    pub operation: Operation,
    /// Another body for what is replayed: the event that takes its place, with what it counts and its digest.
    pub edited: Option<(NewEvent, u64, [u8; 32])>,
    /// Who, as history and audit have it; of a pause an operator.
    pub by: String,
    pub reason: String,
    /// Milliseconds since the epoch.
    pub at: u64,
}

/// The statements about orders.
pub(super) struct OperateTables<'c> {
    event: Statement<'c>,
    next_n: Statement<'c>,
    pauses: Statement<'c>,
    audit: Statement<'c>,
    forget: Statement<'c>,
}

impl<'c> OperateTables<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<OperateTables<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(OperateTables {
            event: sql("SELECT seq, tenant, lane FROM events WHERE id = ?1")?,
            next_n: sql("SELECT max(n) + 1 FROM deliveries WHERE event = ?1")?,
            pauses: sql("SELECT actor FROM holds WHERE sink = ?1 AND until IS NULL")?,
            audit: sql("INSERT INTO event_audit (at, tenant, actor, action, event, sink, reason, n)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1 + coalesce(
                    (SELECT n FROM event_audit WHERE tenant IS ?2 ORDER BY seq DESC LIMIT 1), 0))
                RETURNING n")?,
            // Two for each that comes: there may be too many since an earlier version.
            forget: sql("DELETE FROM event_audit WHERE n <= ?2 AND seq IN
                (SELECT seq FROM event_audit WHERE tenant IS ?1 ORDER BY seq LIMIT 2)")?,
        })
    }
}

impl Changes<'_> {
    /// Does what was ordered, or nothing of it.
    pub fn operate(&mut self, edit: &OperateEdit) -> rusqlite::Result<Result<Operated, OperateError>> {
        let done = match &edit.subject {
            Subject::Sink(sink) => self.operate_sink(sink, edit)?,
            Subject::Event { id, tenant, sink } => self.operate_event(*id, tenant.as_deref(), sink.as_deref(), edit)?,
        };
        let done = match done {
            Ok(done) => done,
            Err(error) => return Ok(Err(error)),
        };
        let (tenant, event, sink) = match &edit.subject {
            Subject::Sink(sink) => (None, None, Some(&**sink)),
            Subject::Event { id, sink, .. } => (done.tenant.as_deref(), Some(id.as_bytes()), sink.as_deref()),
        };
        let action = edit.operation.label();
        let at = edit.at.cast_signed();
        let line = (at, tenant, &edit.by, action, event, sink, &edit.reason);
        let n: i64 = self.operating.audit.query_row(line, |row| row.get(0))?;
        self.operating.forget.execute((tenant, n - AUDIT))?;
        Ok(Ok(done))
    }

    fn operate_sink(&mut self, sink: &str, edit: &OperateEdit) -> rusqlite::Result<Result<Operated, OperateError>> {
        match edit.operation {
            Operation::Pause => {
                self.hold_sink(sink, edit.at, &edit.by, &edit.reason)?;
            }
            Operation::Resume => {
                // Whoever paused it: a sink that is resumed runs.
                let actors: Vec<String> =
                    self.operating.pauses.query_map((sink,), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                for actor in actors.iter().filter(|actor| actor.starts_with(OPERATOR)) {
                    self.release_sink(sink, edit.at, actor)?;
                }
            }
            Operation::Replay { .. } | Operation::Discard | Operation::Hold | Operation::Release => {
                return Ok(Err(OperateError::NotPossible));
            }
        }
        Ok(Ok(Operated::default()))
    }

    fn operate_event(
        &mut self,
        id: Uuid,
        tenant: Option<&str>,
        sink: Option<&str>,
        edit: &OperateEdit,
    ) -> rusqlite::Result<Result<Operated, OperateError>> {
        let found = self
            .operating
            .event
            .query_row((id.as_bytes(),), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, lane_at(row, 2)?)));
        let Some((event, owner, lane)) = found.optional()? else { return Ok(Err(OperateError::NotFound)) };
        if tenant.is_some_and(|tenant| tenant != owner) {
            return Ok(Err(OperateError::NotFound));
        }
        let rows = self.delivery_rows(event)?;
        let chosen: Vec<&(i64, Row)> =
            rows.iter().filter(|(_, row)| sink.is_none_or(|sink| sink == row.sink)).collect();
        if chosen.is_empty() {
            return Ok(Err(OperateError::NotFound));
        }
        if matches!(edit.operation, Operation::Replay { force: false }) {
            for (_, row) in chosen.iter().filter(|(_, row)| row.state == DeliveryState::Dead) {
                if row.overtaken || self.is_being_overtaken(row)? {
                    return Ok(Err(OperateError::Overtaken));
                }
            }
        }
        let mut operated = Operated { tenant: Some(owner.clone()), ..Operated::default() };
        if let Some((edited, bytes, digest)) = &edit.edited
            && let Some((_, dead)) = chosen.iter().find(|(_, row)| row.state == DeliveryState::Dead)
        {
            // Where the old one stands, and before that leaves: what follows it goes on waiting.
            let old = Old { place: dead.place, overtaken: dead.overtaken };
            self.insert(edited, *bytes, digest, Some(old))?;
            operated.event = Some(edited.id);
        }
        for (n, row) in chosen {
            let id = DeliveryId { event, n: *n };
            let done = match (edit.operation, &edit.edited) {
                (Operation::Replay { .. }, _) if row.state != DeliveryState::Dead => false,
                (Operation::Replay { .. }, None) => {
                    let (key, place, overtaken) = (row.key.as_deref(), row.place, row.overtaken);
                    let new = NewDelivery { tenant: &owner, key, place, lane, at: edit.at, overtaken };
                    self.replay(id, row, &new, edit)?
                }
                // Its deliveries are those of the new event.
                (Operation::Replay { .. }, Some(_)) => self.order(id, Input::Replay, edit)?,
                (Operation::Discard, _) => self.order(id, Input::Discard, edit)?,
                // One that is under way does not wait: only the end of the attempt tells.
                (Operation::Hold, _) => row.state.is_waiting() && self.order(id, Input::Hold, edit)?,
                (Operation::Release, _) => {
                    let released = self.order(id, Input::Release, edit)?;
                    if released {
                        self.fall_in(id, row, edit.at)?;
                    }
                    released
                }
                (Operation::Pause | Operation::Resume, _) => false,
            };
            operated.deliveries += usize::from(done);
        }
        if operated.deliveries == 0 {
            return Ok(Err(OperateError::NotPossible));
        }
        Ok(Ok(operated))
    }

    /// Sends a dead delivery anew, as another delivery of its event: its place in the line of its key is taken before it
    /// leaves that line.
    fn replay(
        &mut self,
        id: DeliveryId,
        row: &Row,
        new: &NewDelivery<'_>,
        edit: &OperateEdit,
    ) -> rusqlite::Result<bool> {
        let n: i64 = self.operating.next_n.query_row((id.event,), |row| row.get(0))?;
        // It does not supersede: what it says is older than what waits.
        let sink = EventSink { name: row.sink.as_str().into(), in_order: row.key.is_some(), compacts: false };
        self.deliver(DeliveryId { event: id.event, n }, &sink, new)?;
        self.tally.reopened(id.event);
        self.order(id, Input::Replay, edit)
    }

    fn order(&mut self, id: DeliveryId, input: Input, edit: &OperateEdit) -> rusqlite::Result<bool> {
        let (actor, reason) = (edit.by.clone().into(), edit.reason.clone());
        let order = Move { actor, reason, ..Move::by("", id, input, edit.at) };
        Ok(self.change(&order)?.is_some())
    }
}
