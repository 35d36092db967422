//! The short forms in which workloads are written: weights, shares and sizes.

use std::time::Duration;

/// The longest time that anything here takes, seconds: a week.
const LONGEST: f64 = 604_800.0;

/// Something that was written and cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Invalid {
    /// Where: `tenants[1].size`.
    pub at: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl Invalid {
    /// At this place.
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Invalid { at: at.into(), what: what.into() }
    }
}

/// Names and their weights, `acme=70,globex=30`; a name alone has the weight 1.
pub fn weights(at: &str, text: &str) -> Result<Vec<(String, f64)>, Invalid> {
    let mut all: Vec<(String, f64)> = Vec::new();
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let name = name.trim();
        if name.is_empty() {
            return Err(Invalid::new(at, format!("`{text}` has a part without a name; write `acme=70,globex=30`")));
        }
        if all.iter().any(|(other, _)| other == name) {
            return Err(Invalid::new(at, format!("`{name}` is there twice")));
        }
        all.push((name.to_owned(), weight_of(at, weight)?));
    }
    if all.iter().all(|(_, weight)| *weight == 0.0) {
        return Err(Invalid::new(at, "one weight at least must be more than 0"));
    }
    Ok(all)
}

fn weight_of(at: &str, text: &str) -> Result<f64, Invalid> {
    let weight = text.trim().parse().ok().filter(|weight: &f64| (0.0..=1e9).contains(weight));
    weight.ok_or_else(|| Invalid::new(at, format!("`{text}` is no weight: a number from 0 to 1,000,000,000")))
}

/// A share, `2.5%`, as a part of 1.
pub fn share(at: &str, text: &str) -> Result<f64, Invalid> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = percent.map(|percent| percent / 100.0).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| Invalid::new(at, format!("`{text}` is no share; write 0% to 100%, such as 2.5%")))
}

/// Names and their shares, `expired=1%,kid=0.5%`, at most all of it together.
pub fn shares(at: &str, text: &str) -> Result<Vec<(String, f64)>, Invalid> {
    let mut all: Vec<(String, f64)> = Vec::new();
    for part in text.split(',') {
        let Some((name, of)) = part.split_once('=') else {
            return Err(Invalid::new(at, format!("`{part}` has no share; write `expired=1%,kid=0.5%`")));
        };
        all.push((name.trim().to_owned(), share(at, of)?));
    }
    // A little more by rounding is all of it.
    if all.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 {
        return Err(Invalid::new(at, format!("`{text}` is more than 100% together")));
    }
    Ok(all)
}

/// Bytes: `512`, `1KiB`, `2MiB`.
pub fn size(at: &str, text: &str) -> Result<usize, Invalid> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        _ => None,
    };
    let bytes = text[..digits].parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| Invalid::new(at, format!("`{text}` is no size; write bytes, KiB or MiB, such as 16KiB")))
}

/// Sizes and their weights: `1KiB`, or `1KiB:90,64KiB:10`.
pub fn sizes(at: &str, text: &str) -> Result<Vec<(usize, f64)>, Invalid> {
    let part = |part: &str| {
        let (bytes, weight) = part.split_once(':').unwrap_or((part, "1"));
        Ok((size(at, bytes)?, weight_of(at, weight)?))
    };
    let all: Vec<(usize, f64)> = text.split(',').map(part).collect::<Result<_, Invalid>>()?;
    if all.iter().all(|(_, weight)| *weight == 0.0) {
        return Err(Invalid::new(at, "one weight at least must be more than 0"));
    }
    Ok(all)
}

/// A length of time: `250ms`, `1.5s`, `10m`, `1h`.
pub fn duration(at: &str, text: &str) -> Result<Duration, Invalid> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "us" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3_600.0),
        _ => None,
    };
    let seconds = text[..digits].parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit);
    let duration = seconds.filter(|seconds| *seconds <= LONGEST).and_then(|s| Duration::try_from_secs_f64(s).ok());
    duration.ok_or_else(|| Invalid::new(at, format!("`{text}` is no length of time; write 250ms, 1.5s, 10m or 1h")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_read() {
        let own = |name: &str, number| (name.to_owned(), number);
        assert_eq!(weights("x", "acme=70, globex=30").unwrap(), [own("acme", 70.0), own("globex", 30.0)]);
        assert_eq!(weights("x", "acme").unwrap(), [own("acme", 1.0)]);
        assert_eq!(shares("x", "expired=1%,kid=0.5%").unwrap(), [own("expired", 0.01), own("kid", 0.005)]);
        assert_eq!(sizes("x", "1KiB:90,64KiB:10").unwrap(), [(1024, 90.0), (65_536, 10.0)]);
        assert_eq!(size("x", "3MiB").unwrap(), 3 << 20);
        assert_eq!(duration("x", "1.5s").unwrap(), Duration::from_millis(1_500));
        assert_eq!(duration("x", "10m").unwrap(), Duration::from_secs(600));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let said = |result: Result<Vec<(String, f64)>, Invalid>| result.unwrap_err().to_string();
        assert_eq!(said(weights("tenants", "acme=1,acme=2")), "tenants: `acme` is there twice");
        assert!(said(weights("tenants", "acme=-1")).contains("no weight"));
        assert!(said(weights("tenants", "acme=NaN")).contains("no weight"));
        assert!(said(weights("tenants", "acme=0,globex=0")).contains("more than 0"));
        assert!(said(weights("tenants", "acme=1,,")).contains("without a name"));
        assert!(said(shares("bad_tokens", "expired=60%,kid=60%")).contains("more than 100%"));
        assert!(said(shares("bad_tokens", "expired=0.1")).contains("no share"));
        for text in ["", "KiB", "1kb", "99999999999999999999", "18446744073709551615KiB", "1KiB:x"] {
            assert!(sizes("size", text).is_err(), "{text}");
        }
        for text in ["", "5", "s", "1e3s", "-1s", "1.2.3s", "9999h"] {
            assert!(duration("at", text).is_err(), "{text}");
        }
    }
}
