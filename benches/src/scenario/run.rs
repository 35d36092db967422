//! A scenario from its start to its verdict.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::judge::{self, Arrival};
use super::stage::Stage;
use super::streams::{self, Seen};
use super::{Scenario, ScenarioError, Stream, config};
use crate::gateway::{Follower, Page};
use crate::live::Moment;
use crate::load::{Bounds, Prepared, Progress, Protocol, Source, Stop, Target};
use crate::parts::{Erp, Held};
use crate::record::Second;
use crate::result::{Delivery, Ended, Environment, Line, Mark, Plan, RunResult, SCHEMA, Series, digest};
use crate::workload::Traffic;

/// For each load to find the gateway, before the warm-up.
const FINDING: Duration = Duration::from_millis(500);
/// Before the first moment that counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(100);

/// How to run scenarios.
#[derive(Debug, Clone)]
pub struct Options {
    /// The gateway's program.
    pub sluis: PathBuf,
    /// Where built components are.
    pub components: PathBuf,
    /// Where configuration and state go, in a folder of the scenario's name that must not be there; a temporary one
    /// without it.
    pub dir: Option<PathBuf>,
}

/// What a scenario came to.
#[derive(Debug)]
pub enum Outcome {
    /// It ran, to its end or until it was stopped; the verdict is in the result.
    Ran(Box<RunResult>),
    /// It needs what is not there.
    Skipped {
        /// What, and what to do about it where something can be done.
        why: String,
    },
}

/// Runs a scenario and judges it. Blocks until its end, or a few seconds from when `stop` was told. `watch` is told of
/// each second.
///
/// # Errors
/// Where it cannot be set up. What goes wrong later is part of the result.
pub fn run(
    scenario: &Scenario,
    options: &Options,
    stop: &Stop,
    watch: &mut (dyn FnMut(&Moment<'_>) + Send),
) -> Result<Outcome, ScenarioError> {
    if let Some(why) = scenario.missing() {
        return Ok(Outcome::Skipped { why: why.to_owned() });
    }
    if let Some(why) = lacking(scenario, &options.components) {
        return Ok(Outcome::Skipped { why });
    }
    let temporary;
    let dir = match &options.dir {
        Some(dir) => dir.join(&scenario.name),
        None => {
            temporary = tempfile::tempdir().map_err(ScenarioError::system("a temporary folder"))?;
            temporary.path().join(&scenario.name)
        }
    };
    std::fs::create_dir_all(dir.parent().unwrap_or(&dir)).map_err(ScenarioError::system("the folder for state"))?;
    std::fs::create_dir(&dir).map_err(ScenarioError::system("the folder for state"))?;
    let mut stage = Stage::set_up(scenario, &options.sluis, &options.components, &dir)?;
    stage.settle(&scenario.streams[0].workload)?;
    Course::new(scenario, &stage, stop, watch)?.run(&mut stage).map(|result| Outcome::Ran(Box::new(result)))
}

/// The first component that is not there.
fn lacking(scenario: &Scenario, components: &Path) -> Option<String> {
    let file = |name: &String| components.join(name).with_extension("wasm");
    let missing = scenario.components.iter().map(file).find(|file| !file.is_file())?;
    Some(format!(
        "{} is not there; build it with `sh plugins/build.sh`, or name its folder with --components",
        missing.display()
    ))
}

/// What is known while it runs.
struct Course<'a> {
    scenario: &'a Scenario,
    stop: &'a Stop,
    http: SocketAddr,
    traffic: Vec<Arc<Traffic>>,
    /// The first moment that counts.
    first: Instant,
    marks: Mutex<Vec<Mark>>,
    /// Steps that failed.
    failed: Mutex<Vec<Line>>,
    follower: Follower,
    told: Mutex<Told<'a>>,
}

/// What was told of each second.
struct Told<'a> {
    watch: &'a mut (dyn FnMut(&Moment<'_>) + Send),
    /// Of loads other than the first, not told yet.
    others: Vec<Second>,
}

impl<'a> Course<'a> {
    fn new(
        scenario: &'a Scenario,
        stage: &Stage,
        stop: &'a Stop,
        watch: &'a mut (dyn FnMut(&Moment<'_>) + Send),
    ) -> Result<Self, ScenarioError> {
        let first = Instant::now() + FINDING + WARM_UP;
        Ok(Course {
            scenario,
            stop,
            http: stage.http,
            traffic: stage.traffic.clone(),
            first,
            marks: Mutex::default(),
            failed: Mutex::default(),
            follower: Follower::start(&Page::of(stage.admin), first).map_err(ScenarioError::Gateway)?,
            told: Mutex::new(Told { watch, others: Vec::new() }),
        })
    }

    fn run(self, stage: &mut Stage) -> Result<RunResult, ScenarioError> {
        let erp = stage.erp.clone();
        erp.at_once_at_most();
        let done = AtomicBool::new(false);
        let course = &self;
        let (streams, drained) = std::thread::scope(|scope| {
            let timeline = scope.spawn(|| course.timeline(stage, &done));
            let loads: Vec<_> = (0..course.traffic.len()).map(|n| scope.spawn(move || course.load(n))).collect();
            let streams: Vec<Result<Seen, ScenarioError>> =
                loads.into_iter().map(|load| load.join().unwrap_or(Err(ScenarioError::Panicked("a load")))).collect();
            // What was to happen still happens, but not after a load that could not be sent.
            done.store(streams.iter().any(Result::is_err), Ordering::Relaxed);
            let ended = Instant::now();
            let timeline = timeline.join().map_err(|_| ScenarioError::Panicked("the time line"));
            let drained = course.drain(ended);
            let streams = streams.into_iter().collect::<Result<Vec<Seen>, _>>()?;
            timeline?;
            Ok::<_, ScenarioError>((streams, drained))
        })?;
        let slow = stage.let_slow_clients_go();
        Ok(self.result(&streams, drained, &erp, slow))
    }

    /// Sends one load.
    fn load(&self, n: usize) -> Result<Seen, ScenarioError> {
        let Stream { schedule, from, connections, timeout, .. } = &self.scenario.streams[n];
        let url = format!("http://{}", self.http);
        let url = url.parse().map_err(|error| ScenarioError::Gateway(Box::new(error)))?;
        let target = Target { url, protocol: Protocol::Http1, keep_alive: true, ca: None, insecure: false };
        let warm_up = if from.is_zero() { WARM_UP } else { Duration::ZERO };
        let bounds = Bounds { threads: 1, connections: *connections, streams: 1, timeout: *timeout, warm_up };
        let (prepared, source) = (Prepared::new(&target, &bounds)?, self.traffic[n].clone() as Arc<dyn Source>);
        let start = self.first + *from - warm_up;
        let run = prepared.run(schedule, &source, start, self.stop, |progress| self.tell(n, progress))?;
        Ok((from.as_secs(), run))
    }

    #[allow(clippy::disallowed_methods, reason = "this thread does nothing else until then")]
    fn sleep_until(&self, until: Instant) {
        while self.stop.told().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Tells of a second of the first load, with what the others saw meanwhile.
    fn tell(&self, n: usize, progress: Progress) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Progress { elapsed, mut second, .. } = progress;
        if n > 0 {
            // The first load may have ended before.
            told.others.truncate(self.traffic.len() * 4);
            told.others.push(second);
            return;
        }
        for other in told.others.drain(..) {
            streams::merge_second(&mut second, &other);
        }
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let breakers = self.follower.breakers();
        let planned_rate = self.scenario.rate_at(elapsed);
        (told.watch)(&Moment { elapsed, planned_rate, second: &second, breakers: &breakers, marks: &marks });
    }

    /// Lets everything happen at its time.
    fn timeline(&self, stage: &mut Stage, done: &AtomicBool) {
        for step in &self.scenario.steps {
            if !stage.wait(self.first + step.at, self.stop) || done.load(Ordering::Relaxed) {
                return;
            }
            let at = self.first.elapsed().as_secs_f64();
            if let Err(error) = stage.act(&step.action) {
                let wanted = format!("{} at {at:.1} s", step.text.as_deref().unwrap_or("the end of a fault"));
                let line = Line { wanted, seen: format!("failed: {error}"), holds: false };
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            if let Some(text) = &step.text {
                let until = step.until.map(|until| until.as_secs_f64());
                let mark = Mark { at, until, text: text.clone() };
                self.marks.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
            }
        }
    }

    /// Waits until all that was accepted has arrived, at most as long as the scenario says. How long that took.
    fn drain(&self, ended: Instant) -> Option<Duration> {
        loop {
            if self.traffic.iter().all(|traffic| traffic.orders().outstanding() == 0) {
                return Some(ended.elapsed());
            }
            if ended.elapsed() > self.scenario.drain || self.stop.told().is_some() {
                return None;
            }
            self.sleep_until(Instant::now() + LOOK);
        }
    }

    fn result(self, streams: &[Seen], drained: Option<Duration>, erp: &Erp, slow: Held) -> RunResult {
        let recording = streams::recording(streams);
        let mut delivery = Delivery::NONE;
        self.traffic.iter().for_each(|traffic| delivery.add(&traffic.orders().delivery()));
        if drained.is_none() && self.stop.told().is_some() {
            delivery = delivery.cut_short();
        }
        let arrivals = self.arrivals();
        let seconds = self.scenario.length().as_secs_f64();
        let seen = judge::Seen {
            recording: &recording,
            planned: seconds,
            delivery: &delivery,
            arrivals: &arrivals,
            drained,
            erp_at_once: erp.at_once_at_most(),
            slow,
        };
        let mut verdict = judge::judge(&self.scenario.pass, &seen);
        verdict.lines.append(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        verdict.holds = verdict.lines.iter().all(|line| line.holds);
        let interrupted = self.stop.told().is_some() || streams.iter().any(|(_, run)| run.stopped);
        let began = streams.first().map_or_else(SystemTime::now, |(_, run)| run.began);
        let mut result = RunResult {
            schema: SCHEMA.to_owned(),
            name: self.scenario.name.clone(),
            started: OffsetDateTime::from(began).format(&Rfc3339).unwrap_or_default(),
            ended: if interrupted { Ended::Interrupted } else { Ended::Complete },
            plan: self.plan(seconds),
            environment: self.environment(),
            generator: streams::generator(streams).unwrap_or_else(no_generator),
            recording,
            delivery: Some(delivery),
            marks: std::mem::take(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner)),
            series: Vec::new(),
            verdict: Some(verdict),
        };
        let taken = self.taken(erp);
        self.follower.end().tell(&mut result);
        result.series.push(taken);
        result
    }

    /// All orders that were accepted from the first moment on.
    fn arrivals(&self) -> Vec<Arrival<'_>> {
        let mut all = Vec::new();
        for traffic in &self.traffic {
            let before = self.first.saturating_duration_since(traffic.orders().began());
            all.extend(traffic.orders().times().filter_map(|(number, accepted, arrived)| {
                Some(Arrival {
                    tenant: &traffic.tenants()[traffic.tenant_of(number)],
                    accepted: accepted.checked_sub(before)?,
                    arrived: arrived.map(|arrived| arrived.saturating_sub(before)),
                })
            }));
        }
        all
    }

    /// Orders that the ERP took, second by second.
    fn taken(&self, erp: &Erp) -> Series {
        let before = self.first.saturating_duration_since(erp.began()).as_secs_f64();
        let points = erp.seconds().into_iter().enumerate().map(|(n, second)| (n as f64 - before, second.taken as f64));
        let points = points.filter(|(at, _)| *at >= 0.0).collect();
        Series { name: "orders taken by the ERP".to_owned(), unit: "per second".to_owned(), points }
    }

    fn plan(&self, seconds: f64) -> Plan {
        let streams = &self.scenario.streams;
        let texts: Vec<String> = streams.iter().map(|stream| stream.schedule.to_string()).collect();
        let mixes: Vec<String> = streams.iter().map(|stream| stream.workload.mix()).collect();
        Plan {
            target: "a gateway of its own".to_owned(),
            protocol: "http/1.1".to_owned(),
            schedule: texts.join(" | "),
            seconds,
            warm_up_seconds: WARM_UP.as_secs_f64(),
            connections: streams.iter().map(|stream| stream.connections).sum(),
            mix: mixes.join(" | "),
            digest: digest([("scenario", self.scenario.text.as_bytes())]),
        }
    }

    fn environment(&self) -> Environment {
        // Without the ports, which are others each time.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let components = Path::new("components");
        let places = config::Places { http: nowhere, admin: nowhere, erp: nowhere, idp: nowhere, components };
        let tenants = self.traffic.iter().flat_map(|traffic| traffic.tenant_ids());
        let config = config::build(&places, &self.scenario.gateway, tenants).to_string();
        Environment {
            config_digest: Some(digest([("config", config.as_bytes())])),
            same_machine: true,
            ..Environment::here()
        }
    }
}

/// Of a run without any load, which there is none of.
fn no_generator() -> crate::result::Generator {
    crate::result::Generator { invalid: vec!["nothing was sent".to_owned()], ..Default::default() }
}
