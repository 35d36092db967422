//! A whole run: threads that send, and one that watches.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::destination::Destination;
use super::health::{ENOUGH, Notes, Pulse, Watchdog};
use super::recorder::{self, Recorder};
use super::schedule::Schedule;
use super::sender::{self, Live, Order, Told};
use super::{Bounds, LoadError, Protocol, Source, Stop, Target};
use crate::record::{Digits, HIGHEST_US, Recording, Second};
use crate::result::Generator;

/// Most threads, connections, streams of a connection, and exchanges at once of a whole run.
const MOST_THREADS: usize = 256;
const MOST_CONNECTIONS: usize = 100_000;
const MOST_STREAMS: usize = 1_000;
const MOST_SEATS: usize = 1_000_000;
/// Longest warm-up.
const LONGEST_WARM_UP: Duration = Duration::from_secs(3_600);
/// For the threads to start before the first moment.
const RUN_UP: Duration = Duration::from_millis(20);
/// From the end of a second until all threads have told of it.
const TELLING: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What was seen.
    pub recording: Recording,
    /// Whether the generator was good enough for it.
    pub generator: Generator,
    /// When the first moment that counts was.
    pub began: SystemTime,
    /// Whether it was stopped before its end: `recording` is the part until then.
    pub stopped: bool,
}

/// What a run saw since the last time it told: all of them added up are the whole.
#[derive(Debug)]
pub struct Progress {
    /// From the first moment that counts.
    pub elapsed: Duration,
    /// What *ended* since, whenever its moment was: in a stall nothing, then much of it and slow. (In the
    /// [`Recording`], seconds go by the intended moment.)
    pub second: Second,
    /// Requests on their way.
    pub under_way: usize,
}

/// A load that can begin: its bounds can be, and its target was found.
pub struct Prepared {
    destination: Arc<Destination>,
    bounds: Bounds,
    /// Exchanges at once on a connection.
    seats: usize,
}

/// As [`Prepared::run`], as soon as the target is found.
///
/// # Errors
/// As there and of [`Prepared::new`].
pub fn run(
    target: &Target,
    schedule: &Schedule,
    bounds: &Bounds,
    source: &Arc<dyn Source>,
    stop: &Stop,
    watch: impl FnMut(Progress),
) -> Result<Run, LoadError> {
    Prepared::new(target, bounds)?.run(schedule, source, Instant::now(), stop, watch)
}

impl Prepared {
    /// Looks for the target: its addresses, whether they take connections, and whether the first one speaks as asked.
    /// Blocks, up to some seconds for each address.
    ///
    /// # Errors
    /// Where a bound is impossible, or the target is not there or speaks otherwise.
    pub fn new(target: &Target, bounds: &Bounds) -> Result<Self, LoadError> {
        let seats = check(target, bounds)?;
        let bounds = Bounds { threads: bounds.threads.min(bounds.connections), ..*bounds };
        Ok(Prepared { destination: Arc::new(find(target)?), bounds, seats })
    }

    /// Runs a schedule, and tells about each second. Its first moment (of the warm-up, where there is one) is `start`, or
    /// as soon as can be. Blocks until the end: the schedule, then up to twice the time limit for what was late; or a
    /// second or two from when it was stopped. Call it on a thread of its own.
    ///
    /// # Errors
    /// Where the run cannot start: what the target does during it is counted.
    pub fn run(
        &self,
        schedule: &Schedule,
        source: &Arc<dyn Source>,
        start: Instant,
        stop: &Stop,
        mut watch: impl FnMut(Progress),
    ) -> Result<Run, LoadError> {
        let Bounds { threads, connections, timeout, warm_up: warm_up_lasts, .. } = self.bounds;
        let mut watchdog = Watchdog::start(connections)?;
        let names = source.tenants().to_vec();
        let warm_up = schedule.warm_up(warm_up_lasts).map_err(|e| LoadError::Bounds(format!("warm-up: {e}")))?;
        // Of the whole: other generators' moments have the numbers between this one's.
        let first = warm_up.as_ref().map_or(0, Schedule::total);
        let warm_up = warm_up.map(|warm_up| warm_up.shared_as(schedule));

        let now = Instant::now();
        let start = start.max(now + RUN_UP);
        let began = start + warm_up_lasts;
        let began_at = SystemTime::now() + began.duration_since(now);
        let (live, told) = sync_channel(2 * threads);
        let order = |index: usize| Order {
            destination: self.destination.clone(),
            warm_up: warm_up.as_ref().map(|warm_up| warm_up.share(index as u64, threads as u64)),
            schedule: schedule.share(index as u64, threads as u64),
            first,
            start,
            began,
            connections: part(connections, threads, index),
            seats: part(connections, threads, index) * self.seats,
            timeout,
            source: source.clone(),
            stop: stop.clone(),
            live: live.clone(),
        };
        let senders = (0..threads).map(|index| spawn(index, order(index))).collect::<Result<Vec<_>, _>>();
        drop(live);
        let senders = senders.inspect_err(|_| stop.tell())?;
        observe(&told, began, &names, &mut watchdog, &mut watch);

        let (whole, pulses, notes) = join(senders, names.len())?;
        let stopped = stop.told();
        let lasted = stopped.map_or(schedule.duration(), |at| at.duration_since(began).min(schedule.duration()));
        let recording = whole.recording(&names, lasted);
        let generator = watchdog.end(pulses, &recording.all, &notes, &self.destination.addresses);
        Ok(Run { recording, generator, began: began_at, stopped: stopped.is_some() })
    }
}

/// Threads that send where nobody says how many: a core each, as long as each has enough connections for itself.
pub fn threads(protocol: Protocol, connections: usize, streams: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let seats = if protocol == Protocol::Http2 { connections.saturating_mul(streams) } else { connections };
    cores.min(seats / ENOUGH).clamp(1, MOST_THREADS)
}

/// Whether the bounds can be. Returns the exchanges at once on a connection.
fn check(target: &Target, bounds: &Bounds) -> Result<usize, LoadError> {
    let within = |what: &str, value: usize, most: usize| match value {
        value if (1..=most).contains(&value) => Ok(value),
        _ => {
            Err(LoadError::Bounds(format!("{value} {what} are impossible; at least 1 and at most {most} are possible")))
        }
    };
    within("threads", bounds.threads, MOST_THREADS)?;
    within("connections", bounds.connections, MOST_CONNECTIONS)?;
    let longest = Duration::from_micros(HIGHEST_US);
    if bounds.timeout.is_zero() || bounds.timeout > longest {
        let wrong =
            format!("a timeout of {:?} is impossible; it must be above 0 and at most {longest:?}", bounds.timeout);
        return Err(LoadError::Bounds(wrong));
    }
    if bounds.warm_up > LONGEST_WARM_UP {
        let wrong = format!("a warm-up of {:?} is too long; at most {LONGEST_WARM_UP:?} are possible", bounds.warm_up);
        return Err(LoadError::Bounds(wrong));
    }
    if target.protocol == Protocol::Http1 {
        return Ok(1);
    }
    let streams = within("streams of a connection", bounds.streams, MOST_STREAMS)?;
    within("requests at once", bounds.connections * streams, MOST_SEATS)?;
    Ok(streams)
}

/// On a thread of its own: the caller's may have a runtime already.
fn find(target: &Target) -> Result<Destination, LoadError> {
    let find = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Destination::find(target))
    };
    std::thread::scope(|scope| scope.spawn(find).join().map_err(|_| LoadError::Panicked)?)
}

/// The `index`-th of `parts` parts of a whole that are as equal as can be.
fn part(whole: usize, parts: usize, index: usize) -> usize {
    whole / parts + usize::from(index < whole % parts)
}

type Sender = JoinHandle<Result<Told, LoadError>>;

fn spawn(index: usize, order: Order) -> Result<Sender, LoadError> {
    let thread = std::thread::Builder::new().name(format!("load-{index}"));
    Ok(thread.spawn(move || sender::send(order))?)
}

/// What all threads have to tell at their end.
fn join(senders: Vec<Sender>, tenants: usize) -> Result<(Recorder, Vec<Pulse>, Notes), LoadError> {
    let (mut whole, mut pulses) = (Recorder::new(tenants), Vec::new());
    let mut notes = Notes { own: usize::MAX, ..Notes::default() };
    for sender in senders {
        let thread = sender.join().map_err(|_| LoadError::Panicked)??;
        whole.merge(&thread.recorder);
        pulses.push(thread.pulse);
        notes.add(&thread.notes);
    }
    Ok((whole, pulses, notes))
}

/// Tells about each second until the threads have ended.
fn observe(
    told: &Receiver<Live>,
    began: Instant,
    names: &[String],
    watchdog: &mut Watchdog,
    watch: &mut impl FnMut(Progress),
) {
    let mut due = began + SECOND + TELLING;
    let (mut cells, mut under_way) = (recorder::shown(), 0);
    let mut tell = |cells: &mut recorder::Cells, under_way: &mut usize| {
        let cells = std::mem::replace(cells, recorder::shown());
        let second = recorder::second(cells, names);
        watch(Progress { elapsed: began.elapsed(), second, under_way: std::mem::take(under_way) });
    };
    loop {
        match told.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(live) => {
                recorder::merge(&mut cells, &live.cells, Digits::Two);
                under_way += live.under_way;
            }
            Err(RecvTimeoutError::Timeout) => {
                watchdog.look();
                tell(&mut cells, &mut under_way);
                due = (due + SECOND).max(Instant::now());
            }
            Err(RecvTimeoutError::Disconnected) => return tell(&mut cells, &mut under_way),
        }
    }
}
