//! Counted instructions: what callgrind wrote down, kept figures, and whether a stage costs more than it did.
//!
//! A count does not depend on who else uses the machine, so a change of a few percent shows where a time would not.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Exit status where a stage costs more than the gate lets pass.
pub const BROKEN: u8 = 99;

/// Of the file that figures are kept in.
const SCHEMA: u32 = 1;

/// What one stage costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Instructions of a turn in user space, all threads; none where the stage cannot be counted.
    pub instructions: Option<f64>,
    /// CPU time of a turn in nanoseconds, the kernel's included, all threads.
    pub nanoseconds: f64,
    /// Turns that were counted; a comparison counts as many.
    pub turns: u64,
}

/// What the figures depend on beside the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `release` or `debug`.
    pub build: String,
    /// As `valgrind --version` says: it decides which instructions a program finds the processor to have.
    pub valgrind: String,
    /// Architecture of the processor.
    pub arch: String,
}

/// Figures of a run, by stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    schema: u32,
    /// What they depend on.
    pub origin: Origin,
    /// By the stage's name.
    pub stages: BTreeMap<String, Figure>,
}

impl Figures {
    /// None yet.
    pub fn new(origin: Origin) -> Self {
        Figures { schema: SCHEMA, origin, stages: BTreeMap::new() }
    }

    /// Reads what [`Figures::save`] wrote; fails where it cannot be compared with figures of `origin`.
    pub fn load(file: &Path, origin: &Origin) -> Result<Self, Error> {
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let figures: Figures = serde_json::from_slice(&text)
            .map_err(|error| format!("{} holds no figures of this program: {error}", file.display()))?;
        if figures.schema != SCHEMA {
            return Err(format!("{} has schema {}, this program reads {SCHEMA}", file.display(), figures.schema).into());
        }
        if figures.origin != *origin {
            let (then, now) = (&figures.origin, origin);
            return Err(format!(
                "{} cannot be compared with: it is of a {} build under {} on {}, and this is a {} build under {} on {}",
                file.display(),
                then.build,
                then.valgrind,
                then.arch,
                now.build,
                now.valgrind,
                now.arch
            )
            .into());
        }
        Ok(figures)
    }

    /// Keeps the figures for later.
    pub fn save(&self, file: &Path) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
    }
}

/// By how much a stage may cost more before that counts: a share, 0.02 for `2%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate(f64);

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=1_000.0).contains(percent)) {
            Some(percent) => Ok(Gate(percent / 100.0)),
            None => Err(format!("`{text}` is no share such as 2%, from 0% to 1000%")),
        }
    }
}

/// What became of a stage's instructions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Within the gate: by this share, negative for less.
    Within(f64),
    /// Past the gate, fewer.
    Fewer(f64),
    /// Past the gate, more.
    More(f64),
    /// There is nothing to compare with.
    New,
}

impl Change {
    /// Of `now` against `before`.
    pub fn of(before: Option<f64>, now: f64, gate: Gate) -> Change {
        match before.filter(|before| *before > 0.0).map(|before| now / before - 1.0) {
            None => Change::New,
            Some(share) if share > gate.0 => Change::More(share),
            Some(share) if share < -gate.0 => Change::Fewer(share),
            Some(share) => Change::Within(share),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Within(share) => write!(f, "{:+.2} %", share * 100.0),
            Change::Fewer(share) => write!(f, "{:+.2} %, fewer", share * 100.0),
            Change::More(share) => write!(f, "{:+.2} %, MORE", share * 100.0),
            Change::New => f.write_str("new"),
        }
    }
}

/// The sum over all functions of a file that callgrind wrote (Callgrind Format Specification, "totals"). Its `summary`
/// is not asked: that goes on from before `--zero-before`.
pub fn totals(text: &str) -> Result<u64, Error> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    let count = line.and_then(|rest| rest.split_whitespace().next()).and_then(|count| count.parse().ok());
    count.ok_or_else(|| "callgrind wrote no totals".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin(build: &str) -> Origin {
        Origin { build: build.to_owned(), valgrind: "valgrind-3.24.0".to_owned(), arch: "x86_64".to_owned() }
    }

    #[test]
    fn the_totals_are_read_and_not_the_summary() {
        let text = "part: 1\nevents: Ir\nsummary: 17015384\n\nfn=(1) main\n3 12\n\ntotals: 13008814\n";
        assert_eq!(totals(text).unwrap(), 13_008_814);
        assert!(totals("events: Ir\nsummary: 1\n").is_err());
    }

    #[test]
    fn a_gate_is_a_share_in_percent() {
        assert_eq!("2%".parse(), Ok(Gate(0.02)));
        assert_eq!("0.5%".parse(), Ok(Gate(0.005)));
        for wrong in ["2", "%", "-1%", "NaN%", "inf%", "two%", "2 000%"] {
            assert!(wrong.parse::<Gate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_more_than_the_gate_is_more() {
        let gate = Gate(0.02);
        assert!(matches!(Change::of(Some(1_000.0), 1_019.9, gate), Change::Within(_)));
        assert!(matches!(Change::of(Some(1_000.0), 1_020.1, gate), Change::More(_)));
        assert!(matches!(Change::of(Some(1_000.0), 979.0, gate), Change::Fewer(_)));
        assert_eq!(Change::of(None, 5.0, gate), Change::New);
    }

    #[test]
    fn figures_come_back_and_those_of_another_build_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("base.json");
        let mut figures = Figures::new(origin("release"));
        let figure = Figure { instructions: Some(812.5), nanoseconds: 140.25, turns: 65_536 };
        figures.stages.insert("router/find/10".to_owned(), figure);
        figures.save(&file).unwrap();
        assert_eq!(Figures::load(&file, &origin("release")).unwrap(), figures);
        let error = Figures::load(&file, &origin("debug")).unwrap_err().to_string();
        assert!(error.contains("base.json") && error.contains("release build"), "{error}");
        std::fs::write(&file, "[]").unwrap();
        assert!(Figures::load(&file, &origin("release")).is_err());
    }
}
