//! A process that is killed at any moment: what was acknowledged is delivered in order, what was not tried never is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sluis_ledger::Ledger;
use uuid::Uuid;

use crate::crash::{Book, end_traced, injected, listen, rounds, start, strace};
use crate::support::{ErpSink, Say, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a213_killed_at_random_nothing_acknowledged_is_lost_and_nothing_invented() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let mut book = Book::default();
    for _ in 0..rounds("SLUIS_LEDGER_KILL_ROUNDS", 20) {
        let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), dir.path(), &erp);
        let said = listen(&mut child);
        tokio::time::sleep(Duration::from_millis(40 + (Uuid::new_v4().as_u128() % 100) as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        book.settle(dir.path(), &mut erp, said.await.unwrap()).await;
    }
    assert!(book.acknowledged > 0, "the children got to accept something");
    println!("killed at random: {book}");
}

/// Moments that one ledger goes through.
const A_LEDGER: usize = 25;

/// The moments: a few of each call, or as many as `SLUIS_STRACE_RANGE` says.
fn moments() -> Vec<(&'static str, usize)> {
    let few: [(&str, &[usize]); 4] = [
        ("pwrite64", &[1, 3, 70, 95, 150, 301]),
        ("fsync,fdatasync", &[1, 4, 6, 9, 20, 41]),
        ("ftruncate", &[1, 2, 4]),
        ("unlink", &[1, 2]),
    ];
    let range = rounds("SLUIS_STRACE_RANGE", 0);
    let all = |whens: &[usize]| if range > 0 { (1..=range).collect() } else { whens.to_vec() };
    few.iter().flat_map(|(call, whens)| all(whens).into_iter().map(|when| (*call, when))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a214_killed_at_the_nth_write_sync_truncate_or_unlink_nothing_is_lost() {
    if !strace() {
        return;
    }
    let mut erp = ErpSink::start().await;
    let mut dir = tempfile::tempdir().unwrap();
    let mut book = Book::default();
    for (round, (call, when)) in moments().into_iter().enumerate() {
        // All was delivered, and each round reads the whole of a ledger: one that grows on and on takes hours.
        if round % A_LEDGER == A_LEDGER - 1 {
            println!("until {call} {when}: {book}");
            dir = tempfile::tempdir().unwrap();
        }
        let mut child = start(&mut injected(&format!("{call}:signal=KILL:when={when}")), dir.path(), &erp);
        let said = listen(&mut child);
        // Where the moment never comes, it is killed a while later.
        for _ in 0..300 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        end_traced(&mut child);
        book.settle(dir.path(), &mut erp, said.await.unwrap()).await;
    }
    assert!(book.acknowledged > 0, "some of the moments come after an acknowledgement");
    println!("killed at the n-th call: {book}");
}

/// Recovers, and ends as it should.
#[test]
#[ignore = "a part of the test beside it, which starts and kills it"]
fn child_recovers() {
    let Some(dir) = std::env::var_os("LEDGER_DIR") else { return };
    drop(Ledger::open(Path::new(&dir), &settings()).unwrap());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Where every delivery stands.
fn states(dir: &Path) -> Vec<(i64, i64, i64, i64, i64)> {
    let conn = rusqlite::Connection::open(dir.join("ledger.db")).unwrap();
    let mut rows = conn.prepare("SELECT event, n, state, attempts, steps FROM deliveries ORDER BY event, n").unwrap();
    let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a229_a_recovery_that_is_killed_ten_times_ends_as_one_that_is_not() {
    if !strace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let [crashed, once] = ["crashed", "once"].map(|name| parent.path().join(name));
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Nothing, 4));
    let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), &crashed, &erp);
    let said = listen(&mut child);
    // Attempts are under way: there is something to recover.
    for _ in 0..4 {
        erp.next().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    copy(&crashed, &once);
    drop(Ledger::open(&once, &settings()).unwrap());
    for when in 1..=10 {
        let recover = ["--exact", "kill::child_recovers", "--ignored"];
        let calls = "pwrite64,fsync,fdatasync,ftruncate,unlink";
        let mut strace = injected(&format!("{calls}:signal=KILL:when={when}"));
        let strace = strace.args(recover).env("LEDGER_DIR", &crashed);
        strace.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    }
    drop(Ledger::open(&crashed, &settings()).unwrap());
    assert_eq!(states(&crashed), states(&once));
    let mut book = Book::default();
    book.settle(&crashed, &mut erp, said.await.unwrap()).await;
    println!("killed in recovery: {book}");
}
