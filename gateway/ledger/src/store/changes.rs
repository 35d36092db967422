//! The changes that a transaction is made of.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use sluis_model::event::{DeliveryState, EventSink, Input, NewEvent, next};
use sluis_model::lane::Lane;

use super::DeliveryId;
use super::claims::ClaimTables;
use super::kv::KvTables;
use super::line::Lines;
use super::news::{Published, read_holds};
use super::operate::OperateTables;
use super::questions::{Accept, Move, Work};
use super::registry::RegistryTables;
use super::statements::{Row, Statements};
use super::tally::{Counted, Tally, TallyStatements};
use crate::error::{AcceptError, WorkError};

/// Holds of a sink that are kept, so that the history of its events can tell of them: a breaker may go to and fro for
/// months.
const HOLDS: i64 = 500;

/// What a worker is answered after the commit.
pub(crate) enum Reply {
    Leased(Vec<(DeliveryId, u32)>),
    Done(Result<(), WorkError>),
    Removed(usize),
}

impl Reply {
    /// Pairs the answer with its question; whoever does not wait any more does not need it.
    pub fn send(self, work: Work) {
        match (work, self) {
            (Work::Lease { done, .. }, Reply::Leased(leased)) => done.send(Ok(leased)).is_ok(),
            (
                Work::Purge { done, .. } | Work::ForgetKv { done, .. } | Work::ForgetClaims { done, .. },
                Reply::Removed(count),
            ) => done.send(Ok(count)).is_ok(),
            (
                Work::Record { done, .. }
                | Work::Hold { done, .. }
                | Work::Release { done, .. }
                | Work::Shrink { done, .. },
                Reply::Done(result),
            ) => done.send(result).is_ok(),
            (work, _) => {
                work.fail(WorkError::Refused);
                false
            }
        };
    }
}

/// The running transaction.
pub(crate) struct Changes<'c> {
    sql: Statements<'c>,
    sums: TallyStatements<'c>,
    pub(super) lines: Lines<'c>,
    pub claims: ClaimTables<'c>,
    pub kv: KvTables<'c>,
    pub registry: RegistryTables<'c>,
    pub(super) operating: OperateTables<'c>,
    pub(super) tally: Tally,
    next_seq: i64,
    /// `next_seq` at the last commit.
    committed_seq: i64,
    holds_changed: bool,
    /// Sinks that are held by one fewer.
    released: Vec<Arc<str>>,
}

impl<'c> Changes<'c> {
    pub fn prepare(conn: &'c Connection, tally: Tally) -> rusqlite::Result<Changes<'c>> {
        let seq = conn.query_row("SELECT coalesce(max(seq), 0) + 1 FROM events", (), |row| row.get(0))?;
        let (sql, sums) = (Statements::prepare(conn)?, TallyStatements::prepare(conn)?);
        let (lines, claims) = (Lines::prepare(conn)?, ClaimTables::prepare(conn)?);
        let (kv, registry) = (KvTables::prepare(conn)?, RegistryTables::prepare(conn)?);
        let operating = OperateTables::prepare(conn)?;
        Ok(Changes {
            sql,
            sums,
            lines,
            claims,
            kv,
            registry,
            operating,
            tally,
            next_seq: seq,
            committed_seq: seq,
            holds_changed: false,
            released: Vec::new(),
        })
    }

    pub fn begin(&mut self) -> rusqlite::Result<()> {
        self.sql.begin.execute(()).map(drop)
    }

    pub fn write_sums(&mut self) -> rusqlite::Result<()> {
        self.tally.write(&mut self.sums)
    }

    pub fn commit(&mut self) -> rusqlite::Result<()> {
        self.sql.commit.execute(())?;
        self.committed_seq = self.next_seq;
        Ok(())
    }

    pub fn rollback(&mut self) -> rusqlite::Result<()> {
        self.sql.rollback.execute(()).map(drop)
    }

    /// The transaction was rolled back.
    pub fn forget(&mut self) {
        self.tally.forget();
        self.next_seq = self.committed_seq;
        self.holds_changed = false;
        self.released.clear();
    }

    /// The transaction was committed: what is to be published of it.
    pub fn news(&mut self, conn: &Connection) -> Published {
        let mut holds = None;
        if std::mem::take(&mut self.holds_changed) {
            match read_holds(conn) {
                Ok(read) => holds = Some(read),
                Err(error) => tracing::warn!(%error, "the holds were not read back"),
            }
        }
        Published { news: self.tally.news(), released: std::mem::take(&mut self.released), holds }
    }

    pub fn accept(&mut self, accept: &Accept) -> rusqlite::Result<Result<(), AcceptError>> {
        if let Some(claim) = &accept.claim
            && let Err(fault) = self.claims.complete_new(&accept.event, claim)?
        {
            return Ok(Err(AcceptError::Claim(fault)));
        }
        match self.insert(&accept.event, accept.bytes, &accept.digest, None) {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                if let Some(claim) = &accept.claim {
                    self.claims.undo(&accept.event.tenant, claim)?;
                }
                Ok(Err(AcceptError::Duplicate))
            }
            Err(error) => Err(error),
        }
    }

    /// A new event with its deliveries, at the ends of the lines of its key or in place of an old one. Answers its
    /// position.
    pub(super) fn insert(
        &mut self,
        event: &NewEvent,
        bytes: u64,
        digest: &[u8; 32],
        old: Option<Old>,
    ) -> rusqlite::Result<i64> {
        let seq = self.next_seq;
        self.sql.insert_event.execute(rusqlite::params![
            seq,
            event.id.as_bytes(),
            event.tenant,
            event.route,
            event.event_type,
            event.key,
            event.content_type,
            event.correlation_id,
            event.traceparent,
            event.accepted_at.cast_signed(),
            bytes.cast_signed(),
            digest,
            &event.body[..],
            event.lane as u8,
            event.causation_id.as_ref().map(uuid::Uuid::as_bytes),
            super::attributes_text(&event.attributes),
        ])?;
        self.next_seq += 1;
        for (n, sink) in event.sinks.iter().enumerate() {
            if event.sinks[..n].iter().any(|before| before.name == sink.name) {
                continue;
            }
            let id = DeliveryId { event: seq, n: n as i64 };
            let (key, lane, at) = (event.key.as_deref(), event.lane, event.accepted_at);
            let (place, overtaken) = old.map_or((seq, false), |old| (old.place, old.overtaken));
            let new = NewDelivery { tenant: &event.tenant, key, place, lane, at, overtaken };
            self.deliver(id, sink, &new)?;
        }
        self.tally.open(&event.tenant, bytes);
        if event.sinks.is_empty() {
            self.tally.settle(&event.tenant, bytes);
        }
        self.tally.stored(bytes.cast_signed());
        Ok(seq)
    }

    /// A new delivery, at its place in the line of its key where its sink keeps one.
    pub(super) fn deliver(&mut self, id: DeliveryId, sink: &EventSink, new: &NewDelivery<'_>) -> rusqlite::Result<()> {
        let key = new.key.filter(|_| sink.in_order);
        let (state, lane) = match key {
            None => (DeliveryState::Ready, new.lane),
            Some(key) => self.join_line(sink, new, key)?,
        };
        let steps = i64::from(state == DeliveryState::Blocked);
        let due = state.is_waiting().then_some(new.at.cast_signed());
        self.sql.insert_delivery.execute(rusqlite::params![
            id.event,
            id.n,
            sink.name,
            new.tenant,
            key,
            key.map(|_| new.place),
            lane as u8,
            state as u8,
            due,
            new.at.cast_signed(),
            steps,
            new.overtaken,
            (new.place != id.event).then_some(new.place)
        ])?;
        if state == DeliveryState::Blocked {
            let (at, reason, took) = (new.at.cast_signed(), "behind another event of its key", None::<i64>);
            let row = rusqlite::params![id.event, id.n, steps, at, state as u8, super::line::ACTOR, reason, took];
            self.sql.insert_transition.execute(row)?;
        }
        let of = Counted { sink: &sink.name, tenant: new.tenant, lane };
        self.tally.delivery(of, None, Some(state), due.map(i64::cast_unsigned));
        Ok(())
    }

    pub fn work(&mut self, work: &Work) -> rusqlite::Result<Reply> {
        Ok(match work {
            Work::Lease { ids, at, .. } => {
                let mut leased = Vec::with_capacity(ids.len());
                for id in ids {
                    leased.extend(self.lease(*id, *at)?.map(|attempt| (*id, attempt)));
                }
                Reply::Leased(leased)
            }
            Work::Record { change, .. } => Reply::Done(self.change(change)?.map(drop).ok_or(WorkError::Refused)),
            Work::Hold { sink, at, actor, reason, .. } => {
                self.hold_sink(sink, *at, actor, reason)?;
                Reply::Done(Ok(()))
            }
            Work::Release { sink, at, actor, .. } => {
                self.release_sink(sink, *at, actor)?;
                Reply::Done(Ok(()))
            }
            Work::Shrink { .. } => {
                // A row for each page.
                let mut rows = self.sql.shrink.query(())?;
                while rows.next()?.is_some() {}
                Reply::Done(Ok(()))
            }
            Work::Purge { events, at, .. } => {
                let mut purged = 0;
                for event in events {
                    purged += usize::from(self.purge(*event, *at)?);
                }
                Reply::Removed(purged)
            }
            Work::ForgetKv { keys, at, .. } => {
                let mut removed = 0;
                for (tenant, key) in keys {
                    removed += self.kv.forget(tenant, key, *at)?;
                }
                Reply::Removed(removed)
            }
            Work::ForgetClaims { tenant, at, .. } => Reply::Removed(self.claims.forget_expired(tenant, *at)?),
        })
    }

    pub(super) fn hold_sink(&mut self, sink: &str, at: u64, actor: &str, reason: &str) -> rusqlite::Result<()> {
        if self.sql.hold.execute((sink, at.cast_signed(), actor, reason))? > 0 {
            self.sql.forget_holds.execute((sink, HOLDS))?;
        }
        self.holds_changed = true;
        Ok(())
    }

    pub(super) fn release_sink(&mut self, sink: &str, at: u64, actor: &str) -> rusqlite::Result<()> {
        self.sql.release.execute((sink, at.cast_signed(), actor))?;
        self.released.push(sink.into());
        self.holds_changed = true;
        Ok(())
    }

    /// The deliveries of an event, with their numbers.
    pub(super) fn delivery_rows(&mut self, event: i64) -> rusqlite::Result<Vec<(i64, Row)>> {
        self.sql.rows(event)
    }

    fn lease(&mut self, id: DeliveryId, at: u64) -> rusqlite::Result<Option<u32>> {
        self.change(&Move::by("worker", id, Input::Lease, at))
    }

    /// One arrow of the state machine: the row, its history, the sums, and the line of its key. Answers the attempts
    /// begun; none where there is no such delivery, or its state has no such arrow.
    pub fn change(&mut self, change: &Move) -> rusqlite::Result<Option<u32>> {
        let DeliveryId { event, n } = change.id;
        let Some(row) = self.sql.row(change.id)? else { return Ok(None) };
        let Ok(state) = next(row.state, change.input) else { return Ok(None) };
        let attempts = match change.input {
            Input::Lease => row.attempts + 1,
            Input::Return => row.attempts.saturating_sub(1),
            _ => row.attempts,
        };
        let due = if state.is_waiting() { Some(change.due.unwrap_or(change.at).cast_signed()) } else { None };
        let at = change.at.cast_signed();
        // A dead one that parks its key stays in front of the others until somebody settles it.
        let stays = !state.is_final() || (state == DeliveryState::Dead && change.parks);
        let line = row.line.filter(|_| stays);
        let steps = row.steps + 1;
        self.sql.update_delivery.execute(rusqlite::params![event, n, state as u8, due, attempts, steps, at, line])?;
        let took = change.took_ms.map(u64::cast_signed);
        self.sql.insert_transition.execute(rusqlite::params![
            event,
            n,
            steps,
            at,
            state as u8,
            change.actor,
            change.reason,
            took
        ])?;
        if let Some(failure) = &change.failure {
            self.sql.upsert_failure.execute(rusqlite::params![
                event,
                n,
                at,
                failure.attempt,
                failure.class,
                failure.kind,
                failure.status,
                failure.message,
                failure.excerpt
            ])?;
        }
        self.tally.delivery(row.counted(), Some(row.state), Some(state), due.map(i64::cast_unsigned));
        if state.is_final() && state != DeliveryState::Dead {
            self.settle(event)?;
        }
        if let (DeliveryState::Delivered, Some(key)) = (state, &row.key) {
            self.sql.overtake.execute((&row.sink, &row.tenant, key, row.place))?;
        }
        if row.line.is_some() && line.is_none() {
            self.advance_line(&row, change.at)?;
        }
        Ok(Some(attempts))
    }

    /// Gives the event's bytes back once no sink needs it any more.
    fn settle(&mut self, event: i64) -> rusqlite::Result<()> {
        if !self.sql.unsettled.exists((event,))?
            && let Some((tenant, bytes)) = self.sql.head(event)?
        {
            self.tally.settle(&tenant, bytes);
        }
        Ok(())
    }

    /// Removes an event with all that is known of it; false where it is not final.
    fn purge(&mut self, event: i64, at: u64) -> rusqlite::Result<bool> {
        let rows: Vec<Row> = self.delivery_rows(event)?.into_iter().map(|(_, row)| row).collect();
        let Some((tenant, bytes)) = self.sql.head(event)? else { return Ok(false) };
        if rows.iter().any(|row| !row.state.is_final()) {
            return Ok(false);
        }
        for row in &rows {
            self.tally.delivery(row.counted(), Some(row.state), None, None);
        }
        if rows.iter().any(|row| row.state == DeliveryState::Dead) {
            self.tally.settle(&tenant, bytes);
        }
        self.tally.stored(-bytes.cast_signed());
        for statement in &mut self.sql.purge {
            statement.execute((event,))?;
        }
        // A dead one may have parked its key.
        for row in rows.iter().filter(|row| row.line.is_some()) {
            self.advance_line(row, at)?;
        }
        Ok(true)
    }
}

/// What a delivery begins with.
pub(super) struct NewDelivery<'a> {
    pub tenant: &'a str,
    /// The event's key, whether its sink keeps order or not.
    pub key: Option<&'a str>,
    /// Where it stands in the line of that key: the position of the event that took the place.
    pub place: i64,
    pub lane: Lane,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// See [`Row`].
    pub overtaken: bool,
}

/// Of a delivery that was given up, for whatever takes its place.
#[derive(Clone, Copy)]
pub(super) struct Old {
    pub place: i64,
    pub overtaken: bool,
}
