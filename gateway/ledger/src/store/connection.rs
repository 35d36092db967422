//! The connection to the database, and how it is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, OpenFlags};

use super::{Settings, Tuning};
use crate::error::OpenError;

/// Nobody else writes, unless an operator does; shorter than an accept waits, so that it is refused for certain.
pub(super) const BUSY_WAIT: Duration = Duration::from_millis(500);

/// Opens the file, which is there.
pub(super) fn connect(path: &Path, tuning: &Tuning) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_WAIT)?;
    // Both take effect only on an empty file, and would be a write on some that are not.
    if conn.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        conn.pragma_update(None, "page_size", tuning.page_size)?;
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    Ok(conn)
}

/// Turns to what the ledger wants of the database.
pub(super) fn configure(conn: &Connection, settings: &Settings) -> rusqlite::Result<()> {
    conn.pragma_update_and_check(None, "journal_mode", "wal", |row| match row.get_ref(0)?.as_str()? {
        "wal" => Ok(()),
        _ => Err(rusqlite::Error::InvalidQuery),
    })?;
    // The log is synchronised by us, before anyone hears of what is in it; by the database, before it is moved.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    // Checkpoints are made by us (`checkpoint`), as the built-in ones keep their errors to themselves.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A mapped file turns an I/O error into SIGBUS.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", -i64::from(settings.tuning.cache_kib))?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    if let Some(pages) = settings.max_pages {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

/// What to call an error of opening.
pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
    let (path, reason) = (path.to_owned(), error.to_string());
    // The index of the log, which is made at a start, has its own word for it.
    let unindexed = error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE);
    match error.sqlite_error_code() {
        Some(DiskFull) => OpenError::DiskFull { path },
        Some(_) if unindexed => OpenError::DiskFull { path },
        Some(NotADatabase) => OpenError::NotALedger { path },
        Some(DatabaseCorrupt) => OpenError::Damaged { path, reason },
        _ => OpenError::Database { path, reason },
    }
}
