//! Two results against each other: better, worse, or noise.
//!
//! The time line's seconds are drawn anew many times, in blocks because neighbours resemble each other, and the change of
//! every measure is taken from each draw: a block bootstrap (H. R. Künsch, 1989). Where a side has several runs, runs are
//! drawn as well, so that what differs from run to run is in the interval, too.

mod gate;
mod sample;
mod setting;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use gate::{Gate, GateLine, Standing, signed};
pub use setting::Differences;

use sample::{Draws, Side};

use crate::record::{Digits, Tally};
use crate::result::{Delivery, RunResult};
use crate::slo::{Counted, Delivered, Kind, Latency, Measure, Seen};

/// Whole seconds that every run must have for a change to be told from noise.
pub const MIN_SECONDS: usize = 10;
/// Most runs a side.
pub const MAX_RUNS: usize = 50;

/// What is compared where nothing else is asked for.
const MEASURES: [Measure; 10] = [
    Measure::Percentile(50.0, Latency::Response),
    Measure::Percentile(90.0, Latency::Response),
    Measure::Percentile(99.0, Latency::Response),
    Measure::Percentile(99.9, Latency::Response),
    Measure::Percentile(99.0, Latency::Service),
    Measure::Counted(Counted::Error),
    Measure::Counted(Counted::Shed),
    Measure::Rate,
    Measure::Delivered(Delivered::Lost),
    Measure::Delivered(Delivered::Duplicated),
];

/// What a change smaller than this is not worth a word, relative or, for shares, in points: histograms of a second tell
/// values apart to one per cent.
const TRIFLE: f64 = 0.02;
const TRIFLING_SHARE: f64 = 0.000_5;

/// How draws are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// Draws.
    pub draws: usize,
    /// Share of them that an interval holds.
    pub level: f64,
}

/// As many as a 99 % interval wants: there are ten measures, and one in twenty false alarms each would be one in three.
const METHOD: Method = Method { draws: 1_000, level: 0.99 };

/// Two sides, measure by measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What differs between the sides beside the figures, and why figures may not stand.
    pub differences: Differences,
    /// Every measure of which both sides have something.
    pub changes: Vec<Change>,
    /// Every line of the gate.
    pub gates: Vec<GateLine>,
}

/// One measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Which.
    pub measure: Measure,
    /// Its value on the first side.
    pub before: f64,
    /// Its value on the second side.
    pub after: f64,
    /// Lowest and highest change that the draws allow: relative for latencies and rates, in points (0 to 1) for shares.
    /// `None` where the runs are too short or the measure has no time line.
    pub interval: Option<(f64, f64)>,
    /// What to call it.
    pub word: Word,
}

/// What a change is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Surely another value, the better one.
    Better,
    /// Surely another value, the worse one.
    Worse,
    /// Surely as before, but for a trifle.
    Unchanged,
    /// Cannot be told from chance.
    Noise,
}

impl Change {
    /// Relative, or in points for a share: `after` against `before`.
    pub fn middle(&self) -> f64 {
        difference(self.measure, self.before, self.after)
    }
}

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompareError {
    /// Nothing, or too much, on a side.
    #[error("{0} runs on one side; 1 to {MAX_RUNS} are possible")]
    Runs(usize),
    /// A gate cannot be judged.
    #[error("too short for a gate: a run has {0} whole seconds, and {MIN_SECONDS} are needed")]
    TooShort(usize),
}

/// Compares the runs of one side with those of the other. The same runs give the same answer.
///
/// # Errors
/// When a side has no run or too many, or there is a gate and a run is too short for it.
pub fn compare(before: &[RunResult], after: &[RunResult], gates: &[Gate]) -> Result<Comparison, CompareError> {
    compare_by(before, after, gates, METHOD)
}

pub(crate) fn compare_by(
    before: &[RunResult],
    after: &[RunResult],
    gates: &[Gate],
    method: Method,
) -> Result<Comparison, CompareError> {
    for side in [before, after] {
        if side.is_empty() || side.len() > MAX_RUNS {
            return Err(CompareError::Runs(side.len()));
        }
    }
    let mut measures = MEASURES.to_vec();
    for gate in gates {
        if !measures.contains(&gate.measure) {
            measures.push(gate.measure);
        }
    }
    let sides = [Side::new(before), Side::new(after)];
    let shortest = sides.iter().map(Side::shortest).min().unwrap_or(0);
    if !gates.is_empty() && shortest < MIN_SECONDS {
        return Err(CompareError::TooShort(shortest));
    }
    let draws = (shortest >= MIN_SECONDS).then(|| sample::draw(&sides, &measures, method.draws));
    let totals = [Total::of(before), Total::of(after)];
    let changes: Vec<Change> = measures
        .iter()
        .enumerate()
        .filter_map(|(index, measure)| change(*measure, &totals, draws.as_ref().map(|draws| (draws, index)), method))
        .collect();
    let gates = gates.iter().map(|gate| gate.judge(changes.iter().find(|change| change.measure == gate.measure)));
    let gates = gates.collect();
    Ok(Comparison { differences: Differences::between(before, after), changes, gates })
}

/// Runs of a side as one.
struct Total {
    tally: Tally,
    seconds: f64,
    delivery: Option<Delivery>,
}

impl Total {
    fn of(runs: &[RunResult]) -> Self {
        let mut total = Total { tally: Tally::new(Digits::Three), seconds: 0.0, delivery: None };
        for run in runs {
            total.tally.merge(&run.recording.all);
            total.seconds += crate::slo::Observed::of(run).seconds;
            if let Some(of_run) = &run.delivery {
                let sum = total.delivery.get_or_insert(Delivery::NONE);
                sum.add(of_run);
            }
        }
        total
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        let tenants = Default::default();
        let seen =
            Seen { tally: &self.tally, tenants: &tenants, seconds: self.seconds, delivery: self.delivery.as_ref() };
        measure.of(seen)
    }
}

fn change(measure: Measure, totals: &[Total; 2], draws: Option<(&Draws, usize)>, method: Method) -> Option<Change> {
    let (before, after) = (totals[0].value(measure)?, totals[1].value(measure)?);
    let mut change = Change { measure, before, after, interval: None, word: Word::Noise };
    if let Measure::Delivered(_) = measure {
        // What the sink counted afterwards is no sample: every lost order is one.
        let points = after - before;
        change.interval = Some((points, points));
        change.word = match points {
            0.0 => Word::Unchanged,
            more if more > 0.0 => Word::Worse,
            _ => Word::Better,
        };
        return Some(change);
    }
    change.interval = draws.and_then(|(draws, index)| draws.interval(index, method.level));
    change.word = change.interval.map_or(Word::Noise, |(low, high)| word(measure, low, high));
    Some(change)
}

fn word(measure: Measure, low: f64, high: f64) -> Word {
    let trifle = if measure.kind() == Kind::Share { TRIFLING_SHARE } else { TRIFLE };
    let (better, worse) = if measure.more_is_better() { (low > 0.0, high < 0.0) } else { (high < 0.0, low > 0.0) };
    match () {
        () if low >= -trifle && high <= trifle => Word::Unchanged,
        () if better => Word::Better,
        () if worse => Word::Worse,
        () => Word::Noise,
    }
}

/// `after` against `before`: in points for shares, otherwise relative.
pub(crate) fn difference(measure: Measure, before: f64, after: f64) -> f64 {
    match measure.kind() {
        Kind::Share | Kind::Index => after - before,
        Kind::Latency | Kind::Rate if before > 0.0 => after / before - 1.0,
        Kind::Latency | Kind::Rate => after - before,
    }
}
