//! Storage that is full, slow, locked or broken; a disk that others fill is in `full_disk`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{AcceptError, Health, Ledger, Observer, Options};
use sluis_model::lane::Lane;
use uuid::Uuid;

use crate::crash::{injected, injected_at, strace};
use crate::support::{NEW_YEAR, event, open, settings};

/// Accepts until something is refused; answers the ids and the refusal.
pub async fn fill(ledger: &Ledger) -> (Vec<Uuid>, AcceptError) {
    let mut ids = Vec::new();
    loop {
        let event = event(&"x".repeat(1000));
        let id = event.id;
        match ledger.accept(event, u64::MAX).await {
            Ok(()) => ids.push(id),
            Err(error) => return (ids, error),
        }
    }
}

#[tokio::test]
async fn a218_a_full_database_refuses_accepts_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let options = Options { clock: Clock::Manual(clock.clone()), max_pages: Some(300), ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(dir.path(), &settings(), options).unwrap());
    let (ids, error) = fill(&ledger).await;
    assert_eq!((error, ledger.health()), (AcceptError::Full, Health::DiskFull));
    assert!(ids.len() > 50, "{}", ids.len());
    assert_eq!(ledger.backlog().events, ids.len() as u64, "what was refused is not counted");
    for id in &ids {
        assert!(ledger.status("acme", *id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a221_storage_that_stalls_is_answered_in_time_and_what_nobody_waits_for_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    // An operator's tool holds the write lock.
    let tool = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    tool.execute_batch("BEGIN IMMEDIATE").unwrap();
    let stalled = event("{}");
    let id = stalled.id;
    let asked = Instant::now();
    assert_eq!(ledger.accept(stalled, u64::MAX).await, Err(AcceptError::Storage));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let impatient = event("{}");
    let withdrawn = impatient.id;
    let waiting = tokio::time::timeout(Duration::from_millis(50), ledger.accept(impatient, u64::MAX));
    assert!(waiting.await.is_err());
    tool.execute_batch("ROLLBACK").unwrap();
    let kept = event("{}");
    let kept_id = kept.id;
    ledger.accept(kept, u64::MAX).await.unwrap();
    assert_eq!(ledger.health(), Health::Ok, "a lock is no fault");
    for gone in [id, withdrawn] {
        assert_eq!(ledger.status("acme", gone).await, Ok(None));
    }
    assert!(ledger.status("acme", kept_id).await.unwrap().is_some());
    assert_eq!(ledger.backlog().events, 1);
}

/// What a child said.
struct Said {
    /// What it was told is safe.
    ids: Vec<Uuid>,
    /// How it ended,
    end: String,
    /// and why.
    why: String,
}

/// Runs `child_accepts_until_it_fails` under a wrapper that breaks its storage.
fn child(dir: &Path, wrapper: &mut Command) -> Said {
    let output = wrapper
        .args(["--exact", "faults::child_accepts_until_it_fails", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let ids = said.lines().filter_map(|line| line.strip_prefix("ack ")).map(|id| id.parse().unwrap()).collect();
    let line = |begin: &str| said.lines().find(|line| line.starts_with(begin)).unwrap_or_default().to_owned();
    Said { ids, end: line("end "), why: line("why ") }
}

/// Says why nothing more is accepted.
struct Aloud;

impl Observer for Aloud {
    fn poisoned(&self, reason: &str) {
        println!("\nwhy {reason}");
    }
}

#[tokio::test]
#[ignore = "a part of the tests beside it, which start it"]
async fn child_accepts_until_it_fails() {
    let Some(dir) = std::env::var_os("LEDGER_DIR") else { return };
    let options = Options { observer: Arc::new(Aloud), ..Options::default() };
    let ledger = Ledger::open_with(Path::new(&dir), &settings(), options).unwrap();
    let (ids, error) = fill(&ledger).await;
    for id in &ids {
        println!("ack {id}");
    }
    let again = ledger.accept(event("{}"), u64::MAX).await;
    let room = ledger.room("acme", u64::MAX, Lane::Normal);
    println!("end {error:?} {again:?} {room:?} {:?}", ledger.health());
}

#[tokio::test]
#[ignore = "a part of a238, which starts it"]
async fn child_accepts_without_a_free_descriptor() {
    let Some(dir) = std::env::var_os("LEDGER_DIR") else { return };
    let ledger = Ledger::open(Path::new(&dir), &settings()).unwrap();
    // By then the writer has all that it keeps open.
    ledger.accept(event("{}"), u64::MAX).await.unwrap();
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    let before = event("{}");
    let id = before.id;
    ledger.accept(before, u64::MAX).await.unwrap();
    assert!(ledger.status("acme", id).await.unwrap().is_some());
    println!("ack {id}");
    // A second ledger cannot be opened, and says so.
    let other = Path::new(&dir).join("other");
    println!("end {}", Ledger::open(&other, &settings()).is_err());
}

#[tokio::test]
async fn a238_without_a_free_descriptor_accepting_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "faults::child_accepts_without_a_free_descriptor", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("end true"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let ids = said.lines().filter_map(|line| line.strip_prefix("ack ")).map(|id| id.parse().unwrap());
    recovers(dir.path(), &ids.collect::<Vec<_>>()).await;
}

/// After a failure for good: everything acknowledged is there, and a new process works.
async fn recovers(dir: &Path, acknowledged: &[Uuid]) {
    let ledger = Ledger::open(dir, &settings()).unwrap();
    for id in acknowledged {
        assert!(ledger.status("acme", *id).await.unwrap().is_some(), "{id} was acknowledged");
    }
    assert!(ledger.backlog().events >= acknowledged.len() as u64);
    ledger.accept(event("{}"), u64::MAX).await.unwrap();
    assert_eq!(ledger.health(), Health::Ok);
}

const POISONED: &str = "end Storage Err(Storage) Err(Storage) Failed";

#[tokio::test]
async fn a218_a_write_that_fails_for_good_stops_the_writer_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // No file may grow past 6 MiB; past it every write fails with EFBIG.
    let script = "trap '' XFSZ; ulimit -f 12288; exec \"$@\"";
    let said = child(dir.path(), Command::new("sh").args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap()));
    assert_eq!(said.end, POISONED);
    assert!(said.ids.len() > 50, "{}", said.ids.len());
    recovers(dir.path(), &said.ids).await;
}

/// Runs the child with some of its system calls changed; answers how it ended, after looking whether a new process finds
/// everything acknowledged.
async fn ends_with(inject: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let said = child(dir.path(), &mut injected(inject));
    assert!(said.ids.len() > 10, "{inject}: {} accepted", said.ids.len());
    recovers(dir.path(), &said.ids).await;
    said.end
}

#[tokio::test]
async fn a217_an_fsync_that_fails_stops_the_writer_until_a_restart() {
    if !strace() {
        return;
    }
    // Once, from then on, every seventh.
    for when in ["40", "63", "110", "40+", "42+7"] {
        assert_eq!(ends_with(&format!("fsync,fdatasync:error=EIO:when={when}")).await, POISONED, "at sync {when}");
    }
}

/// The log may be synchronised all the time: what is in it is moved by a thread of its own.
#[tokio::test]
async fn a217_a_main_file_that_cannot_be_synchronised_stops_the_writer_until_a_restart() {
    if !strace() {
        return;
    }
    // Once, a move later, for good.
    for when in ["1", "2", "1+"] {
        let dir = tempfile::tempdir().unwrap();
        // It is there, and the database synchronises by another call: the first one is about what was moved.
        drop(Ledger::open(dir.path(), &settings()).unwrap());
        let main = dir.path().canonicalize().unwrap().join("ledger.db");
        let said = child(dir.path(), &mut injected_at(&main, &format!("fdatasync:error=EIO:when={when}")));
        assert_eq!(said.end, POISONED, "at sync {when}");
        assert_eq!(said.why, "why the main file could not be synchronised: Input/output error (os error 5)");
        assert!(!said.ids.is_empty(), "some were accepted before");
        recovers(dir.path(), &said.ids).await;
    }
}

#[tokio::test]
async fn a218_writes_that_fail_are_never_promised() {
    if !strace() {
        return;
    }
    for error in ["EIO", "EROFS", "EDQUOT"] {
        assert_eq!(ends_with(&format!("pwrite64:error={error}:when=200+")).await, POISONED, "{error}");
    }
    // A full disk is no failure for good, and neither is a write of which nothing got through.
    for full in ["error=ENOSPC", "retval=0"] {
        let end = ends_with(&format!("pwrite64:{full}:when=200+")).await;
        assert_eq!(end, "end Full Err(Full) Ok(()) DiskFull", "{full}");
    }
}

#[tokio::test]
async fn a221_a_disk_that_stalls_is_answered_in_time() {
    if !strace() {
        return;
    }
    // Longer than two accepts wait.
    let end = ends_with("fsync,fdatasync:delay_enter=6000000:when=40").await;
    assert_eq!(end, "end Storage Err(Storage) Ok(()) Ok");
}
