//! What is sent and where: the arguments that `run` and `saturate` share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sluis_bench::gateway::Page;
use sluis_bench::load::{Protocol, Schedule};
use sluis_bench::session::{Job, Surroundings, Tokens};
use sluis_bench::workload::{Tenants, Workload};

use super::{BenchError, demo, duration};
use crate::demo::{ADMIN, HTTP, ISSUER};
use crate::failure::Failure;

/// Largest workload file.
const MAX_WORKLOAD: u64 = 4 << 20;

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Where: scheme, host and port
    #[arg(long, value_name = "URL", required_unless_present = "demo")]
    target: Option<String>,
    /// Send its shops' orders to `sluis demo`, which runs, with tokens of its issuer
    #[arg(long, value_name = "ISSUER", num_args = 0..=1, require_equals = true, default_missing_value = ISSUER)]
    #[arg(conflicts_with_all = ["mix", "workload", "path", "method", "anonymous", "token", "issuer_listen", "erp_listen"])]
    demo: Option<SocketAddr>,
    /// Who sends, with weights
    #[arg(long, value_name = "acme=70,globex=30")]
    mix: Option<String>,
    /// What is sent: a YAML file with tenants, tokens, bodies, keys, repetitions (see benches/README.md)
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// Path of the requests
    #[arg(long)]
    path: Option<String>,
    /// Method of the requests
    #[arg(long)]
    method: Option<String>,
    /// Host of the requests, where it is not the target's
    #[arg(long)]
    host: Option<String>,
    /// Send no tokens
    #[arg(long, conflicts_with_all = ["token", "issuer_listen"])]
    anonymous: bool,
    /// Send this token in place of own ones
    #[arg(long, value_name = "TEXT", env = "SLUIS_BENCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Serve the keys of the built-in issuer here, at /jwks.json
    #[arg(long, value_name = "ADDRESS")]
    issuer_listen: Option<SocketAddr>,
    /// Stand in for the ERP here: tells what of the accepted arrived, for lines such as lost=0
    #[arg(long, value_name = "ADDRESS")]
    erp_listen: Option<SocketAddr>,
    /// Read the gateway's metrics here, each second: breakers and queues over time, and its version
    #[arg(long, value_name = "URL")]
    metrics: Option<String>,
    /// Longest wait for what was accepted to arrive
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    drain: Duration,
    /// Most connections at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// Threads that send, each on its part of the connections; if absent, one for each core, but no more than leave each
    /// of them 16 (with --http2, streams)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Speak HTTP/2: by ALPN over TLS, with prior knowledge without
    #[arg(long)]
    http2: bool,
    /// Most streams at once on a connection, with --http2
    #[arg(long, value_name = "N", default_value_t = 100)]
    streams: usize,
    /// Open a connection for each request
    #[arg(long, conflicts_with = "http2")]
    no_keep_alive: bool,
    /// A CA to trust beside the usual ones, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate
    #[arg(long)]
    insecure: bool,
    /// What is not answered within this time has failed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// Send for so long before it counts
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    warm_up: Duration,
}

impl Load {
    /// The job with a name and a schedule.
    pub fn job(&self, name: &str, schedule: Schedule) -> Result<Job, Failure> {
        Ok(Job {
            name: name.to_owned(),
            url: self.target.clone().unwrap_or_else(|| format!("http://{HTTP}")),
            protocol: if self.http2 { Protocol::Http2 } else { Protocol::Http1 },
            keep_alive: !self.no_keep_alive,
            ca: self.ca.clone(),
            insecure: self.insecure,
            schedule,
            workload: self.workload()?,
            tokens: self.tokens()?,
            threads: self.threads,
            connections: self.connections,
            streams: self.streams,
            timeout: self.timeout,
            warm_up: self.warm_up,
        })
    }

    /// What is around the run.
    pub fn surroundings(&self) -> Result<Surroundings, Failure> {
        let page = |url: &String| Page::parse(url).map_err(|why| BenchError::Usage(format!("--metrics {url}: {why}")));
        let of_demo = self.demo.filter(|_| self.target.is_none()).map(|_| format!("http://{ADMIN}"));
        let metrics = self.metrics.clone().or(of_demo).as_ref().map(page).transpose()?;
        Ok(Surroundings { issuer: self.issuer_listen, erp: self.erp_listen, metrics, drain: self.drain })
    }

    fn tokens(&self) -> Result<Tokens, Failure> {
        match self.demo {
            Some(issuer) => demo::tokens(issuer),
            None => Ok(self.token.clone().map_or(Tokens::Minted, Tokens::Fixed)),
        }
    }

    fn workload(&self) -> Result<Workload, Failure> {
        let mut workload = match &self.workload {
            None if self.demo.is_some() => demo::workload(),
            None => Workload::default(),
            Some(path) => {
                let wrong = |what: String| BenchError::Usage(format!("{}: {what}", path.display()));
                let text = read(path).map_err(|error| wrong(error.to_string()))?;
                Workload::parse(&text).map_err(|error| wrong(format!("{}: {}", error.at, error.what)))?
            }
        };
        if let Some(mix) = &self.mix {
            workload.tenants = Tenants::Short(mix.clone());
        }
        let request = &mut workload.request;
        request.path = self.path.clone().or(request.path.take());
        request.method = self.method.clone().or(request.method.take());
        request.anonymous = if self.anonymous { Some(true) } else { request.anonymous };
        if let Some(host) = &self.host {
            request.fields.get_or_insert_default().insert("host".to_owned(), host.clone());
        }
        Ok(workload)
    }
}

/// A text file that is not too large.
pub fn read(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_WORKLOAD + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_WORKLOAD {
        return Err(std::io::Error::other(format!("larger than {} MiB", MAX_WORKLOAD >> 20)));
    }
    Ok(text)
}
