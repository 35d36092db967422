//! A backlog: how fast it is built, how long a start with it takes, how much memory it needs, and how fast it is
//! delivered to an HTTP sink in this same process.
//! `cargo run --release -p sluis-ledger --example drain -- [EVENTS] [DELIVER] [CONCURRENCY] [DIR]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{event, settings};
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluis_ledger::{Ledger, Observer, Options};
use sluis_model::breaker::BreakerSettings;
use sluis_model::event::DeliveryState;
use sluis_model::maintenance::Calendar;
use sluis_model::pacing::PacingSettings;
use sluis_model::plan;
use sluis_model::retry::RetrySettings;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Commits, and changes in them.
#[derive(Default)]
struct Commits(AtomicU64, AtomicU64);

impl Observer for Commits {
    fn committed(&self, batch: usize, _: Duration) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.fetch_add(batch as u64, Ordering::Relaxed);
    }
}

/// Resident memory of this process in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

async fn sink(concurrency: usize) -> plan::Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| async {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
                });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    plan::Sink {
        name: "erp".into(),
        kind: plan::SinkKind::Http(plan::HttpSink {
            url,
            method: http::Method::POST,
            timeout: Duration::from_secs(10),
            headers: Vec::new(),
            ca: None,
            format: plan::EventFormat::Binary,
        }),
        plugin: None,
        retry: RetrySettings {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(900),
            max_age: Duration::from_secs(86_400),
            max_attempts: 200,
        },
        concurrency,
        order: plan::Order::None,
        compact_by_key: false,
        pacing: PacingSettings {
            rate: None,
            retry_percent: 20,
            retry_floor_per_second: 10,
            slow_start: Duration::ZERO,
        },
        breaker: BreakerSettings {
            consecutive_failures: 5,
            failure_percent: 50,
            minimum_outcomes: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(10),
            max_open: Duration::from_secs(60),
        },
        maintenance: Calendar::default(),
    }
}

async fn accept(ledger: &Arc<Ledger>, events: usize) {
    let body = Bytes::from(vec![b'x'; 1024]);
    let producers: Vec<_> = (0..512)
        .map(|n| {
            let (ledger, body) = (Arc::clone(ledger), body.clone());
            tokio::spawn(async move {
                for _ in (n..events).step_by(512) {
                    ledger.accept(event(&body), u64::MAX).await.unwrap();
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let events: usize = args.next().map_or(200_000, |n| n.parse().unwrap());
    let deliver: u64 = args.next().map_or(events as u64, |n| n.parse().unwrap());
    let concurrency: usize = args.next().map_or(64, |n| n.parse().unwrap());
    let dir = args.next().map_or_else(|| PathBuf::from("target/drain-bench"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rate = |n: u64, since: Instant| n as f64 / since.elapsed().as_secs_f64();

    let ledger = Arc::new(Ledger::open(&dir, &settings(1024)).unwrap());
    let started = Instant::now();
    runtime.block_on(accept(&ledger, events));
    println!("accepted {events} events at {:.0}/s", rate(events as u64, started));
    let started = Instant::now();
    runtime.block_on(ledger.close());
    drop(ledger);
    println!("closed in {:?}; {} MiB resident", started.elapsed(), resident());

    let started = Instant::now();
    let commits = Arc::new(Commits::default());
    let options = Options { observer: Arc::clone(&commits) as _, ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(&dir, &settings(1024), options).unwrap());
    let waiting = ledger.backlog().count(DeliveryState::Ready);
    println!("opened with {waiting} waiting in {:?}; {} MiB resident", started.elapsed(), resident());
    let started = Instant::now();
    runtime.block_on(accept(&ledger, 100_000));
    println!("accepted 100000 more at {:.0}/s", rate(100_000, started));

    runtime.block_on(async {
        let plan = HashMap::from([("erp".into(), Arc::new(sink(concurrency).await))]);
        let (_sinks, plan) = watch::channel(Arc::new(plan));
        let (shutdown, down) = watch::channel(false);
        let before = (commits.0.load(Ordering::Relaxed), commits.1.load(Ordering::Relaxed));
        let started = Instant::now();
        let worker = tokio::spawn(Arc::clone(&ledger).deliver(plan, down));
        while ledger.backlog().count(DeliveryState::Delivered) < deliver {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let delivered = ledger.backlog().count(DeliveryState::Delivered);
        println!("delivered {delivered} at {:.0}/s, {concurrency} in flight", rate(delivered, started));
        let (many, changes) =
            (commits.0.load(Ordering::Relaxed) - before.0, commits.1.load(Ordering::Relaxed) - before.1);
        println!("{:.1} leases and outcomes a commit; {} MiB resident", changes as f64 / many as f64, resident());
        shutdown.send_replace(true);
        worker.await.unwrap();
        ledger.close().await;
    });
    let _ = std::fs::remove_dir_all(&dir);
}
