//! What a run is asked to do, in one piece: what agents are sent, and what decides about a plan's digest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SessionError;
use crate::load::schedule::Schedule;
use crate::load::{self, Bounds, Protocol, Target};
use crate::record::SHOWN_TENANTS;
use crate::result::{MAX_BYTES, Plan, digest};
use crate::workload::Workload;
use crate::workload::traffic::Shape;

/// A run, asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What to call it.
    pub name: String,
    /// Scheme, host and port.
    pub url: String,
    /// The protocol spoken.
    pub protocol: Protocol,
    /// Keep connections, or open one for each request.
    pub keep_alive: bool,
    /// A CA beside the system's; on agents, a file of theirs.
    pub ca: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// When.
    pub schedule: Schedule,
    /// What.
    pub workload: Workload,
    /// With whose tokens.
    pub tokens: Tokens,
    /// Threads that send; where nothing is said, as many as suit the machine that does.
    pub threads: Option<usize>,
    /// Most connections at once.
    pub connections: usize,
    /// Most streams at once on a connection.
    pub streams: usize,
    /// A request's time limit.
    pub timeout: Duration,
    /// Before the first moment that counts.
    pub warm_up: Duration,
}

/// What a second with so many requests takes in a result, bytes, where their latencies differ widely: mostly the places
/// that are taken in two histograms.
fn second_bytes(requests: f64) -> f64 {
    (500.0 + 40.0 * requests.sqrt()).min(2_800.0)
}

/// Who makes the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// The issuer of this program, one for each user.
    Minted,
    /// Somebody: the same for all.
    Fixed(String),
    /// Somebody: one for each tenant.
    ByTenant(BTreeMap<String, String>),
}

impl Job {
    /// Where the load goes.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn target(&self) -> Result<Target, SessionError> {
        let url = self.url.parse().map_err(|error| SessionError::Asked(format!("{}: {error}", self.url)))?;
        Ok(Target {
            url,
            protocol: self.protocol,
            keep_alive: self.keep_alive,
            ca: self.ca.clone(),
            insecure: self.insecure,
        })
    }

    /// Bounds of the run.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            threads: self.threads.unwrap_or_else(|| load::threads(self.protocol, self.connections, self.streams)),
            connections: self.connections,
            streams: self.streams,
            timeout: self.timeout,
            warm_up: self.warm_up,
        }
    }

    /// Looks at all that can be wrong before anything is sent.
    ///
    /// # Errors
    /// What is.
    pub fn check(&self) -> Result<(), SessionError> {
        self.target()?;
        let shape = Shape::of(&self.workload).map_err(SessionError::Workload)?;
        if shape.has_flaws() && (self.tokens != Tokens::Minted || !shape.has_tokens()) {
            let text = "bad_tokens: only tokens that are signed here can be bad, and this load has none";
            return Err(SessionError::Asked(text.to_owned()));
        }
        Ok(())
    }

    /// Whether its result, written, could be read again: that of a day with many tenants is too large.
    ///
    /// # Errors
    /// When it could not, by what seconds usually take.
    pub fn fits_a_file(&self) -> Result<(), SessionError> {
        let seconds = self.schedule.duration().as_secs_f64().max(1.0);
        let tenants = self.workload.names().map_err(SessionError::Workload)?.len().min(SHOWN_TENANTS + 1) as f64;
        let each_second = self.schedule.total() as f64 / seconds;
        let bytes = seconds * (second_bytes(each_second) + tenants * second_bytes(each_second / tenants));
        if bytes <= MAX_BYTES as f64 {
            return Ok(());
        }
        let mib = |bytes: f64| (bytes / f64::from(1 << 20)).ceil();
        Err(SessionError::Asked(format!(
            "a result of {:.1} h with {tenants} tenants takes some {:.0} MiB, and one of more than {:.0} cannot be read \
             again; take a shorter schedule or fewer tenants, or write no result",
            seconds / 3_600.0,
            mib(bytes),
            mib(MAX_BYTES as f64)
        )))
    }

    /// As the result tells it.
    pub fn plan(&self) -> Plan {
        let secure = self.url.starts_with("https:");
        let protocol = match self.protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        };
        Plan {
            target: self.url.clone(),
            protocol: format!("{protocol}{}", if secure { "+tls" } else { "" }),
            schedule: self.schedule.to_string(),
            seconds: self.schedule.duration().as_secs_f64(),
            warm_up_seconds: self.warm_up.as_secs_f64(),
            connections: self.connections,
            mix: self.workload.mix(),
            digest: self.digest(secure),
        }
    }

    /// Of everything that decides about the load; not of where it goes, nor of who is called how.
    fn digest(&self, secure: bool) -> String {
        let workload = serde_json::to_string(&self.workload).unwrap_or_default();
        let tokens = match &self.tokens {
            Tokens::Minted => "minted",
            Tokens::Fixed(_) => "fixed",
            Tokens::ByTenant(_) => "by tenant",
        };
        let connection = format!(
            "{:?} {secure} {} {} {} {:?} {:?}",
            self.protocol, self.keep_alive, self.connections, self.streams, self.timeout, self.warm_up
        );
        // Number and length follow from the rest; they stay so that results of before can still be compared.
        let (total, length) = (self.schedule.total(), self.schedule.duration());
        let schedule = format!("{} {total} {length:?}", self.schedule.fingerprint());
        let parts =
            [("workload", &*workload), ("tokens", tokens), ("connection", &connection), ("schedule", &schedule)];
        digest(parts.map(|(name, text)| (name, text.as_bytes())))
    }
}
