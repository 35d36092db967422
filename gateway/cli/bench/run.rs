//! `sluis bench run`: one load, its result and its verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sluis_bench::agent;
use sluis_bench::live::{Breaker, Live, Moment};
use sluis_bench::load::{Progress, Schedule, Stop};
use sluis_bench::record::{SHOWN_TENANTS, Tally};
use sluis_bench::result::{Ended, RunResult, probe, write};
use sluis_bench::session::{self, Job, Lines, SessionError, Stand};
use sluis_bench::slo::{Slo, Watch, percent};

use super::load::Load;
use super::{BenchError, duration, end, lines, rate, stop, summary};
use crate::failure::Failure;

/// What is sent to the demo, unless another rate is asked for.
const DEMO_RATE: f64 = 100.0;
/// Share of the requests that may come to no good before lines about latency alone are worth a warning.
const WORTH_A_WARNING: f64 = 0.01;

/// Send a load and judge what comes back: requests have their moments, whether or not the ones before were answered
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A pass line is MEASURE OPERATOR NUMBER: p99<25ms  p99(ok)<25ms  p99.9(service)<40ms  max<2s  error<0.1%  \
    shed<1%  lost=0  rate>=4900/s  tenant:acme.p99<30ms"
)]
pub struct Args {
    #[command(flatten)]
    load: Load,
    /// Requests a second; 100 with --demo, if absent
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "schedule")]
    #[arg(required_unless_present_any = ["schedule", "demo"])]
    rate: Option<f64>,
    /// For how long
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "schedule", default_value = "30s")]
    duration: Duration,
    /// A schedule in place of a constant rate: `100/s..5000/s over 60s then 5000/s for 5m`
    #[arg(long, value_name = "TEXT")]
    schedule: Option<String>,
    /// What must hold afterwards, or the exit code is 99
    #[arg(long, value_name = "LINES", value_parser = lines)]
    slo: Option<Slo>,
    /// End at once when one of these is true over the last seconds: `error>20%,p99>5s`
    #[arg(long, value_name = "LINES", value_parser = lines)]
    abort_on: Option<Slo>,
    /// How many seconds those are
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    abort_window: usize,
    /// Write the result here, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a page with plots here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What to call it
    #[arg(long, default_value = "run")]
    name: String,
    /// Send from these machines, on each of which `sluis bench agent` runs, instead of from this one
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "token_file")]
    agents: Vec<String>,
    /// The agents' shared secret
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Show nothing while it goes
    #[arg(long)]
    quiet: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let schedule = match &args.schedule {
        Some(text) => text.parse::<Schedule>(),
        None => Schedule::constant(args.rate.unwrap_or(DEMO_RATE), args.duration),
    };
    let schedule = schedule.map_err(|error| BenchError::Usage(error.to_string()))?;
    let job = args.load.job(&args.name, schedule)?;
    for file in [&args.out, &args.html].into_iter().flatten() {
        probe(file)?;
    }
    if args.out.is_some() {
        job.fits_a_file()?;
    }
    let abort = args.abort_on.clone().map(|lines| Watch::new(lines, args.abort_window)).transpose();
    let lines = Lines { slo: args.slo.clone(), abort: abort.map_err(|error| BenchError::Usage(error.to_string()))? };
    let stop = Stop::new();
    stop::on_signal(&stop)?;
    let result =
        if args.agents.is_empty() { alone(&args, &job, lines, &stop)? } else { spread(&args, &job, lines, &stop)? };
    let written = files(&result, args.out.as_deref(), args.html.as_deref());
    if let Some(text) = args.slo.as_ref().and_then(|slo| blind(slo, &result.recording.all)) {
        crate::mention(&text);
    }
    end(verdict(&result), written, summary::show(&result))
}

fn alone(args: &Args, job: &Job, lines: Lines, stop: &Stop) -> Result<RunResult, Failure> {
    let stand = Stand::new(job, args.load.surroundings()?)?;
    check_lines(args.slo.as_ref(), stand.tenants(), stand.has_sink())?;
    check_abort(args.abort_on.as_ref(), stand.tenants())?;
    let mut show = Show::new(job, args.quiet);
    Ok(session::run(job, &stand, lines, stop, |progress, breakers| show.tell(progress, breakers))?)
}

fn spread(args: &Args, job: &Job, lines: Lines, stop: &Stop) -> Result<RunResult, Failure> {
    let tenants = job.workload.names().map_err(SessionError::Workload)?;
    check_lines(args.slo.as_ref(), &tenants, false)?;
    check_abort(args.abort_on.as_ref(), &tenants)?;
    let secret = args.token_file.as_deref().map(agent::secret).transpose();
    let secret = secret.map_err(|error| BenchError::Usage(error.to_string()))?.unwrap_or_default();
    let mut show = Show::new(job, args.quiet);
    let around = args.load.surroundings()?;
    let tell = |progress: &Progress, breakers: &[Breaker]| show.tell(progress, breakers);
    agent::coordinate(job, &args.agents, &secret, &around, lines, stop, tell).map_err(super::agent::failure)
}

/// What a line asks for and this run will not know.
pub fn check_lines(slo: Option<&Slo>, tenants: &[String], sink: bool) -> Result<(), Failure> {
    let Some(slo) = slo else { return Ok(()) };
    if slo.asks_the_sink() && !sink {
        let text = "--slo: lost, duplicated and the like are told by the ERP stand-in; let the gateway deliver to \
                    --erp-listen ADDRESS";
        return Err(BenchError::Usage(text.to_owned()).into());
    }
    match slo.unknown_tenant(tenants) {
        Some(name) => Err(BenchError::Usage(format!("--slo: the workload has no tenant `{name}`")).into()),
        None => Ok(()),
    }
}

/// A tenant that no second tells of by name, so that a line about it could never come true.
fn check_abort(lines: Option<&Slo>, tenants: &[String]) -> Result<(), Failure> {
    let Some(lines) = lines else { return Ok(()) };
    if let Some(name) = lines.unknown_tenant(tenants) {
        return Err(BenchError::Usage(format!("--abort-on: the workload has no tenant `{name}`")).into());
    }
    match lines.unknown_tenant(tenants.get(..SHOWN_TENANTS).unwrap_or(tenants)) {
        Some(name) => {
            let text = format!("--abort-on: only the first {SHOWN_TENANTS} tenants are watched, and `{name}` is none");
            Err(BenchError::Usage(text).into())
        }
        None => Ok(()),
    }
}

/// What to say of lines that hold, or not, whatever became of the requests, where that was not always good.
fn blind(slo: &Slo, all: &Tally) -> Option<String> {
    let bad = all.intended.saturating_sub(all.ok) as f64 / all.intended.max(1) as f64;
    (slo.is_blind_to_outcomes() && bad > WORTH_A_WARNING).then(|| {
        format!(
            "WARNING: {} were not answered as they should be, and no pass line speaks of that: latencies are of all \
             answers, unless as in p99(ok); add error<1%,shed<1%",
            percent(bad)
        )
    })
}

/// Writes what was asked for; both are tried.
pub fn files(result: &RunResult, out: Option<&Path>, html: Option<&Path>) -> Result<(), Failure> {
    let json = out.map_or(Ok(()), |path| write(path, result).map_err(Failure::from));
    let page = html.map_or(Ok(()), |path| super::report::page(path, std::slice::from_ref(result)));
    json.and(page)
}

/// What the exit code is to say of a result.
pub fn verdict(result: &RunResult) -> Result<(), Failure> {
    let broken = result.verdict.as_ref().is_some_and(|verdict| !verdict.holds);
    Err(Failure::Bench(match &result.ended {
        Ended::Aborted { why } if !result.generator.invalid.is_empty() => {
            BenchError::Failed(format!("no verdict: aborted ({why}), but the generator was the limit"))
        }
        Ended::Aborted { why } => BenchError::Broken(format!("aborted: {why}")),
        Ended::Interrupted => BenchError::Interrupted,
        Ended::Partial { why } => BenchError::Failed(format!("only a part of the load was sent: {why}")),
        Ended::Complete if result.verdict.is_some() && !result.generator.invalid.is_empty() => {
            let lines = if broken { "are broken" } else { "hold" };
            BenchError::Failed(format!("no verdict: the pass lines {lines}, but the generator was the limit"))
        }
        Ended::Complete if broken => BenchError::Broken("the pass lines are broken".to_owned()),
        Ended::Complete => return Ok(()),
    }))
}

/// What people see while a run goes.
pub struct Show {
    live: Option<Live>,
    schedule: Schedule,
}

impl Show {
    /// On standard error, unless it is to be quiet.
    pub fn new(job: &Job, quiet: bool) -> Self {
        let live = (!quiet).then(|| Live::new(&job.name, job.schedule.duration()));
        Show { live, schedule: job.schedule.clone() }
    }

    /// The next second.
    pub fn tell(&mut self, progress: &Progress, breakers: &[Breaker]) {
        let Some(live) = &mut self.live else { return };
        let planned_rate = self.schedule.rate_at(progress.elapsed.saturating_sub(Duration::from_secs(1)));
        let (elapsed, second) = (progress.elapsed, &progress.second);
        live.tell(&Moment { elapsed, planned_rate, second, breakers, marks: &[] });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sluis_bench::record::{Digits, Recording};
    use sluis_bench::result::{Environment, Generator, Plan, SCHEMA};

    use super::*;

    /// A run that ended so, and what its generator says.
    fn result(ended: Ended, invalid: &[&str]) -> RunResult {
        let plan = Plan {
            target: "http://127.0.0.1:1".to_owned(),
            protocol: "http/1.1".to_owned(),
            schedule: "100/s for 1s".to_owned(),
            seconds: 1.0,
            warm_up_seconds: 0.0,
            connections: 1,
            mix: String::new(),
            digest: String::new(),
        };
        let all = Tally::new(Digits::Three);
        RunResult {
            schema: SCHEMA.to_owned(),
            name: "run".to_owned(),
            started: String::new(),
            ended,
            plan,
            environment: Environment::here(),
            recording: Recording { seconds_measured: 1.0, all, tenants: Default::default(), seconds: Vec::new() },
            generator: Generator { invalid: invalid.iter().map(ToString::to_string).collect(), ..Generator::default() },
            delivery: None,
            marks: Vec::new(),
            series: Vec::new(),
            verdict: None,
        }
    }

    #[test]
    fn an_abort_is_no_verdict_where_the_generator_was_the_limit() {
        let aborted = || Ended::Aborted { why: "error>1%: 2.00 %".to_owned() };
        let said = |invalid: &[&str]| verdict(&result(aborted(), invalid)).unwrap_err();
        assert!(matches!(said(&[]), Failure::Bench(BenchError::Broken(_))));
        assert!(matches!(said(&["busy"]), Failure::Bench(BenchError::Failed(why)) if why.starts_with("no verdict: ")));
        assert!(verdict(&result(Ended::Complete, &["busy"])).is_ok(), "nothing was to be judged");
    }

    #[test]
    fn tenants_that_no_second_names_cannot_end_a_run() {
        let tenants: Vec<String> = (0..=SHOWN_TENANTS).map(|n| format!("org-{n}")).collect();
        let said = |lines: &str| {
            let lines = Slo::parse(lines).unwrap();
            match check_abort(Some(&lines), &tenants) {
                Err(Failure::Bench(BenchError::Usage(text))) => text,
                _ => String::new(),
            }
        };
        assert_eq!(said("p99>1s,tenant:org-19.p99>1s"), "");
        assert!(said("tenant:org-20.p99>1s").contains("`org-20` is none"));
        assert!(said("tenant:hooli.p99>1s").contains("no tenant `hooli`"));
    }
}
