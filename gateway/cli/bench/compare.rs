//! `sluis bench compare`: two sides, measure by measure.

use std::path::{Path, PathBuf};

use sluis_bench::compare::{Change, Comparison, Gate, Standing, Word, compare, signed};
use sluis_bench::result::{RunResult, read};
use sluis_bench::slo::{Kind, percent, time};

use super::{BenchError, end};
use crate::failure::Failure;
use crate::table::{Align, plain, render};

/// Hold results against each other: better, worse, unchanged, or noise
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Before: a result, or several runs of the same, with commas
    #[arg(value_name = "BEFORE.json[,…]", value_parser = runs)]
    before: Runs,
    /// After
    #[arg(value_name = "AFTER.json[,…]", value_parser = runs)]
    after: Runs,
    /// What may get worse, or the exit code is 99: `p99:+10%,error:+0.1%,rate:-5%`. Latencies and rates by a part of
    /// their value, the others by percentage points; only a change that is surely larger breaks it
    #[arg(long, value_name = "LINES", value_parser = gates)]
    gate: Option<Gates>,
    /// Write a page with both sides over each other here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The runs of a side.
#[derive(Debug, Clone)]
struct Runs(Vec<PathBuf>);

fn runs(text: &str) -> Result<Runs, String> {
    match text.split(',').all(|path| !path.is_empty()) {
        true => Ok(Runs(text.split(',').map(PathBuf::from).collect())),
        false => Err("files with commas between them are wanted".to_owned()),
    }
}

#[derive(Debug, Clone)]
struct Gates(Vec<Gate>);

fn gates(text: &str) -> Result<Gates, String> {
    Gate::parse(text).map(Gates).map_err(|error| error.to_string())
}

/// Compares.
pub fn run(args: &Args) -> Result<(), Failure> {
    let side = |runs: &Runs| runs.0.iter().map(|path| read(path)).collect::<Result<Vec<RunResult>, _>>();
    let (before, after) = (side(&args.before)?, side(&args.after)?);
    let gates = args.gate.as_ref().map(|gates| gates.0.as_slice()).unwrap_or_default();
    let found = compare(&before, &after, gates)?;
    let written = args
        .html
        .as_deref()
        .map_or(Ok(()), |path: &Path| super::report::page(path, &[before.as_slice(), after.as_slice()].concat()));
    let shown = crate::say(show(&found, before.len().max(after.len())).trim_end());
    end(judged(&found), written, shown)
}

fn judged(found: &Comparison) -> Result<(), Failure> {
    let is = |standing| found.gates.iter().any(|gate| gate.standing == standing);
    Err(Failure::Bench(match () {
        () if found.gates.is_empty() => return Ok(()),
        () if found.differences.invalid => {
            BenchError::Failed("the gate cannot be judged: the generator was a run's limit".to_owned())
        }
        () if found.differences.incomplete => {
            BenchError::Failed("the gate cannot be judged: a run did not come to its end".to_owned())
        }
        () if is(Standing::Broken) => BenchError::Broken("the gate is broken".to_owned()),
        () if is(Standing::Missing) => {
            BenchError::Failed("the gate cannot be judged: a measure is not in both results".to_owned())
        }
        () => return Ok(()),
    }))
}

fn show(found: &Comparison, runs: usize) -> String {
    let mut text = String::new();
    for loud in &found.differences.loud {
        text.push_str(&format!("WARNING: {}\n", plain(loud)));
    }
    for quiet in &found.differences.quiet {
        text.push_str(&format!("{}\n", plain(quiet)));
    }
    let heading = [
        ("measure", Align::Left),
        ("before", Align::Right),
        ("after", Align::Right),
        ("change", Align::Right),
        ("99 % interval", Align::Right),
        ("", Align::Left),
    ];
    let rows: Vec<Vec<String>> = found.changes.iter().map(row).collect();
    text.push_str(&render(&heading, &rows));
    if runs == 1 {
        text.push_str(
            "one run a side: what differs from run to run is not in the intervals; several, with commas, tell it\n",
        );
    }
    for gate in &found.gates {
        let word = match gate.standing {
            Standing::Holds => "✔ holds",
            Standing::Broken => "✖ BROKEN",
            Standing::Undecided => "? undecided, longer or more runs would tell",
            Standing::Missing => "? not in both results",
        };
        text.push_str(&format!("{word}: {}  {}\n", plain(&gate.wanted), plain(&gate.seen)));
    }
    text
}

fn row(change: &Change) -> Vec<String> {
    let value = |value: f64| match change.measure.kind() {
        Kind::Latency => time(value),
        Kind::Share => percent(value),
        Kind::Rate => format!("{value:.1}/s"),
        Kind::Index => format!("{value:.3}"),
    };
    let word = match change.word {
        Word::Better => "better",
        Word::Worse => "WORSE",
        Word::Unchanged => "unchanged",
        Word::Noise => "noise",
    };
    let interval =
        change.interval.map_or("–".to_owned(), |(low, high)| format!("{} … {}", signed(low), signed(high)));
    vec![
        change.measure.to_string(),
        value(change.before),
        value(change.after),
        signed(change.middle()),
        interval,
        word.to_owned(),
    ]
}
