//! The search for the knee and the highest rate that holds the pass lines.
//!
//! Rates are doubled until the lines break, the gap is halved until it is narrow, the rates around the knee are looked at
//! more closely, and then the highest one has to hold for long: a queue that fills slowly outlives a short look.
//!
//! The knee is the rate of the highest *power*, answers a second divided by their mean time (L. Kleinrock, 1979): beyond
//! it, more load buys more waiting than answers.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::result::{Ended, RunResult, Verdict};
use crate::slo::{Latency, Measure, Observed, Seen, Slo};

/// The version of the document.
pub const SCHEMA: &str = "sluis-bench-saturate/1";
/// Rates looked at, at most, before the long look.
const MAX_PROBES: usize = 60;
/// Times that the long look steps down, at most.
const MAX_STEPS_DOWN: usize = 5;
/// Times that the first rate is halved, at most, when not even it holds.
const MAX_HALVINGS: usize = 6;
/// Rounds of looking closer around the knee.
const KNEE_ROUNDS: usize = 2;
/// Share of the moments that may go without a good answer at the knee: what turns most away answers the rest fast.
const UNSERVED: f64 = 0.01;

/// What to search for, and how.
#[derive(Debug, Clone)]
pub struct Search {
    /// The lines that must hold.
    pub slo: Slo,
    /// The first rate, requests a second.
    pub start: f64,
    /// The highest rate tried.
    pub highest: f64,
    /// How close to find it, as a share of the rate: 0.05.
    pub tolerance: f64,
    /// How long a look at a rate takes.
    pub probe: Duration,
    /// How long the found rate must hold.
    pub sustain: Duration,
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// [`SCHEMA`].
    pub schema: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The rate of the highest power, requests a second, where two rates at least had answers.
    pub knee: Option<f64>,
    /// Most good answers a second that any look had.
    pub capacity: f64,
    /// Every rate that was looked at, in turn.
    pub probes: Vec<Probe>,
    /// The long look at the rate that held, with its verdict.
    pub sustained: Option<Box<RunResult>>,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Outcome {
    /// This rate held for long, and one not much higher did not hold.
    Found {
        /// Requests a second.
        rate: f64,
    },
    /// The highest rate that was to be tried held for long.
    Unbroken {
        /// Requests a second.
        rate: f64,
    },
    /// Not even the lowest rate tried held.
    Nothing {
        /// Requests a second.
        rate: f64,
        /// The first line that broke there.
        why: String,
    },
    /// The generator was the limit at a rate; what held below it for a short look is not the target's limit.
    Generator {
        /// Requests a second at which it was.
        rate: f64,
        /// The highest rate that held for a short look.
        held: Option<f64>,
        /// Why its figures do not stand.
        why: String,
    },
    /// What holds for a short look does not hold for long, however often the rate was lowered.
    Unsteady {
        /// The last rate tried.
        rate: f64,
        /// The first line that broke there.
        why: String,
    },
    /// A look after the first could not be made; what held until then for a short look is not the target's limit.
    Failed {
        /// Requests a second that were to be looked at.
        rate: f64,
        /// The highest rate that held for a short look until then.
        held: Option<f64>,
        /// Why it could not be.
        why: String,
    },
    /// By Ctrl-C.
    Interrupted,
}

/// One look at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What it was for.
    pub phase: Phase,
    /// Offered, requests a second.
    pub rate: f64,
    /// How long.
    pub seconds: f64,
    /// Good answers a second.
    pub achieved: f64,
    /// Response time, µs; 0 where nothing was answered.
    pub p50_us: f64,
    /// Response time, µs.
    pub p99_us: f64,
    /// Response time, µs.
    pub mean_us: f64,
    /// Share of the moments that were shed, refused, not answered or never sent.
    #[serde(default)]
    pub unserved: f64,
    /// Of the lines.
    pub verdict: Verdict,
}

/// See [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Doubled, or halved, until the lines broke, or held.
    Climb,
    /// Between a rate that held and one that did not.
    Narrow,
    /// Around the knee.
    Knee,
    /// For long.
    Sustain,
}

/// A search that goes on.
struct Hunt<'a, M, T> {
    search: &'a Search,
    measure: M,
    tell: T,
    probes: Vec<Probe>,
}

/// Why a look says nothing about the target.
enum Halt<E> {
    Error { rate: f64, error: E },
    Outcome(Outcome),
}

/// Searches. `measure` sends at a rate for a time; `tell` hears of every look as it ends.
///
/// # Errors
/// What `measure` fails with at the first look. Later it is an outcome, as there is something to tell.
pub fn search<E: std::fmt::Display>(
    search: &Search,
    measure: impl FnMut(f64, Duration) -> Result<RunResult, E>,
    tell: impl FnMut(&Probe),
) -> Result<Saturation, E> {
    let mut hunt = Hunt { search, measure, tell, probes: Vec::new() };
    let mut sustained = None;
    let outcome = match hunt.run(&mut sustained) {
        Ok(outcome) | Err(Halt::Outcome(outcome)) => outcome,
        Err(Halt::Error { error, .. }) if hunt.probes.is_empty() => return Err(error),
        Err(Halt::Error { rate, error }) => {
            Outcome::Failed { rate, held: hunt.held_below(f64::INFINITY), why: error.to_string() }
        }
    };
    let capacity = hunt.probes.iter().map(|probe| probe.achieved).fold(0.0, f64::max);
    Ok(Saturation {
        schema: SCHEMA.to_owned(),
        outcome,
        knee: knee(&hunt.probes).map(|index| hunt.probes[index].rate),
        capacity,
        probes: hunt.probes,
        sustained: sustained.map(Box::new),
    })
}

impl<E, M, T> Hunt<'_, M, T>
where
    M: FnMut(f64, Duration) -> Result<RunResult, E>,
    T: FnMut(&Probe),
{
    fn run(&mut self, sustained: &mut Option<RunResult>) -> Result<Outcome, Halt<E>> {
        let (holds, breaks) = self.climb()?;
        let Some(mut holds) = holds else {
            let why = self.broken();
            return Ok(Outcome::Nothing { rate: breaks.unwrap_or(self.search.start), why });
        };
        let mut breaks = breaks;
        while let Some(high) = breaks.filter(|high| high / holds > 1.0 + self.search.tolerance && self.has_looks()) {
            let middle = (holds * high).sqrt();
            if self.holds(Phase::Narrow, middle)? { holds = middle } else { breaks = Some(middle) }
        }
        self.look_closer()?;
        for _ in 0..=MAX_STEPS_DOWN {
            let result = self.look(Phase::Sustain, holds, self.search.sustain)?;
            if self.probes.last().is_some_and(|probe| probe.verdict.holds) {
                *sustained = Some(result);
                return Ok(match breaks {
                    Some(_) => Outcome::Found { rate: holds },
                    None => Outcome::Unbroken { rate: holds },
                });
            }
            (breaks, holds) = (Some(holds), holds * (1.0 - self.search.tolerance));
        }
        let rate = breaks.unwrap_or(holds);
        Ok(Outcome::Unsteady { rate, why: self.broken() })
    }

    /// The highest rate that held and the lowest that did not, doubling or halving from the first.
    fn climb(&mut self) -> Result<(Option<f64>, Option<f64>), Halt<E>> {
        let mut rate = self.search.start.min(self.search.highest);
        if self.holds(Phase::Climb, rate)? {
            while rate < self.search.highest {
                let next = (rate * 2.0).min(self.search.highest);
                if !self.holds(Phase::Climb, next)? {
                    return Ok((Some(rate), Some(next)));
                }
                rate = next;
            }
            return Ok((Some(rate), None));
        }
        for _ in 0..MAX_HALVINGS {
            let lower = rate / 2.0;
            if self.holds(Phase::Climb, lower)? {
                return Ok((Some(lower), Some(rate)));
            }
            rate = lower;
        }
        Ok((None, Some(rate)))
    }

    /// Rates on both sides of the knee as it seems to be.
    fn look_closer(&mut self) -> Result<(), Halt<E>> {
        for _ in 0..KNEE_ROUNDS {
            let Some(knee) = knee(&self.probes).map(|index| self.probes[index].rate) else { return Ok(()) };
            let rates = || self.probes.iter().map(|probe| probe.rate);
            let below = rates().filter(|rate| *rate < knee).fold(0.0, f64::max);
            let above = rates().filter(|rate| *rate > knee).fold(f64::INFINITY, f64::min);
            for next in [below, above] {
                let wide = (knee / next).max(next / knee) > 1.0 + 2.0 * self.search.tolerance;
                if next > 0.0 && next.is_finite() && wide && self.has_looks() {
                    self.look(Phase::Knee, (knee * next).sqrt(), self.search.probe)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a rate holds: a second look overrules a first that did not, as a machine may hiccup.
    fn holds(&mut self, phase: Phase, rate: f64) -> Result<bool, Halt<E>> {
        for _ in 0..2 {
            self.look(phase, rate, self.search.probe)?;
            if self.probes.last().is_some_and(|probe| probe.verdict.holds) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn look(&mut self, phase: Phase, rate: f64, time: Duration) -> Result<RunResult, Halt<E>> {
        let mut result = (self.measure)(rate, time).map_err(|error| Halt::Error { rate, error })?;
        let verdict = self.search.slo.judge(Observed::of(&result));
        result.verdict = Some(verdict.clone());
        let probe = Probe::of(phase, rate, &result, verdict);
        (self.tell)(&probe);
        self.probes.push(probe);
        if result.ended == Ended::Interrupted {
            return Err(Halt::Outcome(Outcome::Interrupted));
        }
        match result.generator.invalid.first() {
            Some(why) => Err(Halt::Outcome(Outcome::Generator { rate, held: self.held_below(rate), why: why.clone() })),
            None => Ok(result),
        }
    }

    /// The highest rate below this one that held.
    fn held_below(&self, rate: f64) -> Option<f64> {
        let good = self.probes.iter().filter(|probe| probe.verdict.holds && probe.rate < rate);
        good.map(|probe| probe.rate).reduce(f64::max)
    }

    fn has_looks(&self) -> bool {
        self.probes.len() < MAX_PROBES
    }

    /// The first line that broke in the last look.
    fn broken(&self) -> String {
        let lines = self.probes.last().map(|probe| probe.verdict.lines.as_slice()).unwrap_or_default();
        lines.iter().find(|line| !line.holds).map_or(String::new(), |line| format!("{}: {}", line.wanted, line.seen))
    }
}

impl Probe {
    fn of(phase: Phase, rate: f64, result: &RunResult, verdict: Verdict) -> Self {
        let observed = Observed::of(result);
        let tenants = Default::default();
        let seen = Seen { tally: observed.all, tenants: &tenants, seconds: observed.seconds, delivery: None };
        let value = |measure: Measure| measure.of(seen).unwrap_or(0.0);
        Probe {
            phase,
            rate,
            seconds: observed.seconds,
            achieved: value(Measure::Rate),
            p50_us: value(Measure::Percentile(50.0, Latency::Response)),
            p99_us: value(Measure::Percentile(99.0, Latency::Response)),
            mean_us: value(Measure::Mean(Latency::Response)),
            unserved: observed.all.error_share() + observed.all.shed_share(),
            verdict,
        }
    }
}

/// The look with the highest power, of those that served nearly all; the better of several at one rate stands for it.
fn knee(probes: &[Probe]) -> Option<usize> {
    let serves = |probe: &Probe| probe.mean_us > 0.0 && probe.achieved > 0.0 && probe.unserved <= UNSERVED;
    let powers = probes.iter().enumerate().filter(|(_, probe)| serves(probe));
    let power = |probe: &Probe| probe.achieved / probe.mean_us;
    let best = powers.clone().max_by(|(_, a), (_, b)| power(a).total_cmp(&power(b)))?;
    powers.into_iter().any(|(_, probe)| probe.rate != best.1.rate).then_some(best.0)
}
