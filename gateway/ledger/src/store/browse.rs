//! Lists and single events, for people: questions that walk over deliveries, bounded in what they look at.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::{DeliveryState, NewEvent};
use uuid::Uuid;

use super::attributes;
use super::statements::{lane_at, optional_text, state_at, text};
use crate::operate::{Cursor, Filter, Listed, OperateEntry, Page};
use crate::status::LastError;

/// Deliveries that one question looks at.
const LOOKED_AT: usize = 20_000;

/// The statements of lists.
pub(crate) struct BrowseQueries<'c> {
    /// Newest first, and oldest first.
    all: [Statement<'c>; 2],
    /// The same of the dead ones only.
    dead: [Statement<'c>; 2],
    head: Statement<'c>,
    failure: Statement<'c>,
    event: Statement<'c>,
    audit: Statement<'c>,
    /// One tenant's.
    audit_of: Statement<'c>,
}

impl<'c> BrowseQueries<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<BrowseQueries<'c>> {
        let sql = |text: &str| conn.prepare(text);
        let listed = "SELECT event, n, sink, tenant, lane, state, due, attempts, changed_at, overtaken FROM deliveries";
        let down = "(event, n) < (?1, ?2) ORDER BY event DESC, n DESC";
        let up = "(event, n) > (?1, ?2) ORDER BY event, n";
        let all = |after| sql(&format!("{listed} WHERE {after}"));
        let dead = |after| sql(&format!("{listed} INDEXED BY deliveries_dead WHERE state = 6 AND {after}"));
        Ok(BrowseQueries {
            all: [all(down)?, all(up)?],
            dead: [dead(down)?, dead(up)?],
            head: sql("SELECT id, type, route, key, accepted_at, correlation_id FROM events WHERE seq = ?1")?,
            failure: sql("SELECT kind, class, status, message, attempt, at FROM failures WHERE event = ?1 AND n = ?2")?,
            event: sql(
                "SELECT tenant, route, type, key, content_type, correlation_id, traceparent, accepted_at, lane,
                causation, attributes, body FROM events WHERE id = ?1",
            )?,
            audit: sql(&audit(""))?,
            audit_of: sql(&audit("AND tenant = ?3"))?,
        })
    }

    /// A part of the list; what waits for a sink of `held` is held.
    pub fn list(
        &mut self,
        filter: &Filter,
        held: &[Arc<str>],
        cursor: Option<Cursor>,
        limit: usize,
    ) -> rusqlite::Result<Page> {
        let mut page = Page::default();
        let start = if filter.oldest_first { i64::MIN } else { i64::MAX };
        let Cursor { event, n } = cursor.unwrap_or(Cursor { event: start, n: start });
        let only_dead = filter.states == [DeliveryState::Dead];
        let statements = if only_dead { &mut self.dead } else { &mut self.all };
        let statement = &mut statements[usize::from(filter.oldest_first)];
        let mut rows = statement.query((event, n))?;
        let mut last = None;
        for looked_at in 0.. {
            let Some(row) = rows.next()? else { return Ok(page) };
            if page.deliveries.len() >= limit || looked_at >= LOOKED_AT {
                page.next = last;
                return Ok(page);
            }
            let at = Cursor { event: row.get(0)?, n: row.get(1)? };
            last = Some(at);
            let Some(mut listed) = delivery(row, filter, held)? else { continue };
            let head = self.head.query_row((at.event,), |row| complete(row, filter, &mut listed)).optional()?;
            if head == Some(true) {
                listed.last_error = self.failure.query_row((at.event, at.n), last_error).optional()?;
                page.deliveries.push(listed);
            }
        }
        Ok(page)
    }

    /// An event as it was accepted, without its sinks.
    pub fn event(&mut self, id: Uuid) -> rusqlite::Result<Option<NewEvent>> {
        let found = self.event.query_row((id.as_bytes(),), |row| {
            Ok(NewEvent {
                id,
                tenant: row.get(0)?,
                route: text(row, 1)?.into(),
                event_type: text(row, 2)?.into(),
                key: optional_text(row, 3)?,
                content_type: text(row, 4)?,
                correlation_id: text(row, 5)?.into(),
                traceparent: optional_text(row, 6)?.map(Into::into),
                accepted_at: row.get::<_, i64>(7)?.cast_unsigned(),
                lane: lane_at(row, 8)?,
                causation_id: row.get::<_, Option<[u8; 16]>>(9)?.map(Uuid::from_bytes),
                attributes: attributes(row, 10).unwrap_or_default(),
                body: row.get::<_, Vec<u8>>(11)?.into(),
                sinks: Vec::new(),
            })
        });
        found.optional()
    }

    pub fn audit(
        &mut self,
        tenant: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> rusqlite::Result<Vec<OperateEntry>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let before = before.unwrap_or(i64::MAX);
        match tenant {
            Some(tenant) => self.audit_of.query_map((before, limit, tenant), audited)?.collect(),
            None => self.audit.query_map((before, limit), audited)?.collect(),
        }
    }
}

/// A delivery's own part, if that passes the filter.
fn delivery(row: &rusqlite::Row<'_>, filter: &Filter, held: &[Arc<str>]) -> rusqlite::Result<Option<Listed>> {
    let (sink, tenant) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
    let mut state = state_at(row, 5)?;
    let mut due = row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned);
    if state.is_waiting() && held.iter().any(|held| **held == *sink) {
        (state, due) = (DeliveryState::Held, None);
    }
    let passes = filter.tenant.as_ref().is_none_or(|wanted| **wanted == *tenant)
        && filter.sink.as_ref().is_none_or(|wanted| *wanted == *sink)
        && (filter.states.is_empty() || filter.states.contains(&state));
    if !passes {
        return Ok(None);
    }
    Ok(Some(Listed {
        event: Uuid::nil(),
        tenant: tenant.to_owned(),
        sink: sink.to_owned(),
        state,
        lane: lane_at(row, 4)?,
        event_type: String::new(),
        route: String::new(),
        key: None,
        attempts: row.get(7)?,
        next_attempt_at: due,
        accepted_at: 0,
        changed_at: row.get::<_, i64>(8)?.cast_unsigned(),
        correlation_id: String::new(),
        last_error: None,
        overtaken: row.get(9)?,
    }))
}

/// Adds the event's part. Answers whether that passes the filter.
fn complete(row: &rusqlite::Row<'_>, filter: &Filter, listed: &mut Listed) -> rusqlite::Result<bool> {
    listed.event = Uuid::from_bytes(row.get(0)?);
    listed.event_type = text(row, 1)?;
    listed.route = text(row, 2)?;
    listed.key = optional_text(row, 3)?;
    listed.accepted_at = row.get::<_, i64>(4)?.cast_unsigned();
    listed.correlation_id = text(row, 5)?;
    let is = |wanted: &Option<String>, there: &str| wanted.as_ref().is_none_or(|wanted| wanted == there);
    Ok(is(&filter.event_type, &listed.event_type)
        && is(&filter.route, &listed.route)
        && is(&filter.correlation_id, &listed.correlation_id)
        && filter.key.as_ref().is_none_or(|wanted| listed.key.as_ref() == Some(wanted))
        && filter.since.is_none_or(|since| listed.accepted_at >= since)
        && filter.until.is_none_or(|until| listed.accepted_at < until))
}

fn audit(of: &str) -> String {
    format!(
        "SELECT seq, at, tenant, actor, action, event, sink, reason FROM event_audit
         WHERE seq < ?1 {of} ORDER BY seq DESC LIMIT ?2"
    )
}

fn audited(row: &rusqlite::Row<'_>) -> rusqlite::Result<OperateEntry> {
    Ok(OperateEntry {
        seq: row.get(0)?,
        at: row.get::<_, i64>(1)?.cast_unsigned(),
        tenant: row.get(2)?,
        actor: row.get(3)?,
        action: row.get(4)?,
        event: row.get::<_, Option<[u8; 16]>>(5)?.map(Uuid::from_bytes),
        sink: row.get(6)?,
        reason: row.get(7)?,
    })
}

/// Reads `kind, class, status, message, attempt, at`.
fn last_error(row: &rusqlite::Row<'_>) -> rusqlite::Result<LastError> {
    Ok(LastError {
        kind: row.get(0)?,
        class: row.get(1)?,
        status: row.get(2)?,
        message: row.get(3)?,
        attempt: row.get(4)?,
        at: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}
