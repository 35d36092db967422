//! The grammar of pass lines:
//!
//! ```text
//! lines   = line *("," line)
//! line    = ["tenant:" NAME "."] measure ("<" / "<=" / "=" / ">=" / ">") number [unit]
//! unit    = "us" / "ms" / "s"    of latencies
//!         / "%"                  of kinds of requests; without it, how many
//!         / "/s"                 of the rate
//! ```

use std::fmt;

use super::measure::{Kind, Measure};
use super::{Bound, Comparison, PassLine, Slo};

/// Longest text taken.
const MAX_TEXT: usize = 8 << 10;
/// Most lines in it.
const MAX_LINES: usize = 100;

/// A text that is not as the grammar says: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrammarError {
    text: String,
    /// Characters before the part in question, and its own.
    at: (usize, usize),
    what: String,
}

impl std::error::Error for GrammarError {}

impl fmt::Display for GrammarError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shown: String = self.text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let (before, length) = self.at;
        write!(f, "{}\n  {shown}\n  {:before$}{}", self.what, "", "^".repeat(length.max(1)))
    }
}

impl GrammarError {
    /// About the part of `text` that `part` is.
    pub(crate) fn new(text: &str, part: &str, what: impl Into<String>) -> Self {
        // Both are slices of the same text, so their distance is an offset in it.
        let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
        let before = text.get(..offset).map_or(0, |before| before.chars().count());
        GrammarError { text: text.to_owned(), at: (before, part.chars().count()), what: what.into() }
    }
}

impl Slo {
    /// Reads `p99<25ms,error<0.1%,tenant:acme.shed=0`.
    ///
    /// # Errors
    /// Where the grammar of this module is not kept to, with the place.
    pub fn parse(text: &str) -> Result<Slo, GrammarError> {
        if text.len() > MAX_TEXT {
            return Err(GrammarError::new("", "", format!("longer than {MAX_TEXT} bytes")));
        }
        let lines: Vec<PassLine> = text.split(',').map(|part| line(text, part)).collect::<Result<_, _>>()?;
        if lines.len() > MAX_LINES {
            return Err(GrammarError::new("", "", format!("more than {MAX_LINES} lines")));
        }
        Ok(Slo { lines })
    }
}

fn line(whole: &str, part: &str) -> Result<PassLine, GrammarError> {
    let part = part.trim();
    let fail = |part: &str, what: String| Err(GrammarError::new(whole, part, what));
    if part.is_empty() {
        return fail(part, "nothing here; a line is like p99<25ms or error<0.1%".to_owned());
    }
    let Some(operator) = part.find(['<', '=', '>']) else {
        return fail(part, "no comparison; a line is like p99<25ms, with <, <=, =, >= or >".to_owned());
    };
    let (left, right) = part.split_at(operator);
    let length = right.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(right.len());
    let (operator, value) = right.split_at(length);
    let comparison = match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        "=" => Comparison::Equal,
        ">=" => Comparison::AtLeast,
        ">" => Comparison::More,
        _ => return fail(operator, "no comparison; there are <, <=, =, >= and >".to_owned()),
    };
    let (tenant, name) = scope(whole, left.trim())?;
    let measure = Measure::parse(name).map_err(|what| GrammarError::new(whole, name, what))?;
    if tenant.is_some() && matches!(measure, Measure::Delivered(_) | Measure::Fairness) {
        return fail(name, format!("{measure} is not known by tenant"));
    }
    let bound = bound(measure, value.trim()).map_err(|what| GrammarError::new(whole, value.trim(), what))?;
    if comparison == Comparison::Equal && !matches!(bound, Bound::Count(_)) {
        return fail(operator, format!("only counts are equal to a number; {measure} has < or >"));
    }
    Ok(PassLine { text: part.to_owned(), tenant, measure, comparison, bound })
}

fn scope<'a>(whole: &str, left: &'a str) -> Result<(Option<String>, &'a str), GrammarError> {
    let Some(rest) = left.strip_prefix("tenant:") else { return Ok((None, left)) };
    match rest.split_once('.') {
        Some((tenant, name)) if !tenant.is_empty() => Ok((Some(tenant.to_owned()), name)),
        _ => Err(GrammarError::new(whole, left, "a tenant's line is like tenant:acme.p99<25ms")),
    }
}

fn bound(measure: Measure, text: &str) -> Result<Bound, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (unit, Ok(number)) = (unit.trim(), number.parse::<f64>()) else {
        return Err("a number is wanted here, such as 25ms, 0.1% or 3".to_owned());
    };
    match (measure.kind(), unit) {
        (Kind::Latency, "us" | "µs") => Ok(Bound::Micros(number)),
        (Kind::Latency, "ms") => Ok(Bound::Micros(number * 1e3)),
        (Kind::Latency, "s") => Ok(Bound::Micros(number * 1e6)),
        (Kind::Latency, _) => Err(format!("{measure} is a latency, with us, ms or s behind the number")),
        (Kind::Share, "%") if number <= 100.0 => Ok(Bound::Share(number / 100.0)),
        (Kind::Share, "%") => Err("more than 100 %".to_owned()),
        (Kind::Share, "") if number.fract() == 0.0 => Ok(Bound::Count(number)),
        (Kind::Share, "") => Err(format!("a part of one: {measure} is a whole number, or a share with % behind it")),
        (Kind::Share, _) => Err(format!("{measure} is a whole number, or a share with % behind it")),
        (Kind::Rate, "/s" | "") => Ok(Bound::PerSecond(number)),
        (Kind::Rate, _) => Err(format!("{measure} is a number a second, such as 4900/s")),
        (Kind::Index, "") if number <= 1.0 => Ok(Bound::Index(number)),
        (Kind::Index, _) => Err(format!("{measure} is a number from 0 to 1")),
    }
}
