//! Durable accepts per second with 1, 16, 128 and 1,024 callers waiting at once, 1 KB bodies, and how long the commits
//! took. `cargo run --release -p sluis-ledger --example accept -- [DIR] [SECONDS] [PAGE_SIZE]
//! [CHECKPOINT_PAGES] [MAX_BATCH] [TENANTS]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluis_ledger::{Ledger, Observer, Options};
use sluis_model::event::NewEvent;

/// Commit times in microseconds, and events per commit.
#[derive(Default)]
struct Commits {
    took: Mutex<Vec<u64>>,
    events: AtomicU64,
}

impl Observer for Commits {
    fn committed(&self, batch: usize, fsync: Duration) {
        self.took.lock().unwrap().push(fsync.as_micros() as u64);
        self.events.fetch_add(batch as u64, Ordering::Relaxed);
    }
}

fn event(tenant: usize) -> NewEvent {
    NewEvent { tenant: format!("org-{tenant}").into(), ..common::event(&Bytes::from_static(&[b'x'; 1024])) }
}

fn percentile(sorted: &[u64], p: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * p) as usize]
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target/accept-bench"), PathBuf::from);
    let seconds: u64 = args.next().map_or(5, |s| s.parse().unwrap());
    let page_size: u32 = args.next().map_or(Options::default().page_size, |s| s.parse().unwrap());
    let checkpoint_pages: u32 = args.next().map_or(Options::default().checkpoint_pages, |s| s.parse().unwrap());
    let max_batch: usize = args.next().map_or(1024, |s| s.parse().unwrap());
    let tenants: usize = args.next().map_or(1, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!(
        "{:>7} {:>10} {:>8} {:>28} {:>36}",
        "callers", "accepts/s", "batch", "answer ms p50/p99/max", "commit ms p50/p90/p99/max"
    );
    for callers in [1usize, 16, 128, 1024] {
        let _ = std::fs::remove_dir_all(&dir);
        let commits = Arc::new(Commits::default());
        let options =
            Options { observer: Arc::clone(&commits) as _, page_size, checkpoint_pages, ..Options::default() };
        let ledger = Arc::new(Ledger::open_with(&dir, &common::settings(max_batch), options).unwrap());
        let (rate, answers) = runtime.block_on(drive(&ledger, callers, tenants, Duration::from_secs(seconds)));
        runtime.block_on(ledger.close());
        let mut took = commits.took.lock().unwrap().clone();
        took.sort_unstable();
        let batch = commits.events.load(Ordering::Relaxed) as f64 / took.len() as f64;
        let ms = |us: u64| us as f64 / 1000.0;
        let answer = [0.5, 0.99, 1.0].map(|p| format!("{:.2}", ms(percentile(&answers, p)))).join(" / ");
        let commit = [0.5, 0.9, 0.99, 1.0].map(|p| format!("{:.2}", ms(percentile(&took, p)))).join(" / ");
        println!("{callers:>7} {rate:>10.0} {batch:>8.1} {answer:>28} {commit:>36}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}

async fn drive(ledger: &Arc<Ledger>, callers: usize, tenants: usize, run: Duration) -> (f64, Vec<u64>) {
    let turn = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (ledger, turn) = (Arc::clone(ledger), Arc::clone(&turn));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while started.elapsed() < run {
                    let event = event(turn.fetch_add(1, Ordering::Relaxed) % tenants);
                    let asked = Instant::now();
                    ledger.accept(event, u64::MAX).await.unwrap();
                    answers.push(asked.elapsed().as_micros() as u64);
                }
                answers
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let rate = all.len() as f64 / started.elapsed().as_secs_f64();
    all.sort_unstable();
    (rate, all)
}
