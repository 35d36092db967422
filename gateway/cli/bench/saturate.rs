//! `sluis bench saturate`: the knee, and the highest rate that holds.

use std::path::PathBuf;
use std::time::Duration;

use sluis_bench::load::{Schedule, Stop};
use sluis_bench::result::{probe, write_text};
use sluis_bench::saturate::{Outcome, Phase, Probe, Saturation, Search, search};
use sluis_bench::session::{self, Lines, SessionError, Stand};
use sluis_bench::slo::{Slo, time};

use super::load::Load;
use super::{BenchError, duration, end, lines, rate, stop, summary};
use crate::failure::Failure;

/// Find the knee and the highest rate that holds the pass lines for long
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    load: Load,
    /// What must hold. Unless a line speaks of errors, error<1% does, too, and unless one speaks of shed, shed<1%
    #[arg(long, value_name = "LINES", value_parser = lines)]
    slo: Slo,
    /// The first rate
    #[arg(long, value_name = "N", value_parser = rate, default_value = "500")]
    start: f64,
    /// The highest rate tried
    #[arg(long, value_name = "N", value_parser = rate, default_value = "1000000")]
    highest: f64,
    /// How close to find it, in per cent of the rate: 1 to 50
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    tolerance: u8,
    /// How long a look at a rate takes
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    probe: Duration,
    /// How long the found rate must hold
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    sustain: Duration,
    /// Write all looks and the long one's result here, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a page about the long look here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Searches.
pub fn run(args: Args) -> Result<(), Failure> {
    for file in [&args.out, &args.html].into_iter().flatten() {
        probe(file)?;
    }
    let settings = Search {
        slo: args.slo.clone().with_errors(),
        start: args.start,
        highest: args.highest,
        tolerance: f64::from(args.tolerance) / 100.0,
        probe: args.probe,
        sustain: args.sustain,
    };
    let schedule = |rate, time| Schedule::constant(rate, time).map_err(|error| SessionError::Asked(error.to_string()));
    // One that cannot be is refused before an hour of looks.
    schedule(args.start, args.sustain)?;
    let job = args.load.job("saturate", schedule(args.start, args.probe)?)?;
    let mut stand = Stand::new(&job, args.load.surroundings()?)?;
    super::run::check_lines(Some(&args.slo), stand.tenants(), stand.has_sink())?;
    let stop = Stop::new();
    stop::on_signal(&stop)?;
    let measure = |rate, time| {
        let job = session::Job { schedule: schedule(rate, time)?, ..job.clone() };
        // Orders of a look before would be repetitions to the gateway, and what it still has of them would be counted.
        stand.renew(&job)?;
        session::run(&job, &stand, Lines::default(), &stop, |_, _| ())
    };
    let found = search(&settings, measure, tell)?;
    end(judged(&found), files(&args, &found), show(&found))
}

/// One look, as it ends.
fn tell(probe: &Probe) {
    let phase = match probe.phase {
        Phase::Climb => "climb",
        Phase::Narrow => "narrow",
        Phase::Knee => "knee",
        Phase::Sustain => "sustain",
    };
    let broken = probe.verdict.lines.iter().find(|line| !line.holds);
    let verdict = broken.map_or("holds".to_owned(), |line| format!("{}: {}", line.wanted, line.seen));
    crate::mention(&format!(
        "{phase:<8} {:>9.0}/s  achieved {:>9.0}/s  p50 {:>8}  p99 {:>8}  {verdict}",
        probe.rate,
        probe.achieved,
        time(probe.p50_us),
        time(probe.p99_us)
    ));
}

/// The long look, where one held, and what was found.
fn show(found: &Saturation) -> std::io::Result<()> {
    if let Some(sustained) = &found.sustained {
        summary::show(sustained)?;
    }
    crate::say(&told(found))
}

fn told(found: &Saturation) -> String {
    let knee = found.knee.map_or("unknown".to_owned(), |knee| format!("{knee:.0}/s"));
    let seconds = found.sustained.as_ref().map_or(0.0, |result| result.plan.seconds);
    match &found.outcome {
        Outcome::Found { rate } => format!("knee {knee}, sustained {rate:.0}/s for {seconds:.0} s"),
        Outcome::Unbroken { rate } => {
            format!("knee {knee}, sustained {rate:.0}/s for {seconds:.0} s; higher rates were not to be tried")
        }
        Outcome::Nothing { rate, why } => format!("nothing holds: even at {rate:.1}/s, {why}"),
        Outcome::Generator { rate, held, why } => {
            format!("the generator was the limit at {rate:.0}/s ({why}); {}", held_shortly(*held, "no rate below"))
        }
        Outcome::Failed { rate, held, why } => {
            format!("{rate:.0}/s could not be looked at ({why}); {}, knee {knee}", held_shortly(*held, "no rate"))
        }
        Outcome::Unsteady { rate, why } => format!("no rate holds for long: at {rate:.0}/s, {why}"),
        Outcome::Interrupted => "interrupted".to_owned(),
    }
}

fn held_shortly(held: Option<f64>, none: &str) -> String {
    held.map_or(format!("{none} held"), |held| format!("{held:.0}/s held for a short look"))
}

fn files(args: &Args, found: &Saturation) -> Result<(), Failure> {
    let json = args.out.as_deref().map_or(Ok(()), |path| {
        let text = serde_json::to_string(found).map_err(|error| BenchError::Failed(error.to_string()))?;
        Ok(write_text(path, &text)?)
    });
    let page = match (&args.html, &found.sustained) {
        (Some(path), Some(sustained)) => super::report::page(path, std::slice::from_ref(&**sustained)),
        _ => Ok(()),
    };
    json.and(page)
}

fn judged(found: &Saturation) -> Result<(), Failure> {
    Err(Failure::Bench(match &found.outcome {
        Outcome::Found { .. } | Outcome::Unbroken { .. } => return Ok(()),
        Outcome::Nothing { .. } | Outcome::Unsteady { .. } => {
            BenchError::Broken("no rate holds the pass lines".to_owned())
        }
        Outcome::Generator { .. } => BenchError::Failed("not found: the generator was the limit".to_owned()),
        Outcome::Failed { .. } => BenchError::Failed("not found: a look failed".to_owned()),
        Outcome::Interrupted => BenchError::Interrupted,
    }))
}
