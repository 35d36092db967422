use super::*;
use crate::record::{Digits, Tally};
use crate::result::tests::sample;

/// A server with one worker that serves so many a second: waiting as an M/M/1 queue, and past its capacity a queue that
/// grows for as long as it lasts.
struct Server {
    capacity: f64,
    /// Looks that a hiccup spoils, by number.
    hiccups: Vec<usize>,
    /// Past this rate the generator is its own limit.
    generator: f64,
    looks: usize,
}

impl Server {
    fn of(capacity: f64) -> Self {
        Server { capacity, hiccups: Vec::new(), generator: f64::INFINITY, looks: 0 }
    }

    fn run(&mut self, rate: f64, time: Duration) -> Result<RunResult, &'static str> {
        let seconds = time.as_secs_f64();
        let mut tally = Tally::new(Digits::Three);
        let service = 1e6 / self.capacity;
        let load = rate / self.capacity;
        for n in 0..200u32 {
            let quantile = (f64::from(n) + 0.5) / 200.0;
            let waited = match load < 1.0 {
                true => service / (1.0 - load) * -(1.0 - quantile).ln(),
                false => service + (load - 1.0) * seconds * 1e6 * quantile,
            };
            let hiccup = if self.hiccups.contains(&self.looks) && n > 150 { 5e6 } else { 0.0 };
            tally.response.record_n((waited + hiccup) as u64, 1);
        }
        (tally.intended, tally.sent) = ((rate * seconds) as u64, (rate * seconds) as u64);
        tally.ok = (rate.min(self.capacity) * seconds) as u64;
        let mut result = sample(0, &tally);
        result.plan.seconds = seconds;
        result.recording.seconds_measured = seconds;
        result.recording.all = tally;
        if rate > self.generator {
            result.generator.invalid.push("the generator's threads were busy".to_owned());
        }
        self.looks += 1;
        Ok(result)
    }
}

fn settings() -> Search {
    Search {
        slo: Slo::parse("p99<20ms").unwrap(),
        start: 100.0,
        highest: 1e6,
        tolerance: 0.05,
        probe: Duration::from_secs(10),
        sustain: Duration::from_secs(60),
    }
}

fn searched(mut server: Server, change: impl FnOnce(&mut Search)) -> Saturation {
    let mut settings = settings();
    change(&mut settings);
    let mut told = 0;
    let found = search(&settings, |rate, time| server.run(rate, time), |_| told += 1).unwrap();
    assert_eq!((told, server.looks), (found.probes.len(), found.probes.len()));
    found
}

/// Where an M/M/1 queue of 1,000/s has its 99th percentile at 20 ms: 1000 - ln(100) / 0.02.
const LIMIT: f64 = 1_000.0 - 4.605 / 0.02;

#[test]
fn the_highest_rate_that_holds_is_found_and_held_for_long() {
    let found = searched(Server::of(1_000.0), |_| {});
    let Outcome::Found { rate } = found.outcome else { panic!("{:?}", found.outcome) };
    assert!(rate <= LIMIT && rate > LIMIT / 1.06, "{rate} of {LIMIT}");
    // Power, rate × (capacity − rate), is highest at half the capacity.
    let knee = found.knee.unwrap();
    assert!((400.0..600.0).contains(&knee), "{knee}");
    let sustained = found.sustained.unwrap();
    assert!(sustained.verdict.unwrap().holds && sustained.plan.seconds == 60.0);
    assert!(found.capacity >= 760.0 && found.capacity <= 1_000.0, "{}", found.capacity);
    let phases = |phase| found.probes.iter().filter(|probe| probe.phase == phase).count();
    assert!(phases(Phase::Climb) == 5 && phases(Phase::Narrow) >= 4 && phases(Phase::Sustain) == 1);
}

#[test]
fn a_first_rate_too_high_is_halved_and_hiccups_are_looked_at_twice() {
    let found = searched(Server::of(1_000.0), |search| search.start = 6_000.0);
    assert!(matches!(found.outcome, Outcome::Found { rate } if rate <= LIMIT && rate > LIMIT / 1.06));
    let server = Server { hiccups: vec![0, 2, 5], ..Server::of(1_000.0) };
    let found = searched(server, |_| {});
    assert!(matches!(found.outcome, Outcome::Found { rate } if rate <= LIMIT && rate > LIMIT / 1.06));
}

#[test]
fn the_limits_of_a_search_are_told_apart() {
    let found = searched(Server::of(1e9), |search| search.highest = 3_000.0);
    assert_eq!(found.outcome, Outcome::Unbroken { rate: 3_000.0 });
    let found = searched(Server::of(1.0), |_| {});
    assert!(matches!(&found.outcome, Outcome::Nothing { rate, why } if *rate < 2.0 && why.starts_with("p99<20ms: ")));
    let found = searched(Server { generator: 500.0, ..Server::of(1_000.0) }, |_| {});
    let why = "the generator's threads were busy".to_owned();
    assert_eq!(found.outcome, Outcome::Generator { rate: 800.0, held: Some(400.0), why });
    assert!(found.sustained.is_none());
}

#[test]
fn what_holds_shortly_but_never_long_is_unsteady() {
    let (mut server, settings) = (Server::of(1_000.0), settings());
    let slow = |rate: f64, time: Duration| match time.as_secs() {
        60 => Server::of(10.0).run(rate, time),
        _ => server.run(rate, time),
    };
    let found = search(&settings, slow, |_| {}).unwrap();
    assert!(matches!(found.outcome, Outcome::Unsteady { rate, .. } if rate < LIMIT), "{:?}", found.outcome);
    let stopped = |rate: f64, time: Duration| {
        Server::of(1_000.0).run(rate, time).map(|result| RunResult { ended: Ended::Interrupted, ..result })
    };
    assert_eq!(search(&settings, stopped, |_| {}).unwrap().outcome, Outcome::Interrupted);
}

#[test]
fn a_look_that_fails_costs_none_of_those_before() {
    let settings = settings();
    assert_eq!(search(&settings, |_, _| Err("unreachable"), |_| {}), Err("unreachable"), "there is nothing to tell");
    let mut server = Server::of(1_000.0);
    let gone = |rate: f64, time: Duration| match time.as_secs() {
        60 => Err("unreachable"),
        _ => server.run(rate, time),
    };
    let found = search(&settings, gone, |_| {}).unwrap();
    let Outcome::Failed { rate, held: Some(held), why } = &found.outcome else { panic!("{:?}", found.outcome) };
    assert!(*rate == *held && *held <= LIMIT && *held > LIMIT / 1.06 && why == "unreachable", "{rate} {held} {why}");
    assert!(found.probes.len() > 5 && found.knee.is_some() && found.sustained.is_none());
}

#[test]
fn a_rate_at_which_many_are_turned_away_is_no_knee() {
    let look = |rate: f64, achieved: f64, mean_us: f64, unserved: f64| Probe {
        phase: Phase::Climb,
        rate,
        seconds: 10.0,
        achieved,
        p50_us: mean_us,
        p99_us: mean_us,
        mean_us,
        unserved,
        verdict: Verdict { holds: true, lines: Vec::new() },
    };
    let looks = [look(100.0, 100.0, 900.0, 0.0), look(200.0, 199.0, 1_000.0, 0.005), look(400.0, 300.0, 500.0, 0.25)];
    assert_eq!(knee(&looks), Some(1));
    assert_eq!(knee(&looks[1..]), None, "one rate alone has no knee");
}
