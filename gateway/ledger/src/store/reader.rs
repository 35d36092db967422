//! What is asked of the database about events and deliveries, and the statements for it; for those who answer it see
//! [`super::readers`].

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior};
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::lane::Lane;
use sluis_model::schedule::Pick;
use uuid::Uuid;

use super::browse::BrowseQueries;
use super::claims::ClaimQueries;
use super::kv::KvQueries;
use super::registry::RegistryQueries;
use super::statements::{is_unreadable, optional_text, state_at, text};
use super::{DeliveryId, Digested, attributes, digest};
use crate::sink::Delivery;
use crate::status::{DeliveryStatus, EventStatus, HistoryEntry, LastError};

/// What a look at a tenant's deliveries says of those that it did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// None of them is due before.
    Full(u64),
    /// Fewer were due than picked; the next one will be then, none where nothing waits.
    Short(Option<u64>),
}

/// Deliveries that are due.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// In the order of the picks, and of each the oldest due time first; their attempt number is that of the attempt to
    /// come.
    pub deliveries: Vec<(DeliveryId, Delivery)>,
    /// Those of events whose stored bytes cannot be read any more, or do not match their digest.
    pub damaged: Vec<Damaged>,
    /// What is known of those who were picked.
    pub looks: Vec<(Lane, Arc<str>, Look)>,
}

/// A delivery that must not be made.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub id: DeliveryId,
    /// None where even that cannot be read.
    pub event_id: Option<Uuid>,
    pub tenant: Arc<str>,
}

/// Which events may go. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purgeable {
    /// Look at events after this position,
    pub after: i64,
    /// at most this many,
    pub scan: usize,
    /// until this many bytes are found,
    pub bytes: u64,
    /// accepted before this time.
    pub accepted_before: u64,
    /// Completed ones go when they were finished before this time,
    pub completed_before: u64,
    /// those with a dead delivery before this one.
    pub dead_before: u64,
}

/// The pages of the database's file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    pub all: u32,
    /// Empty, to be used again.
    pub free: u32,
    /// The file can give them back: it was made by a version that has it so.
    shrinks: bool,
}

impl Pages {
    /// Fewer than this are not worth moving anything for.
    const FEW: u32 = 256;

    /// Whether it has more free pages than it should keep: more than a quarter.
    pub fn is_hollow(&self) -> bool {
        self.shrinks && self.free > Pages::FEW.max(self.all / 4)
    }
}

/// A connection with its statements.
pub(crate) struct Reader<'c> {
    conn: &'c Connection,
    event: Statement<'c>,
    deliveries: Statement<'c>,
    transitions: Statement<'c>,
    holds: Statement<'c>,
    due: Statement<'c>,
    next_due: Statement<'c>,
    old: Statement<'c>,
    ends: Statement<'c>,
    last: Statement<'c>,
    open: Statement<'c>,
    pub browse: BrowseQueries<'c>,
    pub claims: ClaimQueries<'c>,
    pub kv: KvQueries<'c>,
    pub registry: RegistryQueries<'c>,
}

impl<'c> Reader<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<Reader<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(Reader {
            conn,
            event: sql("SELECT seq, type, route, key, correlation_id, accepted_at FROM events
                WHERE id = ?1 AND tenant = ?2")?,
            deliveries: sql("SELECT d.n, d.sink, d.state, d.due, d.attempts, d.changed_at,
                f.kind, f.class, f.status, f.message, f.attempt, f.at, d.since, d.overtaken
                FROM deliveries d LEFT JOIN failures f ON f.event = d.event AND f.n = d.n
                WHERE d.event = ?1 ORDER BY d.n")?,
            transitions: sql("SELECT n, at, state, actor, reason, took FROM transitions
                WHERE event = ?1 ORDER BY n, step")?,
            holds: sql("SELECT since, until, actor, reason FROM holds
                WHERE sink = ?1 AND (until IS NULL OR until > ?2) ORDER BY since")?,
            due: sql("SELECT d.event, d.n, d.attempts, d.since, e.id, e.route, e.type, e.key, e.content_type,
                e.correlation_id, e.traceparent, e.accepted_at, e.digest, e.causation, e.attributes, e.body, d.due
                FROM deliveries d INDEXED BY deliveries_due JOIN events e ON e.seq = d.event
                WHERE d.sink = ?1 AND d.lane = ?2 AND d.part = coalesce(unicode(substr(?3, -1)), 0) & 7
                AND d.tenant = ?3 AND d.due BETWEEN ?4 AND ?5 ORDER BY d.due, d.event, d.n LIMIT ?6")?,
            next_due: sql("SELECT due FROM deliveries INDEXED BY deliveries_due
                WHERE sink = ?1 AND lane = ?2 AND part = coalesce(unicode(substr(?3, -1)), 0) & 7
                AND tenant = ?3 AND due > ?4 ORDER BY due LIMIT 1")?,
            old: sql("SELECT seq, accepted_at, bytes FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?,
            ends: sql("SELECT state, changed_at FROM deliveries WHERE event = ?1")?,
            last: sql("SELECT coalesce(max(event), 0) FROM deliveries")?,
            open: sql("SELECT d.event, e.accepted_at FROM deliveries d JOIN events e ON e.seq = d.event
                WHERE d.event >= ?1 AND d.state < 5 ORDER BY d.event LIMIT 1")?,
            browse: BrowseQueries::prepare(conn)?,
            claims: ClaimQueries::prepare(conn)?,
            kv: KvQueries::prepare(conn)?,
            registry: RegistryQueries::prepare(conn)?,
        })
    }

    /// Several statements, one picture.
    fn snapshot(&self) -> rusqlite::Result<Transaction<'c>> {
        Transaction::new_unchecked(self.conn, TransactionBehavior::Deferred)
    }

    pub fn status(&mut self, tenant: &str, id: Uuid) -> rusqlite::Result<Option<EventStatus>> {
        let _snapshot = self.snapshot()?;
        let head = self.event.query_row((id.as_bytes(), tenant), |row| {
            Ok((
                row.get::<_, i64>(0)?,
                EventStatus {
                    id,
                    state: EventState::Accepted,
                    event_type: text(row, 1)?,
                    route: text(row, 2)?,
                    key: optional_text(row, 3)?,
                    correlation_id: text(row, 4)?,
                    accepted_at: row.get::<_, i64>(5)?.cast_unsigned(),
                    deliveries: Vec::new(),
                    history: Vec::new(),
                },
            ))
        });
        let Some((seq, mut status)) = head.optional()? else { return Ok(None) };
        let rows: Vec<(i64, u64, DeliveryStatus)> =
            self.deliveries.query_map((seq,), delivery_row)?.collect::<rusqlite::Result<_>>()?;
        let names: HashMap<i64, String> = rows.iter().map(|(n, _, delivery)| (*n, delivery.sink.clone())).collect();
        let begun: Vec<u64> = rows.iter().map(|(_, since, _)| *since).collect();
        status.deliveries = rows.into_iter().map(|(.., delivery)| delivery).collect();
        status.state = EventState::of(status.deliveries.iter().map(|d| (d.state, d.attempts)));
        status.history = self.history(seq, &mut status, &names, &begun)?;
        Ok(Some(status))
    }

    fn history(
        &mut self,
        seq: i64,
        status: &mut EventStatus,
        names: &HashMap<i64, String>,
        begun: &[u64],
    ) -> rusqlite::Result<Vec<HistoryEntry>> {
        let entry = |at, sink: Option<&String>, state, actor: &str, reason: &str| HistoryEntry {
            at,
            sink: sink.cloned(),
            state,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            took_ms: None,
        };
        let accepted = status.accepted_at;
        let mut history = vec![entry(accepted, None, "accepted", "gateway", "")];
        for (delivery, begun) in status.deliveries.iter_mut().zip(begun) {
            history.push(entry(*begun, Some(&delivery.sink), DeliveryState::Ready.label(), "gateway", ""));
            let end = delivery.finished_at.unwrap_or(u64::MAX);
            let mut holds = self.holds.query((&delivery.sink, begun.cast_signed()))?;
            while let Some(row) = holds.next()? {
                let since = row.get::<_, i64>(0)?.cast_unsigned().max(*begun);
                let until = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
                if since >= end {
                    continue;
                }
                let (actor, reason): (String, String) = (row.get(2)?, row.get(3)?);
                let sink = Some(&delivery.sink);
                history.push(entry(since, sink, DeliveryState::Held.label(), &actor, &reason));
                match until {
                    Some(until) => history.push(entry(until, sink, DeliveryState::Ready.label(), &actor, "released")),
                    None if delivery.state.is_waiting() => {
                        (delivery.state, delivery.next_attempt_at) = (DeliveryState::Held, None);
                    }
                    None => {}
                }
            }
        }
        let mut rows = self.transitions.query((seq,))?;
        let mut last = (i64::MIN, 0);
        while let Some(row) = rows.next()? {
            let (n, mut at): (i64, u64) = (row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned());
            // Of two that came at once, the one that was asked for first may have been done last.
            if n == last.0 {
                at = at.max(last.1);
            }
            last = (n, at);
            history.push(HistoryEntry {
                at,
                sink: names.get(&n).cloned(),
                state: state_at(row, 2)?.label(),
                actor: row.get(3)?,
                reason: row.get(4)?,
                took_ms: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
            });
        }
        history.sort_by_key(|entry| entry.at);
        Ok(history)
    }

    /// What is due of the tenants that were picked, about `max_bytes` of bodies.
    pub fn due(&mut self, sink: &Arc<str>, now: u64, picks: &[Pick], max_bytes: usize) -> rusqlite::Result<Due> {
        let _snapshot = self.snapshot()?;
        let mut due = Due::default();
        let mut bytes = 0;
        let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        for Pick { lane, tenant, slots, from } in picks {
            let (mut found, mut last) = (0, *from);
            let limit = i64::try_from(*slots).unwrap_or(i64::MAX);
            let mut rows = self.due.query((sink, *lane as u8, tenant, signed(*from), signed(now), limit))?;
            while bytes < max_bytes
                && let Some(row) = rows.next()?
            {
                let id = DeliveryId { event: row.get(0)?, n: row.get(1)? };
                found += 1;
                last = row.get::<_, i64>(16)?.cast_unsigned();
                match due_row(row, sink, *lane, tenant) {
                    Ok(Some(delivery)) => {
                        bytes += delivery.body.len();
                        due.deliveries.push((id, delivery));
                    }
                    Err(error) if !is_unreadable(&error) => return Err(error),
                    Ok(None) | Err(_) => {
                        let event_id = row.get(4).ok().map(Uuid::from_bytes);
                        due.damaged.push(Damaged { id, event_id, tenant: Arc::clone(tenant) });
                    }
                }
            }
            drop(rows);
            let short = found < *slots && bytes < max_bytes;
            let look = match short {
                false => Look::Full(last),
                true => {
                    let of = (sink, *lane as u8, tenant, signed(now));
                    let next: Option<i64> = self.next_due.query_row(of, |row| row.get(0)).optional()?;
                    Look::Short(next.map(i64::cast_unsigned))
                }
            };
            due.looks.push((*lane, Arc::clone(tenant), look));
        }
        Ok(due)
    }

    /// Positions of events that may be purged, and where to go on; none at the end.
    pub fn purgeable(&mut self, ask: &Purgeable) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
        let _snapshot = self.snapshot()?;
        let rows: Vec<(i64, i64, i64)> = self
            .old
            .query_map((ask.after, ask.scan as i64), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let (mut purgeable, mut found) = (Vec::new(), 0u64);
        for (seq, accepted_at, bytes) in &rows {
            // Positions follow the order of acceptance, so that none of the later ones is old enough either.
            if accepted_at.cast_unsigned() >= ask.accepted_before {
                return Ok((purgeable, None));
            }
            let mut ends = self.ends.query((seq,))?;
            let mut goes = true;
            while let Some(row) = ends.next()? {
                let ended = row.get::<_, i64>(1)?.cast_unsigned();
                goes &= match state_at(row, 0)? {
                    DeliveryState::Dead => ended < ask.dead_before,
                    state => state.is_final() && ended < ask.completed_before,
                };
            }
            if goes {
                purgeable.push(*seq);
                found = found.saturating_add(bytes.cast_unsigned());
            }
            if found >= ask.bytes {
                return Ok((purgeable, Some(*seq)));
            }
        }
        Ok((purgeable, rows.last().map(|(seq, ..)| *seq)))
    }

    pub fn pages(&self) -> rusqlite::Result<Pages> {
        let _snapshot = self.snapshot()?;
        let number = |name: &str| self.conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        Ok(Pages { all: number("page_count")?, free: number("freelist_count")?, shrinks: number("auto_vacuum")? == 2 })
    }

    pub fn oldest(&mut self, from: i64) -> rusqlite::Result<(Option<u64>, i64)> {
        let _snapshot = self.snapshot()?;
        let last: i64 = self.last.query_row((), |row| row.get(0))?;
        let open: Option<(i64, i64)> = self.open.query_row((from,), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(match open {
            Some((seq, accepted_at)) => (Some(accepted_at.cast_unsigned()), seq),
            None => (None, last + 1),
        })
    }
}

/// None where it does not match its digest.
fn due_row(
    row: &rusqlite::Row<'_>,
    sink: &Arc<str>,
    lane: Lane,
    tenant: &Arc<str>,
) -> rusqlite::Result<Option<Delivery>> {
    let delivery = Delivery {
        event_id: Uuid::from_bytes(row.get(4)?),
        sink: Arc::clone(sink),
        lane,
        attempt: row.get::<_, u32>(2)? + 1,
        tenant: Arc::clone(tenant),
        route: row.get(5)?,
        event_type: row.get(6)?,
        key: row.get(7)?,
        content_type: row.get(8)?,
        correlation_id: row.get(9)?,
        traceparent: row.get(10)?,
        accepted_at: row.get::<_, i64>(11)?.cast_unsigned(),
        since: row.get::<_, i64>(3)?.cast_unsigned(),
        causation_id: row.get::<_, Option<[u8; 16]>>(13)?.map(Uuid::from_bytes),
        attributes: attributes(row, 14)?,
        body: Bytes::copy_from_slice(row.get_ref(15)?.as_blob()?),
    };
    let stored: [u8; 32] = row.get(12)?;
    Ok(Some(delivery).filter(|delivery| delivery_digest(delivery) == stored))
}

fn delivery_digest(delivery: &Delivery) -> [u8; 32] {
    digest(&Digested {
        id: delivery.event_id,
        accepted_at: delivery.accepted_at,
        tenant: &delivery.tenant,
        route: &delivery.route,
        event_type: &delivery.event_type,
        key: delivery.key.as_deref(),
        content_type: &delivery.content_type,
        correlation_id: &delivery.correlation_id,
        traceparent: delivery.traceparent.as_deref(),
        causation_id: delivery.causation_id,
        attributes: &delivery.attributes,
        body: &delivery.body,
    })
}

/// Its number, when it began, and the rest.
fn delivery_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, u64, DeliveryStatus)> {
    let state = state_at(row, 2)?;
    let changed_at = row.get::<_, i64>(5)?.cast_unsigned();
    let last_error = match row.get::<_, Option<String>>(6)? {
        None => None,
        Some(kind) => Some(LastError {
            kind,
            class: row.get(7)?,
            status: row.get(8)?,
            message: row.get(9)?,
            attempt: row.get(10)?,
            at: row.get::<_, i64>(11)?.cast_unsigned(),
        }),
    };
    let delivery = DeliveryStatus {
        sink: row.get(1)?,
        state,
        attempts: row.get(4)?,
        next_attempt_at: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        last_error,
        finished_at: state.is_final().then_some(changed_at),
        overtaken: row.get(13)?,
    };
    Ok((row.get(0)?, row.get::<_, i64>(12)?.cast_unsigned(), delivery))
}
