//! What many tenants cost: every one with a component of its own, start with and without compiled artefacts, one request
//! to each, memory, and the CPU of a request by the order in which they come.
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sluis_bench::client::{Client, order};
use sluis_bench::gateway::{Gateway, config};
use sluis_bench::issuer::Issuer;
use sluis_bench::memory::Memory;
use sluis_bench::{Error, Latencies, component, cores, latencies, milliseconds, upstream};

#[path = "tenants/mix.rs"]
mod mix;

/// Longest wait for the gateway to start, for every tenant: each may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a gateway with many tenants, each with a component of its own, and measures time and memory
#[derive(Debug, Parser)]
struct Args {
    /// The gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// Where order-map.wasm is
    #[arg(long, default_value_os_t = component::built())]
    components: PathBuf,
    /// Where the components (0.2 MB each) and their artefacts go; what was there is removed first
    #[arg(long, default_value = "target/bench/tenants")]
    dir: PathBuf,
    /// How many tenants
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    count: u32,
    /// Threads of the gateway's ingress
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The gateway's core while the CPU of requests is measured
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// That of the load and the upstream
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

fn main() -> ExitCode {
    sluis_bench::ended(run(&Args::parse()).map(|()| true), 1)
}

fn run(args: &Args) -> Result<(), Error> {
    let count = usize::try_from(args.count)?;
    let house = House::build(args, count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let cold = house.start(count)?.start;
    let one = house.start(1)?;
    let (of_one, _) = runtime.block_on(house.visit(&one, 1))?;
    drop(one);
    let gateway = house.start(count)?;
    runtime.block_on(gateway.settle(&house.issuer.token(&tenant(0), "user-1")?))?;
    let loaded = gateway.memory()?;
    let (visited, first) = runtime.block_on(house.visit(&gateway, count))?;
    // By turns on the same cores, each would find the caches full of the other's.
    gateway.bind(args.core)?;
    cores::bind(std::process::id(), args.load_core)?;
    let mixes = runtime.block_on(mix::measure(&gateway, &house.issuer, count))?;

    println!(
        "{count} tenants, {count} components of {} KiB, {} ingress threads\n",
        house.component >> 10,
        args.threads
    );
    println!("{:<44} {:>9.2} s", "start, every component compiled", cold.as_secs_f64());
    println!("{:<44} {:>9.2} s", "start, from kept artefacts", gateway.start.as_secs_f64());
    let at = |q: f64| milliseconds(first.value_at_quantile(q));
    println!("{:<44} {:>9.2} ms p50, {:.2} ms p99", "a tenant's first request", at(0.5), at(0.99));
    println!("{:<44} {:>9.1} MiB", "artefacts on disk", mebibytes(house.artefacts()?));
    println!("\n{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}", "MiB", "private", "dirty", "clean", "anonymous", "RSS");
    print_memory("1 tenant, called once", of_one);
    print_memory(&format!("{count} tenants, loaded"), loaded);
    print_memory(&format!("{count} tenants, each called"), visited);
    let each = visited.private().saturating_sub(of_one.private()) / (args.count - 1).max(1) as u64;
    mixes.print();
    println!("\nprivate memory of each further tenant: {:.1} KiB", each as f64 / 1024.0);
    Ok(())
}

fn print_memory(what: &str, memory: Memory) {
    println!(
        "{what:<28} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
        mebibytes(memory.private()),
        mebibytes(memory.private_dirty),
        mebibytes(memory.private_clean),
        mebibytes(memory.anonymous),
        mebibytes(memory.rss),
    );
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn tenant(n: usize) -> String {
    format!("org-{n}")
}

/// What every start of the gateway shares.
struct House {
    sluis: PathBuf,
    dir: PathBuf,
    threads: usize,
    upstream: SocketAddr,
    issuer: Issuer,
    /// Bytes of one component.
    component: usize,
}

impl House {
    /// Writes a component for every tenant into an empty directory.
    fn build(args: &Args, count: usize) -> Result<House, Error> {
        let order_map = component::read(&args.components, "order-map")?;
        if args.dir.exists() {
            std::fs::remove_dir_all(&args.dir)?;
        }
        let components = args.dir.join("components");
        std::fs::create_dir_all(&components)?;
        for n in 0..count {
            std::fs::write(components.join(format!("{}.wasm", tenant(n))), component::marked(&order_map, n)?)?;
        }
        let issuer = Issuer::new()?;
        let upstream = upstream::start(issuer.jwks())?;
        let (sluis, dir) = (args.sluis.clone(), args.dir.clone());
        Ok(House { sluis, dir, threads: args.threads, upstream, issuer, component: order_map.len() })
    }

    /// A gateway with the first `count` tenants. Its artefacts stay for the next.
    fn start(&self, count: usize) -> Result<Gateway, Error> {
        let limits = "limits: { rate: 1000000, burst: 1000000, in_flight: 10000 }";
        let line = |n| format!("  - {{ id: {0}, plugins: {{ orders: {0} }}, grants: [log], {limits} }}\n", tenant(n));
        let tenants: String = (0..count).map(line).collect();
        let config = config(self.upstream, &self.dir.join("components"), self.threads, &tenants)?;
        Gateway::start(&self.sluis, &self.dir, &config, PATIENCE * u32::try_from(count)?.max(12))
    }

    /// One request to each tenant, one after the other. Fails unless each went through its own component.
    async fn visit(&self, gateway: &Gateway, count: usize) -> Result<(Memory, Latencies), Error> {
        gateway.settle(&self.issuer.token(&tenant(0), "user-1")?).await?;
        let client = Client::new(gateway.http);
        let mut latency = latencies()?;
        for n in 0..count {
            let request = order(&self.issuer.token(&tenant(n), "user-1")?, None)?;
            let asked = Instant::now();
            let answer = client.send(request).await?;
            latency.saturating_record(u64::try_from(asked.elapsed().as_micros())?.max(1));
            let mark = answer.headers().get(component::MARK_FIELD).map(|mark| mark.as_bytes().to_vec());
            if mark != Some(component::mark(n).into_bytes()) {
                return Err(format!("{}: {} without its own mark", tenant(n), answer.status()).into());
            }
        }
        Ok((gateway.memory()?, latency))
    }

    fn artefacts(&self) -> std::io::Result<u64> {
        bytes_in(&self.dir.join("state/artefacts"))
    }
}

fn bytes_in(dir: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(dir)? {
        total += entry?.metadata()?.len();
    }
    Ok(total)
}
