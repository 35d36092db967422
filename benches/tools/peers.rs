//! Sluis beside other gateways at the same work: one after the other on one core, load and upstream on another, in rounds
//! that take turns.
//!
//! What is compared is the CPU time of a request, the kernel's included: it does not depend on what the load leaves over.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "peers/load.rs"]
mod load;
#[path = "peers/peer.rs"]
mod peer;
#[path = "peers/process.rs"]
mod process;
#[path = "peers/report.rs"]
mod report;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use sluis_bench::issuer::Issuer;
use sluis_bench::{Error, ORDER, component, cores, lean};

use crate::load::Load;
use crate::peer::{Peer, Work};
use crate::process::{Processes, Started};
use crate::report::{Machine, Measured, Report};

/// Where every peer's configuration says that its upstream is.
const UPSTREAM: &str = "127.0.0.1:19000";
/// Users whose tokens come in turn, and the organisations of `peers/orgs.yaml` that they belong to.
const USERS: usize = 15_000;
const ORGANISATIONS: usize = 200;

/// Measures Sluis beside nginx, HAProxy and Envoy
#[derive(Debug, Parser)]
struct Args {
    /// Which work: all three unless named
    works: Vec<Work>,
    /// Rounds, in each of which everybody has a turn
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Seconds of a turn that count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds before them: long enough to see every token once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    warm_up: u32,
    /// Connections that ask at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    connections: u32,
    /// The core of the gateways
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// The core of load and upstream
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Where they run: logs, tokens, keys
    #[arg(long, default_value = "target/bench/peers")]
    dir: PathBuf,
    /// Write every turn's figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    programs: Programs,
}

/// Where the programs are; those that are named only are looked for in PATH.
#[derive(Debug, clap::Args)]
struct Programs {
    /// This gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// pingora's own proxy, see `tools/bare_pingora.rs`
    #[arg(long, default_value = "target/release/bare-pingora")]
    bare_pingora: PathBuf,
    /// nginx
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// HAProxy, 2.5 or later
    #[arg(long, default_value = "haproxy")]
    haproxy: PathBuf,
    /// Envoy
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// Envoy's Wasm filter, built from `peers/envoy-filter`
    #[arg(long, default_value = "target/peers/wasm32-wasip1/release/order_map_filter.wasm")]
    filter: PathBuf,
    /// The load generator
    #[arg(long, default_value = "wrk")]
    wrk: PathBuf,
}

fn main() -> ExitCode {
    sluis_bench::ended(run(&Args::parse()).map(|()| true), 1)
}

fn run(args: &Args) -> Result<(), Error> {
    let works = if args.works.is_empty() { Work::ALL.to_vec() } else { args.works.clone() };
    let cores = std::thread::available_parallelism()?.get();
    if args.core == args.load_core || args.core.max(args.load_core) >= cores {
        return Err(format!("--core and --load-core have to be two of this machine's {cores} cores").into());
    }
    let wrk = peer::found(&args.programs.wrk).ok_or("wrk is not here; get it: apt install wrk")?;
    let (peers, absent) = peer::all(&args.programs, &works)?;
    for (what, how) in &absent {
        println!("not here: {what}; get it: {how}");
    }
    let machine = Machine::this()?;
    machine.warn();
    // From here on everything is on the load's core, but for what is started elsewhere.
    cores::bind(std::process::id(), args.load_core)?;
    std::fs::create_dir_all(&args.dir)?;
    let dir = args.dir.canonicalize()?;
    let token = prepare(&dir, &args.programs)?;
    let load = Load { wrk, dir: &dir, connections: args.connections };
    let mut report = Report::new(machine, &peers);
    for round in 1..=args.rounds {
        for (at, peer) in peers.iter().enumerate() {
            let measured = turn(args, peer, &load, &token)?;
            eprintln!("round {round} of {}: {peer}: {measured}", args.rounds);
            report.add(at, measured);
        }
    }
    report.print();
    match &args.json {
        Some(file) => report.save(file),
        None => Ok(()),
    }
}

/// One gateway's turn.
fn turn(args: &Args, peer: &Peer, load: &Load<'_>, token: &str) -> Result<Measured, Error> {
    let started = Started::start(peer, args.core, load.dir)?;
    peer.check(&started, token)?;
    load.run(peer, args.warm_up)?;
    let (cpu, all) = (started.cpu()?, Processes::machine()?);
    let own = Processes::read()?.cpu(std::process::id());
    let answered = load.run(peer, args.seconds)?;
    let (cpu, all) = (started.cpu()?.saturating_sub(cpu), Processes::machine()?.saturating_sub(all));
    let own = Processes::read()?.cpu(std::process::id()).saturating_sub(own);
    let others = all.saturating_sub(own).as_secs_f64() / f64::from(args.seconds);
    let measured = Measured::new(&answered, cpu, started.memory()?, others);
    started.stop();
    Ok(measured)
}

/// Starts the upstream, and writes what peers and load read: tokens, the order, the issuer's key, Envoy's filter. Returns
/// one of the tokens.
fn prepare(dir: &Path, programs: &Programs) -> Result<String, Error> {
    let issuer = Issuer::new()?;
    let listener =
        TcpListener::bind(UPSTREAM).map_err(|error| format!("the upstream cannot listen on {UPSTREAM}: {error}"))?;
    let jwks = issuer.jwks();
    std::fs::write(dir.join("idp.pem"), peer::pem(&jwks)?)?;
    std::thread::Builder::new().name("upstream".to_owned()).spawn(move || lean::serve(listener, &jwks))?;
    let tokens = (0..USERS)
        .map(|user| issuer.token(&format!("org-{}", user % ORGANISATIONS), &format!("user-{user}")))
        .collect::<Result<Vec<_>, _>>()?;
    std::fs::write(dir.join(load::TOKENS), tokens.join("\n"))?;
    std::fs::write(dir.join(load::ORDER), ORDER)?;
    if programs.filter.is_file() {
        std::fs::copy(&programs.filter, dir.join(peer::FILTER))?;
    }
    if !component::built().join("order-map.wasm").is_file() {
        println!("the components are not built, so that nobody maps orders here: run `sh plugins/build.sh`");
    }
    Ok(tokens.into_iter().next().unwrap_or_default())
}
