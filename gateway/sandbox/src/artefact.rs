//! Compiled artefacts on disk. An artefact is native code: it is loaded only if its MAC holds under a key that no
//! upload can know, and from the very file that the MAC was computed over.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::SETTINGS_VERSION;
use crate::error::SandboxError;

/// Bytes that all artefacts may take; those not used for longest go first.
const STORE_BYTES: u64 = 4 << 30;
const KEY_FILE: &str = "artefact.key";
const KEY_BYTES: usize = 32;

/// The directory of artefacts and the key that their MACs are made with.
#[derive(Debug)]
pub(crate) struct ArtefactStore {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

/// What the store has for a component.
pub(crate) enum Kept {
    /// Loaded.
    Component(Component),
    /// Ours, and refused by the engine: of another wasmtime or instruction set, or too large for the pool.
    Unfit(String),
    /// None, or none that is whole and ours.
    Nothing,
}

impl ArtefactStore {
    /// Opens the store in `dir`, making directory and key where they are not there yet.
    pub(crate) fn open(dir: &Path) -> Result<ArtefactStore, SandboxError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| SandboxError::Artefacts { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        closed_to_others(dir, 0o022).map_err(at(dir))?;
        remove_leftovers(dir).map_err(at(dir))?;
        let path = dir.join(KEY_FILE);
        let key = read_or_make_key(&path).map_err(at(&path))?;
        Ok(ArtefactStore { dir: dir.to_owned(), key })
    }

    /// The component of `digest`, if an artefact of it is there, whole and ours.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Kept {
        let name = name(digest);
        let path = self.path(&name);
        let Some(file) = self.open_verified(&name, &path) else { return Kept::Nothing };
        match load_verified(engine, &file) {
            Ok(component) => {
                // What is used goes last when room is made.
                let _ = file.set_modified(SystemTime::now());
                Kept::Component(component)
            }
            Err(error) => Kept::Unfit(format!("{error:#}")),
        }
    }

    fn open_verified(&self, name: &str, path: &Path) -> Option<File> {
        let mut file = File::open(path).ok()?;
        let mut wanted = [0; blake3::OUT_LEN];
        File::open(path.with_extension("mac")).and_then(|mut mac| mac.read_exact(&mut wanted)).ok()?;
        let mac = self.mac(name, &mut file).ok()?;
        // The comparison of two `Hash`es takes the same time wherever they differ.
        if mac != blake3::Hash::from_bytes(wanted) {
            tracing::warn!(artefact = %path.display(), "the artefact's MAC does not hold; it is compiled anew");
            return None;
        }
        Some(file)
    }

    /// Keeps an artefact. Readers see the old one, the new one, or none; never a part.
    pub(crate) fn save(&self, digest: &str, artefact: &[u8]) -> std::io::Result<()> {
        self.make_room(artefact.len() as u64)?;
        let name = name(digest);
        let path = self.path(&name);
        let mac = self.mac(&name, &mut &*artefact)?;
        // A crash between the two leaves a MAC that does not hold, which is compiled anew.
        replace(&path, artefact)?;
        replace(&path.with_extension("mac"), mac.as_bytes())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("cwasm")
    }

    /// Over the name too, so that one component's artefact cannot be put in another's place.
    fn mac(&self, name: &str, artefact: &mut impl Read) -> std::io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        hasher.update_reader(artefact)?;
        Ok(hasher.finalize())
    }

    /// Removes what was not used for longest until `more` bytes fit.
    fn make_room(&self, more: u64) -> std::io::Result<()> {
        let mut artefacts = Vec::new();
        let mut total = more;
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Ok(metadata) = path.metadata() else { continue };
            if path.extension().is_some_and(|e| e == "cwasm") {
                total = total.saturating_add(metadata.size());
                artefacts.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.size(), path));
            }
        }
        artefacts.sort();
        for (_, size, path) in artefacts {
            if total <= STORE_BYTES {
                break;
            }
            std::fs::remove_file(&path)?;
            let _ = std::fs::remove_file(path.with_extension("mac"));
            total -= size;
        }
        Ok(())
    }
}

/// Maps a verified artefact. Through the open file, so that what was verified is what is loaded, whatever became of its
/// name meanwhile.
fn load_verified(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the bytes of this file carry our MAC, so they are what our worker made with `precompile_component`, and
    // nobody but this user can write to them (mode 0600 in a directory of mode 0700). wasmtime itself checks version,
    // settings and instruction set.
    #[allow(unsafe_code)]
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// An artefact is of a component, of what made it, and of our settings for that.
fn name(digest: &str) -> String {
    let made_with = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut hasher = blake3::Hasher::new();
    for part in [digest, made_with, &SETTINGS_VERSION.to_string(), std::env::consts::ARCH] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

fn read_or_make_key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    if !path.exists() {
        let mut key = [0; KEY_BYTES];
        fill(&mut key)?;
        let temporary = temporary(path)?;
        write_new(&temporary, &key)?;
        // Whole or not at all, and never over the key of another process that starts at the same time.
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    closed_to_others(path, 0o077)?;
    let key = std::fs::read(path)?;
    key.try_into().map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "the key has another length than ours"))
}

fn closed_to_others(path: &Path, mask: u32) -> std::io::Result<()> {
    if path.metadata()?.mode() & mask != 0 {
        let why = "others may read or write here: correct its mode, and delete the key if others may have read it";
        return Err(std::io::Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// A name beside `path` that nobody has.
fn temporary(path: &Path) -> std::io::Result<PathBuf> {
    let mut random = [0; 8];
    fill(&mut random)?;
    Ok(path.with_extension(format!("{:016x}.tmp", u64::from_ne_bytes(random))))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = temporary(path)?;
    write_new(&temporary, bytes)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Half-written files of a process that was killed.
fn remove_leftovers(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn fill(mut buffer: &mut [u8]) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let filled = rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty())?;
        buffer = &mut buffer[filled..];
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let first = ArtefactStore::open(dir.path()).unwrap();
        let second = ArtefactStore::open(dir.path()).unwrap();
        assert_eq!(first.key, second.key);
        assert_ne!(first.key, [0; KEY_BYTES]);
        let path = dir.path().join(KEY_FILE);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(ArtefactStore::open(dir.path()).is_err());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o770)).unwrap();
        assert!(ArtefactStore::open(dir.path()).is_err());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for length in [0, 31, 33] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(KEY_FILE);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
            file.write_all(&vec![7; length]).unwrap();
            assert!(ArtefactStore::open(dir.path()).is_err(), "{length}");
        }
    }

    #[test]
    fn a166_half_written_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("abc.0123.tmp"), b"half").unwrap();
        ArtefactStore::open(dir.path()).unwrap();
        assert!(!dir.path().join("abc.0123.tmp").exists());
    }
}
