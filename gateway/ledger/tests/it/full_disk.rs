//! A disk that others fill: what is refused, what goes on, and how a start finds room.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{AcceptError, Health, Ledger, OpenError, Options};
use sluis_model::event::{DeliveryState, EventState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::shedding::Shedding;
use uuid::Uuid;

use crate::crash::{Book, listen, start};
use crate::faults::fill;
use crate::support::{ErpSink, NEW_YEAR, Running, Say, event, settings};

/// A small file system of its own, unmounted at the end. None where mounting is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk(dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Somebody else fills it.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        let full = std::fs::write(self.path("more"), "x").unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// And leaves.
    fn clear(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a219_a220_a_full_disk_refuses_keeps_delivering_and_recovers_without_a_restart() {
    let Some(disk) = SmallDisk::mount("16m") else {
        println!("mounting is not allowed here: a218 covers the database's side of it");
        return;
    };
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(503, "60")]);
    let running = Running::start(&disk.path("ledger"), [erp.plan()]);
    let first = running.accept(event("{}")).await;
    running.until_delivery(first, DeliveryState::RetryWait).await;
    disk.fill();
    let (accepted, error) = fill(&running.ledger).await;
    assert_eq!((error, running.ledger.health()), (AcceptError::Full, Health::DiskFull));
    assert_eq!(running.ledger.accept(event("{}"), u64::MAX).await, Err(AcceptError::Full));
    // What is there is delivered, and recorded in the space of the reserve.
    running.clock.advance(Duration::from_secs(60));
    for id in accepted.iter().chain([&first]) {
        running.until(*id, EventState::Completed).await;
    }
    let arrived: Vec<Uuid> = erp.drain().iter().map(|got| got.id()).collect();
    assert_eq!(arrived.len(), accepted.len() + 2, "nothing was sent twice, but for the one that was refused once");
    assert_eq!(running.ledger.health(), Health::DiskFull);
    disk.clear();
    let id = running.accept(event("{}")).await;
    assert_eq!(running.ledger.health(), Health::Ok);
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

/// A start with an attempt under way puts it in order, full as the disk is.
async fn starts_on_a_full_disk(dir: &Path, under_way: Uuid) -> Running {
    let running = Running::start(dir, []);
    let status = running.status(under_way).await;
    let last = status.history.last().unwrap();
    assert_eq!((status.deliveries[0].attempts, &*last.actor, &*last.reason), (1, "recovery", "interrupted"));
    running
}

/// It may have left a transaction half written, in whose place another has room: whether that suffices is chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a220_after_a_crash_it_starts_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount("128m") else {
        println!("mounting is not allowed here");
        return;
    };
    let dir = disk.path("ledger");
    let mut erp = ErpSink::start().await;
    erp.say([Say::Nothing]);
    let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), &dir, &erp);
    let said = listen(&mut child);
    let under_way = erp.next().await.id();
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said.await.unwrap();
    disk.fill();
    starts_on_a_full_disk(&dir, under_way).await.stop().await;
    disk.clear();
    Book::default().settle(&dir, &mut erp, said).await;
}

/// There is neither a log nor its index, which have to be made first.
#[tokio::test]
async fn a220_a_start_on_a_full_disk_has_the_reserve() {
    let Some(disk) = SmallDisk::mount("16m") else {
        println!("mounting is not allowed here");
        return;
    };
    let dir = disk.path("ledger");
    let mut erp = ErpSink::start().await;
    erp.say([Say::Nothing]);
    let running = Running::start(&dir, [erp.plan()]);
    let under_way = running.accept(event("{}")).await;
    erp.next().await;
    running.drop_dead().await;
    disk.fill();
    let running = starts_on_a_full_disk(&dir, under_way).await;
    assert_eq!(running.ledger.accept(event("{}"), u64::MAX).await, Err(AcceptError::Full));
    assert!(!dir.join("reserve").exists());
    running.stop().await;
    // Whoever fills it has taken what is left of that, too.
    disk.fill();
    let error = Ledger::open(&dir, &settings()).unwrap_err();
    assert!(matches!(&error, OpenError::DiskFull { path } if path.ends_with("ledger.db")), "{error}");
    disk.clear();
    let running = Running::start(&dir, [erp.plan()]);
    running.until(under_way, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a219_a_disk_that_fills_refuses_the_least_urgent_first_and_takes_them_again_without_a_restart() {
    let Some(disk) = SmallDisk::mount("64m") else {
        println!("mounting is not allowed here");
        return;
    };
    let clock = ManualClock::at(NEW_YEAR);
    let plan = plan::Ledger { shedding: Shedding { low: 50, normal: 75 }, ..settings() };
    let options = Options { clock: Clock::Manual(clock.clone()), min_free: 8 << 20, ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(&disk.path("ledger"), &plan, options).unwrap());
    let running = Running::deliver(ledger, [], clock);
    let file = std::fs::File::create(disk.path("ballast")).unwrap();
    let lanes = [Lane::Low, Lane::Normal, Lane::Critical];
    let (shed, full) = (Err(AcceptError::Shed), Err(AcceptError::DiskFull));
    let steps =
        [(36, [shed, Ok(()), Ok(())]), (48, [shed, shed, Ok(())]), (58, [full; 3]), (36, [shed, Ok(()), Ok(())])];
    for (mib, answers) in steps {
        rustix::fs::ftruncate(&file, 0).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, mib << 20).unwrap();
        let looked = async {
            while lanes.map(|lane| running.ledger.room("acme", u64::MAX, lane)) != answers {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), looked).await.expect("the disk is looked at");
        for (lane, answer) in lanes.into_iter().zip(answers) {
            let event = NewEvent { lane, ..event("{}") };
            assert_eq!(running.ledger.accept(event, u64::MAX).await, answer, "{lane:?} with {mib} MiB of ballast");
        }
        let health = if answers == [full; 3] { Health::DiskFull } else { Health::Ok };
        assert_eq!(running.ledger.health(), health);
    }
    running.stop().await;
}
