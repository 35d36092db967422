//! A copy of a ledger that may be in use: one long read beside the writer, which never waits for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::files::{self, io};
use super::{open_error, schema};
use crate::error::OpenError;
use crate::upkeep::UpkeepError;

/// The writer's log cannot be emptied past what the copy still reads; a copy gives up when it has grown by this much.
const LOG_BYTES: u64 = 1 << 30;
/// Instructions of the database between two looks at the log.
const LOOK: i32 = 100_000;

pub(crate) fn copy(dir: &Path, to: &Path) -> Result<(), UpkeepError> {
    let dir = dir.canonicalize().map_err(io(dir))?;
    let database = dir.join("ledger.db");
    let mut conn = open(&database)?;
    known_format(&conn, &dir, &database)?;
    if to.symlink_metadata().is_ok() {
        return Err(UpkeepError::Exists { path: to.to_owned() });
    }
    let partial = Partial::beside(to)?;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => UpkeepError::Outrun,
        _ => UpkeepError::Open(open_error(&database, &error)),
    };
    let log = log_of(&database);
    let length = |log: &Path| log.metadata().map_or(0, |meta| meta.len());
    let bound = length(&log).saturating_add(LOG_BYTES);
    conn.progress_handler(LOOK, Some(move || length(&log) > bound)).map_err(failed)?;
    vacuum_into(&conn, &partial.database()?).map_err(failed)?;
    conn.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
    // What gathered in the log meanwhile is moved here, so that the writer need not. Where that fails, it will.
    let _ = conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
    partial.finish(to)
}

fn open(database: &Path) -> Result<Connection, OpenError> {
    match database.symlink_metadata() {
        Ok(meta) if meta.file_type().is_file() => {}
        Ok(_) => return Err(OpenError::NotAFile { path: database.to_owned() }),
        Err(source) => return Err(OpenError::Io { path: database.to_owned(), source }),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let configured = Connection::open_with_flags(database, flags).and_then(|conn| {
        conn.busy_timeout(Duration::from_secs(10))?;
        conn.pragma_update(None, "mmap_size", 0)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        Ok(conn)
    });
    configured.map_err(|error| open_error(database, &error))
}

/// Refuses what is no ledger, and formats that this program does not work with.
pub(super) fn known_format(conn: &Connection, dir: &Path, database: &Path) -> Result<(), UpkeepError> {
    let known = schema::FORMAT;
    match schema::inspect(conn, known).map_err(|error| open_error(database, &error))? {
        schema::Found::Known => {}
        schema::Found::Newer(found) => {
            return Err(OpenError::NewerFormat { dir: dir.to_owned(), found, known }.into());
        }
        schema::Found::Empty | schema::Found::Foreign => {
            return Err(OpenError::NotALedger { path: database.to_owned() }.into());
        }
    }
    let found = conn.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = found.map_err(|error| open_error(database, &error))?;
    if found < known { Err(UpkeepError::OlderFormat { dir: dir.to_owned(), found, known }) } else { Ok(()) }
}

pub(super) fn log_of(database: &Path) -> PathBuf {
    let mut log = database.to_owned().into_os_string();
    log.push("-wal");
    log.into()
}

fn vacuum_into(conn: &Connection, copy: &Path) -> rusqlite::Result<()> {
    // The copy of a file that cannot shrink can. Where it can, saying so once more would be a write.
    if conn.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? == 0 {
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    conn.execute("VACUUM INTO ?1", (copy.to_string_lossy(),)).map(drop)
}

/// A directory that is removed unless it is finished.
pub(super) struct Partial(PathBuf);

impl Partial {
    /// Under a name of its own, on the same file system as `to`.
    pub fn beside(to: &Path) -> Result<Partial, OpenError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(to.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let parent = files::parent(to).canonicalize().map_err(io(to))?;
        let dir = parent.join(name);
        files::make_private_dir(&dir)?;
        Ok(Partial(dir))
    }

    /// An empty file for the database, which only its owner may read.
    pub fn database(&self) -> Result<PathBuf, OpenError> {
        let path = self.0.join("ledger.db");
        files::open_private(&path)?;
        Ok(path)
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// On stable storage first, then under its name.
    pub fn finish(self, to: &Path) -> Result<(), UpkeepError> {
        for file in std::fs::read_dir(&self.0).map_err(io(&self.0))? {
            let path = file.map_err(io(&self.0))?.path();
            std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
        }
        files::sync_dir(&self.0)?;
        let here = rustix::fs::CWD;
        match rustix::fs::renameat_with(here, &self.0, here, to, rustix::fs::RenameFlags::NOREPLACE) {
            Ok(()) => Ok(files::sync_dir(files::parent(to))?),
            Err(rustix::io::Errno::EXIST) => Err(UpkeepError::Exists { path: to.to_owned() }),
            Err(error) => Err(OpenError::Io { path: to.to_owned(), source: error.into() }.into()),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed where it was finished.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
