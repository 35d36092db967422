//! Gives a gateway the work of a day in short, so that a profile can be made of it: what `pgo.sh` builds a program by.
//!
//! Three kinds of requests in turn, each on so many connections in a closed loop: mapped by a plugin and forwarded,
//! forwarded as they are, kept for later. Then the gateway is asked to end, which is when it writes its profile.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use sluis_bench::client::{Client, order};
use sluis_bench::gateway::{Gateway, config};
use sluis_bench::issuer::Issuer;
use sluis_bench::{Error, component, upstream};
use tokio::task::JoinSet;

/// Longest wait for the gateway to start: with its counters in it, it is slow.
const PATIENCE: Duration = Duration::from_secs(120);
const TENANT: &str = "acme";
const KINDS: [&str; 3] = ["/v1/orders", "/v1/forwarded", "/v1/kept"];

/// Gives a gateway the work that a profile is made of
#[derive(Debug, Parser)]
struct Args {
    /// The gateway
    #[arg(long, default_value = "target/release/sluis")]
    sluis: PathBuf,
    /// Where order-map.wasm is
    #[arg(long, default_value_os_t = component::built())]
    components: PathBuf,
    /// Seconds for each kind of request
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Users, each with a token of its own
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    component::read(&args.components, "order-map")?;
    let issuer = Issuer::new()?;
    let upstream = upstream::start(issuer.jwks())?;
    let routes = "  - { name: forwarded, path: /v1/forwarded, methods: [POST], \
         auth: { issuers: [idp], scopes: [\"orders:write\"] }, forward: { upstreams: [erp] } }\n  \
         - { name: kept, path: /v1/kept, methods: [POST], \
         auth: { issuers: [idp], scopes: [\"orders:write\"] }, enqueue: { sinks: [events], event_type: order } }\n";
    // A tenant that is never told to slow down.
    let tenants = format!(
        "  - {{ id: {TENANT}, plugins: {{ orders: order-map }}, limits: {{ rate: 1000000, burst: 1000000 }} }}\n\
         sinks:\n  - {{ name: events, http: {{ url: \"http://{upstream}/events\" }} }}\n"
    );
    let config = config(upstream, &args.components, 1, routes, &tenants)?;
    let dir = tempfile::tempdir()?;
    let gateway = Gateway::start(&args.sluis, dir.path(), &config, PATIENCE)?;
    let tokens: Arc<[String]> =
        (0..args.users).map(|user| issuer.token(TENANT, &format!("user-{user}"))).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        gateway.settle(&tokens[0]).await?;
        for kind in KINDS {
            let until = Instant::now() + Duration::from_secs(args.seconds);
            let client = Arc::new(Client::new(gateway.http));
            let mut connections = JoinSet::new();
            for first in 0..args.connections {
                connections.spawn(send(client.clone(), kind, tokens.clone(), first, until));
            }
            let mut sent = 0;
            while let Some(done) = connections.join_next().await {
                sent += done??;
            }
            println!("{kind:<14} {sent} requests");
        }
        Ok::<(), Error>(())
    })?;
    gateway.stop()
}

/// One connection's requests until the time is over; each user in turn. Answers how many.
async fn send(
    client: Arc<Client>,
    kind: &'static str,
    tokens: Arc<[String]>,
    first: usize,
    until: Instant,
) -> Result<u64, Error> {
    let mut sent = 0;
    for token in tokens.iter().cycle().skip(first * tokens.len() / 32) {
        if Instant::now() > until {
            break;
        }
        let mut request = order(token, None)?;
        *request.uri_mut() = http::Uri::from_static(kind);
        let answer = client.send(request).await?;
        if !answer.status().is_success() {
            return Err(format!("{kind}: {}: {}", answer.status(), String::from_utf8_lossy(answer.body())).into());
        }
        sent += 1;
    }
    Ok(sent)
}
