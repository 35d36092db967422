//! Orders that are accepted in a second, kept durably, through HTTP and a token each: with so many connections, and what
//! the same way would bear if nothing had to reach stable storage.
//!
//! More orders are intended than can be accepted, so that all connections are taken all the time. What is measured comes
//! after a second's worth of such load, in which most users' tokens are seen for the first time: how often a signature is
//! verified would otherwise depend on how long a run takes. Load, issuer and gateway share the machine; the sink is
//! away, so that nothing is delivered meanwhile.
#![allow(clippy::print_stdout)]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sluis_bench::Error;
use sluis_bench::disk::Syncs;
use sluis_bench::gateway::{Admin, Gateway, metrics};
use sluis_bench::issuer::Issuer;
use sluis_bench::load::{self, Bounds, Protocol, Run, Schedule, Source, Stop, Target};
use sluis_bench::parts::Idp;
use sluis_bench::workload::{self, Tenants, Traffic, Workload};

/// Longest wait for the gateway to start, and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs a program with every `fsync` made to do nothing.
const WITHOUT_FSYNC: &str = "eatmydata";

/// Measures how many orders a second are accepted durably through HTTP
#[derive(Debug, Parser)]
struct Args {
    /// The gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// Connections, each with one order on its way
    #[arg(default_values_t = [128, 1_024])]
    connections: Vec<usize>,
    /// Seconds of intended load; what was late takes some more
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Orders a second that are intended: more than can be
    #[arg(long, default_value_t = 60_000)]
    rate: u32,
    /// Tenants, all alike; 15,000 users together
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tenants: u32,
    /// Threads of the gateway's ingress
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Where the state goes; what was there is removed first
    #[arg(long, default_value = "target/bench/accepts")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    sluis_bench::ended(run(&Args::parse()).map(|()| true), 1)
}

fn run(args: &Args) -> Result<(), Error> {
    let can_skip = Command::new(WITHOUT_FSYNC).arg("true").stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !can_skip {
        println!("without fsync nothing is measured: {WITHOUT_FSYNC} is not there (apt install {WITHOUT_FSYNC})\n");
    }
    let issuer = Issuer::new()?;
    let idp = Idp::start(issuer.jwks())?;
    let workload = Workload {
        tenants: Tenants::Long(vec![workload::Tenant::numbered("org-", args.tenants)]),
        idempotency_keys: false,
        ..Workload::default()
    };
    let traffic = Traffic::new(&workload, &issuer, "accepts")?;
    println!(
        "{:>11} {:>6} {:>10} {:>8} {:>8}  commits to stable storage",
        "connections", "fsync", "accepts/s", "CPU µs", "p99 ms"
    );
    for _ in 0..args.rounds {
        for connections in &args.connections {
            for fsync in [true, false].into_iter().filter(|fsync| *fsync || can_skip) {
                let measured = Measured::take(args, (&issuer, &idp), &traffic, *connections, fsync)?;
                measured.print(*connections, fsync);
            }
        }
    }
    println!("\nfdatasync of 4 KiB, bare: {}", Syncs::take(&args.dir.join("bare"))?);
    Ok(())
}

/// One run.
struct Measured {
    run: Run,
    /// CPU time of the gateway.
    cpu: Duration,
    /// The gateway's metrics behind it.
    metrics: String,
}

impl Measured {
    /// With a gateway and an empty store of its own.
    fn take(
        args: &Args,
        (issuer, idp): (&Issuer, &Idp),
        traffic: &Traffic,
        connections: usize,
        fsync: bool,
    ) -> Result<Measured, Error> {
        if args.dir.exists() {
            std::fs::remove_dir_all(&args.dir)?;
        }
        std::fs::create_dir_all(&args.dir)?;
        let command = if fsync {
            Command::new(&args.sluis)
        } else {
            let mut command = Command::new(WITHOUT_FSYNC);
            command.arg(&args.sluis);
            command
        };
        let gateway = Gateway::start_by(command, &args.dir, &config(idp.address(), args)?, PATIENCE)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(gateway.settle(&issuer.token("org-0", "first")?))?;
        let target = Target {
            url: format!("http://{}", gateway.http).parse()?,
            protocol: Protocol::Http1,
            keep_alive: true,
            ca: None,
            insecure: false,
        };
        let (warm_up, timeout) = (Duration::ZERO, PATIENCE);
        let bounds = Bounds { threads: 1, connections, streams: 1, timeout, warm_up };
        let load = |name: &str, seconds: u32| -> Result<Run, Error> {
            let schedule = Schedule::constant(f64::from(args.rate), Duration::from_secs(seconds.into()))?;
            let source: Arc<dyn Source> = Arc::new(traffic.renewed(name));
            Ok(load::run(&target, &schedule, &bounds, &source, &Stop::new(), |_| {})?)
        };
        load("warm-up", 1)?;
        let before = gateway.cpu()?;
        let run = load("accepts", args.seconds)?;
        let cpu = gateway.cpu()?.saturating_sub(before);
        let metrics = runtime.block_on(Admin::new(gateway.admin, String::new()).metrics())?;
        Ok(Measured { run, cpu, metrics })
    }

    fn print(&self, connections: usize, fsync: bool) {
        let (all, seconds) = (&self.run.recording.all, self.run.recording.seconds_measured);
        let accepted = all.statuses.get(&202).copied().unwrap_or(0);
        println!(
            "{connections:>11} {:>6} {:>10.0} {:>8.1} {:>8.1}  {}",
            if fsync { "yes" } else { "no" },
            accepted as f64 / seconds,
            self.cpu.as_secs_f64() * 1e6 / accepted.max(1) as f64,
            all.service.at(0.99) as f64 / 1e3,
            metrics::commits(&self.metrics)
        );
        if accepted < all.intended {
            println!(
                "            of {} orders {accepted} were accepted: {:?} {:?}",
                all.intended, all.statuses, all.failures
            );
        }
    }
}

/// A route to a sink where nobody listens, and limits out of the way.
fn config(idp: SocketAddr, args: &Args) -> Result<String, Error> {
    // Free a moment ago: its listener ends here.
    let away = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (issuer, threads) = (Issuer::yaml(idp), args.threads);
    let limits = "limits: { rate: 1000000, burst: 1000000, in_flight: 10000, queue_bytes: 20GiB }";
    let tenants: String = (0..args.tenants).map(|n| format!("  - {{ id: org-{n}, {limits} }}\n")).collect();
    Ok(format!(
        "version: 1\n\
         server: {{ threads: {threads}, state_dir: state, access_log: false, \
         limits: {{ connections_per_address: 50000, requests_per_connection: 1000000 }} }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         {issuer}\
         sinks:\n  - {{ name: erp, http: {{ url: \"http://{away}/\" }} }}\n\
         ledger: {{ max_bytes: 20GiB }}\n\
         routes:\n  - {{ name: orders, path: /v1/orders, methods: [POST], \
         auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, enqueue: {{ sinks: [erp], event_type: order }} }}\n\
         tenants:\n{tenants}"
    ))
}
