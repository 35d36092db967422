//! Whether the generator was good enough: what it took of its machine, and how well it kept its moments.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::LoadError;
use crate::record::{Digits, Failure, Histogram, Tally};
use crate::result::Generator;

/// A thread that used, or waited for, more than this of a core in a second was at its limit in it.
const STRAINED: f64 = 0.9;
/// More than this share of strained seconds with late requests, and the result does not stand.
const MOST_STRAINED: f64 = 0.05;
/// A higher 99th percentile of lag, and the result does not stand.
const MOST_LAG: Duration = Duration::from_millis(10);
/// Lag from which on a reader should know of it.
const NOTABLE_LAG: Duration = Duration::from_millis(2);
/// More than this share of requests that failed for want of something here, and the result does not stand.
const MOST_LOCAL: f64 = 0.001;
/// Descriptors that the process needs beside its connections: files, timers, what the kernel has not closed yet.
const RESERVE: u64 = 128;
/// Fewest exchanges at once that a thread should have for itself. It sends its own moments on its own connections, so one
/// may wait while another thread's are free; with sixteen that are half in use, at most one in a hundred does.
pub const ENOUGH: usize = 16;
/// Clocks drift; beyond this they were set.
const STEP: Duration = Duration::from_millis(50);

/// Watches one sending thread, from that thread.
pub struct Meter {
    start: (Instant, Duration),
    last: (Instant, Duration, Duration),
    seconds: u64,
    strained: u64,
    lag: Histogram,
}

/// What a thread's meter saw.
pub struct Pulse {
    /// Share of a core used, over the whole.
    share: f64,
    seconds: u64,
    strained: u64,
    lag: Histogram,
}

impl Meter {
    pub fn start() -> Self {
        let (now, cpu) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
        let lag = Histogram::new(Digits::Three);
        Meter { start: (now, cpu), last: (now, cpu, run_delay()), seconds: 0, strained: 0, lag }
    }

    /// The work begins: what was before is no share of it.
    pub fn begin(&mut self) {
        let (now, cpu) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
        (self.start, self.last) = ((now, cpu), (now, cpu, run_delay()));
    }

    /// Time between a moment and its sending while a connection was free.
    pub fn lag(&mut self, lag: Duration) {
        self.lag.record(lag);
    }

    /// Once a second: whether the thread was at its limit while some were sent late.
    pub fn second(&mut self, late: bool) {
        let now = (Instant::now(), cpu(ClockId::ThreadCPUTime), run_delay());
        let (before, used, waited) = std::mem::replace(&mut self.last, now);
        let busy = now.1.saturating_sub(used) + now.2.saturating_sub(waited);
        let share = busy.as_secs_f64() / now.0.duration_since(before).as_secs_f64().max(0.001);
        self.seconds += 1;
        self.strained += u64::from(late && share > STRAINED);
    }

    pub fn end(self) -> Pulse {
        let (began, before) = self.start;
        let used = cpu(ClockId::ThreadCPUTime).saturating_sub(before);
        let share = used.as_secs_f64() / began.elapsed().as_secs_f64().max(0.001);
        Pulse { share, seconds: self.seconds, strained: self.strained, lag: self.lag }
    }
}

/// What threads noticed that a reader should know of.
#[derive(Debug, Default)]
pub struct Notes {
    /// Given up when the run was stopped.
    pub cut: u64,
    /// Connections with bytes behind an answer's end.
    pub stray: u64,
    /// Moments for which a thread had no connection free when they came.
    pub waited: u64,
    /// Exchanges at once that a thread has for itself; of several threads, the fewest.
    pub own: usize,
}

impl Notes {
    /// Adds another thread's.
    pub fn add(&mut self, other: &Notes) {
        self.cut += other.cut;
        self.stray += other.stray;
        self.waited += other.waited;
        self.own = self.own.min(other.own);
    }

    fn tell(&self, threads: usize, warnings: &mut Vec<String>) {
        let Notes { cut, stray, waited, own } = self;
        if *cut > 0 {
            warnings.push(format!("{cut} requests were on their way when the run was stopped; they are not counted"));
        }
        if *stray > 0 {
            warnings
                .push(format!("{stray} connections held bytes behind an answer's end: the target lies about lengths"));
        }
        if *waited > 0 && threads > 1 && *own < ENOUGH {
            warnings.push(format!(
                "{waited} requests waited for one of the {own} that their thread may have on their way, whether or not \
                 another of the {threads} threads was free; use fewer threads or more connections"
            ));
        }
    }
}

/// Watches the process and the clocks.
pub struct Watchdog {
    cpu: Duration,
    limit: u64,
    most: u64,
    clocks: (SystemTime, Instant),
    stepped: Duration,
}

impl Watchdog {
    /// Makes room for that many connections.
    ///
    /// # Errors
    /// Where the hard limit of descriptors has none.
    pub fn start(connections: usize) -> Result<Self, LoadError> {
        let (open, limit) = (descriptors(), getrlimit(Resource::Nofile));
        let needed = open + connections as u64 + RESERVE;
        let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
        let mut granted = soft;
        if soft < needed {
            let wanted = Rlimit { current: Some(needed.min(hard)), maximum: limit.maximum };
            if hard < needed || setrlimit(Resource::Nofile, wanted).is_err() {
                return Err(LoadError::Descriptors { connections, needed, limit: hard.min(soft.max(hard)) });
            }
            granted = needed;
        }
        Ok(Watchdog {
            cpu: cpu(ClockId::ProcessCPUTime),
            limit: granted,
            most: open,
            clocks: (SystemTime::now(), Instant::now()),
            stepped: Duration::ZERO,
        })
    }

    /// Every now and then.
    pub fn look(&mut self) {
        self.most = self.most.max(descriptors());
        let (wall, steady) = std::mem::replace(&mut self.clocks, (SystemTime::now(), Instant::now()));
        self.stepped += step(self.clocks.0, wall, self.clocks.1.duration_since(steady));
    }

    /// The verdict over all threads and requests.
    pub fn end(mut self, pulses: Vec<Pulse>, all: &Tally, notes: &Notes, addresses: &[SocketAddr]) -> Generator {
        self.look();
        let mut lag = Histogram::new(Digits::Three);
        pulses.iter().for_each(|pulse| lag.merge(&pulse.lag));
        let mut generator = Generator {
            threads: pulses.len(),
            busiest_thread: pulses.iter().map(|pulse| pulse.share).fold(0.0, f64::max).min(1.0),
            cpu_seconds: cpu(ClockId::ProcessCPUTime).saturating_sub(self.cpu).as_secs_f64(),
            lag_p99_us: lag.at(0.99),
            lag_max_us: lag.max(),
            descriptors: (self.most, self.limit),
            clock_step_seconds: self.stepped.as_secs_f64(),
            invalid: Vec::new(),
            warnings: Vec::new(),
        };
        judge(&mut generator, &pulses, all);
        let warnings = &mut generator.warnings;
        if addresses.iter().any(|address| own(*address)) {
            warnings.push("load and target share this machine: they take each other's time".to_owned());
        }
        if !self.stepped.is_zero() {
            warnings.push(format!("the wall clock was set by {:.3} s in the run", generator.clock_step_seconds));
        }
        notes.tell(generator.threads, warnings);
        generator
    }
}

/// Why the figures do not stand, and what to know where they do.
fn judge(generator: &mut Generator, pulses: &[Pulse], all: &Tally) {
    let (invalid, warnings) = (&mut generator.invalid, &mut generator.warnings);
    let worst = pulses.iter().max_by_key(|pulse| pulse.strained);
    if let Some(Pulse { strained: strained @ 1.., seconds, .. }) = worst {
        let say = format!(
            "a sending thread was at its limit, with late requests, in {strained} of {seconds} s; use more threads or another \
             machine"
        );
        let much = *strained as f64 > *seconds as f64 * MOST_STRAINED;
        if much { invalid.push(say) } else { warnings.push(say) }
    }
    let lag = Duration::from_micros(generator.lag_p99_us);
    if lag > NOTABLE_LAG {
        let say =
            format!("1 % of the requests left more than {lag:?} after their moment although a connection was free");
        if lag > MOST_LAG { invalid.push(say) } else { warnings.push(say) }
    }
    let local = all.failures.get(&Failure::Local).copied().unwrap_or_default();
    if local > 0 {
        let say = format!("{local} requests failed for want of a descriptor, port or memory on this machine");
        let much = local as f64 > all.sent as f64 * MOST_LOCAL;
        if much { invalid.push(say) } else { warnings.push(say) }
    }
    let (used, limit) = generator.descriptors;
    if used + RESERVE / 4 > limit {
        invalid.push(format!("{used} of {limit} descriptors were in use"));
    }
}

/// By how much the wall clock was set within a time that the steady clock measured.
fn step(now: SystemTime, before: SystemTime, steady: Duration) -> Duration {
    let off = match now.duration_since(before) {
        Ok(forward) => forward.abs_diff(steady),
        Err(backward) => backward.duration() + steady,
    };
    if off > STEP { off } else { Duration::ZERO }
}

/// Whether an address is this machine's: only those can be bound.
pub fn own(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

fn cpu(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// How long this thread waited for a core, where the kernel tells (the second number of `schedstat`).
fn run_delay() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

/// Descriptors that the process has open; 0 where the kernel does not list them.
fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{ENOUGH, Generator, MOST_STRAINED, Notes, Pulse, judge, own, step};
    use crate::record::{Digits, Exchange, Failure, Histogram, Outcome, Tally};

    fn judged(strained: u64, lag: Duration, descriptors: (u64, u64), local: bool) -> Generator {
        let mut histogram = Histogram::new(Digits::Three);
        histogram.record(lag);
        let mut all = Tally::new(Digits::Three);
        if local {
            let at = Duration::ZERO;
            let outcome = Outcome::Failed(Failure::Local);
            all.record(&Exchange { tenant: 0, intended: at, sent: at, ended: at, status: None, outcome });
        }
        let mut generator = Generator {
            threads: 1,
            busiest_thread: 0.0,
            cpu_seconds: 0.0,
            lag_p99_us: histogram.at(0.99),
            lag_max_us: histogram.max(),
            descriptors,
            clock_step_seconds: 0.0,
            invalid: Vec::new(),
            warnings: Vec::new(),
        };
        judge(&mut generator, &[Pulse { share: 0.5, seconds: 100, strained, lag: histogram }], &all);
        generator
    }

    #[test]
    fn each_limit_makes_the_result_invalid_and_says_which() {
        let (calm, roomy) = (Duration::from_micros(90), (50, 1_024));
        let fine = judged(0, calm, roomy, false);
        assert_eq!((fine.invalid, fine.warnings), (Vec::<String>::new(), Vec::<String>::new()));
        let few = judged((100.0 * MOST_STRAINED) as u64, calm, roomy, false);
        assert_eq!((few.invalid.len(), few.warnings.len()), (0, 1));
        for (reason, generator) in [
            ("at its limit", judged(6, calm, roomy, false)),
            ("after their moment", judged(0, Duration::from_millis(11), roomy, false)),
            ("of 1024 descriptors", judged(0, calm, (1_020, 1_024), false)),
            ("for want of", judged(0, calm, roomy, true)),
        ] {
            assert_eq!(generator.invalid.len(), 1, "{reason}");
            assert!(generator.invalid[0].contains(reason), "{}", generator.invalid[0]);
        }
    }

    #[test]
    fn threads_that_share_too_few_connections_are_told_where_requests_waited() {
        let told = |threads, waited, own| {
            let mut warnings = Vec::new();
            Notes { waited, own, ..Notes::default() }.tell(threads, &mut warnings);
            warnings
        };
        assert!(told(1, 9, 1).is_empty() && told(8, 0, 1).is_empty() && told(4, 9, ENOUGH).is_empty());
        let said = told(64, 9, 1);
        assert!(said.len() == 1 && said[0].starts_with("9 requests waited for one of the 1 "), "{said:?}");
    }

    #[test]
    fn a_clock_that_was_set_is_told_from_one_that_drifts() {
        let (before, second) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), Duration::from_secs(1));
        assert_eq!(step(before + second + Duration::from_millis(1), before, second), Duration::ZERO);
        assert_eq!(step(before + 61 * second, before, second), 60 * second);
        assert_eq!(step(before - 60 * second, before, second), 61 * second);
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(own(([127, 0, 0, 1], 80).into()));
        // TEST-NET-1 (RFC 5737) is nobody's.
        assert!(!own(([192, 0, 2, 1], 80).into()));
    }
}
