//! A schedule's text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{HIGHEST_RATE, LONGEST, LOWEST_RATE, MOST_MOMENTS, Part};

/// Longest text.
const LONGEST_TEXT: usize = 4_096;
/// Most parts, most steps of a part, most bursts of a part.
const MOST_PARTS: usize = 1_000;

/// What is wrong with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A part that is none of the known ones.
    #[error(
        "schedule `{0}` is not understood; possible are `5000/s for 60s`, `100/s..5000/s over 60s`, \
         `100/s,500/s,1000/s each 30s`, `200/s for 60s, burst 5000/s for 2s every 10s` and `trace FILE`, joined with `then`"
    )]
    Grammar(String),
    /// Not a rate.
    #[error("rate `{0}` is not understood; write moments a second, as in `5000/s`")]
    Rate(String),
    /// A rate that cannot be.
    #[error("rate {0}/s is impossible; it must be at least {LOWEST_RATE}/s and at most {HIGHEST_RATE}/s")]
    Impossible(f64),
    /// Not a length of time.
    #[error("duration `{0}` is not understood; write a number above 0 with its unit: `500ms`, `60s`, `10m` or `1h`")]
    Duration(String),
    /// Bursts that do not fit.
    #[error(
        "a burst of {lasts:?} every {every:?} within {length:?} is impossible; it must be shorter than its period, and the period shorter than the whole"
    )]
    Burst {
        /// How long each is.
        lasts: Duration,
        /// From the start of one to the next.
        every: Duration,
        /// Of the part.
        length: Duration,
    },
    /// More time than a run may take.
    #[error("the schedule lasts {length:?}; at most {LONGEST:?} are possible")]
    TooLong {
        /// Of the whole.
        length: Duration,
    },
    /// More moments than a run may have.
    #[error("the schedule has {moments} moments; at most {MOST_MOMENTS} are possible")]
    TooMany {
        /// Of the whole.
        moments: f64,
    },
    /// More parts, steps or bursts than are taken, or a longer text.
    #[error("the schedule is too long a text or has more than {MOST_PARTS} parts, steps or bursts")]
    TooManyParts,
    /// A trace that cannot be read.
    #[error("trace {}: {what}", file.display())]
    Trace {
        /// Which.
        file: PathBuf,
        /// Why not.
        what: String,
    },
}

/// All parts of a schedule's text. `offsets` are those of a trace, by its file.
pub fn parts(
    text: &str,
    mut offsets: impl FnMut(&Path) -> Result<Vec<Duration>, ScheduleError>,
) -> Result<Vec<Part>, ScheduleError> {
    if text.len() > LONGEST_TEXT {
        return Err(ScheduleError::TooManyParts);
    }
    text.split(" then ").map(|part| part_of(part.trim(), &mut offsets)).collect()
}

fn part_of(
    text: &str,
    offsets: &mut impl FnMut(&Path) -> Result<Vec<Duration>, ScheduleError>,
) -> Result<Part, ScheduleError> {
    if let Some(file) = text.strip_prefix("trace ") {
        let file = Path::new(file.trim()).to_owned();
        let offsets = offsets(&file)?.into();
        return Ok(Part::Trace { file, offsets });
    }
    if let Some((base, bursts)) = text.split_once(", burst ") {
        let (rate, length) = constant(base).ok_or_else(|| grammar(text))?;
        let (burst, every) = bursts.split_once(" every ").ok_or_else(|| grammar(text))?;
        let (burst, lasts) = constant(burst).ok_or_else(|| grammar(text))?;
        return Ok(Part::Burst {
            rate: rate_of(rate)?,
            length: duration_of(length)?,
            burst: rate_of(burst)?,
            lasts: duration_of(lasts)?,
            every: duration_of(every)?,
        });
    }
    if let Some((rates, length)) = text.split_once(" over ") {
        let (from, to) = rates.split_once("..").ok_or_else(|| grammar(text))?;
        return Ok(Part::Ramp { from: rate_of(from)?, to: rate_of(to)?, length: duration_of(length)? });
    }
    if let Some((rates, each)) = text.split_once(" each ") {
        let rates = rates.split(',').map(rate_of).collect::<Result<_, _>>()?;
        return Ok(Part::Steps { rates, each: duration_of(each)? });
    }
    let (rate, length) = constant(text).ok_or_else(|| grammar(text))?;
    Ok(Part::Constant { rate: rate_of(rate)?, length: duration_of(length)? })
}

fn grammar(text: &str) -> ScheduleError {
    ScheduleError::Grammar(text.to_owned())
}

/// `RATE for DURATION`.
fn constant(text: &str) -> Option<(&str, &str)> {
    text.split_once(" for ")
}

/// `5000/s`; digits may be grouped with `_`.
fn rate_of(text: &str) -> Result<f64, ScheduleError> {
    let wrong = || ScheduleError::Rate(text.trim().to_owned());
    let number = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
    number.trim_end().replace('_', "").parse().map_err(|_| wrong())
}

/// A number above 0 and its unit.
fn duration_of(text: &str) -> Result<Duration, ScheduleError> {
    let wrong = || ScheduleError::Duration(text.trim().to_owned());
    let unit_at = text.trim().find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.trim().split_at(unit_at);
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(wrong()),
    };
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if duration.is_zero() { Err(wrong()) } else { Ok(duration) }
}

/// Whether a part can be.
pub fn check(part: &Part) -> Result<(), ScheduleError> {
    let possible = |rate: &f64| {
        // NaN is in no range.
        if (LOWEST_RATE..=HIGHEST_RATE).contains(rate) { Ok(()) } else { Err(ScheduleError::Impossible(*rate)) }
    };
    let lasting = |length: &Duration| match *length {
        length if length > LONGEST => Err(ScheduleError::TooLong { length }),
        Duration::ZERO => Err(ScheduleError::Duration("0s".to_owned())),
        _ => Ok(()),
    };
    match part {
        Part::Constant { rate, length } => possible(rate).and(lasting(length)),
        Part::Ramp { from, to, length } => possible(from).and(possible(to)).and(lasting(length)),
        Part::Steps { rates, .. } if rates.len() > MOST_PARTS => Err(ScheduleError::TooManyParts),
        Part::Steps { rates, each } => rates.iter().try_for_each(possible).and(lasting(each)),
        Part::Burst { rate, length, burst, lasts, every } => {
            possible(rate).and(possible(burst)).and(lasting(length))?;
            if lasts >= every || every >= length {
                return Err(ScheduleError::Burst { lasts: *lasts, every: *every, length: *length });
            }
            let bursts = length.as_nanos() / every.as_nanos().max(1);
            if bursts > MOST_PARTS as u128 { Err(ScheduleError::TooManyParts) } else { Ok(()) }
        }
        Part::Trace { offsets, .. } => offsets.last().map_or(Ok(()), |last| match *last {
            length if length > LONGEST => Err(ScheduleError::TooLong { length }),
            _ => Ok(()),
        }),
    }
}
