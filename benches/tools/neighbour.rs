//! What a tenant feels of another one: its latency at a fixed rate, alone and beside a neighbour whose plugin spins, takes
//! all memory, traps or lies.
//!
//! The victim is an open loop: every request has its moment, whether or not the one before it was answered, and its
//! latency counts from that moment. The neighbour is a closed loop: so many connections, each sending as fast as it
//! is answered, from a thread that gives way to all others: it stands for other machines, which take no time from this
//! one, and what the gateway leaves of two cores is enough to keep it busy.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use sluis_bench::client::{Client, order};
use sluis_bench::gateway::{Gateway, config};
use sluis_bench::issuer::Issuer;
use sluis_bench::pace::{micros, pace};
use sluis_bench::{Error, Latencies, component, latencies, milliseconds, upstream};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

/// A request without an answer after this long has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The niceness of the neighbour's load.
const GIVES_WAY: i32 = 10;
/// Longest wait for the gateway to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures what a tenant feels of a hostile neighbour
#[derive(Debug, Parser)]
struct Args {
    /// The gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// Where order-map.wasm and tester.wasm are
    #[arg(long, default_value_os_t = component::built())]
    components: PathBuf,
    /// Threads of the gateway's ingress
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The victim's requests per second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds measured of each neighbour
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Seconds before them that do not count
    #[arg(long, default_value_t = 2)]
    warm_up: u32,
    /// The neighbour's connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// What the neighbour's plugin does in turn: directives of plugins/examples/tester
    #[arg(default_values = ["echo", "spin", "hog", "trap", "lie/header-crlf", "lie/large-body"])]
    directives: Vec<String>,
}

fn main() -> ExitCode {
    sluis_bench::ended(run(&Args::parse()).map(|()| true), 1)
}

fn run(args: &Args) -> Result<(), Error> {
    for name in ["order-map", "tester"] {
        component::read(&args.components, name)?;
    }
    let issuer = Issuer::new()?;
    let upstream = upstream::start(issuer.jwks())?;
    let dir = tempfile::tempdir()?;
    let tenants = "  - { id: victim, plugins: { orders: order-map }, grants: [log] }\n  - { id: hostile, plugins: { orders: tester }, grants: [log, config, clock, metrics, kv, http-client] }\n";
    let config = config(upstream, &args.components, args.threads, tenants)?;
    let gateway = Gateway::start(&args.sluis, dir.path(), &config, PATIENCE)?;
    let tokens = [issuer.token("victim", "user-1")?, issuer.token("hostile", "user-2")?];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(gateway.settle(&tokens[0]))?;

    println!(
        "victim: {} requests/s for {} s, latency from the intended start; neighbour: {} connections, closed loop\n",
        args.rate, args.seconds, args.connections
    );
    println!(
        "{:<20} {:>7} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9}  neighbour's answers/s by status",
        "neighbour", "sent", "not ok", "p50 ms", "p90 ms", "p99 ms", "max ms", "late p99"
    );
    // Alone at both ends: if these two differ, the machine changed under the measurement.
    let directives = args.directives.iter().map(|d| Some(d.as_str()));
    for directive in [None].into_iter().chain(directives).chain([None]) {
        let hostile = directive.map(|d| Hostile::start(gateway.http, &tokens[1], d, args.connections)).transpose()?;
        let victim = runtime.block_on(Victim::measure(gateway.http, &tokens[0], args))?;
        let answers = hostile.map(Hostile::stop).transpose()?;
        print_row(directive.unwrap_or("(alone)"), &victim, answers.as_ref());
    }
    Ok(())
}

fn print_row(name: &str, victim: &Victim, neighbour: Option<&Answers>) {
    let at = |q: f64| milliseconds(victim.latency.value_at_quantile(q));
    let rates = neighbour.map_or_else(|| "-".to_owned(), Answers::rates);
    println!(
        "{name:<20} {:>7} {:>6} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.2}  {rates}",
        victim.latency.len(),
        victim.not_ok,
        at(0.5),
        at(0.9),
        at(0.99),
        milliseconds(victim.latency.max()),
        milliseconds(victim.late.value_at_quantile(0.99)),
    );
}

/// What the well-behaved tenant saw.
struct Victim {
    /// From the intended start to the end of the answer; what failed is in it with the time that it took to fail.
    latency: Latencies,
    /// How long after the intended start this program itself got to sending.
    late: Latencies,
    /// Answered with anything but 200, or not at all.
    not_ok: u64,
}

/// One request of the victim's.
struct Seen {
    late: Duration,
    latency: Duration,
    ok: bool,
}

impl Victim {
    async fn measure(gateway: SocketAddr, token: &str, args: &Args) -> Result<Victim, Error> {
        let count = |seconds: u32| u64::from(args.rate) * u64::from(seconds);
        let (uncounted, total) = (count(args.warm_up), count(args.warm_up) + count(args.seconds));
        let (sender, moments) = channel(usize::try_from(total)?);
        let (rate, time) = (f64::from(args.rate), Duration::from_secs(u64::from(args.warm_up + args.seconds)));
        let pacer =
            std::thread::Builder::new().name("pacer".to_owned()).spawn(move || pace(&sender, time, |_| rate))?;
        let victim = Victim::collect(gateway, token, moments, uncounted).await;
        pacer.join().map_err(|_| "the pacer panicked")?;
        victim
    }

    async fn collect(
        gateway: SocketAddr,
        token: &str,
        mut moments: Receiver<Instant>,
        mut uncounted: u64,
    ) -> Result<Victim, Error> {
        let client = Arc::new(Client::new(gateway));
        let mut requests = JoinSet::new();
        while let Some(intended) = moments.recv().await {
            let (client, request) = (client.clone(), order(token, None)?);
            let counts = uncounted == 0;
            uncounted = uncounted.saturating_sub(1);
            requests.spawn(async move {
                let late = intended.elapsed();
                let answer = tokio::time::timeout(TIMEOUT, client.send(request)).await;
                let ok = matches!(answer, Ok(Ok(answer)) if answer.status() == http::StatusCode::OK);
                (counts, Seen { late, latency: intended.elapsed(), ok })
            });
        }
        let mut victim = Victim { latency: latencies()?, late: latencies()?, not_ok: 0 };
        while let Some(seen) = requests.join_next().await {
            if let (true, seen) = seen? {
                victim.latency.saturating_record(micros(seen.latency));
                victim.late.saturating_record(micros(seen.late));
                victim.not_ok += u64::from(!seen.ok);
            }
        }
        Ok(victim)
    }
}

/// The neighbour, on a thread and runtime of its own.
struct Hostile {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Answers, Error>>,
}

/// What the neighbour was answered: status to count, 0 for none.
struct Answers {
    counts: BTreeMap<u16, u64>,
    time: Duration,
}

impl Hostile {
    fn start(gateway: SocketAddr, token: &str, directive: &str, connections: usize) -> Result<Hostile, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, token, directive) = (stop.clone(), token.to_owned(), format!("/{directive}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let drive = move || {
            // Of this thread alone: Linux takes a thread where POSIX says a process.
            rustix::process::setpriority_process(None, GIVES_WAY)?;
            runtime.block_on(drive(gateway, &token, &directive, connections, &stopped))
        };
        let thread = std::thread::Builder::new().name("neighbour".to_owned()).spawn(drive)?;
        Ok(Hostile { stop, thread })
    }

    fn stop(self) -> Result<Answers, Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the neighbour panicked")?
    }
}

async fn drive(
    gateway: SocketAddr,
    token: &str,
    directive: &str,
    connections: usize,
    stop: &Arc<AtomicBool>,
) -> Result<Answers, Error> {
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let (client, stop) = (Client::new(gateway), stop.clone());
        let request = order(token, Some(directive))?;
        loops.spawn(async move {
            let mut counts = BTreeMap::<u16, u64>::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = tokio::time::timeout(TIMEOUT, client.send(request.clone())).await;
                let status = answer.ok().and_then(Result::ok).map_or(0, |answer| answer.status().as_u16());
                *counts.entry(status).or_default() += 1;
            }
            counts
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(of_one) = loops.join_next().await {
        for (status, count) in of_one? {
            *counts.entry(status).or_default() += count;
        }
    }
    Ok(Answers { counts, time: began.elapsed() })
}

impl Answers {
    fn rates(&self) -> String {
        let rate = |(status, count): (&u16, &u64)| format!("{status}: {:.0}", *count as f64 / self.time.as_secs_f64());
        self.counts.iter().map(rate).collect::<Vec<_>>().join(", ")
    }
}
