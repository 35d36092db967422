//! The statements about events and deliveries that changes are made of, and how their rows are read.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::DeliveryState;
use sluis_model::lane::Lane;

use super::DeliveryId;
use super::tally::Counted;

/// A delivery's row.
pub(super) struct Row {
    pub sink: String,
    pub tenant: String,
    /// Ordering key, where the sink keeps order.
    pub key: Option<String>,
    /// Its place in the line of its key, while it stands there.
    pub line: Option<i64>,
    /// The place that it has or had there: the position of the event that took it, be it its own.
    pub place: i64,
    pub lane: Lane,
    pub state: DeliveryState,
    pub attempts: u32,
    pub steps: i64,
    /// A newer one of its key was delivered after it was given up.
    pub overtaken: bool,
}

impl Row {
    pub fn counted(&self) -> Counted<'_> {
        Counted { sink: &self.sink, tenant: &self.tenant, lane: self.lane }
    }
}

/// Reads a state from its number.
pub(crate) fn state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<DeliveryState> {
    let number: u32 = row.get(column)?;
    let known = DeliveryState::ALL.get(number as usize).copied();
    known.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
}

/// Reads a lane from its number.
pub(crate) fn lane_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Lane> {
    let number: u32 = row.get(column)?;
    let known = Lane::ALL.get(number as usize).copied();
    known.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(number)))
}

/// A text for people; what has rotted of it is shown as such.
pub(super) fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<String> {
    optional_text(row, column).map(Option::unwrap_or_default)
}

/// The same of a text that may not be there.
pub(super) fn optional_text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let bytes = row.get_ref(column)?.as_bytes_or_null()?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// Whether it was a value that cannot be what was written there, in a file that is as it should be otherwise.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..))
}

/// What [`read_row`] reads.
const ROW: &str = "sink, tenant, key, line, lane, state, attempts, steps, overtaken, coalesce(place, event)";

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        sink: row.get(0)?,
        tenant: row.get(1)?,
        key: row.get(2)?,
        line: row.get(3)?,
        lane: lane_at(row, 4)?,
        state: state_at(row, 5)?,
        attempts: row.get(6)?,
        steps: row.get(7)?,
        overtaken: row.get(8)?,
        place: row.get(9)?,
    })
}

/// Prepared once, for the life of the writer.
pub(super) struct Statements<'c> {
    pub begin: Statement<'c>,
    pub commit: Statement<'c>,
    pub rollback: Statement<'c>,
    pub insert_event: Statement<'c>,
    pub insert_delivery: Statement<'c>,
    select_delivery: Statement<'c>,
    pub update_delivery: Statement<'c>,
    pub insert_transition: Statement<'c>,
    pub upsert_failure: Statement<'c>,
    pub overtake: Statement<'c>,
    pub unsettled: Statement<'c>,
    select_head: Statement<'c>,
    deliveries: Statement<'c>,
    pub purge: [Statement<'c>; 4],
    pub shrink: Statement<'c>,
    pub hold: Statement<'c>,
    pub forget_holds: Statement<'c>,
    pub release: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(Statements {
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            rollback: sql("ROLLBACK")?,
            insert_event: sql("INSERT INTO events (seq, id, tenant, route, type, key, content_type, correlation_id,
                traceparent, accepted_at, bytes, digest, body, lane, causation, attributes)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")?,
            insert_delivery: sql(
                "INSERT INTO deliveries (event, n, sink, tenant, key, line, lane, state, due, attempts, steps, since,
                changed_at, overtaken, place) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?11, ?10, ?10, ?12, ?13)",
            )?,
            select_delivery: sql(&format!("SELECT {ROW} FROM deliveries WHERE event = ?1 AND n = ?2"))?,
            update_delivery: sql("UPDATE deliveries SET state = ?3, due = ?4, attempts = ?5, steps = ?6,
                changed_at = ?7, line = ?8 WHERE event = ?1 AND n = ?2")?,
            insert_transition: sql("INSERT INTO transitions (event, n, step, at, state, actor, reason, took)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            upsert_failure: sql(
                "INSERT OR REPLACE INTO failures (event, n, at, attempt, class, kind, status, message,
                excerpt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            overtake: sql("UPDATE deliveries INDEXED BY deliveries_dead_key SET overtaken = 1 WHERE sink = ?1
                AND tenant = ?2 AND key = ?3 AND state = 6 AND overtaken = 0 AND coalesce(place, event) < ?4")?,
            unsettled: sql("SELECT 1 FROM deliveries WHERE event = ?1 AND state NOT IN (5, 7, 8, 9)")?,
            select_head: sql("SELECT tenant, bytes FROM events WHERE seq = ?1")?,
            deliveries: sql(&format!("SELECT {ROW}, n FROM deliveries WHERE event = ?1 ORDER BY n"))?,
            purge: [
                sql("DELETE FROM transitions WHERE event = ?1")?,
                sql("DELETE FROM failures WHERE event = ?1")?,
                sql("DELETE FROM deliveries WHERE event = ?1")?,
                sql("DELETE FROM events WHERE seq = ?1")?,
            ],
            // Few pages, as accepts wait behind it.
            shrink: sql("PRAGMA incremental_vacuum(128)")?,
            hold: sql("INSERT INTO holds (sink, since, actor, reason) SELECT ?1, ?2, ?3, ?4
                WHERE NOT EXISTS (SELECT 1 FROM holds WHERE sink = ?1 AND actor = ?3 AND until IS NULL)
                ON CONFLICT (sink, actor, since) DO UPDATE SET until = NULL")?,
            forget_holds: sql("DELETE FROM holds WHERE sink = ?1 AND until IS NOT NULL AND since <
                (SELECT since FROM holds WHERE sink = ?1 ORDER BY since DESC LIMIT 1 OFFSET ?2)")?,
            release: sql("UPDATE holds SET until = ?2 WHERE sink = ?1 AND actor = ?3 AND until IS NULL")?,
        })
    }

    pub fn row(&mut self, id: DeliveryId) -> rusqlite::Result<Option<Row>> {
        self.select_delivery.query_row((id.event, id.n), read_row).optional()
    }

    /// The deliveries of an event, with their numbers.
    pub fn rows(&mut self, event: i64) -> rusqlite::Result<Vec<(i64, Row)>> {
        self.deliveries.query_map((event,), |row| Ok((row.get(10)?, read_row(row)?)))?.collect()
    }

    /// Tenant and bytes of an event.
    pub fn head(&mut self, event: i64) -> rusqlite::Result<Option<(String, u64)>> {
        self.select_head
            .query_row((event,), |row| {
                let bytes: i64 = row.get(1)?;
                Ok((row.get(0)?, bytes.cast_unsigned()))
            })
            .optional()
    }
}
