//! One run from what was asked for to its result: the load, the parts that it needs, the verdict.

mod bearer;
mod job;
mod stand;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use job::{Job, Tokens};
pub(crate) use stand::follow;
pub use stand::{Stand, Surroundings};

use crate::gateway::Follower;
use crate::live::Breaker;
use crate::load::{LoadError, Prepared, Progress, Stop};
use crate::record::Recording;
use crate::result::{Delivery, Ended, Environment, Generator, RunResult, SCHEMA};
use crate::slo::{Observed, Slo, Watch};
use crate::workload::Invalid;

/// Why a run did not come about.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The generator could not start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The workload cannot be meant.
    #[error("{}: {}", .0.at, .0.what)]
    Workload(Invalid),
    /// What was asked for cannot be.
    #[error("{0}")]
    Asked(String),
    /// A part of the run cannot listen.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The gateway's metrics cannot be read.
    #[error("the gateway's metrics: {0}")]
    Metrics(crate::Error),
    /// No tokens.
    #[error("cannot sign tokens: {0}")]
    Tokens(crate::Error),
}

impl SessionError {
    /// Whether the target, or its page of metrics, is not there.
    pub fn is_unreachable(&self) -> bool {
        match self {
            SessionError::Load(error) => error.is_unreachable(),
            SessionError::Metrics(_) => true,
            _ => false,
        }
    }
}

/// Lines that a run is judged by.
#[derive(Debug, Default)]
pub struct Lines {
    /// Afterwards.
    pub slo: Option<Slo>,
    /// Meanwhile: any that is true ends it.
    pub abort: Option<Watch>,
}

/// What was measured, by this process or by agents.
#[derive(Debug)]
pub struct Measured {
    /// What was seen.
    pub recording: Recording,
    /// The generator's health.
    pub generator: Generator,
    /// The first moment.
    pub began: SystemTime,
    /// How it ended.
    pub ended: Ended,
    /// What the ERP stand-in says, where there is one.
    pub delivery: Option<Delivery>,
}

/// Runs a job on this machine. Blocks; `tell` hears of every second, with the breakers of the gateway as far as they are
/// known.
///
/// # Errors
/// When it cannot start.
pub fn run(
    job: &Job,
    stand: &Stand,
    mut lines: Lines,
    stop: &Stop,
    mut tell: impl FnMut(&Progress, &[Breaker]),
) -> Result<RunResult, SessionError> {
    let mut aborted = None;
    let prepared = Prepared::new(&job.target()?, &job.bounds())?;
    let start = Instant::now();
    let follower = stand.follow(start + job.warm_up)?;
    let measured = measure(job, stand, &prepared, start, stop, |progress, sending| {
        tell(&progress, &breakers(follower.as_ref()));
        watch(&mut lines.abort, &mut aborted, progress, job.schedule.duration(), sending);
    })?;
    Ok(result(job, measured, aborted, lines.slo.as_ref(), follower))
}

/// As they are now.
pub(crate) fn breakers(follower: Option<&Follower>) -> Vec<Breaker> {
    follower.map_or_else(Vec::new, Follower::breakers)
}

/// Feeds what watches the run, and ends the run where a line has come true. What is told past the `planned` end is a
/// fraction of a second or of late answers alone, and must not count as a whole one.
pub(crate) fn watch(
    abort: &mut Option<Watch>,
    aborted: &mut Option<String>,
    progress: Progress,
    planned: Duration,
    stop: &Stop,
) {
    let Some(watch) = abort else { return };
    if aborted.is_none()
        && progress.elapsed < planned
        && stop.told().is_none()
        && let Some(why) = watch.second(progress.second)
    {
        *aborted = Some(why);
        stop.tell();
    }
}

/// Sends the load of a job from `start` on, or as soon as can be, and waits for what it accepted to arrive. `tell` has a
/// stop that ends the sending alone.
pub(crate) fn measure(
    job: &Job,
    stand: &Stand,
    prepared: &Prepared,
    start: Instant,
    stop: &Stop,
    mut tell: impl FnMut(Progress, &Stop),
) -> Result<Measured, SessionError> {
    let (source, sending) = (stand.source(), stop.inner());
    let told = |progress| tell(progress, &sending);
    let run = prepared.run(&job.schedule, &source, start, &sending, told)?;
    let delivery = stand.delivery(stop);
    let stopped = run.stopped || stop.told().is_some();
    let ended = if stopped { Ended::Interrupted } else { Ended::Complete };
    Ok(Measured { recording: run.recording, generator: run.generator, began: run.began, ended, delivery })
}

/// All of it as one document, judged.
pub(crate) fn result(
    job: &Job,
    measured: Measured,
    aborted: Option<String>,
    slo: Option<&Slo>,
    follower: Option<Follower>,
) -> RunResult {
    let host = job.target().ok().and_then(|target| target.url.host().map(str::to_owned));
    let same_machine = host.is_some_and(|host| crate::result::is_here(&host));
    let mut result = RunResult {
        schema: SCHEMA.to_owned(),
        name: job.name.clone(),
        started: rfc3339(measured.began),
        ended: aborted.map_or(measured.ended, |why| Ended::Aborted { why }),
        plan: job.plan(),
        environment: Environment { same_machine, ..Environment::here() },
        recording: measured.recording,
        generator: measured.generator,
        delivery: measured.delivery,
        marks: Vec::new(),
        series: Vec::new(),
        verdict: None,
    };
    if let Some(follower) = follower {
        follower.end().tell(&mut result);
    }
    result.verdict = slo.map(|slo| slo.judge(Observed::of(&result)));
    result
}

fn rfc3339(time: SystemTime) -> String {
    let time = time::OffsetDateTime::from(time);
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// A name for one run's orders that no other run has: letters and digits.
pub fn run_name() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(10).collect()
}

/// The source that everything is drawn from.
pub(crate) type SharedSource = Arc<dyn crate::load::Source>;

/// Longest wait for what was accepted, unless another is asked for.
pub const DRAIN: Duration = Duration::from_secs(10);
