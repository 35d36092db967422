//! The few figures that say how a run went, and how it stands.

use crate::record::Tally;
use crate::result::{Ended, RunResult};
use crate::slo::Observed;

/// How a run stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The generator was the limit: the figures say nothing about the gateway.
    Invalid,
    /// A pass line broke.
    Fail,
    /// It was stopped before its end, and nothing had broken until then.
    Partial,
    /// All pass lines held.
    Pass,
    /// There were none.
    Measured,
}

impl Standing {
    /// Of this run.
    pub fn of(run: &RunResult) -> Self {
        let broken = run.verdict.as_ref().is_some_and(|verdict| !verdict.holds);
        match &run.ended {
            _ if !run.generator.invalid.is_empty() => Standing::Invalid,
            Ended::Aborted { .. } => Standing::Fail,
            _ if broken => Standing::Fail,
            Ended::Interrupted | Ended::Partial { .. } => Standing::Partial,
            Ended::Complete if run.verdict.is_some() => Standing::Pass,
            Ended::Complete => Standing::Measured,
        }
    }

    /// In one word with a sign, so that it does not hang on the colour.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Invalid => "⚠ INVALID",
            Standing::Fail => "✗ FAIL",
            Standing::Partial => "◐ PARTIAL",
            Standing::Pass => "✓ PASS",
            Standing::Measured => "● MEASURED",
        }
    }

    /// Its class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Standing::Invalid => "invalid",
            Standing::Fail => "fail",
            Standing::Partial => "partial",
            Standing::Pass => "pass",
            Standing::Measured => "measured",
        }
    }
}

/// Seconds of the schedule that were run: all of it, or the part until it was stopped.
pub fn scheduled_seconds(run: &RunResult) -> f64 {
    let (planned, measured) = (run.plan.seconds, run.recording.seconds_measured);
    let seconds = match run.ended {
        Ended::Complete if planned > 0.0 => planned,
        _ if planned > 0.0 => measured.min(planned),
        _ => measured,
    };
    if seconds.is_finite() && seconds > 0.0 { seconds } else { run.recording.seconds.len().max(1) as f64 }
}

/// Requests a second that were due.
pub fn offered(run: &RunResult) -> f64 {
    run.recording.all.intended as f64 / scheduled_seconds(run)
}

/// Answers a second, however they were, over the time that they took.
pub fn answered(run: &RunResult) -> f64 {
    answers(&run.recording.all) as f64 / Observed::of(run).seconds.max(scheduled_seconds(run))
}

/// Answers of any kind.
pub fn answers(tally: &Tally) -> u64 {
    tally.ok + tally.shed + tally.refused + tally.wrong
}

/// Those that came to a bad end: what [`Tally::error_share`] is the share of.
pub fn errors(tally: &Tally) -> u64 {
    tally.refused + tally.failed + tally.wrong + tally.unsent
}

/// How much of a second of the time line the schedule covers; less than 1 only in the last.
pub fn covered(run: &RunResult, second: usize) -> f64 {
    let left = scheduled_seconds(run) - second as f64;
    // A sliver of a second is no measure of a rate.
    if left >= 0.2 { left.min(1.0) } else { 1.0 }
}

/// A failure's cause or an outcome, as people say it.
pub fn failure(failure: crate::record::Failure) -> &'static str {
    use crate::record::Failure::{Connect, Local, Protocol, Reset, Timeout, Tls};
    match failure {
        Connect => "no connection",
        Tls => "TLS",
        Timeout => "timeout",
        Reset => "cut off",
        Protocol => "not HTTP",
        Local => "own limit",
    }
}
