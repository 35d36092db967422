//! The last good key set of every issuer, on disk: a restart while the issuer is away serves from it.
//!
//! The file holds public keys only, yet whoever writes it chooses whom Sluis trusts: hence mode 0600 in a directory of mode
//! 0700. What is read back is parsed as if it came from the network.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file from further in the future than this says that a clock is wrong; its age cannot be told.
const FUTURE_TOLERANCE: u64 = 3_600;

/// What a file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// Where the set came from; a file of another URL is not used.
    pub url: String,
    /// Seconds since the epoch.
    pub fetched_at: u64,
    /// The set as it was fetched.
    pub jwks: String,
}

/// Reads an issuer's file. `None` where there is none, or it is of another URL.
///
/// `now` is in seconds since the epoch, `max_bytes` the bound of a fetch.
pub(super) fn load(dir: &Path, issuer: &str, url: &str, now: u64, max_bytes: usize) -> io::Result<Option<Stored>> {
    let file = match File::open(path(dir, issuer)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Text inside JSON is at most six times as long (\u00XX), and there is a little around it.
    let bound = max_bytes as u64 * 6 + url.len() as u64 + 4_096;
    let mut text = Vec::new();
    file.take(bound + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bound {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a key set may be"));
    }
    let stored: Stored = serde_json::from_slice(&text)?;
    if stored.jwks.len() > max_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a key set may be"));
    }
    if stored.fetched_at > now.saturating_add(FUTURE_TOLERANCE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "dated in the future"));
    }
    Ok((stored.url == url).then_some(stored))
}

/// Replaces an issuer's file: written beside it, flushed, renamed. Blocks.
pub(super) fn save(dir: &Path, issuer: &str, stored: &Stored) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let target = path(dir, issuer);
    // Two processes share the directory while one hands over to the other.
    let temporary = target.with_extension(format!("{}.tmp", std::process::id()));
    let written = write(&temporary, stored).and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(dir)?.sync_all()
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec(stored)?)?;
    file.sync_all()
}

/// `<dir>/<issuer>.json`; characters that mean something to a file system are written as `%XX`.
fn path(dir: &Path, issuer: &str) -> PathBuf {
    let mut name = String::with_capacity(issuer.len() + 5);
    for byte in issuer.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name.push_str(".json");
    dir.join(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const URL: &str = "https://id.example/jwks";

    fn stored() -> Stored {
        Stored { url: URL.into(), fetched_at: 1_000, jwks: "{\"keys\":[]}".into() }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_touch_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("jwks");
        save(&dir, "main", &stored()).unwrap();
        save(&dir, "main", &stored()).unwrap();
        assert_eq!(load(&dir, "main", URL, 1_000, 1_024).unwrap().unwrap().jwks, stored().jwks);
        assert!(load(&dir, "main", "https://other.example/jwks", 1_000, 1_024).unwrap().is_none());
        assert!(load(&dir, "other", URL, 1_000, 1_024).unwrap().is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("main.json"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn names_never_leave_the_directory() {
        for name in ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a\0b", "a/b", "é"] {
            let path = path(Path::new("/state/jwks"), name);
            assert_eq!(path.parent(), Some(Path::new("/state/jwks")), "{name:?}");
            assert!(path.extension().is_some_and(|extension| extension == "json") || name.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("main.json");
        let load = |now, max_bytes| load(dir.path(), "main", URL, now, max_bytes);
        for garbage in [&b""[..], b"\0\0\0\0", b"{}", b"null", b"{\"url\":1}", &[0xff; 100]] {
            fs::write(&file, garbage).unwrap();
            assert!(load(1_000, 1_024).is_err(), "{garbage:?}");
        }
        fs::write(&file, vec![b' '; 1 << 20]).unwrap();
        assert!(load(1_000, 1_024).is_err());
        save(dir.path(), "main", &stored()).unwrap();
        assert!(load(1_000, 4).is_err(), "a set larger than the bound");
        assert!(load(0, 1_024).unwrap().is_some(), "a clock that is a little behind");
        let future = Stored { fetched_at: 10_000, ..stored() };
        save(dir.path(), "main", &future).unwrap();
        assert!(load(1_000, 1_024).is_err());
    }
}
