//! A result on disk: read with its schema checked, written so that there is a whole file or none.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{RunResult, SCHEMA};

/// Largest file read: hours of time line with twenty tenants.
pub const MAX_BYTES: u64 = 512 << 20;
/// What every version's name begins with.
const FAMILY: &str = "sluis-bench/";

/// Why a result cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system said no.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Past [`MAX_BYTES`].
    #[error("{} is larger than {} MiB, which no result is", .path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not such a document.
    #[error("{} is no result of `sluis bench`: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a program that knows more.
    #[error("{} has the schema {schema}, and this program knows {SCHEMA}; a newer sluis reads it", .path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: String,
    },
    /// The file system said no, such as for a full disk.
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Reads a result.
///
/// # Errors
/// When there is none, or none that this version knows.
pub fn read(path: &Path) -> Result<RunResult, FileError> {
    let fail = |error| FileError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    let invalid = |error: serde_json::Error| FileError::Invalid { path: path.to_owned(), reason: error.to_string() };
    // First the schema alone: another one's fields are not this one's mistakes.
    let Head { schema } = serde_json::from_slice(&bytes).map_err(invalid)?;
    if schema != SCHEMA {
        let path = path.to_owned();
        return Err(match schema.strip_prefix(FAMILY) {
            Some(_) => FileError::Schema { path, schema },
            None => FileError::Invalid { path, reason: format!("its schema is {schema:?}, not {SCHEMA}") },
        });
    }
    serde_json::from_slice(&bytes).map_err(invalid)
}

/// Writes a result as one line of JSON. A file that is there already is replaced by the whole of the new one or stays as
/// it was; what is no regular file (`/dev/stdout`) is written to as it is.
///
/// # Errors
/// When it cannot be written whole.
pub fn write(path: &Path, result: &RunResult) -> Result<(), FileError> {
    put(path, |to| {
        serde_json::to_writer(&mut *to, result)?;
        to.write_all(b"\n")
    })
    .map_err(|error| FileError::Write { path: path.to_owned(), error })
}

/// As [`write`], with any text.
///
/// # Errors
/// When it cannot be written whole.
pub fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    put(path, |to| to.write_all(text.as_bytes())).map_err(|error| FileError::Write { path: path.to_owned(), error })
}

/// Finds out before a run whether its file could be written after it: whether its folder is there and ours.
///
/// # Errors
/// When it is not.
pub fn probe(path: &Path) -> Result<(), FileError> {
    let fail = |error| FileError::Write { path: path.to_owned(), error };
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(fail(io::ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => Ok(()),
        _ => tempfile::NamedTempFile::new_in(folder(path)).map(drop).map_err(fail),
    }
}

fn put(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = BufWriter::new(File::options().write(true).open(path)?);
        fill(&mut file)?;
        return file.flush();
    }
    let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder(path))?);
    fill(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Readable as any other file that a program writes; a temporary one is private.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
