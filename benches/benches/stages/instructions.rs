//! Every stage's instructions and CPU time: `cargo bench -p sluis-bench -- instructions`.
//!
//! Each stage is counted in a process of its own, this executable under callgrind: what it does to get ready, and the
//! turns that warm it, are not counted.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use sluis_bench::Error;
use sluis_bench::instructions::{BROKEN, Change, Figure, Figures, Gate, Origin, totals};

use crate::house::House;
use crate::stage::{Shared, Stage, Turns};
use crate::{all, request};

/// The word that makes this the program here.
pub const INSTRUCTIONS: &str = "instructions";
/// The word that makes this the process that is counted.
pub const COUNT: &str = "count";

/// Work of so much CPU time is counted, which takes callgrind a second or two.
const COUNTED: Duration = Duration::from_millis(10);
/// Batches of turns that are timed, and the shortest of them.
const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(20);

/// Counts every stage's instructions, and takes its CPU time
#[derive(Parser)]
#[command(name = INSTRUCTIONS)]
struct Args {
    /// Only stages whose names contain one of these
    filter: Vec<String>,
    /// Keep the figures in this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Hold the instructions against the figures in this file
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// End with 99 where a stage needs more instructions than before by more than this
    #[arg(long, default_value = "2%")]
    gate: Gate,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The whole program: `args` are those behind its word.
pub fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let args = Args::parse_from([INSTRUCTIONS.to_owned()].into_iter().chain(args));
    match measure(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every stage passed the gate.
fn measure(args: &Args) -> Result<bool, Error> {
    let origin = origin()?;
    let before = args.compare.as_deref().map(|file| Figures::load(file, &origin)).transpose()?;
    let stages = chosen(&args.filter)?;
    let house = Shared::new(House::build);
    let mut figures = Figures::new(origin);
    let mut more = Vec::new();
    println!(
        "{:<32} {:>14} {:>12}   {}",
        "stage",
        "instructions",
        "CPU ns",
        if before.is_some() { "change" } else { "" }
    );
    for stage in &stages {
        let before = before.as_ref().and_then(|before| before.stages.get(&stage.name));
        let figure = figure(stage, &house, before.map(|before| before.turns))?;
        let net = net(stage, figure, &figures.stages);
        figures.stages.insert(stage.name.clone(), figure);
        let change = match (args.compare.is_some(), figure.instructions) {
            (true, Some(now)) => Some(Change::of(before.and_then(|before| before.instructions), now, args.gate)),
            _ => None,
        };
        row(stage, net, change);
        if matches!(change, Some(Change::More(_))) {
            more.push(stage.name.as_str());
        }
    }
    request::print(&figures.stages, &house);
    if let Some(file) = &args.save {
        figures.save(file)?;
    }
    if !more.is_empty() {
        println!("\nmore instructions than before: {}", more.join(", "));
    }
    Ok(more.is_empty())
}

/// The stages that are asked for, and those whose cost is taken off them; those first.
fn chosen(filter: &[String]) -> Result<Vec<Stage>, Error> {
    let (stages, _) = all();
    let asked = |name: &str| filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()));
    let mut needed: Vec<&str> = stages.iter().filter(|s| asked(&s.name)).filter_map(|s| s.beyond).collect();
    while let Some(more) =
        stages.iter().find(|s| needed.contains(&&*s.name) && s.beyond.is_some_and(|o| !needed.contains(&o)))
    {
        needed.extend(more.beyond);
    }
    let chosen: Vec<Stage> = stages.into_iter().filter(|s| asked(&s.name) || needed.contains(&&*s.name)).collect();
    if chosen.is_empty() { Err(format!("no stage has {} in its name", filter.join(" or ")).into()) } else { Ok(chosen) }
}

fn origin() -> Result<Origin, Error> {
    let said = Command::new("valgrind")
        .arg("--version")
        .output()
        .map_err(|error| format!("valgrind: {error}; install it, its callgrind does the counting"))?;
    Ok(Origin {
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        valgrind: String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
    })
}

fn figure(stage: &Stage, house: &Shared, turns: Option<u64>) -> Result<Figure, Error> {
    let pieces = stage.pieces as f64;
    let turn = time(&mut *stage.prepare(house));
    // A power of four, so that a stage has as many turns from run to run.
    let enough = (COUNTED.as_nanos() as f64 / turn).max(4.0).log(4.0).round() as u32;
    let turns = turns.unwrap_or_else(|| 4_u64.pow(enough));
    let instructions = match stage.uncounted {
        Some(_) => None,
        None => Some(count(&stage.name, turns)? as f64 / turns as f64 / pieces),
    };
    Ok(Figure { instructions, nanoseconds: turn / pieces, turns })
}

/// CPU time of a turn in nanoseconds, all threads: the least of some batches, as others can only add to it.
fn time(turns: &mut dyn Turns) -> f64 {
    let mut batch = 1;
    let mut least = f64::INFINITY;
    let mut left = BATCHES;
    while left > 0 {
        turns.ready(batch);
        let (began, cpu) = (Instant::now(), cpu());
        turns.take(batch);
        let took = self::cpu() - cpu;
        if began.elapsed() < BATCH && batch < 1 << 24 {
            batch *= 2;
            continue;
        }
        least = least.min(took.as_nanos() as f64 / batch as f64);
        left -= 1;
    }
    least
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Instructions of so many turns.
fn count(stage: &str, turns: u64) -> Result<u64, Error> {
    let dir = tempfile::tempdir()?;
    let (out, log) = (dir.path().join("out"), dir.path().join("log"));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(joined("--callgrind-out-file=", &out))
        .arg(joined("--log-file=", &log))
        // By name, so that neither depends on how names are mangled.
        .args(["--zero-before=*counting_begins*", "--dump-before=*counting_ends*"])
        .arg(std::env::current_exe()?)
        .args([COUNT, stage, &turns.to_string()])
        .status()?;
    // The second dump is what came after.
    let counted = std::fs::read_to_string(dir.path().join("out.1"));
    match counted {
        Ok(counted) if status.success() => totals(&counted),
        _ => {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            Err(format!("{stage} was not counted ({status}):\n{tail}").into())
        }
    }
}

fn joined(option: &str, path: &Path) -> std::ffi::OsString {
    let mut joined = std::ffi::OsString::from(option);
    joined.push(path);
    joined
}

/// The process that is counted: `NAME TURNS`.
pub fn counted(mut args: impl Iterator<Item = String>) -> ExitCode {
    let (Some(name), Some(turns)) = (args.next(), args.next().and_then(|turns| turns.parse().ok())) else {
        return ExitCode::FAILURE;
    };
    let (stages, _) = all();
    let Some(stage) = stages.into_iter().find(|stage| stage.name == name) else { return ExitCode::FAILURE };
    let house = Shared::new(House::build);
    let mut prepared = stage.prepare(&house);
    let warm = turns / 4 + 1;
    prepared.ready(warm);
    prepared.take(warm);
    prepared.ready(turns);
    counting_begins(turns);
    prepared.take(turns);
    counting_ends(turns);
    ExitCode::SUCCESS
}

/// Callgrind forgets here what it counted.
#[inline(never)]
fn counting_begins(turns: u64) {
    black_box(turns);
}

/// Callgrind writes down here what it counted. Not the same code as above, or the two would become one function.
#[inline(never)]
fn counting_ends(turns: u64) {
    black_box(turns.wrapping_add(1));
}

/// The stage's own share of its figure.
pub fn net(stage: &Stage, figure: Figure, figures: &BTreeMap<String, Figure>) -> Figure {
    let Some(other) = stage.beyond.and_then(|other| figures.get(other)) else { return figure };
    let instructions = figure.instructions.zip(other.instructions).map(|(all, other)| all - other);
    Figure { instructions, nanoseconds: figure.nanoseconds - other.nanoseconds, ..figure }
}

fn row(stage: &Stage, figure: Figure, change: Option<Change>) {
    let instructions = figure.instructions.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}"));
    let change = change.map_or_else(String::new, |change| change.to_string());
    let note = stage.uncounted.map_or_else(String::new, |why| format!("not counted: {why}"));
    println!("{:<32} {instructions:>14} {:>12.0}   {change}{note}", stage.name, figure.nanoseconds);
}
