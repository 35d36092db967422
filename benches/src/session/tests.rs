use super::*;
use crate::load::Protocol;
use crate::parts::{Behaviour, Erp};
use crate::workload::Workload;

/// A job of so many requests within half a second.
pub(crate) fn job(url: String, rate: u32) -> Job {
    Job {
        name: "test".to_owned(),
        url,
        protocol: Protocol::Http1,
        keep_alive: true,
        ca: None,
        insecure: false,
        schedule: format!("{rate}/s for 500ms").parse().unwrap(),
        workload: Workload { users: 10, ..Workload::default() },
        tokens: Tokens::Minted,
        threads: 1,
        connections: 8,
        streams: 1,
        timeout: Duration::from_secs(20),
        warm_up: Duration::ZERO,
    }
}

fn free() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_run_is_measured_judged_and_held_against_what_arrived() {
    // The stand-in itself is the target here: what it takes has arrived.
    let listen = Listen { erp: Some(free()), issuer: Some(free()), drain: DRAIN };
    let job = job(format!("http://{}", listen.erp.unwrap()), 100);
    let stand = Stand::new(&job, listen).unwrap();
    assert!(stand.has_sink() && stand.jwks().unwrap().contains("ES256"));
    let lines = Lines { slo: Some(Slo::parse("error=0,lost=0,p99<1us").unwrap()), abort: None };
    let mut seconds = 0;
    let result = run(&job, &stand, lines, &Stop::new(), |_| seconds += 1).unwrap();
    assert_eq!((result.recording.all.intended, result.recording.all.ok), (50, 50), "{:?}", result.recording.all);
    assert!(result.ended == Ended::Complete && result.environment.same_machine && seconds >= 1);
    assert_eq!(result.plan.schedule, "100/s for 0.5s");
    let delivery = result.delivery.unwrap();
    assert_eq!((delivery.accepted, delivery.arrived, delivery.lost), (50, 50, 0));
    let verdict = result.verdict.unwrap();
    let holds: Vec<bool> = verdict.lines.iter().map(|line| line.holds).collect();
    assert_eq!((verdict.holds, holds), (false, vec![true, true, false]));
}

#[test]
fn a_line_that_comes_true_ends_the_run() {
    let erp = Erp::start(Behaviour { state: crate::parts::State::Down, ..Behaviour::default() }).unwrap();
    let mut job = job(format!("http://{}", erp.address()), 50);
    job.schedule = "50/s for 100s".parse().unwrap();
    let stand = Stand::new(&job, Listen::default()).unwrap();
    let abort = Watch::new(Slo::parse("error>50%").unwrap(), 1).unwrap();
    let result = run(&job, &stand, Lines { slo: None, abort: Some(abort) }, &Stop::new(), |_| ()).unwrap();
    assert!(
        matches!(&result.ended, Ended::Aborted { why } if why.starts_with("error>50%: 100.00 %")),
        "{:?}",
        result.ended
    );
    assert!(result.recording.seconds_measured < 100.0);
}

#[test]
fn tokens_from_elsewhere_are_sent_as_they_are() {
    let mut job = job("http://127.0.0.1:1".to_owned(), 10);
    job.tokens = Tokens::Fixed("abc.def".to_owned());
    let stand = Stand::new(&job, Listen::default()).unwrap();
    let planned = stand.source().plan(0);
    assert_eq!(planned.request.headers()["authorization"], "Bearer abc.def");
    job.tokens = Tokens::ByTenant([("globex".to_owned(), "x".to_owned())].into());
    let refused = Stand::new(&job, Listen::default()).err().unwrap().to_string();
    assert_eq!(refused, "there is no token for tenant `acme`");
    job.tokens = Tokens::Fixed("a\nb".to_owned());
    assert!(Stand::new(&job, Listen::default()).is_err());
}

#[test]
fn a_plan_s_digest_is_of_the_load_alone() {
    let one = job("http://127.0.0.1:1".to_owned(), 10);
    let digest = |change: fn(&mut Job)| {
        let mut other = one.clone();
        change(&mut other);
        other.plan().digest
    };
    assert_eq!(digest(|job| job.url = "http://10.0.0.1:80".to_owned()), one.plan().digest);
    assert_eq!(digest(|job| job.name = "other".to_owned()), one.plan().digest);
    assert_ne!(digest(|job| job.connections = 9), one.plan().digest);
    assert_ne!(digest(|job| job.workload.keys = 9), one.plan().digest);
    assert_ne!(digest(|job| job.url = "https://127.0.0.1:1".to_owned()), one.plan().digest);
}
