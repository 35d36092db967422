//! Pass lines: `p99<25ms,error<0.1%,lost=0`.

mod measure;
mod parse;
mod watch;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use measure::{Counted, Delivered, Kind, Latency, Measure, Seen, fairness, percent, time};
pub use parse::GrammarError;
pub(crate) use watch::merged;
pub use watch::{MAX_WINDOW, Watch, WatchError};

use std::collections::BTreeMap;

use crate::record::Tally;
use crate::result::{Delivery, Line, RunResult, Verdict};

/// What a run has to keep to.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    lines: Vec<PassLine>,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq)]
struct PassLine {
    text: String,
    tenant: Option<String>,
    measure: Measure,
    comparison: Comparison,
    bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Micros(f64),
    Share(f64),
    Count(f64),
    PerSecond(f64),
    Index(f64),
}

/// Beyond the schedule's end, seconds: no time in which requests were due.
const LAST_ANSWERS: f64 = 1.0;

/// What is judged: a whole run or a part of one.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// All tenants.
    pub all: &'a Tally,
    /// By name.
    pub tenants: &'a BTreeMap<String, Tally>,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What the sink told, where it was asked.
    pub delivery: Option<&'a Delivery>,
}

impl<'a> Observed<'a> {
    /// The whole of a run.
    pub fn of(result: &'a RunResult) -> Self {
        let recording = &result.recording;
        Observed {
            all: &recording.all,
            tenants: &recording.tenants,
            seconds: took(recording.seconds_measured, result.plan.seconds),
            delivery: result.delivery.as_ref(),
        }
    }
}

/// Seconds that a run took whose schedule had so many: those of the schedule, and those that it took longer for the
/// answers of a queue that had grown by then; [`LAST_ANSWERS`] are the last answers' own.
pub(crate) fn took(measured: f64, planned: f64) -> f64 {
    let planned = if planned > 0.0 { planned } else { f64::INFINITY };
    measured.min(planned).max(measured - LAST_ANSWERS)
}

impl Slo {
    /// Holds every line against what was seen. A line of which nothing was seen does not hold.
    pub fn judge(&self, observed: Observed) -> Verdict {
        let lines: Vec<Line> = self.lines.iter().map(|line| line.judge(observed)).collect();
        Verdict { holds: lines.iter().all(|line| line.holds), lines }
    }

    /// These lines and `error<1%` and `shed<1%`, each unless one of them speaks of that: a latency alone is best where
    /// all fails, and where nearly all are turned away.
    pub fn with_errors(mut self) -> Slo {
        for (counted, text) in [(Counted::Error, "error<1%"), (Counted::Shed, "shed<1%")] {
            let measure = Measure::Counted(counted);
            if !self.lines.iter().any(|line| line.measure == measure) {
                let (text, comparison, bound) = (text.to_owned(), Comparison::Less, Bound::Share(0.01));
                self.lines.push(PassLine { text, tenant: None, measure, comparison, bound });
            }
        }
        self
    }

    /// Whether all that is asked is how long answers took, which is best where most are turned away: no line speaks of
    /// outcomes.
    pub fn is_blind_to_outcomes(&self) -> bool {
        let of_latency = |line: &PassLine| line.measure.kind() == Kind::Latency;
        let of_outcomes = |line: &PassLine| match line.measure {
            Measure::Counted(counted) => counted != Counted::Late,
            Measure::Rate | Measure::Fairness => true,
            _ => false,
        };
        self.lines.iter().any(of_latency) && !self.lines.iter().any(of_outcomes)
    }

    /// Whether a line needs the sink to be asked.
    pub fn asks_the_sink(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.measure, Measure::Delivered(_)))
    }

    /// The first tenant named that is none of these.
    pub fn unknown_tenant(&self, tenants: &[String]) -> Option<&str> {
        self.lines.iter().filter_map(|line| line.tenant.as_deref()).find(|name| !tenants.iter().any(|t| t == name))
    }
}

impl PassLine {
    fn judge(&self, observed: Observed) -> Line {
        let tally = match &self.tenant {
            None => Some(observed.all),
            Some(name) => observed.tenants.get(name),
        };
        let seen = tally.map(|tally| Seen {
            tally,
            tenants: observed.tenants,
            seconds: observed.seconds,
            delivery: observed.delivery,
        });
        let (seen, holds) = match seen {
            None => ("no request of this tenant".to_owned(), false),
            Some(seen) => self.against(seen),
        };
        Line { wanted: self.text.clone(), seen, holds }
    }

    /// What was seen, and whether it is as wanted.
    fn against(&self, seen: Seen) -> (String, bool) {
        let Some(value) = self.measure.of(seen) else {
            return (nothing_seen(self.measure, seen).to_owned(), false);
        };
        let shown = match self.bound {
            Bound::Micros(_) => time(value),
            Bound::Share(_) => percent(value),
            Bound::Count(_) => self.measure.count(seen).map_or(String::new(), |(count, _)| count.to_string()),
            Bound::PerSecond(_) => format!("{value:.1}/s"),
            Bound::Index(_) => format!("{value:.3}"),
        };
        let (value, bound) = match self.bound {
            Bound::Count(bound) => (self.measure.count(seen).map_or(value, |(count, _)| count as f64), bound),
            Bound::Micros(bound) | Bound::Share(bound) | Bound::PerSecond(bound) | Bound::Index(bound) => {
                (value, bound)
            }
        };
        (shown, self.comparison.holds(value, bound))
    }
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::AtMost => value <= bound,
            Comparison::Equal => value == bound,
            Comparison::AtLeast => value >= bound,
            Comparison::More => value > bound,
        }
    }
}

fn nothing_seen(measure: Measure, seen: Seen) -> &'static str {
    match measure {
        Measure::Delivered(_) if seen.delivery.is_some_and(|delivery| delivery.outstanding > 0) => {
            "some were still under way"
        }
        Measure::Delivered(_) if seen.delivery.is_some() => "nothing was accepted",
        Measure::Delivered(_) => "the sink was not asked",
        Measure::Percentile(_, Latency::Ok) | Measure::Max(Latency::Ok) | Measure::Mean(Latency::Ok) => {
            "nothing was answered as it should be"
        }
        Measure::Percentile(..) | Measure::Max(_) | Measure::Mean(_) => "nothing was answered",
        _ => "no request",
    }
}
