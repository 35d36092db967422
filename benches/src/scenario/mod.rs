//! Scenarios: a gateway, the parts around it, a load, what happens meanwhile, and what has to hold. Each is one file that
//! anybody can read and write; those that come with the program are in `benches/scenarios`.

mod config;
mod error;
mod judge;
mod pass;
mod run;
mod stage;
mod streams;
mod timeline;
mod written;

use std::time::Duration;

use include_dir::{Dir, include_dir};
use serde_json::Value;

pub use error::ScenarioError;
pub use run::{Options, Outcome, run};

use crate::load::Schedule;
use crate::parts::Behaviour;
use crate::workload::{Invalid, Workload};
use pass::Pass;
use timeline::Step;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// What scenarios may need, and why the gateway has it not, where that is so.
const FEATURES: [(&str, Option<&str>); 4] = [
    ("http-sink", None),
    ("plugins", None),
    (
        "broker-sink",
        Some("the gateway delivers to HTTP sinks only; sinks for NATS, RabbitMQ and Kafka are not there yet"),
    ),
    ("user-rates", Some("the gateway limits tenants, not users; rates of single users are not there yet")),
];

/// A checked scenario.
#[derive(Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub shows: String,
    /// Why it cannot be run with this gateway.
    missing: Option<String>,
    /// Components that it needs, by name.
    components: Vec<String>,
    /// How the ERP behaves at first.
    erp: Behaviour,
    /// The gateway's configuration, over the usual one.
    gateway: Value,
    streams: Vec<Stream>,
    steps: Vec<Step>,
    /// Longest wait for what was accepted to arrive, once the load has ended.
    drain: Duration,
    pass: Vec<Pass>,
    /// How many times faster than written.
    pub time_scale: f64,
    /// All that decides about it, as text.
    text: String,
}

/// One of the loads that go at once.
#[derive(Debug)]
struct Stream {
    workload: Workload,
    schedule: Schedule,
    /// When it begins.
    from: Duration,
    connections: usize,
    timeout: Duration,
}

impl Scenario {
    /// Reads one. `time_scale` takes the place of the one that is written.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(yaml: &str, time_scale: Option<f64>) -> Result<Scenario, Invalid> {
        let mut scenario = written::Written::parse(yaml)?.check(time_scale)?;
        scenario.text = format!("{}\n{yaml}", scenario.time_scale);
        for Stream { schedule, .. } in &scenario.streams {
            // Of a trace, the YAML says where its file is, and not what is in it.
            let fingerprint = schedule.fingerprint();
            if fingerprint != schedule.to_string() {
                scenario.text.push_str(&fingerprint);
            }
        }
        Ok(scenario)
    }

    /// Why it cannot be run with this gateway, where that is so.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// From the first moment to the last that any load has.
    pub fn length(&self) -> Duration {
        self.streams.iter().map(|stream| stream.from + stream.schedule.duration()).max().unwrap_or_default()
    }

    /// Components that it needs.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// Requests a second that are wanted at a time from the first moment.
    fn rate_at(&self, at: Duration) -> f64 {
        self.streams.iter().filter_map(|stream| Some(stream.schedule.rate_at(at.checked_sub(stream.from)?))).sum()
    }
}

/// Names of the scenarios that come with the program, ascending.
pub fn names() -> Vec<&'static str> {
    let files = EMBEDDED.files().map(include_dir::File::path);
    let mut names: Vec<&str> = files.filter_map(|file| file.to_str()?.strip_suffix(".yaml")).collect();
    names.sort_unstable();
    names
}

/// The text of a scenario that comes with the program.
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.get_file(format!("{name}.yaml"))?.contents_utf8()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
