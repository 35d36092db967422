//! When each request has its moment.
//!
//! Moments are where the integral of the rate over time passes 0, 1, 2, …, over the whole schedule, each calculated for
//! itself: nothing adds up, however long the run.

mod parse;
mod rate;
mod told;
mod trace;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use parse::ScheduleError;
use told::Told;

/// Highest rate, moments a second.
pub const HIGHEST_RATE: f64 = 10_000_000.0;
/// Lowest rate, moments a second: one in a thousand seconds.
pub const LOWEST_RATE: f64 = 0.001;
/// Longest schedule.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Most moments of a schedule.
pub const MOST_MOMENTS: u64 = 10_000_000_000;
/// A moment this close to a part's end, in moments, is not in it: 0.1/s for 30 s are three, whatever their product is
/// in binary.
const ROUNDING: f64 = 1e-6;

/// The moments of a run: one or several parts, one after the other. Written as text:
///
/// | Part | Written |
/// |---|---|
/// | constant rate | `5000/s for 60s` |
/// | ramp | `100/s..5000/s over 60s` |
/// | steps | `100/s,500/s,1000/s each 30s` |
/// | bursts; the first after one period | `200/s for 60s, burst 5000/s for 2s every 10s` |
/// | as recorded: a file with an offset in seconds on each line, ascending | `trace FILE` |
///
/// Parts are joined with `then`. Durations have a unit: `ms`, `s`, `m` or `h`.
///
/// Serialised, it has its traces with it: whoever reads it needs none of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Told", into = "Told")]
pub struct Schedule {
    parts: Vec<Part>,
    segments: Arc<[Segment]>,
    duration: Duration,
    /// Of the whole, not of the share.
    total: u64,
    share: Share,
}

/// As it was written.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Constant { rate: f64, length: Duration },
    Ramp { from: f64, to: f64, length: Duration },
    Steps { rates: Vec<f64>, each: Duration },
    Burst { rate: f64, length: Duration, burst: f64, lasts: Duration, every: Duration },
    Trace { file: PathBuf, offsets: Arc<[Duration]> },
}

/// A stretch of time whose moments one formula gives.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    start: Duration,
    length: Duration,
    /// Moments before it: the integral of the rate until its start.
    before: f64,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Rates at its start and end; between them it is linear.
    Linear(f64, f64),
    Listed(Arc<[Duration]>),
}

/// Which of the moments: every `of`-th from `index` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    index: u64,
    of: u64,
}

impl Schedule {
    /// A constant rate, moments a second.
    pub fn constant(rate: f64, length: Duration) -> Result<Self, ScheduleError> {
        Schedule::new(vec![Part::Constant { rate, length }])
    }

    fn new(parts: Vec<Part>) -> Result<Self, ScheduleError> {
        parts.iter().try_for_each(parse::check)?;
        let mut segments = Vec::new();
        let (mut start, mut before) = (Duration::ZERO, 0.0);
        for (length, shape) in parts.iter().flat_map(Part::shapes) {
            if matches!(shape, Shape::Listed(_)) {
                before = f64::ceil(before - ROUNDING);
            }
            let moments = shape.moments(length);
            segments.push(Segment { start, length, before, shape });
            start += length;
            before += moments;
        }
        if start > LONGEST {
            return Err(ScheduleError::TooLong { length: start });
        }
        let total = f64::ceil(before - ROUNDING);
        if total > MOST_MOMENTS as f64 {
            return Err(ScheduleError::TooMany { moments: total });
        }
        let total = (total as u64).max(1);
        Ok(Schedule { parts, segments: segments.into(), duration: start, total, share: Share { index: 0, of: 1 } })
    }

    /// Every `of`-th moment of this one, from the one with number `index` on: what one of several generators sends. Their
    /// numbers stay, so all shares together are the whole.
    pub fn share(&self, index: u64, of: u64) -> Schedule {
        let Share { index: mine, of: among } = self.share;
        let (index, of) = (index.min(of.saturating_sub(1)), of.max(1));
        Schedule { share: Share { index: mine + among * index, of: among * of }, ..self.clone() }
    }

    /// From the start to the end of the last part.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How many moments there are.
    pub fn total(&self) -> u64 {
        self.total.saturating_sub(self.share.index).div_ceil(self.share.of)
    }

    /// The rate that it starts with, moments a second, of the whole and not of a share; of a trace, the mean.
    pub fn first_rate(&self) -> f64 {
        let Some(first) = self.segments.first() else { return LOWEST_RATE };
        let rate = match &first.shape {
            Shape::Linear(from, _) => *from,
            Shape::Listed(offsets) => offsets.len() as f64 / first.length.as_secs_f64().max(1.0),
        };
        rate.clamp(LOWEST_RATE, HIGHEST_RATE)
    }

    /// All that decides about its moments, as text: of a trace what is in it, wherever its file is.
    pub(crate) fn fingerprint(&self) -> String {
        let fingerprint = |part: &Part| match part {
            Part::Trace { offsets, .. } => format!("trace {}", trace::digest(offsets)),
            part => part.to_string(),
        };
        self.parts.iter().map(fingerprint).collect::<Vec<_>>().join(" then ")
    }

    /// Each moment with its number, counted over all shares, and its offset from the start; ascending.
    pub fn moments(&self) -> impl Iterator<Item = (u64, Duration)> + use<> {
        let (schedule, Share { index, of }) = (self.clone(), self.share);
        let mut segment = 0;
        (0..self.total()).map(move |turn| {
            let number = index + turn * of;
            while schedule.segments.get(segment + 1).is_some_and(|next| next.before <= number as f64) {
                segment += 1;
            }
            (number, schedule.segments[segment].offset(number))
        })
    }
}

impl Segment {
    /// Of a moment in it, from the start of the schedule.
    fn offset(&self, number: u64) -> Duration {
        let turn = number as f64 - self.before;
        let within = match &self.shape {
            Shape::Listed(offsets) => offsets.get(turn as usize).copied().unwrap_or(self.length),
            Shape::Linear(from, to) if from == to => Duration::from_secs_f64((turn / from).max(0.0)),
            // Where from·t + slope·t²/2 = turn, solved so that nothing cancels out.
            Shape::Linear(from, to) => {
                let slope = (to - from) / self.length.as_secs_f64();
                let root = (from * from + 2.0 * slope * turn).max(0.0).sqrt();
                Duration::from_secs_f64((2.0 * turn / (from + root)).max(0.0))
            }
        };
        self.start + within.min(self.length)
    }
}

impl Shape {
    /// How many moments, with a fraction, it has over this long.
    fn moments(&self, length: Duration) -> f64 {
        match self {
            Shape::Linear(from, to) => (from + to) / 2.0 * length.as_secs_f64(),
            Shape::Listed(offsets) => offsets.len() as f64,
        }
    }
}

impl Part {
    fn shapes(&self) -> Vec<(Duration, Shape)> {
        let flat = |rate, length| (length, Shape::Linear(rate, rate));
        match self {
            Part::Constant { rate, length } => vec![flat(*rate, *length)],
            Part::Ramp { from, to, length } => vec![(*length, Shape::Linear(*from, *to))],
            Part::Steps { rates, each } => rates.iter().map(|rate| flat(*rate, *each)).collect(),
            Part::Burst { rate, length, burst, lasts, every } => {
                let mut shapes = vec![flat(*rate, (*every).min(*length))];
                let mut start = *every;
                while start < *length {
                    let left = *length - start;
                    shapes.push(flat(*burst, (*lasts).min(left)));
                    shapes.push(flat(*rate, (*every - *lasts).min(left.saturating_sub(*lasts))));
                    start += *every;
                }
                shapes.retain(|(length, _)| !length.is_zero());
                shapes
            }
            Part::Trace { offsets, .. } => {
                vec![(offsets.last().copied().unwrap_or_default(), Shape::Listed(offsets.clone()))]
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Schedule::new(parse::parts(text, trace::read)?)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "" } else { " then " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = Duration::as_secs_f64;
        match self {
            Part::Constant { rate, length } => write!(f, "{rate}/s for {}s", s(length)),
            Part::Ramp { from, to, length } => write!(f, "{from}/s..{to}/s over {}s", s(length)),
            Part::Steps { rates, each } => {
                let rates: Vec<String> = rates.iter().map(|rate| format!("{rate}/s")).collect();
                write!(f, "{} each {}s", rates.join(","), s(each))
            }
            Part::Burst { rate, length, burst, lasts, every } => {
                write!(f, "{rate}/s for {}s, burst {burst}/s for {}s every {}s", s(length), s(lasts), s(every))
            }
            Part::Trace { file, .. } => write!(f, "trace {}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests;
