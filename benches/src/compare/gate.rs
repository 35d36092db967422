//! Gates: `p99:+10%,error:+0.1%,rate:-5%`, each a measure and the change for the worse that is allowed.

use super::Change;
use crate::slo::{GrammarError, Kind, Measure, percent};

/// Most lines of a gate.
const MAX_LINES: usize = 100;
/// Longest text of one.
const MAX_TEXT: usize = 8 << 10;

/// One line of a gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    text: String,
    /// What may change.
    pub measure: Measure,
    /// By so much for the worse, 0 or more: relative for latencies and rates, in points (0 to 1) for shares.
    pub allowance: f64,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct GateLine {
    /// As it was written.
    pub wanted: String,
    /// The change and its interval, for people.
    pub seen: String,
    /// See there.
    pub standing: Standing,
}

/// Whether a gate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Surely within what is allowed.
    Holds,
    /// Surely beyond it.
    Broken,
    /// What is allowed lies within the interval: longer or more runs would tell.
    Undecided,
    /// A side has nothing of it.
    Missing,
}

impl Gate {
    /// Reads a gate.
    ///
    /// # Errors
    /// Where a line is not like `p99:+10%`, with the place.
    pub fn parse(text: &str) -> Result<Vec<Gate>, GrammarError> {
        if text.len() > MAX_TEXT || text.matches(',').count() >= MAX_LINES {
            return Err(GrammarError::new("", "", format!("longer than {MAX_LINES} lines or {MAX_TEXT} bytes")));
        }
        text.split(',').map(|part| line(text, part.trim())).collect()
    }

    /// Holds it against the change of its measure.
    pub(super) fn judge(&self, change: Option<&Change>) -> GateLine {
        let line = |seen, standing| GateLine { wanted: self.text.clone(), seen, standing };
        let Some((change, (low, high))) = change.and_then(|change| change.interval.map(|interval| (change, interval)))
        else {
            return line("not in both results".to_owned(), Standing::Missing);
        };
        // The least and the most that it got worse.
        let (least, most) = if self.measure.more_is_better() { (-high, -low) } else { (low, high) };
        let standing = match () {
            () if least > self.allowance => Standing::Broken,
            () if most <= self.allowance => Standing::Holds,
            () => Standing::Undecided,
        };
        line(shown(change, low, high), standing)
    }
}

/// `+4.1 % (+1.0 % to +8.2 %)`.
fn shown(change: &Change, low: f64, high: f64) -> String {
    let middle = signed(change.middle());
    if low == high { middle } else { format!("{middle} ({} to {})", signed(low), signed(high)) }
}

/// A share in percent with its sign.
pub fn signed(share: f64) -> String {
    if share > 0.0 { format!("+{}", percent(share)) } else { percent(share) }
}

fn line(whole: &str, part: &str) -> Result<Gate, GrammarError> {
    let fail = |part: &str, what: &str| GrammarError::new(whole, part, what);
    let Some((name, change)) = part.split_once(':') else {
        return Err(fail(part, "a gate is a measure and the change that is allowed, such as p99:+10%"));
    };
    let measure = Measure::parse(name.trim()).map_err(|what| fail(name, &what))?;
    if matches!(measure, Measure::Fairness | Measure::Max(_)) {
        return Err(fail(name, "not enough of it in a run to tell a change from chance; try p99.9"));
    }
    let change = change.trim();
    let (sign, worse) = if measure.more_is_better() { ('-', "less") } else { ('+', "more") };
    let Some(number) = change.strip_prefix(sign) else {
        let what = format!("{worse} of {measure} is worse, so what is allowed is like {sign}5%");
        return Err(fail(change, &what));
    };
    let Some(Ok(number)) = number.strip_suffix('%').map(|number| number.trim().parse::<f64>()) else {
        let unit = if measure.kind() == Kind::Share { "points of its share" } else { "a part of its value" };
        return Err(fail(change, &format!("a percentage is wanted, {unit}: {sign}5%")));
    };
    if !(0.0..=100_000.0).contains(&number) {
        return Err(fail(change, "a percentage from 0 to 100000 is wanted"));
    }
    Ok(Gate { text: part.to_owned(), measure, allowance: number / 100.0 })
}
