//! The tables, by format number. Times are milliseconds since the epoch; states are the positions in
//! `DeliveryState::ALL`.

use rusqlite::{Connection, TransactionBehavior};

/// "SLUS", in the header of every ledger.
pub(crate) const APPLICATION_ID: i32 = 0x534c_5553;

/// One step per format number: step 0 leads from an empty file to format 1. A published step never changes.
pub(crate) const STEPS: &[&str] = &[FORMAT_1, FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5, FORMAT_6, FORMAT_7];

/// Newest format that this program knows.
pub(crate) const FORMAT: i64 = STEPS.len() as i64;

const FORMAT_1: &str = "
-- Written once, never changed; the body comes last so that reading a head never touches its overflow pages.
CREATE TABLE events (
  seq            INTEGER PRIMARY KEY,
  id             BLOB    NOT NULL CHECK (length(id) = 16),
  tenant         TEXT    NOT NULL,
  route          TEXT    NOT NULL,
  type           TEXT    NOT NULL,
  key            TEXT,
  content_type   TEXT    NOT NULL,
  correlation_id TEXT    NOT NULL,
  traceparent    TEXT,
  accepted_at    INTEGER NOT NULL,
  bytes          INTEGER NOT NULL,
  digest         BLOB    NOT NULL,
  body           BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_id ON events (id);

-- due is there exactly in the states that wait for a worker.
CREATE TABLE deliveries (
  event      INTEGER NOT NULL,
  n          INTEGER NOT NULL,
  sink       TEXT    NOT NULL,
  state      INTEGER NOT NULL,
  due        INTEGER,
  attempts   INTEGER NOT NULL,
  steps      INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (event, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (sink, due) WHERE due IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (event) WHERE state = 1;

-- The history: one row per arrow after the first; the first is the event's own row.
CREATE TABLE transitions (
  event  INTEGER NOT NULL,
  n      INTEGER NOT NULL,
  step   INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  state  INTEGER NOT NULL,
  actor  TEXT    NOT NULL,
  reason TEXT    NOT NULL,
  took   INTEGER,
  PRIMARY KEY (event, n, step)
) STRICT, WITHOUT ROWID;

-- The last failure of a delivery, with what its sink said.
CREATE TABLE failures (
  event   INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  class   TEXT    NOT NULL,
  kind    TEXT    NOT NULL,
  status  INTEGER,
  message TEXT    NOT NULL,
  excerpt BLOB    NOT NULL,
  PRIMARY KEY (event, n)
) STRICT;

-- A sink that is held holds all its waiting deliveries, in one row instead of one per delivery.
CREATE TABLE holds (
  sink   TEXT    NOT NULL,
  since  INTEGER NOT NULL,
  until  INTEGER,
  actor  TEXT    NOT NULL,
  reason TEXT    NOT NULL,
  PRIMARY KEY (sink, since)
) STRICT, WITHOUT ROWID;

-- Sums over the tables above, kept in the same transactions, so that opening need not count.
CREATE TABLE tenant_backlog (
  tenant TEXT PRIMARY KEY,
  events INTEGER NOT NULL,
  bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sink_depth (
  sink       TEXT    NOT NULL,
  state      INTEGER NOT NULL,
  deliveries INTEGER NOT NULL,
  PRIMARY KEY (sink, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE stored (
  only  INTEGER PRIMARY KEY CHECK (only = 0),
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO stored (only, bytes) VALUES (0, 0);
";

/// What tenants' plugins keep. The sum of bytes is kept in the same transactions.
const FORMAT_2: &str = "
CREATE TABLE kv (
  id         INTEGER PRIMARY KEY,
  tenant     TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  value      BLOB    NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX kv_key ON kv (tenant, key);
CREATE INDEX kv_expiry ON kv (tenant, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE kv_usage (
  tenant TEXT PRIMARY KEY,
  bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The tenants' plugins. Their components are files, by digest; a rollout is JSON.
const FORMAT_3: &str = "
CREATE TABLE plugin_versions (
  tenant      TEXT    NOT NULL,
  plugin      TEXT    NOT NULL,
  version     TEXT    NOT NULL,
  digest      BLOB    NOT NULL CHECK (length(digest) = 32),
  bytes       INTEGER NOT NULL,
  report      TEXT    NOT NULL,
  uploaded_at INTEGER NOT NULL,
  uploaded_by TEXT    NOT NULL,
  PRIMARY KEY (tenant, plugin, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX plugin_versions_digest ON plugin_versions (digest);
CREATE TABLE plugin_rollouts (
  tenant     TEXT    NOT NULL,
  plugin     TEXT    NOT NULL,
  rollout    TEXT    NOT NULL,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;
CREATE TABLE plugin_audit (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  tenant  TEXT    NOT NULL,
  plugin  TEXT    NOT NULL,
  actor   TEXT    NOT NULL,
  action  TEXT    NOT NULL,
  version TEXT,
  reason  TEXT    NOT NULL
) STRICT;
CREATE INDEX plugin_audit_tenant ON plugin_audit (tenant, seq);
";

/// Order, lanes, idempotency. A delivery has what decides when it goes beside it, so that choosing the next one never
/// touches its event.
const FORMAT_4: &str = "
ALTER TABLE events ADD COLUMN lane INTEGER NOT NULL DEFAULT 2;
-- The event that this one sends anew, with another body.
ALTER TABLE events ADD COLUMN causation BLOB CHECK (length(causation) = 16);
-- Attributes of a CloudEvent that have no column, as a JSON object.
ALTER TABLE events ADD COLUMN attributes TEXT;

-- line is there while the delivery stands in the line of its key: its place in it; since is when its age begins.
CREATE TABLE deliveries_4 (
  event      INTEGER NOT NULL,
  n          INTEGER NOT NULL,
  sink       TEXT    NOT NULL,
  tenant     TEXT    NOT NULL,
  key        TEXT,
  line       INTEGER,
  lane       INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  due        INTEGER,
  attempts   INTEGER NOT NULL,
  steps      INTEGER NOT NULL,
  since      INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  -- Tenants in eight parts.
  part       INTEGER GENERATED ALWAYS AS (coalesce(unicode(substr(tenant, -1)), 0) & 7) VIRTUAL,
  PRIMARY KEY (event, n)
) STRICT, WITHOUT ROWID;
INSERT INTO deliveries_4 (event, n, sink, tenant, key, line, lane, state, due, attempts, steps, since, changed_at)
  SELECT d.event, d.n, d.sink, e.tenant, NULL, NULL, 2, d.state, d.due, d.attempts, d.steps, e.accepted_at, d.changed_at
  FROM deliveries d JOIN events e ON e.seq = d.event;
DROP TABLE deliveries;
ALTER TABLE deliveries_4 RENAME TO deliveries;
-- Not by tenant, which would take a page of each tenant's into every commit; not by time alone, where one tenant's
-- backlog would lie between all others' deliveries.
CREATE INDEX deliveries_due ON deliveries (sink, lane, part, due, tenant) WHERE due IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (event) WHERE state = 1;
CREATE INDEX deliveries_line ON deliveries (sink, tenant, key, line) WHERE line IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (event) WHERE state = 6;

-- Several may hold a sink at once, each for a reason of its own.
CREATE TABLE holds_4 (
  sink   TEXT    NOT NULL,
  actor  TEXT    NOT NULL,
  since  INTEGER NOT NULL,
  until  INTEGER,
  reason TEXT    NOT NULL,
  PRIMARY KEY (sink, actor, since)
) STRICT, WITHOUT ROWID;
INSERT INTO holds_4 SELECT sink, actor, since, until, reason FROM holds;
DROP TABLE holds;
ALTER TABLE holds_4 RENAME TO holds;

-- Idempotency keys: state is the position in ClaimState::ALL; answer is what a repetition is told.
CREATE TABLE claims (
  tenant      TEXT    NOT NULL,
  route       TEXT    NOT NULL,
  key         TEXT    NOT NULL,
  fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
  state       INTEGER NOT NULL,
  event       BLOB,
  status      INTEGER,
  head        TEXT,
  body        BLOB,
  claimed_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  PRIMARY KEY (tenant, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_expiry ON claims (tenant, expires_at) WHERE state <> 0;
CREATE INDEX claims_open ON claims (state) WHERE state = 0;
CREATE TABLE claim_usage (
  tenant TEXT PRIMARY KEY,
  keys   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What operators and tenants did to events and sinks.
CREATE TABLE event_audit (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  at     INTEGER NOT NULL,
  tenant TEXT,
  actor  TEXT    NOT NULL,
  action TEXT    NOT NULL,
  event  BLOB,
  sink   TEXT,
  reason TEXT    NOT NULL
) STRICT;
CREATE INDEX event_audit_tenant ON event_audit (tenant, seq);
";

/// What was given up and is not the newest of its key any more: said when a newer one is delivered, as that may be purged
/// long before somebody thinks of sending the old one anew.
const FORMAT_5: &str = "
ALTER TABLE deliveries ADD COLUMN overtaken INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_dead_key ON deliveries (sink, tenant, key) WHERE state = 6 AND key IS NOT NULL;
";

/// How far versions of a plugin have grown that may do nothing else: a floor stays when its version goes. Of the versions
/// that are there nobody knows whether they came by that rule; each is a floor until the next one comes by it.
const FORMAT_6: &str = "
CREATE TABLE plugin_floors (
  tenant  TEXT NOT NULL,
  plugin  TEXT NOT NULL,
  version TEXT NOT NULL,
  PRIMARY KEY (tenant, plugin, version)
) STRICT, WITHOUT ROWID;
INSERT INTO plugin_floors (tenant, plugin, version) SELECT tenant, plugin, version FROM plugin_versions;
";

/// The place of what was sent anew outlives its stay in the line of its key, tenants' answers to repetitions are counted in
/// bytes, and the audit of events is kept by tenant.
const FORMAT_7: &str = "
-- Its place in the line of its key, where that is another event's than its own: it was sent anew with another body.
ALTER TABLE deliveries ADD COLUMN place INTEGER;
UPDATE deliveries SET place = line WHERE line IS NOT NULL AND line <> event;

-- A sum over the claims, as their number is.
ALTER TABLE claim_usage ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE claim_usage SET bytes = (
  SELECT coalesce(sum(coalesce(octet_length(head), 0) + coalesce(length(body), 0)), 0) FROM claims
  WHERE claims.tenant = claim_usage.tenant);

-- n counts the lines of a tenant, or those without one.
ALTER TABLE event_audit ADD COLUMN n INTEGER NOT NULL DEFAULT 0;
UPDATE event_audit SET n = counted.n FROM
  (SELECT seq, row_number() OVER (PARTITION BY tenant ORDER BY seq) AS n FROM event_audit) AS counted
  WHERE counted.seq = event_audit.seq;
";

/// What kind of file this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing in it yet.
    Empty,
    /// A ledger of a format that is known.
    Known,
    /// A ledger of a later format.
    Newer(i64),
    /// Somebody else's database.
    Foreign,
}

pub(crate) fn inspect(conn: &Connection, newest: i64) -> rusqlite::Result<Found> {
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(match (application, format, objects) {
        (0, 0, 0) => Found::Empty,
        (APPLICATION_ID, format, _) if format > newest => Found::Newer(format),
        (APPLICATION_ID, 0.., _) => Found::Known,
        _ => Found::Foreign,
    })
}

/// Takes the file from its format to the newest, each step in a transaction of its own.
pub(crate) fn migrate(conn: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    loop {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        let format: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let Some(step) = usize::try_from(format).ok().and_then(|at| steps.get(at)) else {
            return Ok(());
        };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", format + 1)?;
        tx.commit()?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a236_an_older_format_is_migrated_step_by_step_and_keeps_its_rows() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..1]).unwrap();
        conn.execute("UPDATE stored SET bytes = 42", ()).unwrap();
        assert_eq!(inspect(&conn, FORMAT).unwrap(), Found::Known);
        migrate(&mut conn, STEPS).unwrap();
        let next = [STEPS, &["ALTER TABLE stored ADD COLUMN note TEXT", "UPDATE stored SET note = 'last'"]].concat();
        migrate(&mut conn, &next).unwrap();
        let row: (i64, String) =
            conn.query_row("SELECT bytes, note FROM stored", (), |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        assert_eq!(row, (42, "last".to_owned()));
        assert_eq!(inspect(&conn, FORMAT).unwrap(), Found::Newer(FORMAT + 2));
    }

    #[test]
    fn a236_versions_of_an_older_format_are_floors() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..5]).unwrap();
        conn.execute(
            "INSERT INTO plugin_versions VALUES ('acme', 'orders', '1.0.0', zeroblob(32), 3, '{}', 1, 'erin')",
            (),
        )
        .unwrap();
        migrate(&mut conn, STEPS).unwrap();
        conn.execute("DELETE FROM plugin_versions", ()).unwrap();
        let floor: (String, String, String) =
            conn.query_row("SELECT * FROM plugin_floors", (), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap();
        assert_eq!(floor, ("acme".to_owned(), "orders".to_owned(), "1.0.0".to_owned()));
    }

    #[test]
    fn a236_answers_of_an_older_format_are_counted() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..6]).unwrap();
        conn.execute_batch(
            "INSERT INTO claims VALUES ('acme', 'orders', 'a', zeroblob(32), 1, NULL, 200, '[\"ü\"]', zeroblob(9000), 1, 2);
             INSERT INTO claims VALUES ('acme', 'orders', 'b', zeroblob(32), 1, NULL, 200, '[]', zeroblob(7), 1, 2);
             INSERT INTO claims VALUES ('globex', 'orders', 'a', zeroblob(32), 0, NULL, NULL, NULL, NULL, 1, 2);
             INSERT INTO claim_usage VALUES ('acme', 2), ('globex', 1), ('initech', 0);",
        )
        .unwrap();
        migrate(&mut conn, STEPS).unwrap();
        let mut usage = conn.prepare("SELECT tenant, keys, bytes FROM claim_usage ORDER BY tenant").unwrap();
        let rows = usage.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let found: Vec<(String, i64, i64)> = rows.collect::<rusqlite::Result<_>>().unwrap();
        let expected = [("acme", 2, 9015), ("globex", 1, 0), ("initech", 0, 0)];
        assert_eq!(found, expected.map(|(tenant, keys, bytes)| (tenant.to_owned(), keys, bytes)));
    }

    #[test]
    fn a236_the_audit_of_an_older_format_is_counted_by_tenant() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..6]).unwrap();
        for (seq, tenant) in [(2, Some("acme")), (3, None), (5, Some("globex")), (6, Some("acme")), (7, None)] {
            let line = "INSERT INTO event_audit VALUES (?1, 0, ?2, 'ann', 'pause', NULL, NULL, '')";
            conn.execute(line, (seq, tenant)).unwrap();
        }
        migrate(&mut conn, STEPS).unwrap();
        let mut lines = conn.prepare("SELECT seq, n FROM event_audit ORDER BY seq").unwrap();
        let rows = lines.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let found: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(found, [(2, 1), (3, 1), (5, 1), (6, 2), (7, 2)]);
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, STEPS).unwrap();
        let broken = [STEPS, &["CREATE TABLE extra (a TEXT) STRICT; SELECT nonsense"]].concat();
        assert!(migrate(&mut conn, &broken).is_err());
        let extra: i64 =
            conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'", (), |row| row.get(0)).unwrap();
        assert_eq!((extra, inspect(&conn, FORMAT).unwrap()), (0, Found::Known));
    }

    #[test]
    fn somebody_elses_database_is_foreign() {
        let conn = Connection::open_in_memory().unwrap();
        assert_eq!(inspect(&conn, 1).unwrap(), Found::Empty);
        conn.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(inspect(&conn, 1).unwrap(), Found::Foreign);
    }
}
