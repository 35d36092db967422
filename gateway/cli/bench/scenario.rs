//! `sluis bench scenario`: a gateway, its parts, a fault, and what has to hold meanwhile.

use std::path::{Path, PathBuf};

use sluis_bench::live::Live;
use sluis_bench::load::Stop;
use sluis_bench::result::{RunResult, probe};
use sluis_bench::scenario::{self, Options, Outcome, Scenario};

use super::{BenchError, end, load, stop, summary};
use crate::failure::Failure;

/// Run scenarios: a gateway with its parts, a load, a fault, and the lines that have to hold
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of scenarios that come with the program, or files; `all` for all of them
    #[arg(required_unless_present = "list", value_name = "NAME|FILE.yaml")]
    names: Vec<String>,
    /// List those that come with the program
    #[arg(long)]
    list: bool,
    /// Print the file of a scenario, to write one's own after it
    #[arg(long, conflicts_with = "list")]
    print: bool,
    /// So many times faster than written, where it tells how long something lasts
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// The gateway's program; this one if absent
    #[arg(long, value_name = "FILE")]
    sluis: Option<PathBuf>,
    /// Folder of the built components
    #[arg(long, value_name = "DIR", default_value = "plugins/dist")]
    components: PathBuf,
    /// Keep configurations, state and logs in this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the result here, as JSON; of several, a folder with a file for each
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Write a page with plots here; of several, a folder with a file for each
    #[arg(long, value_name = "FILE|DIR")]
    html: Option<PathBuf>,
    /// Show nothing while it goes
    #[arg(long)]
    quiet: bool,
}

/// Runs them, one after the other; the first that does not hold decides about the exit code.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.list {
        for name in scenario::names() {
            let scenario = read(name, None)?;
            crate::say(&format!(
                "{name:<28} {}",
                scenario.missing().map_or(scenario.shows.clone(), |why| format!("SKIPPED: {why}"))
            ))?;
        }
        return Ok(());
    }
    if args.print {
        return args.names.iter().try_for_each(|name| Ok(crate::say(text(name)?.trim_end())?));
    }
    let all = || scenario::names().into_iter().map(str::to_owned).collect();
    let names = if args.names == ["all"] { all() } else { args.names.clone() };
    // All are read before the first is run.
    let scenarios = names.iter().map(|name| read(name, args.time_scale)).collect::<Result<Vec<Scenario>, Failure>>()?;
    let several = scenarios.len() > 1;
    for (target, ending) in [(&args.out, "json"), (&args.html, "html")] {
        for scenario in &scenarios {
            target.iter().try_for_each(|path| probe(&place(path, several, &scenario.name, ending)))?;
        }
    }
    let stop = Stop::new();
    stop::on_signal(&stop)?;
    let mut first = Ok(());
    for scenario in &scenarios {
        let ran = one(args, scenario, several, &stop);
        let interrupted = matches!(&ran, Err(Failure::Bench(BenchError::Interrupted)));
        first = first_of(first, ran);
        if interrupted {
            break;
        }
    }
    first
}

/// The first failure, but one to show a result, which says nothing about it, only where there is no other.
fn first_of(first: Result<(), Failure>, next: Result<(), Failure>) -> Result<(), Failure> {
    match (first, next) {
        (Err(Failure::Output(_)), Err(next)) => Err(next),
        (first, next) => first.and(next),
    }
}

fn one(args: &Args, scenario: &Scenario, several: bool, stop: &Stop) -> Result<(), Failure> {
    let own = || std::env::current_exe().map_err(|error| BenchError::Failed(format!("this program: {error}")));
    let options = Options {
        sluis: args.sluis.clone().map_or_else(own, Ok)?,
        components: args.components.clone(),
        dir: args.dir.clone(),
    };
    let mut live = (!args.quiet).then(|| Live::new(&scenario.name, scenario.length()));
    let outcome = scenario::run(scenario, &options, stop, &mut |moment| {
        if let Some(live) = &mut live {
            live.tell(moment);
        }
    });
    drop(live);
    match outcome.map_err(|error| BenchError::Failed(format!("{}: {error}", scenario.name)))? {
        Outcome::Skipped { why } => Ok(crate::say(&format!("{}: SKIPPED: {why}", scenario.name))?),
        Outcome::Ran(result) => {
            let written = files(args, several, &result);
            end(super::run::verdict(&result), written, summary::show(&result))
        }
    }
}

fn files(args: &Args, several: bool, result: &RunResult) -> Result<(), Failure> {
    let at =
        |target: &Option<PathBuf>, ending| target.as_deref().map(|path| place(path, several, &result.name, ending));
    super::run::files(result, at(&args.out, "json").as_deref(), at(&args.html, "html").as_deref())
}

/// A file of its own for each of several.
fn place(path: &Path, several: bool, name: &str, ending: &str) -> PathBuf {
    if several { path.join(format!("{name}.{ending}")) } else { path.to_owned() }
}

fn read(name: &str, time_scale: Option<f64>) -> Result<Scenario, Failure> {
    let wrong = |error: sluis_bench::workload::Invalid| BenchError::Usage(format!("{name}: {error}"));
    Ok(Scenario::parse(&text(name)?, time_scale).map_err(wrong)?)
}

/// Of one that comes with the program, or of a file.
fn text(name: &str) -> Result<String, Failure> {
    if let Some(text) = scenario::embedded(name) {
        return Ok(text.to_owned());
    }
    let path = Path::new(name);
    if path.extension().is_none() && !path.exists() {
        let names = scenario::names().join(", ");
        return Err(BenchError::Usage(format!("there is no scenario `{name}`; there are {names}, and files")).into());
    }
    Ok(load::read(path).map_err(|error| BenchError::Usage(format!("{name}: {error}")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_seen_enough_hides_no_later_verdict() {
        let unread = || Err(Failure::Output(std::io::ErrorKind::BrokenPipe.into()));
        let broken = || Err(BenchError::Broken("the pass lines are broken".to_owned()).into());
        assert!(matches!(first_of(unread(), broken()), Err(Failure::Bench(BenchError::Broken(_)))));
        assert!(matches!(first_of(broken(), unread()), Err(Failure::Bench(BenchError::Broken(_)))));
        assert!(matches!(first_of(unread(), Ok(())), Err(Failure::Output(_))));
        assert!(first_of(Ok(()), Ok(())).is_ok());
    }
}
