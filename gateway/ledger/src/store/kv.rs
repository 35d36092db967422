//! The tenants' key-value state: edits as statements of the running transaction.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::kv::{self, Edit, Edited, Entry, KvFault, Write};

/// Expired entries that an edit removes to make room for itself, in steps: everybody else waits behind it.
const SWEEP: i64 = 64;
const SWEEPS: usize = 4;

/// An edit of one key.
#[derive(Debug)]
pub(crate) struct KvEdit {
    pub tenant: String,
    pub key: String,
    pub edit: Edit,
    /// Bytes that the tenant may keep.
    pub quota: u64,
    /// Milliseconds since the epoch.
    pub at: u64,
}

/// The tables `kv` and `kv_usage`.
pub(crate) struct KvTables<'c> {
    get: Statement<'c>,
    put: Statement<'c>,
    remove: Statement<'c>,
    usage: Statement<'c>,
    add_usage: Statement<'c>,
    expired: Statement<'c>,
}

impl<'c> KvTables<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<KvTables<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(KvTables {
            get: sql("SELECT value, expires_at FROM kv WHERE tenant = ?1 AND key = ?2")?,
            put: sql("INSERT INTO kv (tenant, key, value, expires_at) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at")?,
            remove: sql("DELETE FROM kv WHERE tenant = ?1 AND key = ?2")?,
            usage: sql("SELECT bytes FROM kv_usage WHERE tenant = ?1")?,
            add_usage: sql("INSERT INTO kv_usage (tenant, bytes) VALUES (?1, ?2)
                ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes")?,
            expired: sql("SELECT key FROM kv WHERE tenant = ?1 AND expires_at <= ?2 LIMIT ?3")?,
        })
    }

    pub fn edit(&mut self, edit: &KvEdit) -> rusqlite::Result<Result<Edited, KvFault>> {
        let KvEdit { tenant, key, at, .. } = edit;
        let stored: Option<Entry> = self.get.query_row((tenant, key), entry).optional()?;
        let before = stored.as_ref().map_or(0, |entry| kv::cost(key, &entry.value));
        let current = stored.filter(|entry| is_there(entry, *at));
        let (write, edited) = match kv::apply(edit.edit.clone(), current, *at) {
            Ok(done) => done,
            Err(fault) => return Ok(Err(fault)),
        };
        match write {
            Write::Keep => {}
            Write::Put(entry) => {
                let more = kv::cost(key, &entry.value).cast_signed() - before.cast_signed();
                if more > 0 && !self.has_room(edit, more)? {
                    return Ok(Err(KvFault::Quota));
                }
                self.put.execute((tenant, key, &entry.value, entry.expires_at.map(clamp)))?;
                self.add_usage.execute((tenant, more))?;
            }
            Write::Remove => {
                self.remove.execute((tenant, key))?;
                self.add_usage.execute((tenant, -before.cast_signed()))?;
            }
        }
        Ok(Ok(edited))
    }

    /// Whether the tenant may keep `more` bytes, if need be once some of its expired entries are gone. The key that is
    /// being edited stays as it is: what it costs is in `more` already.
    fn has_room(&mut self, edit: &KvEdit, more: i64) -> rusqlite::Result<bool> {
        for _ in 0..SWEEPS {
            let used: i64 = self.usage.query_row((&edit.tenant,), |row| row.get(0)).optional()?.unwrap_or(0);
            if used.saturating_add(more) <= clamp(edit.quota) {
                return Ok(true);
            }
            let expired: Vec<String> = self
                .expired
                .query_map((&edit.tenant, clamp(edit.at), SWEEP), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let mut removed = 0;
            for key in expired.iter().filter(|key| **key != edit.key) {
                removed += self.forget(&edit.tenant, key, edit.at)?;
            }
            if removed == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Removes an entry if it has expired. Answers how many that were.
    pub fn forget(&mut self, tenant: &str, key: &str, at: u64) -> rusqlite::Result<usize> {
        let stored: Option<Entry> = self.get.query_row((tenant, key), entry).optional()?;
        let Some(gone) = stored.filter(|entry| !is_there(entry, at)) else { return Ok(0) };
        self.remove.execute((tenant, key))?;
        self.add_usage.execute((tenant, -kv::cost(key, &gone.value).cast_signed()))?;
        Ok(1)
    }
}

/// Questions to the table `kv`.
pub(crate) struct KvQueries<'c> {
    get: Statement<'c>,
    expired: Statement<'c>,
}

impl<'c> KvQueries<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<KvQueries<'c>> {
        Ok(KvQueries {
            get: conn.prepare("SELECT value, expires_at FROM kv WHERE tenant = ?1 AND key = ?2")?,
            expired: conn.prepare("SELECT tenant, key FROM kv WHERE expires_at <= ?1 LIMIT ?2")?,
        })
    }

    pub fn get(&mut self, tenant: &str, key: &str, now: u64) -> rusqlite::Result<Option<Entry>> {
        let stored = self.get.query_row((tenant, key), entry).optional()?;
        Ok(stored.filter(|entry| is_there(entry, now)))
    }

    pub fn expired(&mut self, now: u64, limit: usize) -> rusqlite::Result<Vec<(String, String)>> {
        let rows = self.expired.query_map((now.cast_signed(), limit as i64), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}

/// Whether an entry has not expired.
fn is_there(entry: &Entry, now: u64) -> bool {
    entry.expires_at.is_none_or(|at| at > now)
}

/// Reads `value, expires_at`.
fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let expires_at: Option<i64> = row.get(1)?;
    Ok(Entry { value: row.get(0)?, expires_at: expires_at.map(i64::cast_unsigned) })
}

/// As the database has numbers; what is past them is as far as they go.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
