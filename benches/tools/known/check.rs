//! Percentiles of the harness beside true ones.

use std::sync::Arc;
use std::time::Duration;

use sluis_bench::Error;
use sluis_bench::load::{Bounds, Protocol, Schedule, Target};
use sluis_bench::record::Histogram;

use crate::truth::{Programme, at};
use crate::{run, server};

/// How far a percentile may be off.
const TOLERANCE: f64 = 0.02;
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

#[derive(Debug, clap::Args)]
pub struct Check {
    /// Requests per second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds; the stall is in their middle
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Connections: fewer than the stall needs, so that most of its requests wait for one
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Sending threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl Check {
    /// Whether every percentile was within the tolerance.
    pub fn run(self) -> Result<bool, Error> {
        let total = u64::from(self.rate) * u64::from(self.seconds);
        let length = Duration::from_secs(self.seconds.into());
        let programme = Arc::new(Programme::new(total, length / 2));
        let target = Target {
            url: format!("http://{}", server::programmed(programme.clone())?).parse()?,
            protocol: Protocol::Http1,
            keep_alive: true,
            ca: None,
            insecure: false,
        };
        let schedule = Schedule::constant(self.rate.into(), length)?;
        let bounds = Bounds {
            threads: self.threads,
            connections: self.connections,
            streams: 1,
            timeout: Duration::from_secs(10),
            warm_up: Duration::ZERO,
        };
        println!("{schedule} on {} connections, a stall of 2 s after {:?}", self.connections, length / 2);
        let run = run(&target, &schedule, &bounds)?;
        let all = &run.recording.all;
        let truth = programme.truth(1.0 / f64::from(self.rate), self.connections);
        println!("{:>8} {:>6} {:>12} {:>12} {:>7}", "", "", "truth, ms", "harness, ms", "off");
        let response = compare("response", &truth.response, &all.response);
        let service = compare("service", &truth.service, &all.service);
        println!("ok {} of {total}; generator: {:?}", all.ok, run.generator);
        Ok(response && service && all.ok == total)
    }
}

fn compare(name: &str, truth: &[u64], harness: &Histogram) -> bool {
    let mut good = true;
    for (label, quantile) in QUANTILES {
        let (truth, seen) = (at(truth, quantile) as f64, harness.at(quantile) as f64);
        let off = (seen - truth) / truth;
        let mark = if off.abs() <= TOLERANCE { "" } else { "  ✖" };
        good &= mark.is_empty();
        println!("{name:>8} {label:>6} {:>12.3} {:>12.3} {:>6.2}%{mark}", truth / 1e3, seen / 1e3, off * 100.0);
    }
    good
}
