//! A power cut: a file system of its own whose journal stops at once, with nothing more written, as far as it can be had
//! without pulling a plug.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluis_ledger::Ledger;
use uuid::Uuid;

use crate::crash::{Book, end_traced, injected_at, listen_until, rounds, start, strace, traced};
use crate::support::{ErpSink, event, settings};

/// `EXT4_IOC_SHUTDOWN` without flushing the log, by way of a language that lets one call it; as soon as it is told to.
const CUT: &str = "
import fcntl, os, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))
";

/// An image with ext4 in it, mounted while it is on.
struct Disk {
    dir: tempfile::TempDir,
    on: bool,
}

fn did(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Disk {
    /// None where that is not allowed here, or a tool is missing.
    fn make() -> Option<Disk> {
        let disk = Disk::try_make();
        if disk.is_none() {
            println!("no loop device can be mounted here, or mkfs.ext4 or python3 is missing: nothing was tested");
        }
        disk
    }

    fn try_make() -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk { dir, on: false };
        std::fs::File::create(disk.image()).unwrap().set_len(2 << 30).unwrap();
        std::fs::create_dir(disk.mount()).unwrap();
        let made = did(Command::new("mkfs.ext4").arg("-q").arg(disk.image()))
            && did(Command::new("python3").args(["-c", "import fcntl"]));
        let mut disk = made.then_some(disk)?;
        disk.turn_on().then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn ledger(&self) -> PathBuf {
        self.mount().join("ledger")
    }

    /// Recovers the file system's journal, as every start does.
    fn turn_on(&mut self) -> bool {
        self.on = did(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.mount()));
        self.on
    }

    /// From here on nothing more reaches the disk. Tells `over` right before, as a sync that is under way then may still
    /// be answered, which a machine without power does not live to see.
    fn cut(&self, over: &AtomicBool) {
        let mut switch = Command::new("python3")
            .args(["-c", CUT])
            .arg(self.mount())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(switch.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let mut stdin = switch.stdin.take().unwrap();
        over.store(true, Ordering::SeqCst);
        stdin.write_all(b"now\n").unwrap();
        assert!(switch.wait().unwrap().success(), "the power can be cut");
    }

    async fn turn_off(&mut self) {
        // Whoever was killed may still be about to go.
        for _ in 0..200 {
            if did(Command::new("umount").arg(self.mount())) {
                self.on = false;
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the file system cannot be unmounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.on {
            let _ = Command::new("umount").arg("-l").arg(self.mount()).status();
        }
    }
}

async fn round(disk: &mut Disk, erp: &mut ErpSink, book: &mut Book) {
    let ledger: &Path = &disk.ledger();
    let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), ledger, erp);
    let over = Arc::new(AtomicBool::new(false));
    let said = listen_until(&mut child, Arc::clone(&over));
    tokio::time::sleep(Duration::from_millis(60 + (Uuid::new_v4().as_u128() % 400) as u64)).await;
    disk.cut(&over);
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said.await.unwrap();
    disk.turn_off().await;
    assert!(disk.turn_on(), "the file system can be mounted again");
    book.settle(ledger, erp, said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a215_a_power_cut_loses_nothing_acknowledged_and_invents_nothing() {
    let Some(mut disk) = Disk::make() else { return };
    let mut erp = ErpSink::start().await;
    let mut book = Book::default();
    for _ in 0..rounds("SLUIS_POWER_ROUNDS", 2) {
        round(&mut disk, &mut erp, &mut book).await;
    }
    assert!(book.acknowledged > 0, "the children got to accept something");
    println!("power cuts: {book}");
}

/// Accepts one event, says that it may be promised, and waits for its end.
#[tokio::test]
#[ignore = "a part of the tests beside it, which start and end it"]
async fn child_accepts_one() {
    let Some(dir) = std::env::var_os("LEDGER_DIR") else { return };
    let ledger = Ledger::open(Path::new(&dir), &settings()).unwrap();
    let event = event("{}");
    let id = event.id;
    ledger.accept(event, u64::MAX).await.unwrap();
    println!("\nack {id}");
    std::future::pending().await
}

/// Starts the child under a wrapper, and waits for its promise; none where it ended without.
fn promise(wrapper: &mut Command, dir: &Path) -> (Child, Option<Uuid>) {
    let mut child = wrapper
        .args(["--exact", "power::child_accepts_one", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let id = lines.find_map(|line| Some(line.strip_prefix("ack ")?.parse().unwrap()));
    (child, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a216_a_power_cut_right_after_the_first_promise_of_new_files_finds_them() {
    let Some(mut disk) = Disk::make() else { return };
    let ledger = disk.mount().join("new/ledger");
    let mut promised = Vec::new();
    // At first everything is new, later on the log: it is another file after every clean end.
    for _ in 0..3 {
        let (mut child, id) = promise(&mut Command::new(std::env::current_exe().unwrap()), &ledger);
        promised.push(id.expect("one is accepted"));
        disk.cut(&AtomicBool::new(false));
        child.kill().unwrap();
        child.wait().unwrap();
        disk.turn_off().await;
        assert!(disk.turn_on(), "the file system can be mounted again");
        let opened = Ledger::open(&ledger, &settings()).unwrap();
        for id in &promised {
            assert!(opened.status("acme", *id).await.unwrap().is_some(), "{id} was promised and is lost");
        }
        drop(opened);
        assert!(!ledger.join("ledger.db-wal").exists());
    }
}

/// Whether a process that was looked at synchronised the directory of `made` after that was made and before it promised
/// anything.
fn is_durable(calls: &[&str], made: &Path) -> bool {
    let name = format!("\"{}\"", made.display());
    let dir = format!("<{}>", made.parent().unwrap().display());
    let makes = |call: &&str| {
        call.contains(&name) && (call.contains("O_CREAT") || call.contains("mkdir")) && !call.contains("ENOENT")
    };
    let made = calls.iter().position(makes).expect("it is made");
    let promised = calls.iter().position(|call| call.contains("ack ")).expect("something is promised");
    assert!(made < promised, "{name}");
    calls[made..promised].iter().any(|call| call.contains("sync(") && call.contains(&dir))
}

/// Of file systems that keep a name only where they were told to, unlike the one of the power cut.
#[test]
fn a216_new_names_are_synchronised_before_the_first_promise() {
    if !strace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().canonicalize().unwrap().join("new/ledger");
    let (database, log) = (dir.join("ledger.db"), dir.join("ledger.db-wal"));
    let new = dir.parent().unwrap();
    let lives: [&[&Path]; 2] = [&[new, &dir, &database, &log], &[&log]];
    for (life, names) in lives.into_iter().enumerate() {
        assert!(!log.exists());
        let seen = parent.path().join(format!("calls-{life}"));
        let trace = ["-y", "-e", "trace=?mkdir,mkdirat,?open,openat,fsync,fdatasync,write"];
        let (mut child, id) = promise(&mut traced(&seen, &trace), &dir);
        end_traced(&mut child);
        assert!(id.is_some());
        let seen = std::fs::read_to_string(&seen).unwrap();
        let calls: Vec<&str> = seen.lines().collect();
        for name in names {
            assert!(is_durable(&calls, name), "{} in\n{seen}", name.display());
        }
        // A clean end, after which the log is another file.
        drop(Ledger::open(&dir, &settings()).unwrap());
    }
}

#[test]
fn a216_where_a_name_cannot_be_synchronised_nothing_is_promised() {
    if !strace() {
        return;
    }
    // That of the lock and the database, and that of the log.
    for when in ["1+", "2+"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let inject = format!("fsync,fdatasync:error=EIO:when={when}");
        let (mut child, id) = promise(&mut injected_at(&path, &inject), &path);
        end_traced(&mut child);
        assert_eq!(id, None, "from sync {when} on");
    }
}
