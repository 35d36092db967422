//! The parts of a ledger held against each other: what is stored against its digest, sums against counts, lines against
//! their fronts, states against their history.

use std::fs::{File, TryLockError};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use uuid::Uuid;

use super::backup::{known_format, log_of};
use super::claims::answer_bytes;
use super::files::io;
use super::{Digested, attributes, digest, open_error, schema};
use crate::error::OpenError;
use crate::upkeep::{Finding, Report, UpkeepError};

/// Findings of one kind that are told.
const TOLD: usize = 100;

/// A sum that is kept in a table of its own.
pub(super) struct Sum {
    what: &'static str,
    /// `name, value` as it is kept,
    kept: &'static str,
    /// and as it is.
    counted: &'static str,
}

/// Events that count against the quotas.
macro_rules! open_events {
    ($value:literal) => {
        concat!(
            "SELECT tenant AS name, ",
            $value,
            " AS value FROM events WHERE EXISTS (SELECT 1 FROM deliveries
             WHERE event = seq AND state NOT IN (5, 7, 8, 9)) GROUP BY tenant"
        )
    };
}

const SUMS: [Sum; 7] = [
    Sum {
        what: "undelivered events",
        kept: "SELECT tenant AS name, events AS value FROM tenant_backlog",
        counted: open_events!("count(*)"),
    },
    Sum {
        what: "undelivered bytes",
        kept: "SELECT tenant AS name, bytes AS value FROM tenant_backlog",
        counted: open_events!("sum(bytes)"),
    },
    Sum {
        what: "deliveries by sink and state",
        kept: "SELECT sink || ' ' || state AS name, deliveries AS value FROM sink_depth",
        counted: "SELECT sink || ' ' || state AS name, count(*) AS value FROM deliveries GROUP BY sink, state",
    },
    Sum {
        what: "stored bytes",
        kept: "SELECT 'all' AS name, bytes AS value FROM stored",
        counted: "SELECT 'all' AS name, coalesce(sum(bytes), 0) AS value FROM events",
    },
    Sum {
        what: "idempotency keys",
        kept: "SELECT tenant AS name, keys AS value FROM claim_usage",
        counted: "SELECT tenant AS name, count(*) AS value FROM claims GROUP BY tenant",
    },
    Sum {
        what: "bytes of idempotent answers",
        kept: "SELECT tenant AS name, bytes AS value FROM claim_usage",
        counted: concat!("SELECT tenant AS name, sum(", answer_bytes!(), ") AS value FROM claims GROUP BY tenant"),
    },
    Sum {
        what: "bytes of plugin state",
        kept: "SELECT tenant AS name, bytes AS value FROM kv_usage",
        counted: "SELECT tenant AS name, sum(length(CAST(key AS BLOB)) + length(value) + ?1) AS value FROM kv
            GROUP BY tenant",
    },
];

/// Counts everything anew.
pub(super) const RECOUNT: &str = concat!(
    "
DELETE FROM tenant_backlog;
INSERT INTO tenant_backlog (tenant, events, bytes)
  SELECT tenant, count(*), sum(bytes) FROM events
  WHERE EXISTS (SELECT 1 FROM deliveries WHERE event = seq AND state NOT IN (5, 7, 8, 9)) GROUP BY tenant;
DELETE FROM sink_depth;
INSERT INTO sink_depth (sink, state, deliveries) SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state;
UPDATE stored SET bytes = (SELECT coalesce(sum(bytes), 0) FROM events);
DELETE FROM claim_usage;
INSERT INTO claim_usage (tenant, keys, bytes) SELECT tenant, count(*), sum(",
    answer_bytes!(),
    ") FROM claims GROUP BY tenant;
"
);

/// The last of them; what an entry costs beside its key and value is an argument.
pub(super) const RECOUNT_KV: &str = "INSERT OR REPLACE INTO kv_usage (tenant, bytes)
  SELECT tenant, sum(length(CAST(key AS BLOB)) + length(value) + ?1) FROM kv GROUP BY tenant";

/// Lines of which more than one is due or under way, or all are blocked: `sink, tenant, key, fronts`.
pub(super) const LINES: &str = "SELECT sink, tenant, key, sum(state IN (0, 1, 2)) AS fronts FROM deliveries
  WHERE line IS NOT NULL GROUP BY sink, tenant, key HAVING fronts > 1 OR sum(state <> 4) = 0";

/// What an entry of the tenants' state costs beside its key and value.
pub(super) fn entry_bytes() -> i64 {
    sluis_model::kv::cost("", &[]).cast_signed()
}

pub(crate) fn verify(dir: &Path) -> Result<Report, UpkeepError> {
    let dir = dir.canonicalize().map_err(io(dir))?;
    let database = dir.join("ledger.db");
    let _lock = hold(&dir)?;
    let conn = open(&database)?;
    known_format(&conn, &dir, &database)?;
    let failed = |error: rusqlite::Error| UpkeepError::Open(open_error(&database, &error));
    let mut report = Report { format: schema::FORMAT, events: 0, deliveries: 0, shrinks: true, findings: Vec::new() };
    match structure(&conn, &mut report).and_then(|()| contents(&conn, &mut report)) {
        Ok(()) => {}
        // What is damaged cannot all be read.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            report.findings.push(Finding::Structure(error.to_string()));
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(report)
}

/// Keeps a gateway from starting meanwhile. A directory without the file has never been a gateway's.
fn hold(dir: &Path) -> Result<Option<File>, UpkeepError> {
    let path = dir.join("lock");
    let Ok(lock) = File::open(&path) else { return Ok(None) };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned(), holder: holder(&path) }.into()),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }.into()),
    }
}

fn holder(lock: &Path) -> Option<u32> {
    std::fs::read_to_string(lock).ok()?.trim().parse().ok()
}

/// For reading only. Without a log nothing is made beside the file either.
fn open(database: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    database.metadata().map_err(io(database))?;
    let logged = log_of(database).metadata().is_ok_and(|meta| meta.len() > 0);
    let opened = if logged {
        Connection::open_with_flags(database, flags)
    } else {
        let path = database.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{path}?immutable=1");
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
    };
    let configured = opened.and_then(|conn| {
        conn.pragma_update(None, "mmap_size", 0)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        conn.pragma_update(None, "cell_size_check", true)?;
        Ok(conn)
    });
    configured.map_err(|error| open_error(database, &error))
}

fn structure(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut check = conn.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
    let mut rows = check.query(())?;
    while let Some(row) = rows.next()? {
        let message: String = row.get(0)?;
        if message != "ok" {
            report.findings.push(Finding::Structure(message));
        }
    }
    Ok(())
}

fn contents(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    report.shrinks = conn.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? == 2;
    report.events = count("SELECT count(*) FROM events")?;
    report.deliveries = count("SELECT count(*) FROM deliveries")?;
    digests(conn, report)?;
    for sum in &SUMS {
        sums(conn, sum, report)?;
    }
    lines(conn, report)?;
    histories(conn, report)?;
    for table in ["deliveries", "transitions", "failures"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE NOT EXISTS (SELECT 1 FROM events WHERE seq = event)");
        let rows = count(&sql)?;
        if rows > 0 {
            report.findings.push(Finding::Orphans { table, rows });
        }
    }
    Ok(())
}

fn digests(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut events = conn.prepare(
        "SELECT id, accepted_at, tenant, route, type, key, content_type, correlation_id, traceparent, causation,
         attributes, body, digest FROM events ORDER BY seq",
    )?;
    let mut rows = events.query(())?;
    let mut told = 0;
    while let Some(row) = rows.next()?
        && told < TOLD
    {
        let id = Uuid::from_bytes(row.get(0)?);
        if !is_as_accepted(row, id).unwrap_or(false) {
            report.findings.push(Finding::Digest { event: id });
            told += 1;
        }
    }
    Ok(())
}

/// An error is a value that none of ours can have.
fn is_as_accepted(row: &rusqlite::Row<'_>, id: Uuid) -> rusqlite::Result<bool> {
    let text = |column: usize| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
    let maybe = |column: usize| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?);
    let attributes = attributes(row, 10)?;
    let parts = Digested {
        id,
        accepted_at: row.get::<_, i64>(1)?.cast_unsigned(),
        tenant: text(2)?,
        route: text(3)?,
        event_type: text(4)?,
        key: maybe(5)?,
        content_type: text(6)?,
        correlation_id: text(7)?,
        traceparent: maybe(8)?,
        causation_id: row.get::<_, Option<[u8; 16]>>(9)?.map(Uuid::from_bytes),
        attributes: &attributes,
        body: row.get_ref(11)?.as_blob()?,
    };
    Ok(digest(&parts) == row.get::<_, [u8; 32]>(12)?)
}

fn sums(conn: &Connection, sum: &Sum, report: &mut Report) -> rusqlite::Result<()> {
    let mut differ = conn.prepare(&format!(
        "SELECT name, coalesce(k.value, 0), coalesce(c.value, 0) FROM ({}) k FULL JOIN ({}) c USING (name)
         WHERE coalesce(k.value, 0) <> coalesce(c.value, 0) AND ?1 > 0 ORDER BY 1 LIMIT {TOLD}",
        sum.kept, sum.counted
    ))?;
    let rows = differ.query_map((entry_bytes(),), |row| {
        Ok(Finding::Sum { what: sum.what, of: row.get(0)?, kept: row.get(1)?, counted: row.get(2)? })
    })?;
    report.findings.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(())
}

fn lines(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut lines = conn.prepare(&format!("{LINES} LIMIT {TOLD}"))?;
    let rows = lines.query_map((), |row| {
        let fronts = row.get::<_, i64>(3)?.cast_unsigned();
        Ok(Finding::Line { sink: row.get(0)?, tenant: row.get(1)?, key: row.get(2)?, fronts })
    })?;
    report.findings.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(())
}

fn histories(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut differ = conn.prepare(&format!(
        "SELECT d.event, d.n, d.steps,
           (SELECT count(*) FROM transitions t WHERE t.event = d.event AND t.n = d.n) AS written FROM deliveries d
         WHERE written <> d.steps OR d.state <> coalesce(
           (SELECT state FROM transitions t WHERE t.event = d.event AND t.n = d.n AND t.step = d.steps), d.state)
         LIMIT {TOLD}"
    ))?;
    let rows = differ.query_map((), |row| {
        Ok(Finding::History { event: row.get(0)?, n: row.get(1)?, steps: row.get(2)?, written: row.get(3)? })
    })?;
    report.findings.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(())
}
