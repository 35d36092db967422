//! Runs made up for tests: the same every time, with a fault, a stall and tenants of different luck.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::{Digits, Exchange, Failure, Outcome, Recording, Second, Tally};
use crate::result::{Delivery, Ended, Environment, Generator, Line, Mark, Plan, RunResult, SCHEMA, Series, Verdict};

/// A run in which nothing happened.
pub fn empty(name: &str) -> RunResult {
    RunResult {
        schema: SCHEMA.to_owned(),
        name: name.to_owned(),
        started: "2026-03-01T09:30:00Z".to_owned(),
        ended: Ended::Complete,
        plan: Plan {
            target: "http://127.0.0.1:8080".to_owned(),
            protocol: "http/1.1".to_owned(),
            schedule: "constant 300/s for 60 s".to_owned(),
            seconds: 0.0,
            warm_up_seconds: 5.0,
            connections: 256,
            mix: "acme=70, globex=25, initech=5".to_owned(),
            digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        },
        environment: Environment {
            cpu: "AMD EPYC 7763".to_owned(),
            cores: 8,
            kernel: "Linux 6.1.0-18-amd64".to_owned(),
            memory_mib: 32_094,
            program: "sluis 0.1.0 (67669b3)".to_owned(),
            gateway: Some("0.1.0".to_owned()),
            config_digest: None,
            same_machine: true,
        },
        recording: Recording {
            seconds_measured: 0.0,
            all: Tally::new(Digits::Three),
            tenants: BTreeMap::new(),
            seconds: Vec::new(),
        },
        generator: Generator {
            threads: 2,
            busiest_thread: 0.61,
            cpu_seconds: 71.2,
            lag_p99_us: 180,
            lag_max_us: 2_400,
            descriptors: (290, 65_536),
            clock_step_seconds: 0.0,
            invalid: Vec::new(),
            warnings: Vec::new(),
        },
        delivery: None,
        marks: Vec::new(),
        series: Vec::new(),
        verdict: None,
    }
}

/// What there is to choose.
pub struct Shape {
    /// Length of the run.
    pub seconds: u32,
    /// Requests a second.
    pub rate: u32,
    /// The ERP is down in these seconds.
    pub down: std::ops::Range<f64>,
    /// Times the usual latency.
    pub slower: f64,
}

/// A run with everything that a page can show.
pub fn run(name: &str, shape: &Shape) -> RunResult {
    let mut run = empty(name);
    let mut chance = Chance(u64::from(shape.seconds) << 8 | 7);
    let tenants = [("acme", 0.7), ("globex", 0.25), ("initech", 0.05)];
    for second in 0..shape.seconds {
        let mut one = Second { all: Tally::new(Digits::Two), tenants: BTreeMap::new() };
        for n in 0..shape.rate {
            let moment = f64::from(second) + f64::from(n) / f64::from(shape.rate);
            let luck = chance.next();
            let tenant = if luck < tenants[0].1 { 0 } else { 1 + usize::from(luck > 0.95) };
            let exchange = exchange(moment, tenant, shape, &mut chance);
            let whole = run.recording.tenants.entry(tenants[tenant].0.to_owned());
            let of_second = one.tenants.entry(tenants[tenant].0.to_owned());
            whole.or_insert_with(|| Tally::new(Digits::Three)).record(&exchange);
            of_second.or_insert_with(|| Tally::new(Digits::Two)).record(&exchange);
            one.all.record(&exchange);
            run.recording.all.record(&exchange);
        }
        run.recording.seconds.push(one);
    }
    run.plan.seconds = f64::from(shape.seconds);
    run.recording.seconds_measured = f64::from(shape.seconds) + 0.03;
    meanwhile(&mut run, shape);
    run
}

fn exchange(moment: f64, tenant: usize, shape: &Shape, chance: &mut Chance) -> Exchange {
    let stalled = f64::from(shape.seconds) * 0.8;
    let waited =
        if (stalled..stalled + 2.0).contains(&moment) { stalled + 2.0 - moment } else { 0.0002 * chance.next() };
    // Logarithmic normal, roughly, with a second hump of misses.
    let spread: f64 = (0..6).map(|_| chance.next() - 0.5).sum();
    let miss = if chance.next() < 0.08 { 4.0 } else { 1.0 };
    let mut service = 0.0028 * shape.slower * miss * (spread * 0.7).exp() * (1.0 + tenant as f64 * 0.3);
    let mut outcome = Outcome::Ok;
    if shape.down.contains(&moment) {
        let since = moment - shape.down.start;
        match chance.next() {
            _ if since < 3.0 => (outcome, service) = (Outcome::Failed(Failure::Timeout), 2.0),
            luck if luck < 0.1 => (outcome, service) = (Outcome::Refused, service * 3.0),
            luck if luck < 0.8 => (outcome, service) = (Outcome::Shed, 0.0006 * (1.0 + spread.abs())),
            luck if luck < 0.83 => outcome = Outcome::Failed(Failure::Reset),
            _ => {}
        }
    }
    let status = match outcome {
        Outcome::Ok | Outcome::Wrong => Some(200),
        Outcome::Shed => Some(503),
        Outcome::Refused => Some(502),
        Outcome::Failed(_) => None,
    };
    let sent = moment + waited;
    let at = Duration::from_secs_f64;
    Exchange { tenant, intended: at(moment), sent: at(sent), ended: at(sent + service), status, outcome }
}

fn meanwhile(run: &mut RunResult, shape: &Shape) {
    let (down, up) = (shape.down.start, shape.down.end);
    let mark = |at: f64, until, text: &str| Mark { at, until, text: text.to_owned() };
    run.marks = vec![mark(down, Some(up), "ERP down"), mark(f64::from(shape.seconds) * 0.8, None, "reload")];
    let every =
        |of: &dyn Fn(f64) -> f64| (0..shape.seconds * 2).map(|n| f64::from(n) / 2.0).map(|at| (at, of(at))).collect();
    let series = |name: &str, unit: &str, points| Series { name: name.to_owned(), unit: unit.to_owned(), points };
    let state = |at: f64| match at {
        _ if at < down + 3.0 || at > up + 4.0 => 0.0,
        _ if (at - down) % 5.0 < 1.0 => 1.0,
        _ => 2.0,
    };
    let waiting =
        |at: f64| if at < down { 3.0 } else { ((at.min(up) - down) * 40.0 - (at - up).max(0.0) * 90.0).max(3.0) };
    run.series = vec![
        series("sluis_breaker_state{upstream=\"erp\"}", "breaker", every(&state)),
        series("sluis_breaker_state{upstream=\"crm\"}", "breaker", every(&|_| 0.0)),
        series("sluis_backlog_events", "queue", every(&waiting)),
        series("sluis_connections", "connections", every(&|at| 200.0 + (at % 7.0) * 3.0)),
    ];
    let line = |wanted: &str, seen: &str, holds| Line { wanted: wanted.to_owned(), seen: seen.to_owned(), holds };
    run.verdict = Some(Verdict {
        holds: false,
        lines: vec![line("p99<25ms", "1.98 s", false), line("error<5%", "4.2 %", true), line("lost=0", "0", true)],
    });
    let accepted = run.recording.all.ok;
    run.delivery = Some(Delivery { accepted, arrived: accepted, duplicated: 12, unacknowledged: 3, ..Delivery::NONE });
}

/// Numbers as if by chance, 0 to 1.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        // Knuth's MMIX constants.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
