//! How long an accept takes at a steady rate, beside a backlog of lines that wait: 1 KB bodies, 500 ordering keys in turn, a
//! sink that keeps their order and never takes any. `cargo run --release -p sluis-ledger --example pace -- [DIR] [RATE]
//! [SECONDS] [BACKLOG] [CHECKPOINT_PAGES] [PAGE_SIZE]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluis_ledger::{Ledger, Observer, Options};
use sluis_model::event::{EventSink, NewEvent};
use tokio::task::JoinSet;

const KEYS: u64 = 500;
/// Callers that make the backlog.
const FILLERS: u64 = 1024;

/// Of every event.
fn body() -> Bytes {
    Bytes::from_static(&[b'x'; 1024])
}

/// Commit times in microseconds.
#[derive(Default)]
struct Commits(Mutex<Vec<u64>>);

impl Observer for Commits {
    fn committed(&self, _batch: usize, fsync: Duration) {
        self.0.lock().unwrap().push(fsync.as_micros() as u64);
    }
}

fn event(number: u64, body: &Bytes) -> NewEvent {
    let sinks = vec![EventSink { in_order: true, ..EventSink::unordered("erp") }];
    NewEvent { key: Some(format!("order-{}", number % KEYS)), sinks, ..common::event(body) }
}

fn print(what: &str, mut micros: Vec<u64>) {
    micros.sort_unstable();
    let at = |p: f64| micros[((micros.len() - 1) as f64 * p) as usize] as f64 / 1000.0;
    let row = [0.5, 0.9, 0.99, 0.999, 1.0].map(|p| format!("{:>8.2}", at(p))).join(" ");
    println!("{what:<24} {:>8} {row}", micros.len());
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target/pace-bench"), PathBuf::from);
    let mut number = |otherwise: u64| args.next().map_or(otherwise, |text| text.parse().unwrap());
    let (rate, seconds, backlog) = (number(1000), number(20), number(300_000));
    let checkpoint_pages = number(Options::default().checkpoint_pages.into()) as u32;
    let page_size = number(Options::default().page_size.into()) as u32;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    let commits = Arc::new(Commits::default());
    let options = Options { observer: Arc::clone(&commits) as _, page_size, checkpoint_pages, ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(&dir, &common::settings(1024), options).unwrap());
    runtime.block_on(fill(&ledger, backlog));
    commits.0.lock().unwrap().clear();
    let answers = runtime.block_on(pace(&ledger, backlog, rate, seconds));
    runtime.block_on(ledger.close());
    println!("{:<24} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}", "ms", "count", "p50", "p90", "p99", "p99.9", "max");
    print("accept", answers);
    print("commit", commits.0.lock().unwrap().clone());
    let _ = std::fs::remove_dir_all(&dir);
}

async fn fill(ledger: &Arc<Ledger>, backlog: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut fillers = JoinSet::new();
    for _ in 0..FILLERS {
        let (ledger, next, body) = (Arc::clone(ledger), Arc::clone(&next), body());
        fillers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= backlog {
                    return;
                }
                ledger.accept(event(number, &body), u64::MAX).await.unwrap();
            }
        });
    }
    fillers.join_all().await;
}

/// Accepts one at each moment, whether or not the ones before were answered. Microseconds each.
async fn pace(ledger: &Arc<Ledger>, first: u64, rate: u64, seconds: u64) -> Vec<u64> {
    let (sender, mut moments) = tokio::sync::mpsc::channel(1 << 16);
    #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
    std::thread::spawn(move || {
        let began = Instant::now();
        for n in 0..rate * seconds {
            let moment = began + Duration::from_nanos(n * 1_000_000_000 / rate);
            std::thread::sleep(moment.saturating_duration_since(Instant::now()));
            if sender.blocking_send(first + n).is_err() {
                return;
            }
        }
    });
    let mut answers = JoinSet::new();
    while let Some(number) = moments.recv().await {
        let (ledger, body) = (Arc::clone(ledger), body());
        answers.spawn(async move {
            let asked = Instant::now();
            ledger.accept(event(number, &body), u64::MAX).await.unwrap();
            asked.elapsed().as_micros() as u64
        });
    }
    answers.join_all().await
}
