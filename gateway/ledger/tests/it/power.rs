//! A power cut: a file system of its own whose journal stops at once, with nothing more written, as far as it can be had
//! without pulling a plug.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::crash::{Book, listen_until, rounds, start};
use crate::support::ErpSink;

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
    let Some(mut disk) = Disk::make() else {
        println!("no loop device can be mounted here, or mkfs.ext4 or python3 is missing: nothing was tested");
        return;
    };
    let mut erp = ErpSink::start().await;
    let mut book = Book::default();
    for _ in 0..rounds("SLUIS_POWER_ROUNDS", 2) {
        round(&mut disk, &mut erp, &mut book).await;
    }
    assert!(book.acknowledged > 0, "the children got to accept something");
    println!("power cuts: {book}");
}
