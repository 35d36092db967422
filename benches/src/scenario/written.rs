//! A scenario as it is written.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::pass::WrittenPass;
use super::timeline::{self, Event};
use super::{FEATURES, Scenario, Stream};
use crate::load::Schedule;
use crate::parts::{Behaviour, Change};
use crate::workload::{Invalid, Workload, orders, text};

/// Longest text.
const LONGEST: usize = 1 << 20;
/// Most loads at once.
const MAX_STREAMS: usize = 16;
/// Most requests of a load: what its book of orders holds.
const MAX_MOMENTS: u64 = orders::LIMIT;
/// Connections of a load that says nothing.
const CONNECTIONS: usize = 256;
/// Longest time scale.
const FASTEST: f64 = 10_000.0;

/// See [`Scenario`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    shows: String,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    time_scale: Option<f64>,
    #[serde(default)]
    erp: Change,
    #[serde(default)]
    gateway: Value,
    load: Vec<WrittenStream>,
    #[serde(default)]
    at: Vec<Event>,
    #[serde(default)]
    drain: Option<String>,
    pass: Vec<WrittenPass>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStream {
    schedule: String,
    #[serde(default)]
    workload: Workload,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    connections: Option<usize>,
    #[serde(default)]
    timeout: Option<String>,
}

/// Times of a scenario: as they are written, divided by how much faster it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    faster: f64,
}

impl Clock {
    /// At the scenario's own pace.
    pub fn time(self, at: &str, text: &str) -> Result<Duration, Invalid> {
        Ok(text::duration(at, text)?.div_f64(self.faster))
    }

    /// A schedule, with its lengths of time at the scenario's own pace and its rates as they are.
    fn schedule(self, at: &str, text: &str) -> Result<Schedule, Invalid> {
        let mut scaled = Vec::new();
        let mut before = "";
        for word in text.split_whitespace() {
            if self.faster != 1.0 && ["for", "over", "each", "every"].contains(&before) {
                let (plain, comma) = word.strip_suffix(',').map_or((word, ""), |plain| (plain, ","));
                scaled.push(format!("{}ms{comma}", self.time(at, plain)?.as_millis().max(1)));
            } else {
                scaled.push(word.to_owned());
            }
            before = word;
        }
        scaled.join(" ").parse::<Schedule>().map_err(|error| Invalid::new(at, format!("{error}")))
    }
}

impl Written {
    pub fn parse(yaml: &str) -> Result<Written, Invalid> {
        if yaml.len() > LONGEST {
            return Err(Invalid::new("scenario", format!("longer than {LONGEST} bytes")));
        }
        serde_saphyr::from_str(yaml).map_err(|error| Invalid::new("scenario", error.to_string()))
    }

    pub fn check(self, time_scale: Option<f64>) -> Result<Scenario, Invalid> {
        let faster = time_scale.or(self.time_scale).unwrap_or(1.0);
        if !(1e-3..=FASTEST).contains(&faster) {
            return Err(Invalid::new("time_scale", format!("{faster} is not from 0.001 to {FASTEST}")));
        }
        let clock = Clock { faster };
        if self.name.is_empty() || self.name.chars().any(|c| !(c.is_ascii_alphanumeric() || "-_x".contains(c))) {
            return Err(Invalid::new("name", "letters, digits, - and _ are possible"));
        }
        if self.pass.is_empty() {
            return Err(Invalid::new("pass", "a scenario without a pass line shows nothing"));
        }
        if self.load.is_empty() || self.load.len() > MAX_STREAMS {
            return Err(Invalid::new("load", format!("there can be 1 to {MAX_STREAMS}")));
        }
        if !(self.gateway.is_object() || self.gateway.is_null()) {
            return Err(Invalid::new("gateway", "must be a mapping, as in the gateway's configuration"));
        }
        let streams = self.load.into_iter().enumerate().map(|(n, stream)| stream.check(n, clock));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let tenants = tenants(&streams)?;
        let erp = self.erp.apply("erp", &Behaviour::default())?;
        let steps = timeline::lower(self.at, clock, &erp)?;
        let pass =
            self.pass.into_iter().enumerate().map(|(n, pass)| pass.check(&format!("pass[{n}]"), clock, &tenants));
        Ok(Scenario {
            name: self.name,
            shows: self.shows.trim().to_owned(),
            missing: missing(&self.needs)?,
            components: self.components,
            erp,
            gateway: self.gateway,
            streams,
            steps,
            drain: self.drain.map_or(Ok(Duration::from_secs(15)), |text| text::duration("drain", &text))?,
            pass: pass.collect::<Result<Vec<_>, _>>()?,
            time_scale: faster,
            text: String::new(),
        })
    }
}

impl WrittenStream {
    fn check(self, n: usize, clock: Clock) -> Result<Stream, Invalid> {
        let at = |what: &str| format!("load[{n}].{what}");
        self.workload.check().map_err(|invalid| Invalid::new(at(&format!("workload.{}", invalid.at)), invalid.what))?;
        let schedule = clock.schedule(&at("schedule"), &self.schedule)?;
        if schedule.total() > MAX_MOMENTS {
            return Err(Invalid::new(at("schedule"), format!("more than {MAX_MOMENTS} requests")));
        }
        Ok(Stream {
            schedule,
            workload: self.workload,
            from: self
                .from
                .map_or(Ok(Duration::ZERO), |text| clock.time(&at("from"), &text))
                .and_then(whole(&at("from")))?,
            connections: self.connections.unwrap_or(CONNECTIONS),
            timeout: self.timeout.map_or(Ok(Duration::from_secs(10)), |text| text::duration(&at("timeout"), &text))?,
        })
    }
}

/// Seconds of several loads are added up one by one, so that they have to begin together.
fn whole(at: &str) -> impl FnOnce(Duration) -> Result<Duration, Invalid> {
    let at = at.to_owned();
    move |from| match from.subsec_nanos() {
        0 => Ok(from),
        _ => Err(Invalid::new(at, format!("{from:?} after scaling; a load begins at a whole second"))),
    }
}

/// Names of all loads' tenants, of which none may be there twice.
fn tenants(streams: &[Stream]) -> Result<Vec<String>, Invalid> {
    let mut all = Vec::new();
    for (n, stream) in streams.iter().enumerate() {
        for name in stream.workload.names()? {
            if all.contains(&name) {
                let what =
                    format!("`{name}` is in another load already; give it another `name` and say `tenant: {name}`");
                return Err(Invalid::new(format!("load[{n}].workload.tenants"), what));
            }
            all.push(name);
        }
    }
    Ok(all)
}

/// Why something that is needed is not there.
fn missing(needs: &[String]) -> Result<Option<String>, Invalid> {
    let mut missing = None;
    for need in needs {
        let known = FEATURES.iter().find(|(name, _)| name == need);
        let names = || FEATURES.map(|(name, _)| name).join(", ");
        let (_, why) = known.ok_or_else(|| Invalid::new("needs", format!("`{need}` is not among {}", names())))?;
        missing = missing.or(why.map(|why| format!("needs {need}: {why}")));
    }
    Ok(missing)
}
