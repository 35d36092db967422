//! `sluis bench`: load, verdicts, searches, scenarios.
//!
//! The work is `sluis_bench`'s; here are the words of the command line, what people see, and the exit codes: 99 for a
//! broken pass line or gate, 5 for a target that is not there, 64 for what cannot be asked, 130 for Ctrl-C.

mod agent;
mod compare;
mod demo;
mod load;
mod report;
mod run;
mod saturate;
mod scenario;
mod stop;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

use sluis_bench::compare::CompareError;
use sluis_bench::load::LoadError;
use sluis_bench::load::schedule::LONGEST;
use sluis_bench::result::FileError;
use sluis_bench::session::SessionError;

use crate::failure::{FAILED, Failure, USAGE};

/// A pass line or a gate is broken (as k6 has it).
const BROKEN: u8 = 99;
/// Not reachable, or not authorised.
const UNREACHABLE: u8 = 5;
/// Ended by Ctrl-C (128 and SIGINT, as shells have it).
const INTERRUPTED: u8 = 130;

/// Load-test a gateway: open-loop load, verdicts, searches, comparisons, scenarios
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 the pass lines hold, 99 one is broken, 1 it could not be told or written, \
    5 nobody is there, 64 it cannot be asked like that, 130 interrupted.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Saturate(Box<saturate::Args>),
    Compare(compare::Args),
    Report(report::Args),
    Scenario(Box<scenario::Args>),
    Agent(agent::Args),
}

/// Does what was asked for.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Run(args) => run::run(*args),
        Command::Saturate(args) => saturate::run(*args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Agent(args) => agent::run(&args),
    }
}

/// How a command ends: its verdict decides, then whether its files could be written, and only then whether its figures
/// could be shown, as `main` takes a reader who has seen enough for success.
fn end(verdict: Result<(), Failure>, written: Result<(), Failure>, shown: std::io::Result<()>) -> Result<(), Failure> {
    if let (Err(_), Err(unwritten)) = (&verdict, &written) {
        crate::mention(&unwritten.to_string());
    }
    verdict.and(written).and(shown.map_err(Failure::from))
}

/// Why a bench command did not end well.
#[derive(Debug)]
pub enum BenchError {
    /// It cannot be asked like that.
    Usage(String),
    /// Nobody there, or no way in.
    Unreachable(String),
    /// Pass lines or gates are broken.
    Broken(String),
    /// It could not be done, or not be told.
    Failed(String),
    /// Ctrl-C.
    Interrupted,
}

impl BenchError {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            BenchError::Usage(_) => USAGE,
            BenchError::Unreachable(_) => UNREACHABLE,
            BenchError::Broken(_) => BROKEN,
            BenchError::Failed(_) => FAILED,
            BenchError::Interrupted => INTERRUPTED,
        })
    }
}

impl std::fmt::Display for BenchError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            BenchError::Usage(text)
            | BenchError::Unreachable(text)
            | BenchError::Broken(text)
            | BenchError::Failed(text) => f.write_str(text),
            BenchError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        Failure::Bench(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        BenchError::Failed(error.to_string()).into()
    }
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        BenchError::Failed(error.to_string()).into()
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        Failure::Bench(match &error {
            _ if error.is_unreachable() => BenchError::Unreachable(text),
            SessionError::Load(LoadError::Url { .. } | LoadError::Bounds(_) | LoadError::Descriptors { .. })
            | SessionError::Workload(_)
            | SessionError::Asked(_) => BenchError::Usage(text),
            _ => BenchError::Failed(text),
        })
    }
}

/// A duration of the command line: `500ms`, `30s`, `5m`, `1h`; as long as a schedule may be at most.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a number with ms, s, m or h behind it is wanted, such as 30s".to_owned()),
    };
    let seconds = number.parse::<f64>().map_err(|error| error.to_string())? * unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("longer than {} h", LONGEST.as_secs() / 3_600)),
    }
}

/// A rate of the command line: `5000` or `5000/s`.
fn rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("a number of requests a second is wanted, such as 5000".to_owned()),
    }
}

/// Reads pass lines, for clap.
fn lines(text: &str) -> Result<sluis_bench::slo::Slo, String> {
    sluis_bench::slo::Slo::parse(text).map_err(|error| error.to_string())
}
