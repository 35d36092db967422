//! The load generator held against what is known: a server whose every delay is programmed, and the highest rate that the
//! generator itself can send.
#![allow(clippy::print_stdout)]

#[path = "known/check.rs"]
mod check;
#[path = "known/server.rs"]
mod server;
#[path = "known/truth.rs"]
mod truth;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use http::{Request, Uri};
use sluis_bench::Error;
use sluis_bench::load::{self, Bounds, Expect, Planned, Protocol, Run, Schedule, Source, Stop, Target};

/// Holds the load generator against what is known
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare its percentiles with those of a server whose delays, and one stall of two seconds, are programmed
    Check(check::Check),
    /// Send as fast as can be, and say how fast that was
    Ceiling(Ceiling),
    /// Serve 204 to whatever comes, for other generators to be measured with
    Serve {
        /// Where
        #[arg(long, default_value = "127.0.0.1:9099")]
        listen: SocketAddr,
    },
}

#[derive(Debug, clap::Args)]
struct Ceiling {
    /// Another server than the own one
    #[arg(long)]
    url: Option<Uri>,
    /// HTTP/2
    #[arg(long)]
    http2: bool,
    /// Take any certificate
    #[arg(long)]
    insecure: bool,
    /// A connection for each request
    #[arg(long)]
    no_keep_alive: bool,
    /// Requests per second that are intended: more than can be
    #[arg(long, default_value_t = 500_000.0)]
    rate: f64,
    /// How long
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Streams of a connection, with HTTP/2
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Sending threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// The request of a moment names it: `GET /17`.
struct Numbered(Vec<String>);

impl Source for Numbered {
    fn tenants(&self) -> &[String] {
        &self.0
    }

    fn plan(&self, number: u64) -> Planned {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = Uri::try_from(format!("/{number}")).unwrap_or_default();
        Planned { tenant: 0, request, expect: Expect::Success, order: number }
    }

    fn answered(&self, _order: u64, _status: Option<u16>) {}
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Check(check) => check.run(),
        Command::Ceiling(ceiling) => ceiling.run().map(|()| true),
        Command::Serve { listen } => server::cheap(listen).and_then(|(_, thread)| {
            thread.join().map_err(|_| "the server panicked")?;
            Ok(true)
        }),
    };
    sluis_bench::ended(done, 1)
}

/// Runs a schedule of numbered requests against a server in the clear, HTTP/1.1.
fn run(target: &Target, schedule: &Schedule, bounds: &Bounds) -> Result<Run, Error> {
    let source: Arc<dyn Source> = Arc::new(Numbered(vec!["known".to_owned()]));
    Ok(load::run(target, schedule, bounds, &source, &Stop::new(), |_| {})?)
}

impl Ceiling {
    fn run(self) -> Result<(), Error> {
        let url = match self.url {
            Some(url) => url,
            None => format!("http://{}", server::cheap(([127, 0, 0, 1], 0).into())?.0).parse()?,
        };
        let protocol = if self.http2 { Protocol::Http2 } else { Protocol::Http1 };
        let target = Target { url, protocol, keep_alive: !self.no_keep_alive, ca: None, insecure: self.insecure };
        let schedule = Schedule::constant(self.rate, Duration::from_secs(self.seconds))?;
        let bounds = Bounds {
            threads: self.threads,
            connections: self.connections,
            streams: self.streams,
            timeout: Duration::from_secs(1),
            warm_up: Duration::ZERO,
        };
        let run = run(&target, &schedule, &bounds)?;
        let (all, seconds) = (&run.recording.all, run.recording.seconds_measured);
        println!(
            "{:.0} requests/s, {:.1} µs of CPU each",
            all.sent as f64 / seconds,
            run.generator.cpu_seconds * 1e6 / all.sent as f64
        );
        println!("sent {} of {}, answered {:?}, failed {:?}", all.sent, all.intended, all.statuses, all.failures);
        println!("service p50 {} µs, p99 {} µs", all.service.at(0.5), all.service.at(0.99));
        println!("{:#?}", run.generator);
        Ok(())
    }
}
