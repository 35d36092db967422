//! What can be asked of a run: the measures that pass lines and gates speak of, by name.

use std::collections::BTreeMap;
use std::fmt;

use crate::record::{Histogram, Tally};
use crate::result::Delivery;

/// One figure of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// The latency, µs, that this percentage of the answers does not exceed.
    Percentile(f64, Latency),
    /// The longest latency, µs.
    Max(Latency),
    /// The mean latency, µs.
    Mean(Latency),
    /// Requests of a kind: as a share of the schedule's moments, or how many.
    Counted(Counted),
    /// Orders of a kind, as the sink tells: as a share of those accepted, or how many.
    Delivered(Delivered),
    /// Answers a second that were as they should be.
    Rate,
    /// Jain's index of the tenants' shares of good answers: 1 where all fare alike, 1/n where one gets all.
    Fairness,
}

/// From when a latency counts, and of which answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// From the moment that the schedule gave: what a customer feels. Of all answers.
    Response,
    /// From sending: what the service took. Of all answers.
    Service,
    /// As `Response`, of the answers that were as they should be.
    Ok,
}

/// See the fields of [`Tally`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Refused, failed, wrong or unsent.
    Error,
    /// Turned away with 429, or 503 with `Retry-After`.
    Shed,
    /// Answered with another error.
    Refused,
    /// Not answered.
    Failed,
    /// Let in with a bad token.
    Wrong,
    /// Sent late.
    Late,
    /// Never sent.
    Unsent,
}

/// See the fields of [`Delivery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Delivered {
    Lost,
    Duplicated,
    OutOfOrder,
    Unacknowledged,
    Invented,
}

/// What the values of a measure are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A time, µs.
    Latency,
    /// A share (0 to 1) or a count.
    Share,
    /// A number each second.
    Rate,
    /// A number from 0 to 1.
    Index,
}

/// Where a measure is taken.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The requests in question.
    pub tally: &'a Tally,
    /// All tenants' requests, for [`Measure::Fairness`].
    pub tenants: &'a BTreeMap<String, Tally>,
    /// How long they took, seconds.
    pub seconds: f64,
    /// What the sink told, where it was asked.
    pub delivery: Option<&'a Delivery>,
}

/// A name and what it means.
const NAMED: [(&str, Measure); 17] = [
    ("max", Measure::Max(Latency::Response)),
    ("mean", Measure::Mean(Latency::Response)),
    ("error", Measure::Counted(Counted::Error)),
    ("shed", Measure::Counted(Counted::Shed)),
    ("refused", Measure::Counted(Counted::Refused)),
    ("failed", Measure::Counted(Counted::Failed)),
    ("wrong", Measure::Counted(Counted::Wrong)),
    ("late", Measure::Counted(Counted::Late)),
    ("unsent", Measure::Counted(Counted::Unsent)),
    ("lost", Measure::Delivered(Delivered::Lost)),
    ("duplicated", Measure::Delivered(Delivered::Duplicated)),
    ("out_of_order", Measure::Delivered(Delivered::OutOfOrder)),
    ("unacknowledged", Measure::Delivered(Delivered::Unacknowledged)),
    ("invented", Measure::Delivered(Delivered::Invented)),
    ("rate", Measure::Rate),
    ("rps", Measure::Rate),
    ("fairness", Measure::Fairness),
];

/// All names, for messages.
pub const NAMES: &str = "p50 … p99.99, max and mean (of all answers' response times; p99(ok) of the good ones alone, p99(service) from sending on), error, shed, refused, failed, wrong, late, \
     unsent, lost, duplicated, out_of_order, unacknowledged, invented, rate, fairness";

impl Measure {
    /// The measure of a name such as `p99`, `p99.9(service)`, `max(ok)` or `error`.
    ///
    /// # Errors
    /// What is wrong with it, as a phrase.
    pub fn parse(name: &str) -> Result<Measure, String> {
        let (plain, latency) = match name.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
            None => (name, None),
            Some((plain, "service")) => (plain, Some(Latency::Service)),
            Some((plain, "response")) => (plain, Some(Latency::Response)),
            Some((plain, "ok")) => (plain, Some(Latency::Ok)),
            Some((_, other)) => return Err(format!("`{other}` is no latency: (response), (service) or (ok)")),
        };
        let measure = match plain.strip_prefix('p').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            Some(percent) => percentile(percent)?,
            None => named(plain)?,
        };
        match (measure, latency) {
            (measure, None) => Ok(measure),
            (Measure::Percentile(percent, _), Some(latency)) => Ok(Measure::Percentile(percent, latency)),
            (Measure::Max(_), Some(latency)) => Ok(Measure::Max(latency)),
            (Measure::Mean(_), Some(latency)) => Ok(Measure::Mean(latency)),
            (_, Some(_)) => Err(format!("`{plain}` is no latency, so there is nothing to choose in brackets")),
        }
    }

    /// What its values are.
    pub fn kind(self) -> Kind {
        match self {
            Measure::Percentile(..) | Measure::Max(_) | Measure::Mean(_) => Kind::Latency,
            Measure::Counted(_) | Measure::Delivered(_) => Kind::Share,
            Measure::Rate => Kind::Rate,
            Measure::Fairness => Kind::Index,
        }
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Measure::Rate | Measure::Fairness)
    }

    /// Whether it is known while a run goes on: not what the sink is asked for afterwards, nor which moments were never
    /// made up for.
    pub fn is_live(self) -> bool {
        !matches!(self, Measure::Delivered(_) | Measure::Counted(Counted::Unsent))
    }

    /// Its value: µs, a share, a number a second or an index. `None` where there is nothing to take it of, such as a
    /// latency where nothing was answered.
    pub fn of(self, seen: Seen) -> Option<f64> {
        let Seen { tally, seconds, .. } = seen;
        match self {
            Measure::Percentile(percent, latency) => {
                latencies(tally, latency).map(|histogram| histogram.at(percent / 100.0) as f64)
            }
            Measure::Max(latency) => latencies(tally, latency).map(|histogram| histogram.max() as f64),
            Measure::Mean(latency) => latencies(tally, latency).map(Histogram::mean),
            Measure::Counted(counted) => (tally.intended > 0).then(|| counted.of(tally) as f64 / tally.intended as f64),
            Measure::Delivered(delivered) => {
                delivered.told(seen).map(|delivery| delivered.of(delivery) as f64 / delivery.accepted as f64)
            }
            Measure::Rate => (seconds > 0.0).then(|| tally.ok as f64 / seconds),
            Measure::Fairness => fairness(seen.tenants.values()),
        }
    }

    /// How many there were, and of how many, for a measure of [`Kind::Share`].
    pub fn count(self, seen: Seen) -> Option<(u64, u64)> {
        match self {
            Measure::Counted(counted) => Some((counted.of(seen.tally), seen.tally.intended)),
            Measure::Delivered(delivered) => {
                delivered.told(seen).map(|delivery| (delivered.of(delivery), delivery.accepted))
            }
            _ => None,
        }
    }
}

impl Counted {
    fn of(self, tally: &Tally) -> u64 {
        match self {
            Counted::Error => tally.refused + tally.failed + tally.wrong + tally.unsent,
            Counted::Shed => tally.shed,
            Counted::Refused => tally.refused,
            Counted::Failed => tally.failed,
            Counted::Wrong => tally.wrong,
            Counted::Late => tally.late,
            Counted::Unsent => tally.unsent,
        }
    }
}

impl Delivered {
    /// What the sink told, where anything was accepted, as of nothing, nothing can be lost; and of the lost only where the
    /// wait for the others was not cut short.
    fn told(self, seen: Seen<'_>) -> Option<&Delivery> {
        let known = |delivery: &&Delivery| self != Delivered::Lost || delivery.outstanding == 0;
        seen.delivery.filter(|delivery| delivery.accepted > 0).filter(known)
    }

    fn of(self, delivery: &Delivery) -> u64 {
        match self {
            Delivered::Lost => delivery.lost,
            Delivered::Duplicated => delivery.duplicated,
            Delivered::OutOfOrder => delivery.out_of_order,
            Delivered::Unacknowledged => delivery.unacknowledged,
            Delivered::Invented => delivery.invented,
        }
    }
}

/// Jain's fairness index (R. Jain, D. Chiu, W. Hawe, 1984) of the shares of moments that were answered as they should
/// be. `None` where no tenant had a moment; 1 where nobody got anything.
pub fn fairness<'a>(tenants: impl Iterator<Item = &'a Tally>) -> Option<f64> {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for tally in tenants.filter(|tally| tally.intended > 0) {
        let share = tally.ok as f64 / tally.intended as f64;
        (n, sum, squares) = (n + 1.0, sum + share, squares + share * share);
    }
    (n > 0.0).then(|| if squares == 0.0 { 1.0 } else { sum * sum / (n * squares) })
}

fn latencies(tally: &Tally, latency: Latency) -> Option<&Histogram> {
    let histogram = match latency {
        Latency::Response => Some(&tally.response),
        Latency::Service => Some(&tally.service),
        Latency::Ok => tally.response_ok(),
    };
    histogram.filter(|histogram| histogram.count() > 0)
}

fn percentile(text: &str) -> Result<Measure, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(Measure::Percentile(percent, Latency::Response)),
        Ok(_) => Err(format!("`p{text}` is no percentile: more than p0 and less than p100, which is `max`")),
        Err(_) => Err(format!("`p{text}` is no percentile, such as p50, p99 or p99.9")),
    }
}

fn named(name: &str) -> Result<Measure, String> {
    if let Some((_, measure)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Ok(*measure);
    }
    let near = NAMED
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(known, name), known))
        // A typo keeps most letters; a guess beyond a third of them would mislead.
        .filter(|(distance, known)| *distance <= (known.len().max(name.len()) / 3).max(1))
        .min();
    match near {
        Some((_, known)) => Err(format!("unknown measure; did you mean `{known}`?")),
        None => Err(format!("unknown measure; there are {NAMES}")),
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let which = |latency: &Latency| match latency {
            Latency::Response => "",
            Latency::Service => "(service)",
            Latency::Ok => "(ok)",
        };
        match self {
            Measure::Percentile(percent, latency) => write!(f, "p{percent}{}", which(latency)),
            Measure::Max(latency) => write!(f, "max{}", which(latency)),
            Measure::Mean(latency) => write!(f, "mean{}", which(latency)),
            other => f.write_str(NAMED.iter().find(|(_, measure)| measure == other).map_or("", |(name, _)| name)),
        }
    }
}

/// Microseconds for people: `930 µs`, `11.8 ms`, `2.50 s`.
pub fn time(micros: f64) -> String {
    match micros.abs() {
        under if under < 999.5 => format!("{micros:.0} µs"),
        under if under < 9_995.0 => format!("{:.2} ms", micros / 1e3),
        under if under < 99_950.0 => format!("{:.1} ms", micros / 1e3),
        under if under < 999_500.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A share (0 to 1) in percent: never `0 %` for something, as one lost order in a million is not none.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        under if under < 0.001 => format!("{percent:.1e} %"),
        under if under < 0.1 => format!("{percent:.3} %"),
        _ => format!("{percent:.2} %"),
    }
}
