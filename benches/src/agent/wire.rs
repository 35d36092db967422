//! What coordinator and agents say to each other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::load::Progress;
use crate::record::{Recording, Second, Tally};
use crate::result::Generator;
use crate::session::Job;

/// Both sides must speak the same.
pub const VERSION: &str = "sluis-bench-agent/3";
/// Largest order to an agent, bytes: a workload with its templates, and traces of some four million moments.
pub const MAX_ORDER: usize = 32 << 20;
/// Largest line from an agent, bytes: a piece of a recording.
pub const MAX_LINE: usize = 64 << 20;

/// Who answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: String,
    /// Its clock, µs since 1970.
    pub clock_us: i64,
    /// Whether it has a run under way; one that is only ready keeps nobody out.
    pub busy: bool,
}

/// A share of a run, to get ready for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// [`VERSION`].
    pub version: String,
    /// The whole job.
    pub job: Job,
    /// What names of its orders begin with, whoever sends them: letters and digits.
    pub run: String,
    /// Which share of its moments,
    pub index: u64,
    /// of how many.
    pub of: u64,
}

/// Ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// What the run is called.
    pub run: u64,
    /// The keys of its tokens.
    pub jwks: Option<String>,
}

/// Go.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// When, by the agent's clock, µs since 1970.
    pub at_us: i64,
}

/// A line from a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What ended in a second.
    Second {
        /// From the first moment.
        elapsed_ms: u64,
        /// Counts.
        second: Box<Second>,
        /// On their way.
        under_way: usize,
    },
    /// More of the time line, once the run has ended.
    Seconds(Vec<Second>),
    /// More of the tenants' figures.
    Tenants(Vec<(String, Tally)>),
    /// All else.
    Done(Box<Done>),
    /// There is nothing.
    Failed {
        /// Why.
        why: String,
        /// Whether the target is not there, as the agent sees it.
        unreachable: bool,
    },
}

/// All that an agent saw; on its way, without what lines before it have.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// What was seen.
    pub recording: Recording,
    /// Its health.
    pub generator: Generator,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

impl From<Progress> for Line {
    fn from(progress: Progress) -> Self {
        Line::Second {
            elapsed_ms: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
            second: Box::new(progress.second),
            under_way: progress.under_way,
        }
    }
}

/// The wall clock, µs since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// How long until a moment of the wall clock.
pub fn until(at_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(at_us.saturating_sub(now_us())).unwrap_or(0))
}
