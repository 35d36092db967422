//! The directory: who may read it, who may have it, and what in it is refused.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use sluis_ledger::{Ledger, OpenError};

use crate::support::{event, settings};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn refused(dir: &Path) -> OpenError {
    match Ledger::open(dir, &settings()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a239_only_the_owner_may_read_the_ledger() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep/ledger");
    let ledger = Ledger::open(&dir, &settings()).unwrap();
    ledger.accept(event("{}"), u64::MAX).await.unwrap();
    assert_eq!(mode(&dir), 0o700);
    let mut names = Vec::new();
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["ledger.db", "ledger.db-shm", "ledger.db-wal", "lock", "reserve"]);
}

#[test]
fn modes_that_are_too_wide_are_narrowed() {
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path(), &settings()).unwrap());
    let database = dir.path().join("ledger.db");
    for (path, wide) in [(dir.path(), 0o755), (&database, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(wide)).unwrap();
    }
    let _ledger = Ledger::open(dir.path(), &settings()).unwrap();
    assert_eq!((mode(dir.path()), mode(&database)), (0o700, 0o600));
}

#[test]
fn a228_a_second_handle_and_a_second_process_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), &settings()).unwrap();
    let error = refused(dir.path());
    assert!(matches!(&error, OpenError::InUse { holder: Some(pid), .. } if *pid == std::process::id()), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::child_opens_a_ledger", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(said.contains("child: refused: the ledger in"), "{said}");
    drop(ledger);
    drop(Ledger::open(dir.path(), &settings()).unwrap());
}

/// The second process of the test above.
#[test]
#[ignore = "a part of a228, which starts it"]
fn child_opens_a_ledger() {
    let Some(dir) = std::env::var_os("LEDGER_DIR") else { return };
    println!("child: refused: {}", refused(Path::new(&dir)));
}

#[test]
fn a236_a_newer_format_and_somebody_elses_database_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Ledger::open(dir.path(), &settings()).unwrap());
    let database = dir.path().join("ledger.db");
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::NewerFormat { found: 999, known: 7, .. }), "{error}");
    std::fs::remove_file(&database).unwrap();
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(conn);
    assert!(matches!(refused(dir.path()), OpenError::NotALedger { .. }));
    std::fs::write(&database, "this is not a database, but it is long enough to look at".repeat(100)).unwrap();
    assert!(matches!(refused(dir.path()), OpenError::NotALedger { .. }));
}

#[test]
fn a226_a_link_or_a_directory_in_the_place_of_a_file_is_refused() {
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "lock"] {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = refused(dir.path());
        assert!(matches!(&error, OpenError::NotAFile { path } if path.ends_with(name)), "{name}: {error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        std::fs::remove_file(dir.path().join(name)).unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        assert!(matches!(refused(dir.path()), OpenError::NotAFile { .. }), "{name}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(refused(file.path()), OpenError::Io { .. }));
}

#[test]
fn a_directory_behind_a_link_is_fine() {
    let (dir, links) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(dir.path(), links.path().join("state")).unwrap();
    drop(Ledger::open(&links.path().join("state"), &settings()).unwrap());
    assert!(dir.path().join("ledger.db").exists());
}
