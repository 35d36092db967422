use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::*;
use crate::gateway::Page;
use crate::load::Protocol;
use crate::parts::server::{Answer, Handler, Server};
use crate::parts::{Behaviour, Erp};
use crate::workload::{Tenant, Tenants, Workload};

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
        threads: Some(1),
        connections: 8,
        streams: 1,
        timeout: Duration::from_secs(20),
        warm_up: Duration::ZERO,
    }
}

fn free() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A gateway's page of metrics, with an open breaker.
struct Metrics;

impl Handler for Metrics {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        assert_eq!(request.uri().path(), "/metrics");
        let text = "sluis_build_info{version=\"0.9\"} 1\nsluis_breaker_state{upstream=\"erp\"} 2\n";
        Ok(Response::new(Full::new(Bytes::from_static(text.as_bytes()))))
    }
}

#[test]
fn a_run_is_measured_judged_and_held_against_what_arrived() {
    // The stand-in itself is the target here: what it takes has arrived.
    let page = Server::start("metrics", ([127, 0, 0, 1], 0).into(), Arc::new(Metrics)).unwrap();
    let around = Surroundings {
        erp: Some(free()),
        issuer: Some(free()),
        metrics: Some(Page::parse(&format!("http://{}", page.address())).unwrap()),
        drain: DRAIN,
    };
    let job = job(format!("http://{}", around.erp.unwrap()), 100);
    let stand = Stand::new(&job, around).unwrap();
    assert!(stand.has_sink() && stand.jwks().unwrap().contains("ES256"));
    let lines = Lines { slo: Some(Slo::parse("error=0,lost=0,p99<1us").unwrap()), abort: None };
    let (mut seconds, mut seen) = (0, Vec::new());
    let result = run(&job, &stand, lines, &Stop::new(), |_, breakers| {
        seconds += 1;
        seen = breakers.to_vec();
    })
    .unwrap();
    assert_eq!((result.recording.all.intended, result.recording.all.ok), (50, 50), "{:?}", result.recording.all);
    assert!(result.ended == Ended::Complete && result.environment.same_machine && seconds >= 1);
    assert_eq!(result.plan.schedule, "100/s for 0.5s");
    assert_eq!(seen, [("sluis_breaker_state{upstream=\"erp\"}".to_owned(), 2.0)]);
    assert_eq!(result.environment.gateway.as_deref(), Some("0.9"));
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
    let stand = Stand::new(&job, Surroundings::default()).unwrap();
    let abort = Watch::new(Slo::parse("error>50%").unwrap(), 1).unwrap();
    let result = run(&job, &stand, Lines { slo: None, abort: Some(abort) }, &Stop::new(), |_, _| ()).unwrap();
    assert!(
        matches!(&result.ended, Ended::Aborted { why } if why.starts_with("error>50%: 100.00 %")),
        "{:?}",
        result.ended
    );
    assert!(result.recording.seconds_measured < 100.0);
}

/// Answers at once and keeps what it took, as a gateway with a queue does.
#[derive(Default)]
struct Queue(Mutex<Vec<HeaderValue>>);

impl Handler for Queue {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        // Who only asks whether it is there brings none.
        self.0.lock().unwrap().extend(request.headers().get("idempotency-key").cloned());
        Ok(Response::new(Full::default()))
    }
}

impl Queue {
    /// Delivers what it has. Blocks.
    fn deliver(&self, erp: std::net::SocketAddr) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, kept) = (crate::client::Client::new(erp), std::mem::take(&mut *self.0.lock().unwrap()));
        for name in kept {
            let order = Request::post("/").header("host", "erp.test").header("idempotency-key", name);
            runtime.block_on(client.send(order.body(Full::default()).unwrap())).unwrap();
        }
    }
}

#[test]
fn what_a_run_accepted_before_it_was_aborted_is_waited_for() {
    let (queue, erp) = (Arc::new(Queue::default()), free());
    let server = Server::start("queue", ([127, 0, 0, 1], 0).into(), queue.clone()).unwrap();
    let mut job = job(format!("http://{}", server.address()), 50);
    job.schedule = "50/s for 100s".parse().unwrap();
    let around = Surroundings { erp: Some(erp), drain: DRAIN, ..Surroundings::default() };
    let stand = Stand::new(&job, around).unwrap();
    let prepared = Prepared::new(&job.target().unwrap(), &job.bounds()).unwrap();
    let mut deliveries = Vec::new();
    let measured = measure(&job, &stand, &prepared, Instant::now(), &Stop::new(), |_, sending| {
        if sending.told().is_some() {
            let queue = queue.clone();
            deliveries.push(std::thread::spawn(move || queue.deliver(erp)));
        }
        sending.tell();
    });
    deliveries.into_iter().for_each(|delivery| delivery.join().unwrap());
    let delivery = measured.unwrap().delivery.unwrap();
    assert!(delivery.accepted > 0, "{delivery:?}");
    assert_eq!((delivery.arrived, delivery.lost, delivery.outstanding), (delivery.accepted, 0, 0));
}

#[test]
fn what_is_under_way_when_the_wait_is_cut_short_is_not_lost() {
    let job = job("http://127.0.0.1:1".to_owned(), 10);
    let delivery = |drain: Duration, stop: &Stop| {
        let around = Surroundings { erp: Some(free()), drain, ..Surroundings::default() };
        let stand = Stand::new(&job, around).unwrap();
        let order = stand.source().plan(0).order;
        stand.source().answered(order, Some(200));
        let delivery = stand.delivery(stop).unwrap();
        (delivery.accepted, delivery.lost, delivery.outstanding)
    };
    let stop = Stop::new();
    assert_eq!(delivery(Duration::ZERO, &stop), (1, 1, 0));
    stop.tell();
    assert_eq!(delivery(DRAIN, &stop), (1, 0, 1));
}

#[test]
fn tokens_from_elsewhere_are_sent_as_they_are() {
    let mut job = job("http://127.0.0.1:1".to_owned(), 10);
    job.tokens = Tokens::Fixed("abc.def".to_owned());
    let stand = Stand::new(&job, Surroundings::default()).unwrap();
    let planned = stand.source().plan(0);
    assert_eq!(planned.request.headers()["authorization"], "Bearer abc.def");
    job.tokens = Tokens::ByTenant([("globex".to_owned(), "x".to_owned())].into());
    let refused = Stand::new(&job, Surroundings::default()).err().unwrap().to_string();
    assert_eq!(refused, "there is no token for tenant `acme`");
    job.tokens = Tokens::Fixed("a\nb".to_owned());
    assert!(Stand::new(&job, Surroundings::default()).is_err());
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

#[test]
fn a_plan_s_digest_is_of_a_trace_s_moments_and_not_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |name: &str, moments: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, moments).unwrap();
        let mut job = job("http://127.0.0.1:1".to_owned(), 10);
        job.schedule = format!("trace {}", path.display()).parse().unwrap();
        job.plan().digest
    };
    let one = digest("one", "0\n0.1\n0.5\n");
    assert_eq!(digest("other", "offset\n0.0\n0.10\n0.5\n"), one);
    // As many moments in the same time.
    assert_ne!(digest("one", "0\n0.2\n0.5\n"), one);
}

#[test]
fn a_result_that_could_not_be_read_again_is_refused_before_the_run() {
    let said = |schedule: &str, count: u32| {
        let mut job = job("http://127.0.0.1:1".to_owned(), 10);
        job.schedule = schedule.parse().unwrap();
        job.workload.tenants = Tenants::Long(vec![Tenant::numbered("org-", count)]);
        job.fits_a_file().map_err(|error| error.to_string())
    };
    assert_eq!(said("1000/s for 24h", 1), Ok(()));
    assert_eq!(said("1000/s for 1h", 1_000), Ok(()));
    let refused = said("1000/s for 24h", 20).unwrap_err();
    assert!(refused.starts_with("a result of 24.0 h with 20 tenants takes some "), "{refused}");
    assert!(said("100/s for 24h", 100_000).unwrap_err().contains("more than 512 "));
}

#[test]
fn each_run_on_a_stand_has_orders_of_its_own() {
    let around = Surroundings { erp: Some(free()), drain: DRAIN, ..Surroundings::default() };
    let job = job(format!("http://{}", around.erp.unwrap()), 100);
    let mut stand = Stand::new(&job, around).unwrap();
    let first = stand.source().plan(0).request;
    for _ in 0..2 {
        stand.renew(&job).unwrap();
        let result = run(&job, &stand, Lines::default(), &Stop::new(), |_, _| ()).unwrap();
        let delivery = result.delivery.unwrap();
        assert_eq!((delivery.accepted, delivery.arrived, delivery.duplicated), (50, 50, 0));
    }
    let last = stand.source().plan(0).request;
    assert_ne!(first.headers()["idempotency-key"], last.headers()["idempotency-key"]);
    assert_eq!(first.headers()["authorization"], last.headers()["authorization"]);
}

#[test]
fn what_no_verdict_could_be_about_is_refused() {
    let refused = |job: &Job, around: Surroundings| Stand::new(job, around).err().unwrap().to_string();
    let mut job = job("http://127.0.0.1:1".to_owned(), 10);
    job.schedule = "300000/s for 60s".parse().unwrap();
    let around = Surroundings { erp: Some(free()), ..Surroundings::default() };
    assert!(refused(&job, around).starts_with("18000000 requests"));
    job.workload.bad_tokens = Some("kid=1%".to_owned());
    assert!(job.check().is_ok());
    job.tokens = Tokens::Fixed("abc.def".to_owned());
    assert!(refused(&job, Surroundings::default()).starts_with("bad_tokens: "));
    (job.tokens, job.workload.request.anonymous) = (Tokens::Minted, Some(true));
    assert!(refused(&job, Surroundings::default()).starts_with("bad_tokens: "));
}

#[test]
fn what_is_told_past_the_schedule_s_end_is_no_second_to_watch() {
    let mut all = crate::record::Tally::new(crate::record::Digits::Two);
    (all.intended, all.sent, all.failed) = (10, 10, 10);
    let second = crate::record::Second { all, tenants: std::collections::BTreeMap::new() };
    let (mut aborted, stop) = (None, Stop::new());
    let mut abort = Some(Watch::new(Slo::parse("error>50%").unwrap(), 1).unwrap());
    let mut told = |ms: u64| {
        let progress = Progress { elapsed: Duration::from_millis(ms), second: second.clone(), under_way: 0 };
        watch(&mut abort, &mut aborted, progress, Duration::from_secs(5), &stop);
        aborted.is_some()
    };
    assert!(!told(5_020) && told(4_100));
}
