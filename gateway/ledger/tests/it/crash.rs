//! A process that accepts and delivers until something ends it, and the comparison of what it left with what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{Ledger, Options, verify};
use sluis_model::event::{EventSink, NewEvent};
use sluis_model::plan;
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{ErpSink, Running, by_name, event, settings};

/// Producers in the child, each with an ordering key of its own.
const PRODUCERS: usize = 64;

/// How often something is done, as the environment says for a soak.
pub fn rounds(name: &str, few: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

/// Accepts for ever, and delivers meanwhile. Says what it tries and what it may promise, a line each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the tests that start and end it"]
async fn child_accepts_and_delivers() {
    let (Some(dir), Ok(url)) = (std::env::var_os("LEDGER_DIR"), std::env::var("SINK_URL")) else { return };
    let options = Options { min_free: 0, ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(Path::new(&dir), &settings(), options).unwrap());
    let mut sink = ErpSink::start().await.plan();
    let plan::SinkKind::Http(http) = &mut sink.kind;
    http.url = url;
    let (_sinks, plan) = watch::channel(Arc::new(by_name([sink])));
    let (_shutdown, down) = watch::channel(false);
    tokio::spawn(Arc::clone(&ledger).deliver(plan, down));
    let run = Uuid::now_v7();
    for producer in 0..PRODUCERS {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            let key = format!("{run}/{producer}");
            for n in 0.. {
                let event = ordered(&key, n);
                let id = event.id;
                println!("try {id}");
                ledger.accept(event, u64::MAX).await.unwrap();
                println!("ack {id}");
            }
        });
    }
    std::future::pending().await
}

/// The n-th of its key; it says so in its body.
fn ordered(key: &str, n: usize) -> NewEvent {
    let sinks = vec![EventSink { name: "erp".into(), in_order: true, compacts: false }];
    let accepted_at = Clock::system().now();
    NewEvent { key: Some(key.to_owned()), sinks, accepted_at, ..event(&format!("{key} {n}")) }
}

/// Starts the child under a wrapper.
pub fn start(wrapper: &mut Command, dir: &Path, erp: &ErpSink) -> Child {
    wrapper
        .args(["--exact", "crash::child_accepts_and_delivers", "--ignored", "--nocapture"])
        .env("LEDGER_DIR", dir)
        .env("SINK_URL", format!("http://{}/", erp.address))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child said before its end.
#[derive(Default)]
pub struct Said {
    tried: BTreeSet<Uuid>,
    acknowledged: BTreeSet<Uuid>,
}

pub fn listen(child: &mut Child) -> tokio::task::JoinHandle<Said> {
    listen_until(child, Arc::default())
}

/// What is promised counts until `over`; later promises are worth no more than attempts.
pub fn listen_until(child: &mut Child, over: Arc<AtomicBool>) -> tokio::task::JoinHandle<Said> {
    let stdout = child.stdout.take().unwrap();
    tokio::task::spawn_blocking(move || {
        let mut said = Said::default();
        // The last line may be cut.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let id = |text: &str| text.parse::<Uuid>().ok();
            said.tried.extend(line.strip_prefix("try ").and_then(id));
            if !over.load(Ordering::SeqCst) {
                said.acknowledged.extend(line.strip_prefix("ack ").and_then(id));
            }
        }
        said
    })
}

/// All that was said and all that arrived, over many rounds.
#[derive(Default)]
pub struct Book {
    rounds: usize,
    tried: BTreeSet<Uuid>,
    arrived: BTreeSet<Uuid>,
    /// The last number that arrived of each key.
    last: BTreeMap<String, usize>,
    pub acknowledged: usize,
    repeated: usize,
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Book { rounds, acknowledged, repeated, arrived, .. } = self;
        write!(
            f,
            "{rounds} rounds: {acknowledged} acknowledged, {} delivered, 0 lost, 0 invented, 0 out of order, \
             {repeated} more than once",
            arrived.len()
        )
    }
}

impl Book {
    /// Opens what a child left, delivers all of it, and compares.
    pub async fn settle(&mut self, dir: &Path, erp: &mut ErpSink, said: Said) {
        self.rounds += 1;
        self.tried.extend(said.tried);
        self.acknowledged += said.acknowledged.len();
        // Late enough for every retry, too early for the end of retention.
        let later = Clock::system().now() + 3_600_000;
        let running = Running::start_at(dir, [erp.plan()], ManualClock::at(later));
        for id in &said.acknowledged {
            assert!(running.ledger.status("acme", *id).await.unwrap().is_some(), "{id} was acknowledged and is lost");
        }
        let emptied = async {
            while running.ledger.backlog().events > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("the backlog is delivered");
        running.stop().await;
        for got in erp.drain() {
            let id = got.id();
            assert!(self.tried.contains(&id), "{id} is invented");
            if !self.arrived.insert(id) {
                self.repeated += 1;
                continue;
            }
            let body = String::from_utf8(got.body.to_vec()).unwrap();
            let (key, n) = body.split_once(' ').unwrap();
            let n = n.parse().unwrap();
            let before = self.last.insert(key.to_owned(), n);
            assert!(before.is_none_or(|before| before < n), "{key}: {n} after {before:?}");
        }
        for id in &said.acknowledged {
            assert!(self.arrived.contains(id), "{id} was acknowledged and not delivered");
        }
        assert_eq!(verify(dir).unwrap().findings, []);
    }
}

/// Whether processes can be traced here.
pub fn strace() -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        println!("strace is not installed, or nothing can be traced here: nothing was tested");
    }
    can
}

/// A command under strace, which writes down what it is told to.
pub fn traced(to: &Path, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(to).args(options).arg(std::env::current_exe().unwrap());
    strace
}

/// A command under strace that does something to certain system calls.
pub fn injected(inject: &str) -> Command {
    traced(Path::new("/dev/null"), &["-e", &format!("inject={inject}")])
}

/// The same, to those alone that are about one file or directory.
pub fn injected_at(path: &Path, inject: &str) -> Command {
    traced(Path::new("/dev/null"), &["-P", path.to_str().unwrap(), "-e", &format!("inject={inject}")])
}

/// Ends a traced child: the tracer would leave it running.
pub fn end_traced(strace: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
    }
    strace.wait().unwrap();
}
