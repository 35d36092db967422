//! The result of a run as a file: one JSON document with a versioned schema, enough to draw, judge, merge and compare.

mod environment;
mod file;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

pub use environment::{digest, is_here, program};
pub use file::{FileError, MAX_BYTES, probe, read, write, write_text};

use serde::{Deserialize, Serialize};

use crate::record::Recording;

/// The version of the document. A reader takes what it knows and refuses the others by name.
pub const SCHEMA: &str = "sluis-bench/1";

/// A run and all that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// What the run is called: a scenario's name, or what the user said.
    pub name: String,
    /// When the first moment was, RFC 3339 in UTC.
    pub started: String,
    /// How it ended.
    pub ended: Ended,
    /// What was asked for.
    pub plan: Plan,
    /// Where it ran.
    pub environment: Environment,
    /// What was seen.
    pub recording: Recording,
    /// Whether the generator was good enough for it.
    pub generator: Generator,
    /// What the sink says of that which was accepted, where it was asked.
    pub delivery: Option<Delivery>,
    /// What happened meanwhile: faults, deployments, reloads.
    pub marks: Vec<Mark>,
    /// Values over time from the gateway's metrics: breaker state, queue depth.
    pub series: Vec<Series>,
    /// The verdict, where pass lines were given.
    pub verdict: Option<Verdict>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ended {
    /// To its end.
    Complete,
    /// By Ctrl-C: the document holds the part until then.
    Interrupted,
    /// Without a part of its load: the document holds the others.
    Partial {
        /// Which part, and why.
        why: String,
    },
    /// By `--abort-on`.
    Aborted {
        /// The line that broke, with what was seen.
        why: String,
    },
}

/// What was asked for, as text for whoever reads the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where the load went.
    pub target: String,
    /// `http/1.1` or `h2`, with `+tls` where it was.
    pub protocol: String,
    /// The schedule as it was written.
    pub schedule: String,
    /// Seconds that the schedule lasts, without the warm-up.
    pub seconds: f64,
    /// Seconds before that did not count.
    pub warm_up_seconds: f64,
    /// Most connections at once.
    pub connections: usize,
    /// Tenants and their weights, as they were written.
    pub mix: String,
    /// SHA-256 of everything that decides about the load, hexadecimal: equal for equal plans.
    pub digest: String,
}

/// Where a run took place: what has to be equal for two runs to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Of the processor, as the kernel names it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The kernel's name and release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The program's version and commit.
    pub program: String,
    /// The gateway's version, where it tells.
    pub gateway: Option<String>,
    /// SHA-256 of the gateway's configuration, where this program started it.
    pub config_digest: Option<String>,
    /// Whether load and gateway shared a machine.
    pub same_machine: bool,
}

/// The generator's own health.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Threads that sent.
    pub threads: usize,
    /// Share of a core that its busiest thread used, 0 to 1.
    pub busiest_thread: f64,
    /// CPU seconds of the whole process.
    pub cpu_seconds: f64,
    /// 99th percentile of the time between a request's moment and its sending while a connection was free, µs.
    pub lag_p99_us: u64,
    /// The longest, µs.
    pub lag_max_us: u64,
    /// Descriptors in use at most, and the limit.
    pub descriptors: (u64, u64),
    /// Backward or forward jumps of the wall clock seen, against the steady one, seconds.
    pub clock_step_seconds: f64,
    /// Why the figures do not stand: the generator was the limit. Empty where they do.
    pub invalid: Vec<String>,
    /// What a reader should know although the figures stand.
    pub warnings: Vec<String>,
}

/// What arrived of that which was accepted (answered with 2xx).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Orders accepted.
    pub accepted: u64,
    /// Distinct orders of them that arrived.
    pub arrived: u64,
    /// Accepted, but never arrived.
    pub lost: u64,
    /// Accepted, and still under way when the wait for them was cut short, by Ctrl-C: whether they are lost is not known.
    #[serde(default)]
    pub outstanding: u64,
    /// Arrivals beyond the first of an order.
    pub duplicated: u64,
    /// Arrived behind a later one of their key.
    pub out_of_order: u64,
    /// Arrived although nobody was told that they were accepted: answers that were lost on their way.
    pub unacknowledged: u64,
    /// Arrived, but never sent.
    pub invented: u64,
}

impl Delivery {
    /// Nothing accepted, nothing arrived.
    pub const NONE: Delivery = Delivery {
        accepted: 0,
        arrived: 0,
        lost: 0,
        outstanding: 0,
        duplicated: 0,
        out_of_order: 0,
        unacknowledged: 0,
        invented: 0,
    };

    /// As it is where nobody waited for the rest any more: what had not arrived by then is not lost.
    #[must_use]
    pub fn cut_short(self) -> Delivery {
        Delivery { outstanding: self.outstanding + self.lost, lost: 0, ..self }
    }

    /// Adds what another sink, or another run's, counted.
    pub fn add(&mut self, other: &Delivery) {
        self.accepted += other.accepted;
        self.arrived += other.arrived;
        self.lost += other.lost;
        self.outstanding += other.outstanding;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.unacknowledged += other.unacknowledged;
        self.invented += other.invented;
    }
}

/// Something that happened, on the run's time line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds from the first moment.
    pub at: f64,
    /// Until when, where it lasted.
    pub until: Option<f64>,
    /// In a few words: `ERP down`.
    pub text: String,
}

/// A value over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// As the metric is called, with its labels: `sluis_breaker_state{upstream="erp"}`.
    pub name: String,
    /// `breaker`, `queue` or what else it counts; equal units share a plot.
    pub unit: String,
    /// Seconds from the first moment, and the value there.
    pub points: Vec<(f64, f64)>,
}

/// Whether the pass lines held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// All of them.
    pub holds: bool,
    /// Each.
    pub lines: Vec<Line>,
}

/// One pass line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// As it was written: `p99<25ms`.
    pub wanted: String,
    /// What was seen: `11.8 ms`.
    pub seen: String,
    /// Whether it held.
    pub holds: bool,
}
