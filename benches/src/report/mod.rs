//! The result as a page: one HTML file with its plots, opened without a network.
//!
//! Nothing that a run brings along gets into the page but as escaped text, and no list or line is drawn longer than a
//! reader can use, so a page stays below a few megabytes.

mod comparison;
mod curve;
pub(crate) mod figures;
mod heat;
mod limits;
mod line;
mod notes;
mod page;
mod plot;
mod scale;
mod states;
mod tables;
mod tenants;
mod timeline;
pub mod units;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::result::RunResult;

pub use figures::offered;
pub use states::{BREAKER, breaker, label_of};

/// A page of one run, or of several over each other: the first is what the others are compared with.
pub fn html(runs: &[RunResult]) -> String {
    page::document(runs).into_string()
}

/// The page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the report could not be written to {}: {source}", .path.display())]
pub struct WriteError {
    /// Where it should have been.
    pub path: PathBuf,
    /// Why it is not.
    pub source: std::io::Error,
}

/// Writes a page in one piece: who opens the file sees the old one or the new one, and when it fails (a full disk, say)
/// the old one stays.
pub fn write(path: &Path, page: &str) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-").suffix(".html");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other file: what the umask leaves.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(page.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod sample;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
