//! The changes that a transaction is made of, as statements.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Statement};
use sluis_model::event::{DeliveryState, Input, next};

use super::inbox::{Accept, Move, Work};
use super::kv::KvTables;
use super::registry::RegistryTables;
use super::tally::{Tally, TallyStatements};
use super::{DeliveryId, Shared};
use crate::backlog::{HoldReason, Room};
use crate::error::{AcceptError, WorkError};

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
            (Work::Purge { done, .. } | Work::ForgetKv { done, .. }, Reply::Removed(count)) => {
                done.send(Ok(count)).is_ok()
            }
            (Work::Record { done, .. } | Work::Hold { done, .. } | Work::Release { done, .. }, Reply::Done(result)) => {
                done.send(result).is_ok()
            }
            (work, _) => {
                work.fail(WorkError::Refused);
                false
            }
        };
    }
}

/// A delivery's row.
struct Row {
    sink: String,
    state: DeliveryState,
    attempts: u32,
    steps: i64,
}

/// The running transaction.
pub(crate) struct Changes<'c> {
    sql: Statements<'c>,
    sums: TallyStatements<'c>,
    pub kv: KvTables<'c>,
    pub registry: RegistryTables<'c>,
    tally: Tally,
    next_seq: i64,
    /// `next_seq` at the last commit.
    committed_seq: i64,
    holds_changed: bool,
}

impl<'c> Changes<'c> {
    pub fn prepare(conn: &'c Connection, tally: Tally) -> rusqlite::Result<Changes<'c>> {
        let seq = conn.query_row("SELECT coalesce(max(seq), 0) + 1 FROM events", (), |row| row.get(0))?;
        let (sql, sums) = (Statements::prepare(conn)?, TallyStatements::prepare(conn)?);
        let (kv, registry) = (KvTables::prepare(conn)?, RegistryTables::prepare(conn)?);
        Ok(Changes { sql, sums, kv, registry, tally, next_seq: seq, committed_seq: seq, holds_changed: false })
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
    }

    /// The transaction was committed. Answers the sinks whose workers have something to do.
    pub fn publish(&mut self, conn: &Connection, room: &Room) -> Vec<Arc<str>> {
        let woken = self.tally.woken().cloned().collect();
        self.tally.publish(room);
        if std::mem::take(&mut self.holds_changed)
            && let Err(error) = load_holds(conn, room)
        {
            tracing::warn!(%error, "the holds were not read back");
        }
        woken
    }

    pub fn accept(&mut self, accept: &Accept) -> rusqlite::Result<Result<(), AcceptError>> {
        let event = &accept.event;
        let seq = self.next_seq;
        let inserted = self.sql.insert_event.execute(rusqlite::params![
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
            accept.bytes.cast_signed(),
            accept.digest,
            &event.body[..],
        ]);
        match inserted {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return Ok(Err(AcceptError::Duplicate));
            }
            Err(error) => return Err(error),
        }
        self.next_seq += 1;
        for (n, sink) in event.sinks.iter().enumerate() {
            if event.sinks[..n].contains(sink) {
                continue;
            }
            self.sql.insert_delivery.execute((seq, n as i64, sink, event.accepted_at.cast_signed()))?;
            self.tally.delivery(sink, None, Some(DeliveryState::Ready));
        }
        self.tally.open(&event.tenant, accept.bytes);
        if event.sinks.is_empty() {
            self.tally.settle(&event.tenant, accept.bytes);
        }
        self.tally.stored(accept.bytes.cast_signed());
        Ok(Ok(()))
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
                self.sql.hold.execute((sink, at.cast_signed(), actor, reason))?;
                self.holds_changed = true;
                Reply::Done(Ok(()))
            }
            Work::Release { sink, at, .. } => {
                self.sql.release.execute((sink, at.cast_signed()))?;
                self.holds_changed = true;
                Reply::Done(Ok(()))
            }
            Work::Purge { events, .. } => {
                let mut purged = 0;
                for event in events {
                    purged += usize::from(self.purge(*event)?);
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
        })
    }

    fn lease(&mut self, id: DeliveryId, at: u64) -> rusqlite::Result<Option<u32>> {
        let (input, actor, reason) = (Input::Lease, "worker", String::new());
        self.change(&Move { id, input, at, due: None, actor, reason, took_ms: None, failure: None })
    }

    /// One arrow of the state machine: the row, its history and the sums. Answers the attempts begun; none where there
    /// is no such delivery, or its state has no such arrow.
    pub fn change(&mut self, change: &Move) -> rusqlite::Result<Option<u32>> {
        let DeliveryId { event, n } = change.id;
        let Some(row) = self.sql.row(change.id)? else { return Ok(None) };
        let Ok(state) = next(row.state, change.input) else { return Ok(None) };
        let attempts = row.attempts + u32::from(change.input == Input::Lease);
        let due = if state.is_waiting() { Some(change.due.unwrap_or(change.at).cast_signed()) } else { None };
        let at = change.at.cast_signed();
        self.sql.update_delivery.execute((event, n, state as u8, due, attempts, row.steps + 1, at))?;
        let took = change.took_ms.map(u64::cast_signed);
        self.sql.insert_transition.execute(rusqlite::params![
            event,
            n,
            row.steps + 1,
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
        self.tally.delivery(&row.sink, Some(row.state), Some(state));
        if state == DeliveryState::Delivered {
            self.settle(event)?;
        }
        Ok(Some(attempts))
    }

    /// Gives the event's bytes back once every sink has confirmed.
    fn settle(&mut self, event: i64) -> rusqlite::Result<()> {
        if !self.sql.undelivered.exists((event,))?
            && let Some((tenant, bytes)) = self.sql.head(event)?
        {
            self.tally.settle(&tenant, bytes);
        }
        Ok(())
    }

    /// Removes an event with all that is known of it; false where it is not final.
    fn purge(&mut self, event: i64) -> rusqlite::Result<bool> {
        let rows: Vec<(String, DeliveryState)> = self
            .sql
            .deliveries
            .query_map((event,), |row| Ok((row.get(0)?, state_at(row, 1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let Some((tenant, bytes)) = self.sql.head(event)? else { return Ok(false) };
        if rows.iter().any(|(_, state)| !state.is_final()) {
            return Ok(false);
        }
        for (sink, state) in &rows {
            self.tally.delivery(sink, Some(*state), None);
        }
        if rows.iter().any(|(_, state)| *state == DeliveryState::Dead) {
            self.tally.settle(&tenant, bytes);
        }
        self.tally.stored(-bytes.cast_signed());
        for statement in &mut self.sql.purge {
            statement.execute((event,))?;
        }
        Ok(true)
    }
}

/// Leases of a process that is gone go back to their sinks; their attempts stay counted.
pub(crate) fn recover(conn: &Connection, tally: Tally, shared: &Shared, at: u64) -> rusqlite::Result<Tally> {
    let mut changes = Changes::prepare(conn, tally)?;
    let leased: Vec<DeliveryId> = conn
        .prepare("SELECT event, n FROM deliveries WHERE state = 1")?
        .query_map((), |row| Ok(DeliveryId { event: row.get(0)?, n: row.get(1)? }))?
        .collect::<rusqlite::Result<_>>()?;
    if !leased.is_empty() {
        changes.begin()?;
        for id in &leased {
            let (input, actor, reason) = (Input::Interrupt, "recovery", "interrupted".to_owned());
            changes.change(&Move { id: *id, input, at, due: None, actor, reason, took_ms: None, failure: None })?;
        }
        changes.write_sums()?;
        changes.commit()?;
        changes.publish(conn, &shared.room);
    }
    Ok(changes.tally)
}

/// Reads which sinks are held.
pub(crate) fn load_holds(conn: &Connection, room: &Room) -> rusqlite::Result<()> {
    let mut open = conn.prepare("SELECT sink, since, actor, reason FROM holds WHERE until IS NULL")?;
    let rows = open.query_map((), |row| {
        let since: i64 = row.get(1)?;
        Ok((row.get(0)?, HoldReason { since: since.cast_unsigned(), actor: row.get(2)?, reason: row.get(3)? }))
    })?;
    *room.holds() = rows.collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// Reads a state from its number.
pub(crate) fn state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<DeliveryState> {
    let number: u32 = row.get(column)?;
    let known = DeliveryState::ALL.get(number as usize).copied();
    known.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
}

/// Prepared once, for the life of the writer.
struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    insert_event: Statement<'c>,
    insert_delivery: Statement<'c>,
    select_delivery: Statement<'c>,
    update_delivery: Statement<'c>,
    insert_transition: Statement<'c>,
    upsert_failure: Statement<'c>,
    undelivered: Statement<'c>,
    select_head: Statement<'c>,
    deliveries: Statement<'c>,
    purge: [Statement<'c>; 4],
    hold: Statement<'c>,
    release: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(Statements {
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            rollback: sql("ROLLBACK")?,
            insert_event: sql("INSERT INTO events (seq, id, tenant, route, type, key, content_type, correlation_id,
                traceparent, accepted_at, bytes, digest, body)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")?,
            insert_delivery: sql("INSERT INTO deliveries (event, n, sink, state, due, attempts, steps, changed_at)
                VALUES (?1, ?2, ?3, 0, ?4, 0, 0, ?4)")?,
            select_delivery: sql("SELECT sink, state, attempts, steps FROM deliveries WHERE event = ?1 AND n = ?2")?,
            update_delivery: sql("UPDATE deliveries SET state = ?3, due = ?4, attempts = ?5, steps = ?6,
                changed_at = ?7 WHERE event = ?1 AND n = ?2")?,
            insert_transition: sql("INSERT INTO transitions (event, n, step, at, state, actor, reason, took)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            upsert_failure: sql(
                "INSERT OR REPLACE INTO failures (event, n, at, attempt, class, kind, status, message,
                excerpt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            undelivered: sql("SELECT 1 FROM deliveries WHERE event = ?1 AND state <> 5")?,
            select_head: sql("SELECT tenant, bytes FROM events WHERE seq = ?1")?,
            deliveries: sql("SELECT sink, state FROM deliveries WHERE event = ?1")?,
            purge: [
                sql("DELETE FROM transitions WHERE event = ?1")?,
                sql("DELETE FROM failures WHERE event = ?1")?,
                sql("DELETE FROM deliveries WHERE event = ?1")?,
                sql("DELETE FROM events WHERE seq = ?1")?,
            ],
            hold: sql("INSERT INTO holds (sink, since, actor, reason) SELECT ?1, ?2, ?3, ?4
                WHERE NOT EXISTS (SELECT 1 FROM holds WHERE sink = ?1 AND until IS NULL)
                ON CONFLICT (sink, since) DO UPDATE SET until = NULL")?,
            release: sql("UPDATE holds SET until = ?2 WHERE sink = ?1 AND until IS NULL")?,
        })
    }

    fn row(&mut self, id: DeliveryId) -> rusqlite::Result<Option<Row>> {
        self.select_delivery
            .query_row((id.event, id.n), |row| {
                Ok(Row { sink: row.get(0)?, state: state_at(row, 1)?, attempts: row.get(2)?, steps: row.get(3)? })
            })
            .optional()
    }

    /// Tenant and bytes of an event.
    fn head(&mut self, event: i64) -> rusqlite::Result<Option<(String, u64)>> {
        self.select_head
            .query_row((event,), |row| {
                let bytes: i64 = row.get(1)?;
                Ok((row.get(0)?, bytes.cast_unsigned()))
            })
            .optional()
    }
}
