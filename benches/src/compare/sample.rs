//! Seconds drawn anew: the block bootstrap.

use std::collections::BTreeSet;

use super::difference;
use crate::record::{Digits, Histogram, Tally};
use crate::report::figures::scheduled_seconds;
use crate::result::{Ended, RunResult};
use crate::slo::{Measure, Observed, Seen};

/// The same for every comparison, so that the same files give the same answer.
const SEED: u64 = 0x51_75_15;
/// Shortest block, seconds: garbage collections, checkpoints and stalls last about that long.
const MIN_BLOCK: usize = 3;

/// The histograms of a tally, each of its own.
const LATENCIES: [fn(&Tally) -> Option<&Histogram>; 3] =
    [|tally| Some(&tally.response), |tally| Some(&tally.service), Tally::response_ok];

/// Each value of a tally's histogram with its count; none where it does not tell.
fn counts(tally: &Tally, of: fn(&Tally) -> Option<&Histogram>) -> impl Iterator<Item = (u64, u64)> {
    of(tally).into_iter().flat_map(Histogram::counts)
}

/// The runs of a side, second by second.
pub(super) struct Side {
    runs: Vec<Run>,
    /// Latencies that occur, µs.
    values: [Vec<u64>; LATENCIES.len()],
    /// Whether every run tells good answers' latencies apart.
    tells_ok: bool,
}

/// Whole seconds of one run.
struct Run {
    cuts: Vec<Cut>,
    /// Of each second of the schedule, how many it took: more than one where a queue grew, as a second has the answers to
    /// its own moments, however late they came.
    took: f64,
}

/// A second: its counts without histograms, and how often each latency of [`Side::values`] was there.
struct Cut {
    counts: Counts,
    latencies: [Vec<(usize, u64)>; LATENCIES.len()],
}

/// As in [`Tally`].
#[derive(Clone, Copy, Default)]
struct Counts([u64; 9]);

impl Counts {
    fn of(tally: &Tally) -> Self {
        let Tally { intended, sent, unsent, late, ok, shed, refused, failed, wrong, .. } = tally;
        Counts([*intended, *sent, *unsent, *late, *ok, *shed, *refused, *failed, *wrong])
    }

    fn into_tally(self) -> Tally {
        let mut tally = Tally::new(Digits::Two);
        let Counts([intended, sent, unsent, late, ok, shed, refused, failed, wrong]) = self;
        (tally.intended, tally.sent, tally.unsent, tally.late) = (intended, sent, unsent, late);
        (tally.ok, tally.shed, tally.refused, tally.failed, tally.wrong) = (ok, shed, refused, failed, wrong);
        tally
    }
}

impl Side {
    pub fn new(runs: &[RunResult]) -> Self {
        let seconds = |run: &RunResult| -> usize {
            // A second that the schedule or Ctrl-C cut short is none.
            let whole = match run.ended {
                Ended::Complete if run.plan.seconds > 0.0 => run.plan.seconds,
                _ => run.recording.seconds_measured - 1.0,
            };
            run.recording.seconds.len().min(whole.max(0.0) as usize)
        };
        let cuts = || runs.iter().flat_map(|run| run.recording.seconds.iter().take(seconds(run)));
        let values = LATENCIES.map(|of| {
            let all = cuts().flat_map(|second| counts(&second.all, of).map(|(value, _)| value));
            all.collect::<BTreeSet<u64>>().into_iter().collect::<Vec<u64>>()
        });
        let cut = |tally: &Tally| {
            let latencies = std::array::from_fn(|n| {
                let place = |(value, count)| Some((values[n].binary_search(&value).ok()?, count));
                counts(tally, LATENCIES[n]).filter_map(place).collect()
            });
            Cut { counts: Counts::of(tally), latencies }
        };
        let tells_ok = cuts().all(|second| second.all.response_ok().is_some());
        let runs = runs
            .iter()
            .map(|run| Run {
                cuts: run.recording.seconds.iter().take(seconds(run)).map(|second| cut(&second.all)).collect(),
                took: Observed::of(run).seconds / scheduled_seconds(run),
            })
            .collect();
        Side { runs, values, tells_ok }
    }

    /// Whole seconds of the shortest run.
    pub fn shortest(&self) -> usize {
        self.runs.iter().map(|run| run.cuts.len()).min().unwrap_or(0)
    }

    /// Runs drawn with replacement, and of each the seconds that `positions` gives for its length.
    fn tally(
        &self,
        rng: &mut fastrand::Rng,
        positions: &mut dyn FnMut(&mut fastrand::Rng, usize) -> Vec<usize>,
    ) -> (Tally, f64) {
        let mut sums = Counts::default();
        let mut dense = self.values.each_ref().map(|values| vec![0u64; values.len()]);
        let mut seconds = 0.0;
        for _ in 0..self.runs.len() {
            let Run { cuts, took } = &self.runs[rng.usize(..self.runs.len())];
            for position in positions(rng, cuts.len()) {
                let cut = &cuts[position];
                seconds += took;
                sums.0.iter_mut().zip(cut.counts.0).for_each(|(sum, count)| *sum += count);
                for (dense, sparse) in dense.iter_mut().zip(&cut.latencies) {
                    sparse.iter().for_each(|(index, count)| dense[*index] += count);
                }
            }
        }
        let mut tally = sums.into_tally();
        let [response, service, ok] = std::array::from_fn(|n| {
            let mut histogram = Histogram::new(Digits::Two);
            let drawn = self.values[n].iter().zip(&dense[n]).filter(|(_, count)| **count > 0);
            drawn.for_each(|(value, count)| histogram.record_n(*value, *count));
            histogram
        });
        (tally.response, tally.service, tally.response_ok) = (response, service, self.tells_ok.then_some(ok));
        (tally, seconds)
    }
}

/// The change of each measure in each draw.
pub(super) struct Draws {
    changes: Vec<Vec<f64>>,
    /// By how much an interval must be wider than what the draws say.
    widening: f64,
}

impl Draws {
    /// What the middle `level` of a measure's draws lies between, widened from their median for that the draws are from few
    /// runs or blocks. `None` where a draw had nothing of it.
    pub fn interval(&self, measure: usize, level: f64) -> Option<(f64, f64)> {
        let all = self.changes.get(measure)?;
        let mut drawn: Vec<f64> = all.iter().copied().filter(|change| change.is_finite()).collect();
        if drawn.is_empty() || drawn.len() < all.len() {
            return None;
        }
        drawn.sort_by(f64::total_cmp);
        let cut = ((1.0 - level) / 2.0 * drawn.len() as f64).floor() as usize;
        let middle = drawn[drawn.len() / 2];
        let wider = |bound: f64| middle + (bound - middle) * self.widening;
        Some((wider(drawn[cut]), wider(drawn[drawn.len() - 1 - cut])))
    }
}

/// Draws both sides so often. Runs of one length are drawn at the same positions of their schedule, so that a ramp or a
/// burst is held against itself.
pub(super) fn draw(sides: &[Side; 2], measures: &[Measure], draws: usize) -> Draws {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let lengths: BTreeSet<usize> = sides.iter().flat_map(|side| side.runs.iter().map(|run| run.cuts.len())).collect();
    let common = (lengths.len() == 1).then(|| lengths.iter().copied().next().unwrap_or(0));
    let tenants = Default::default();
    let mut changes = vec![Vec::with_capacity(draws); measures.len()];
    for _ in 0..draws {
        let shared = common.map(|length| blocks(&mut rng, length));
        let mut positions = |rng: &mut fastrand::Rng, length| match &shared {
            Some(shared) => shared.clone(),
            None => blocks(rng, length),
        };
        let drawn = sides.each_ref().map(|side| side.tally(&mut rng, &mut positions));
        for (measure, changes) in measures.iter().zip(&mut changes) {
            let value = |(tally, seconds): &(Tally, f64)| {
                measure.of(Seen { tally, tenants: &tenants, seconds: *seconds, delivery: None })
            };
            let change =
                value(&drawn[0]).zip(value(&drawn[1])).map(|(before, after)| difference(*measure, before, after));
            changes.push(change.unwrap_or(f64::NAN));
        }
    }
    let (n, df) = sample_size(sides);
    Draws { changes, widening: widening(n, df) }
}

/// Of how many independent pieces a draw is, and the degrees of freedom of their spread. Where a side has several runs
/// those are the pieces, as seconds of one run have in common what differs from run to run; otherwise blocks.
fn sample_size(sides: &[Side; 2]) -> (f64, f64) {
    let several = || sides.iter().map(|side| side.runs.len()).filter(|runs| *runs > 1);
    if let Some(fewest) = several().min() {
        return (fewest as f64, several().map(|runs| runs - 1).sum::<usize>() as f64);
    }
    let blocks = |side: &Side| side.runs.iter().map(|run| run.cuts.len() as f64 / block(run.cuts.len()) as f64).sum();
    let blocks = sides.iter().map(blocks).fold(f64::INFINITY, f64::min).max(2.0);
    (blocks, blocks - 1.0)
}

/// What a percentile bootstrap's 99 % interval lacks where it draws from `n` pieces, two at least: the spread of a sample
/// is too small by one in n, and Student's t is wider than the normal distribution (T. Hesterberg, 2015, §3.3; t by its
/// expansion in 1 / df).
pub(super) fn widening(n: f64, df: f64) -> f64 {
    const Z: f64 = 2.575_829;
    let t = Z
        + (Z.powi(3) + Z) / (4.0 * df)
        + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * df.powi(2))
        + (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / (384.0 * df.powi(3));
    t / Z * (n / (n - 1.0)).sqrt()
}

fn block(length: usize) -> usize {
    (length as f64).cbrt().ceil().max(MIN_BLOCK as f64) as usize
}

/// As many positions as there are, in blocks that go round.
fn blocks(rng: &mut fastrand::Rng, length: usize) -> Vec<usize> {
    let block = block(length);
    let mut positions = Vec::with_capacity(length + block);
    while positions.len() < length {
        let start = rng.usize(..length);
        positions.extend((start..start + block).map(|position| position % length));
    }
    positions.truncate(length);
    positions
}
