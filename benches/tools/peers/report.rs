//! What came of it: a table of each work, with ratios; a file with every turn.

use std::fmt::{Display, Formatter};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use sluis_bench::{Error, milliseconds};

use crate::load::Answered;
use crate::peer::{Peer, SLUIS, Work};

/// Of the file.
const SCHEMA: u32 = 1;
/// Cores' worth of others' work beside a turn from which on its figures mean little.
const DISTURBED: f64 = 0.1;

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    /// Programs that were ready to run over the last minute, on average (proc(5), loadavg).
    load: f64,
}

impl Machine {
    /// This one, now.
    pub fn this() -> Result<Self, Error> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = std::fs::read_to_string("/proc/loadavg")?;
        Ok(Machine {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        })
    }

    /// Says so where it is no machine to measure on.
    pub fn warn(&self) {
        if self.load > 0.5 {
            println!(
                "THIS MACHINE IS BUSY ({} ready to run in the last minute): figures taken now mean nothing",
                self.load
            );
        }
    }
}

/// One gateway's turn.
#[derive(Debug, Serialize)]
pub struct Measured {
    requests: u64,
    requests_per_second: f64,
    /// CPU microseconds of the gateway for a request, the kernel's included.
    cpu_micros: f64,
    p50_micros: u64,
    p99_micros: u64,
    rss_bytes: u64,
    /// Cores' worth of work of everybody else meanwhile.
    others: f64,
}

impl Measured {
    /// From what the load saw, the gateway's CPU time and memory, and everybody else's cores' worth of work.
    pub fn new(answered: &Answered, cpu: Duration, rss_bytes: u64, others: f64) -> Self {
        Measured {
            requests: answered.requests,
            requests_per_second: answered.requests as f64 * 1e6 / answered.micros.max(1) as f64,
            cpu_micros: cpu.as_secs_f64() * 1e6 / answered.requests.max(1) as f64,
            p50_micros: answered.p50,
            p99_micros: answered.p99,
            rss_bytes,
            others,
        }
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} requests/s, {:.1} µs", self.requests_per_second, self.cpu_micros)?;
        if self.others > DISTURBED {
            write!(f, ", DISTURBED: others took {:.2} of a core", self.others)
        } else {
            Ok(())
        }
    }
}

/// All turns.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    machine: Machine,
    gateways: Vec<Gateway>,
}

#[derive(Debug, Serialize)]
struct Gateway {
    name: String,
    work: &'static str,
    /// Round by round.
    turns: Vec<Measured>,
}

impl Report {
    /// Nobody had a turn yet.
    pub fn new(machine: Machine, peers: &[Peer]) -> Self {
        let gateways = peers
            .iter()
            .map(|peer| Gateway { name: peer.name.clone(), work: peer.work.name(), turns: Vec::new() })
            .collect();
        Report { schema: SCHEMA, machine, gateways }
    }

    /// The turn of the gateway at this position.
    pub fn add(&mut self, at: usize, measured: Measured) {
        if let Some(gateway) = self.gateways.get_mut(at) {
            gateway.turns.push(measured);
        }
    }

    /// Writes all of it.
    pub fn save(&self, file: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    /// Prints medians and ratios.
    pub fn print(&self) {
        let Machine { cpu, cores, kernel, .. } = &self.machine;
        println!("\n{cores} cores of {cpu}, Linux {kernel}; medians");
        for work in Work::ALL {
            let all: Vec<&Gateway> = self.gateways.iter().filter(|gateway| gateway.work == work.name()).collect();
            let Some(ours) = all.iter().find(|gateway| gateway.name.starts_with(SLUIS)) else { continue };
            println!(
                "\n{:<26} {:>10} {:>8} {:>8} {:>8} {:>8}   CPU of Sluis, for 1 of its",
                work.name(),
                "requests/s",
                "CPU µs",
                "p50 ms",
                "p99 ms",
                "RSS MiB"
            );
            all.iter().for_each(|gateway| println!("{}", gateway.line(ours)));
        }
        let turns = || self.gateways.iter().flat_map(|gateway| &gateway.turns);
        let disturbed = turns().filter(|turn| turn.others > DISTURBED).count();
        if disturbed > 0 {
            println!(
                "\nOTHERS WORKED BESIDE {disturbed} OF {} TURNS: these figures mean nothing; measure on a quiet machine",
                turns().count()
            );
        }
    }
}

impl Gateway {
    fn line(&self, ours: &Gateway) -> String {
        let median = |figure: fn(&Measured) -> f64| median(self.turns.iter().map(figure).collect());
        let ratios: Vec<f64> =
            self.turns.iter().zip(&ours.turns).map(|(its, our)| our.cpu_micros / its.cpu_micros).collect();
        let (least, most) = ratios.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        let ratio = match self.name == ours.name {
            true => String::new(),
            false => format!("{:.2} ({least:.2} to {most:.2})", self::median(ratios)),
        };
        format!(
            "{:<26} {:>10.0} {:>8.1} {:>8.2} {:>8.2} {:>8.1}   {ratio}",
            self.name,
            median(|turn| turn.requests_per_second),
            median(|turn| turn.cpu_micros),
            milliseconds(median(|turn| turn.p50_micros as f64) as u64),
            milliseconds(median(|turn| turn.p99_micros as f64) as u64),
            median(|turn| turn.rss_bytes as f64) / f64::from(1 << 20),
        )
    }
}

/// The middle one, or half way between the two in the middle; 0 of none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match (figures.len() / 2, figures.len() % 2) {
        (0, 0) => 0.0,
        (middle, 1) => figures[middle],
        (middle, _) => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str, micros: &[f64]) -> Gateway {
        let turn = |cpu_micros: &f64| Measured {
            requests: 1,
            requests_per_second: 1_000.0,
            cpu_micros: *cpu_micros,
            p50_micros: 1_000,
            p99_micros: 2_000,
            rss_bytes: 10 << 20,
            others: 0.0,
        };
        Gateway { name: name.to_owned(), work: "jwt", turns: micros.iter().map(turn).collect() }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let (ours, theirs) = (gateway("sluis 0.1", &[10.0, 20.0, 30.0]), gateway("envoy 1", &[20.0, 80.0, 40.0]));
        assert!(theirs.line(&ours).ends_with("0.50 (0.25 to 0.75)"), "{}", theirs.line(&ours));
        assert!(ours.line(&ours).trim_end().ends_with("10.0"));
    }
}
