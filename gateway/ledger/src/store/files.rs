//! The ledger's directory: who may read it, who holds it, and a reserve for a full disk.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// Bytes kept back so that outcomes can still be written when the disk is full of something else.
const RESERVE_BYTES: usize = 4 << 20;

/// The directory, held by an OS lock until dropped (or until the process is gone, however it went). To be dropped after
/// the last connection: whoever takes it next counts on nobody else's, and with any descriptor of a file that a process
/// closes go its locks on it (fcntl(2)), those of connections as well.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    main: File,
    _lock: File,
}

impl Home {
    /// Makes the directory where it is missing and takes it; the second taker is refused.
    pub fn take(dir: &Path) -> Result<Home, OpenError> {
        let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
        let made = dir.ancestors().take_while(is_missing).count();
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
        // Resolved once: the database refuses links in its path, and ours may lie behind one that is not ours.
        let dir = dir.canonicalize().map_err(io(dir))?;
        std::fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(io(&dir))?;
        let lock = take_lock(&dir)?;
        let main = open_private(&database_in(&dir))?;
        let home = Home { dir, main, _lock: lock };
        let database = home.database();
        for suffix in ["-wal", "-shm"] {
            let mut beside = database.clone().into_os_string();
            beside.push(suffix);
            check_beside(Path::new(&beside))?;
        }
        // The names of new files and directories are durable only once the directories that they are in are.
        for above in home.dir.ancestors().take(1 + made.max(1)) {
            sync_dir(above)?;
        }
        Ok(home)
    }

    /// The directory, resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of the database file.
    pub fn database(&self) -> PathBuf {
        database_in(&self.dir)
    }

    /// The main file, to synchronise it.
    pub fn main(&self) -> &File {
        &self.main
    }

    /// The database's write-ahead log, to synchronise it; its name is durable then. It is there once the database was read,
    /// and stays the same file until the last connection closes.
    pub fn open_log(&self) -> Result<File, OpenError> {
        let mut path = self.database().into_os_string();
        path.push("-wal");
        let path = PathBuf::from(path);
        let log = OpenOptions::new().read(true).write(true).open(&path).map_err(io(&path))?;
        // So does the database before its first commit, but it keeps to itself that it could not.
        sync_dir(&self.dir)?;
        Ok(log)
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Makes the reserve where it is missing; false where the disk has no room for it.
    pub fn keep_reserve(&self) -> bool {
        let path = self.reserve();
        if path.metadata().is_ok_and(|meta| meta.len() >= RESERVE_BYTES as u64) {
            return true;
        }
        // Written, not only sized: a hole reserves nothing.
        let written = open_private(&path).is_ok_and(|mut file| {
            let zeros = vec![0; 64 << 10];
            (0..RESERVE_BYTES / zeros.len()).all(|_| file.write_all(&zeros).is_ok()) && file.sync_all().is_ok()
        });
        if !written {
            self.spend_reserve();
        }
        written
    }

    /// Gives the reserve back to the disk; false where there was none.
    pub fn spend_reserve(&self) -> bool {
        std::fs::remove_file(self.reserve()).is_ok()
    }
}

fn database_in(dir: &Path) -> PathBuf {
    dir.join("ledger.db")
}

/// A directory that only its owner may look into; it is not there yet.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new().mode(0o700).create(dir).map_err(io(dir))
}

/// Where a path lies.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut file = open_private(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(OpenError::InUse { dir: dir.to_owned(), holder: pid.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
    }
    // Written over what is there: on a full disk a block that was given back may be gone.
    let holder = format!("{}\n", std::process::id());
    file.write_all(holder.as_bytes()).map_err(io(&path))?;
    file.set_len(holder.len() as u64).map_err(io(&path))?;
    Ok(file)
}

/// Opens or makes a regular file that only its owner may read; links are not followed.
pub(super) fn open_private(path: &Path) -> Result<File, OpenError> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.file_type().is_file() => return Err(OpenError::NotAFile { path: path.to_owned() }),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io(path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(io(path))?;
    Ok(file)
}

/// The database makes these itself, with the mode of its main file; what is there already must be fit to use.
fn check_beside(path: &Path) -> Result<(), OpenError> {
    match path.symlink_metadata() {
        Ok(meta) if meta.file_type().is_file() => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io(path))
        }
        Ok(_) => Err(OpenError::NotAFile { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))
}
