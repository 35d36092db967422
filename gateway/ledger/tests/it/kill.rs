//! A process that is killed at any moment: what was acknowledged is delivered, what was not tried never is, and what a
//! sink gets first of each key is in the order of acceptance.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::Ledger;
use sluis_ledger::clock::{Clock, ManualClock};
use sluis_model::event::NewEvent;
use sluis_model::plan;
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{ErpSink, Got, Running, by_name, event, settings};

/// Producers in the child.
const PRODUCERS: usize = 64;

/// Accepts for ever, and delivers meanwhile. Says what it tries and what it may promise, a line each. Every producer has
/// a key of its own, so that what it is told in its order was accepted in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the tests beside it, which start and kill it"]
async fn child_accepts_and_delivers() {
    let (Some(dir), Ok(url)) = (std::env::var_os("LEDGER_DIR"), std::env::var("SINK_URL")) else { return };
    let ledger = Arc::new(Ledger::open(Path::new(&dir), &settings()).unwrap());
    let mut sink = ErpSink::start().await.plan();
    let plan::SinkKind::Http(http) = &mut sink.kind;
    http.url = url;
    sink.order = plan::Order::ParkKey;
    let of_event = sink.of_event();
    let (_sinks, plan) = watch::channel(Arc::new(by_name([sink])));
    let (_shutdown, down) = watch::channel(false);
    tokio::spawn(Arc::clone(&ledger).deliver(plan, down));
    for producer in 0..PRODUCERS {
        let (ledger, sink) = (Arc::clone(&ledger), of_event.clone());
        tokio::spawn(async move {
            loop {
                let event = NewEvent {
                    accepted_at: Clock::system().now(),
                    key: Some(format!("producer-{producer}")),
                    sinks: vec![sink.clone()],
                    ..event("{\"order\":1}")
                };
                let id = event.id;
                println!("try {id}");
                ledger.accept(event, u64::MAX).await.unwrap();
                println!("ack {id}");
            }
        });
    }
    std::future::pending().await
}

fn start(wrapper: &mut Command, dir: &Path, erp: &ErpSink) -> Child {
    wrapper
        .args(["--exact", "kill::child_accepts_and_delivers", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir)
        .env("SINK_URL", format!("http://{}/", erp.address))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child said before its end.
#[derive(Default)]
struct Said {
    tried: BTreeSet<Uuid>,
    acknowledged: BTreeSet<Uuid>,
}

fn listen(child: &mut Child) -> tokio::task::JoinHandle<Said> {
    let stdout = child.stdout.take().unwrap();
    tokio::task::spawn_blocking(move || {
        let mut said = Said::default();
        // The last line may be cut.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let id = |text: &str| text.parse::<Uuid>().ok();
            said.tried.extend(line.strip_prefix("try ").and_then(id));
            said.acknowledged.extend(line.strip_prefix("ack ").and_then(id));
        }
        said
    })
}

/// Opens what is left, delivers all of it, and compares.
async fn settle(dir: &Path, erp: &mut ErpSink, tried: &BTreeSet<Uuid>, acknowledged: &BTreeSet<Uuid>) -> usize {
    // Late enough for every retry, too early for the end of retention.
    let later = Clock::system().now() + 3_600_000;
    let plan = plan::Sink { order: plan::Order::ParkKey, ..erp.plan() };
    let running = Running::start_at(dir, [plan], ManualClock::at(later));
    for id in acknowledged {
        assert!(running.ledger.status("acme", *id).await.unwrap().is_some(), "{id} was acknowledged and is lost");
    }
    let emptied = async {
        while running.ledger.backlog().events > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("the backlog is delivered");
    running.stop().await;
    let got = erp.drain();
    let arrived: Vec<Uuid> = got.iter().map(Got::id).collect();
    let distinct: BTreeSet<Uuid> = arrived.iter().copied().collect();
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for one in got.iter().filter(|one| seen.insert(one.id())) {
        // The ids of one producer are made one after the other, and rise.
        let before = last.insert(one.header("ce-partitionkey").to_owned(), one.id());
        assert!(before < Some(one.id()), "{before:?} before {}", one.id());
    }
    assert!(acknowledged.is_subset(&distinct), "every acknowledged event was delivered");
    assert!(distinct.is_subset(tried), "and none was invented");
    arrived.len() - distinct.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a213_killed_at_random_nothing_acknowledged_is_lost_and_nothing_invented() {
    let rounds: u64 = std::env::var("KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let (mut tried, mut acknowledged, mut repeated) = (BTreeSet::new(), 0, 0);
    for _ in 0..rounds {
        let mut child = start(&mut Command::new(std::env::current_exe().unwrap()), dir.path(), &erp);
        let said = listen(&mut child);
        tokio::time::sleep(Duration::from_millis(40 + (Uuid::new_v4().as_u128() % 100) as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let said = said.await.unwrap();
        tried.extend(said.tried);
        acknowledged += said.acknowledged.len();
        repeated += settle(dir.path(), &mut erp, &tried, &said.acknowledged).await;
    }
    assert!(acknowledged > 0, "the children got to accept something");
    println!("{rounds} rounds: {acknowledged} acknowledged, 0 lost, {repeated} repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a214_killed_at_the_nth_write_sync_or_truncate_nothing_is_lost() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("strace is not installed: a213 kills at random moments");
        return;
    }
    let mut erp = ErpSink::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (mut tried, mut acknowledged) = (BTreeSet::new(), 0);
    let moments = [
        ("pwrite64", [1, 3, 70, 95, 150, 301]),
        ("fsync,fdatasync", [1, 4, 6, 9, 20, 41]),
        ("ftruncate", [1, 2, 3, 4, 5, 6]),
    ];
    for (call, when) in moments.iter().flat_map(|(call, whens)| whens.map(|when| (call, when))) {
        let inject = format!("inject={call}:signal=KILL:when={when}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &inject]).arg(std::env::current_exe().unwrap());
        let mut child = start(&mut strace, dir.path(), &erp);
        let said = listen(&mut child);
        // Where the moment never comes, it is killed a while later.
        for _ in 0..300 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        end_traced(&mut child);
        let said = said.await.unwrap();
        tried.extend(said.tried);
        acknowledged += said.acknowledged.len();
        settle(dir.path(), &mut erp, &tried, &said.acknowledged).await;
    }
    assert!(acknowledged > 0, "some of the moments come after an acknowledgement");
}

/// Ends a traced child: the tracer would leave it running.
fn end_traced(strace: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
    }
    strace.wait().unwrap();
}
