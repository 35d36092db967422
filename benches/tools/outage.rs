//! The drill of a flash sale: the ERP goes down while five times as many orders come in as usual, and comes back. Nothing
//! may be refused, lost or reordered, what is urgent must not wait, and the ERP must not be run over when it is back.
//!
//! Orders come in an open loop as CloudEvents with a key each, one in ten of them by a critical route; the ERP stand-in
//! remembers what it got and when.
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use sluis_bench::Error;
use sluis_bench::disk::Syncs;
use sluis_bench::gateway::{Admin, Gateway, metrics};
use sluis_bench::issuer::Issuer;
use sluis_bench::parts::behaviour::Latency;
use sluis_bench::parts::{Behaviour, Erp, Idp, State};
use sluis_bench::workload::Orders;

#[path = "outage/load.rs"]
mod load;
#[path = "outage/plot.rs"]
mod plot;
#[path = "outage/report.rs"]
mod report;

use load::{KEYS, Load, RUN};

/// Longest wait for the gateway to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the ERP takes for an order.
const WORK: Duration = Duration::from_millis(2);
/// Longest wait for the backlog to be delivered, as a multiple of the outage.
const DRAIN: u32 = 6;

/// Drives a gateway through an outage of its ERP during a flash sale
#[derive(Debug, Parser)]
struct Args {
    /// The gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// Orders per second on a calm day
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How many times as many in the sale
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    factor: u32,
    /// Seconds of calm before it
    #[arg(long, default_value_t = 60)]
    calm: u32,
    /// Seconds that the ERP is down
    #[arg(long, default_value_t = 600)]
    outage: u32,
    /// Orders that the ERP takes at once
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Where the state and the picture go; what was there is removed first
    #[arg(long, default_value = "target/bench/outage")]
    dir: PathBuf,
}

/// When what happens, from the start.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// The sale begins, and the ERP goes down a tenth of the outage later.
    pub sale: Duration,
    /// The ERP is down from here …
    pub down: Duration,
    /// … to here.
    pub up: Duration,
    /// The last order.
    pub end: Duration,
}

fn main() -> ExitCode {
    sluis_bench::ended(run(&Args::parse()), 99)
}

fn run(args: &Args) -> Result<bool, Error> {
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    let sale = seconds(args.calm);
    let down = sale + seconds(args.outage) / 10;
    let up = down + seconds(args.outage);
    let course = Course { sale, down, up, end: up + seconds(args.outage) / 10 };

    if args.dir.exists() {
        std::fs::remove_dir_all(&args.dir)?;
    }
    std::fs::create_dir_all(&args.dir)?;
    let issuer = Issuer::new()?;
    let idp = Idp::start(issuer.jwks())?;
    let up = Behaviour { latency: Latency::Between(WORK, WORK), ..Behaviour::default() };
    let erp = Arc::new(Erp::start(up)?);
    let gateway = Gateway::start(&args.sluis, &args.dir, &config(erp.address(), idp.address(), args), PATIENCE)?;
    let token = issuer.token("acme", "shop")?;

    let orders = Arc::new(Orders::new(usize::try_from(KEYS)?));
    let began = orders.began();
    erp.expect(RUN, orders.clone());
    let (calm, busy) = (f64::from(args.rate), f64::from(args.rate * args.factor));
    let rate = move |at: Duration| if at < course.sale || at >= course.up { calm } else { busy };
    let load = Arc::new(Load::new(gateway.http, token, orders.clone()));
    let switches = switch_at(erp.clone(), began, course);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load.clone().run(course.end, rate))?;
    let drained = wait_for(&orders, course.end + seconds(args.outage) * DRAIN);
    switches.join().map_err(|_| "the switches panicked")?;

    let report = report::Report::of(course, &load, (&orders, &erp), drained, args.concurrency)?;
    report.print();
    let metrics = runtime.block_on(Admin::new(gateway.admin, String::new()).metrics())?;
    println!("\ncommits to stable storage: {}", metrics::commits(&metrics));
    println!("fdatasync of 4 KiB, bare: {}", Syncs::take(&args.dir.join("bare"))?);
    let picture = args.dir.join("outage.svg");
    std::fs::write(&picture, plot::svg(course, &load.seconds(), &delivered(&orders)))?;
    println!("\nthe picture is in {}", picture.display());
    Ok(report.holds())
}

/// The ERP goes down and up as the course says.
#[allow(clippy::disallowed_methods, reason = "a thread of its own")]
fn switch_at(erp: Arc<Erp>, began: Instant, course: Course) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for (at, state) in [(course.down, State::Down), (course.up, State::Up)] {
            std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
            erp.behave(Behaviour { state, ..erp.behaviour() });
        }
    })
}

/// Waits until all orders that were accepted have arrived, at most until `until`. Answers when that was.
#[allow(clippy::disallowed_methods, reason = "the only thread")]
fn wait_for(orders: &Orders, until: Duration) -> Option<Duration> {
    while orders.began().elapsed() < until {
        if orders.outstanding() == 0 {
            return Some(orders.began().elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// Orders that arrived in each second.
fn delivered(orders: &Orders) -> Vec<u64> {
    let mut seconds = Vec::new();
    for at in orders.times().filter_map(|(_, _, arrived)| arrived) {
        let second = at.as_secs() as usize;
        if seconds.len() <= second {
            seconds.resize(second + 1, 0);
        }
        seconds[second] += 1;
    }
    seconds
}

/// Two routes to one sink: orders in order, and what is critical on a lane of its own.
fn config(erp: SocketAddr, idp: SocketAddr, args: &Args) -> String {
    let issuer = Issuer::yaml(idp);
    let concurrency = args.concurrency;
    format!(
        "version: 1\n\
         server: {{ threads: 2, state_dir: state, access_log: false, limits: {{ connections_per_address: 50000 }} }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         {issuer}\
         sinks:\n  - {{ name: erp, http: {{ url: \"http://{erp}/orders\" }}, concurrency: {concurrency}, order: dlq_and_continue, \
         breaker: {{ open: 1s, max_open: 5s }}, slow_start: 20s }}\n\
         ledger: {{ max_bytes: 20GiB }}\n\
         routes:\n  \
         - {{ name: orders, path: /v1/orders, methods: [POST], auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, \
         enqueue: {{ sinks: [erp], event_type: order }} }}\n  \
         - {{ name: critical, path: /v1/critical, methods: [POST], auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, \
         enqueue: {{ sinks: [erp], event_type: order, lane: critical }} }}\n\
         tenants:\n  - {{ id: acme, grants: [log], limits: {{ rate: 1000000, burst: 1000000, in_flight: 10000, queue_bytes: 20GiB }} }}\n"
    )
}
