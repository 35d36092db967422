//! Against real sockets. Nothing here says how fast something is, only what is counted and what waits for what.
#![allow(clippy::unwrap_used)]

mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use super::{
    Bounds, Expect, LoadError, Planned, Prepared, Protocol, Run, Schedule, Source, Stop, Target, run, threads,
};
use crate::record::{Digits, Failure, Tally};

/// Requests for the paths in turn.
struct Paths {
    names: Vec<String>,
    paths: &'static [&'static str],
    expect: Expect,
    planned: Mutex<Vec<u64>>,
    answered: AtomicU64,
    unanswered: AtomicU64,
    /// When the first was asked for.
    first: OnceLock<Instant>,
    /// Told at this number.
    stop: Option<(u64, Stop)>,
}

impl Paths {
    fn new(paths: &'static [&'static str]) -> Self {
        let names = vec!["acme".to_owned(), "globex".to_owned()];
        Paths {
            names,
            paths,
            expect: Expect::Success,
            planned: Mutex::default(),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            first: OnceLock::new(),
            stop: None,
        }
    }
}

impl Source for Paths {
    fn tenants(&self) -> &[String] {
        &self.names
    }

    fn plan(&self, number: u64) -> Planned {
        self.first.get_or_init(Instant::now);
        self.planned.lock().unwrap().push(number);
        let path = self.paths[(number % self.paths.len() as u64) as usize];
        let request = Request::post(path).body(Bytes::from_static(b"{}")).unwrap();
        Planned { tenant: self.tenant(number), request, expect: self.expect, order: number }
    }

    fn tenant(&self, number: u64) -> usize {
        (number % 2) as usize
    }

    fn answered(&self, order: u64, status: Option<u16>) {
        let count = if status.is_some() { &self.answered } else { &self.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some((at, stop)) = &self.stop
            && *at == order
        {
            stop.tell();
        }
    }
}

fn target(url: &str, protocol: Protocol) -> Target {
    Target { url: url.parse().unwrap(), protocol, keep_alive: true, ca: None, insecure: false }
}

fn bounds(connections: usize) -> Bounds {
    Bounds { threads: 2, connections, streams: 4, timeout: Duration::from_millis(1_500), warm_up: Duration::ZERO }
}

fn go(target: &Target, schedule: &str, bounds: &Bounds, source: &Arc<Paths>) -> Result<Run, LoadError> {
    let source: Arc<dyn Source> = source.clone();
    run(target, &schedule.parse().unwrap(), bounds, &source, &Stop::new(), |_| {})
}

#[test]
fn every_answer_and_every_failure_is_counted_as_what_it_is() {
    let server = server::start(server::http1);
    let paths =
        Paths::new(&["/200", "/302", "/404", "/429", "/503", "/503/later", "/short", "/cut", "/close", "/garbage"]);
    let source = Arc::new(paths);
    let run = go(&target(&server, Protocol::Http1), "400/s for 100ms", &bounds(8), &source).unwrap();
    let all = &run.recording.all;
    assert_eq!(all.statuses, BTreeMap::from([(200, 4), (302, 4), (404, 4), (429, 4), (503, 8)]));
    assert_eq!((all.ok, all.shed, all.refused, all.failed, all.unsent), (8, 8, 8, 16, 0));
    assert_eq!(all.failures, BTreeMap::from([(Failure::Protocol, 8), (Failure::Reset, 8)]));
    assert_eq!((all.intended, all.response.count(), all.service.count()), (40, 24, 24));
    assert_eq!(run.recording.tenants["acme"].intended, 20);
    assert_eq!(run.recording.seconds.len(), 1);
    assert_eq!(run.recording.seconds[0].tenants["globex"].intended, 20);
    assert_eq!(source.answered.load(Ordering::Relaxed), 24);
    assert_eq!(source.unanswered.load(Ordering::Relaxed), 16);
    assert!(run.generator.warnings.iter().any(|warning| warning.contains("share this machine")), "{:?}", run.generator);
}

#[test]
fn a_bad_token_that_is_let_in_is_wrong() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths { expect: Expect::Unauthorised, ..Paths::new(&["/200", "/401", "/404"]) });
    let run = go(&target(&server, Protocol::Http1), "100/s for 30ms", &bounds(2), &source).unwrap();
    let all = &run.recording.all;
    assert_eq!((all.wrong, all.ok, all.refused), (1, 1, 1));
}

#[test]
fn bytes_behind_an_answer_are_told() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths::new(&["/more"]));
    let run = go(&target(&server, Protocol::Http1), "50/s for 60ms", &bounds(1), &source).unwrap();
    assert_eq!(run.recording.all.intended, 3);
    assert!(run.generator.warnings.iter().any(|warning| warning.contains("lies about lengths")), "{:?}", run.generator);
}

#[test]
fn moments_behind_a_stall_count_their_wait_and_the_service_does_not() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths::new(&["/stall-once"]));
    let run = go(&target(&server, Protocol::Http1), "20/s for 500ms", &bounds(1), &source).unwrap();
    let all = &run.recording.all;
    assert_eq!((all.ok, all.unsent), (10, 0));
    // The first is answered after 500 ms; the sixth has its moment 250 ms after the first.
    assert!(all.response.at(0.5) >= 250_000, "{}", all.response.at(0.5));
    assert!(all.service.at(0.5) < all.response.at(0.5), "{} µs", all.service.at(0.5));
    assert!(all.late >= 9, "{}", all.late);
}

#[test]
fn what_finds_no_connection_until_the_end_is_unsent() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths::new(&["/silent"]));
    let bounds = Bounds { timeout: Duration::from_millis(300), ..bounds(1) };
    let run = go(&target(&server, Protocol::Http1), "20/s for 200ms", &bounds, &source).unwrap();
    let all = &run.recording.all;
    assert_eq!((all.intended, all.sent + all.unsent, all.failed), (4, 4, all.sent));
    // Until 500 ms; each takes 300.
    assert!(all.unsent >= 2, "{}", all.unsent);
    assert_eq!(all.failures.get(&Failure::Timeout), Some(&all.sent));
}

#[test]
fn connections_are_kept_or_not_and_the_warm_up_does_not_count() {
    let server = server::start(server::http1);
    let bounds = Bounds { warm_up: Duration::from_millis(100), ..bounds(2) };
    let source = Arc::new(Paths::new(&["/connections"]));
    let kept = target(&server, Protocol::Http1);
    let run = go(&kept, "100/s for 100ms", &bounds, &source).unwrap();
    assert_eq!((run.recording.all.ok, source.answered.load(Ordering::Relaxed)), (10, 20));
    assert!((1..=2).contains(&server::connections(&server)), "{}", server::connections(&server));
    let mut planned = std::mem::take(&mut *source.planned.lock().unwrap());
    planned.sort_unstable();
    assert_eq!(planned, Vec::from_iter(0..20));

    let fresh = Target { keep_alive: false, ..kept };
    let before = server::connections(&server);
    let run = go(&fresh, "100/s for 100ms", &bounds, &source).unwrap();
    assert_eq!(run.recording.all.ok, 10);
    assert_eq!(server::connections(&server) - before, 20);
}

#[test]
fn http2_in_the_clear() {
    let server = server::start(server::http2);
    let source = Arc::new(Paths::new(&["/200", "/404"]));
    let run = go(&target(&server, Protocol::Http2), "200/s for 100ms", &bounds(2), &source).unwrap();
    let all = &run.recording.all;
    assert_eq!(all.statuses, BTreeMap::from([(200, 10), (404, 10)]));
    assert!(server::connections(&server) <= 2);
    let error = go(&target(&server, Protocol::Http1), "200/s for 100ms", &bounds(2), &source).unwrap_err();
    assert!(
        error.is_unreachable() && error.to_string().contains("does not speak HTTP/1.1: it speaks HTTP/2"),
        "{error}"
    );
}

#[test]
fn tls_with_either_protocol() {
    let (server, ca) = server::tls();
    let source = Arc::new(Paths::new(&["/200"]));
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let trusting = Target { ca: Some(ca.path().to_owned()), ..target(&server, protocol) };
        let run = go(&trusting, "100/s for 50ms", &bounds(2), &source).unwrap();
        assert_eq!(run.recording.all.ok, 5, "{:?}", run.recording.all.failures);
        let careless = Target { insecure: true, ..target(&server, protocol) };
        assert_eq!(go(&careless, "100/s for 50ms", &bounds(2), &source).unwrap().recording.all.ok, 5);
    }
    let distrusting = go(&target(&server, Protocol::Http1), "100/s for 50ms", &bounds(2), &source).unwrap_err();
    assert!(matches!(distrusting, LoadError::Tls { .. }), "{distrusting}");

    // Spoken to in the clear.
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let clear = target(&server.replace("https", "http"), protocol);
        let error = go(&clear, "100/s for 50ms", &bounds(2), &source).unwrap_err();
        assert!(error.is_unreachable() && error.to_string().contains("it speaks TLS"), "{error}");
    }
}

#[test]
fn a_run_begins_at_its_moment_and_its_target_was_found_before() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths::new(&["/200"]));
    let bounds = Bounds { warm_up: Duration::from_millis(50), ..bounds(2) };
    let prepared = Prepared::new(&target(&server, Protocol::Http1), &bounds).unwrap();
    let (start, dynamic): (_, Arc<dyn Source>) = (Instant::now() + Duration::from_millis(200), source.clone());
    let run = prepared.run(&"100/s for 50ms".parse().unwrap(), &dynamic, start, &Stop::new(), |_| {}).unwrap();
    assert!(*source.first.get().unwrap() >= start);
    assert_eq!((run.recording.all.ok, source.answered.load(Ordering::Relaxed)), (5, 10));
    // One that is stopped before its moment sends nothing.
    let (stop, later) = (Stop::new(), Instant::now() + Duration::from_secs(1_000));
    stop.tell();
    let run = prepared.run(&"100/s for 50ms".parse().unwrap(), &dynamic, later, &stop, |_| {}).unwrap();
    assert_eq!((run.stopped, run.recording.all.intended, source.answered.load(Ordering::Relaxed)), (true, 0, 10));
}

#[test]
fn requests_that_waited_for_one_of_few_connections_are_told() {
    let server = server::start(server::http1);
    let source = Arc::new(Paths::new(&["/silent"]));
    let bounds = Bounds { timeout: Duration::from_millis(300), ..bounds(2) };
    let run = go(&target(&server, Protocol::Http1), "40/s for 200ms", &bounds, &source).unwrap();
    let warnings = &run.generator.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("one of the 1 that their thread may")), "{warnings:?}");
}

#[test]
fn threads_have_enough_connections_for_themselves() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(threads(Protocol::Http1, 1, 100), 1);
    assert_eq!(threads(Protocol::Http1, 31, 100), 1);
    assert_eq!(threads(Protocol::Http1, 32, 100), cores.min(2));
    assert_eq!(threads(Protocol::Http1, 100_000, 1), cores.min(256));
    assert_eq!(threads(Protocol::Http2, 1, 100), cores.min(6));
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let source = Arc::new(Paths::new(&["/200"]));
    let other = server::start(server::ssh);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server::start(server::http1);
    for (target, says) in [
        (target(&format!("http://{free}"), Protocol::Http1), "nothing listens on"),
        (target("http://no-such-host.invalid", Protocol::Http1), "cannot resolve"),
        (target("ftp://127.0.0.1", Protocol::Http1), "neither http nor https"),
        (target("/v1/orders", Protocol::Http1), "names no host"),
        (target(&server, Protocol::Http2), "does not speak HTTP/2"),
        (target(&other, Protocol::Http1), "does not speak HTTP/1.1: it answered `SSH-2.0-O`"),
        (target(&server.replace("http", "https"), Protocol::Http1), "TLS with"),
        (Target { keep_alive: false, ..target(&server, Protocol::Http2) }, "HTTP/1.1 only"),
        (Target { ca: Some("/no/such/ca".into()), ..target("https://127.0.0.1", Protocol::Http1) }, "/no/such/ca"),
    ] {
        let error = go(&target, "1/s for 1s", &bounds(1), &source).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let none = go(&target(&server, Protocol::Http1), "1/s for 1s", &bounds(0), &source).unwrap_err().to_string();
    assert!(none.contains("0 connections"), "{none}");
}

#[test]
fn stopped_in_the_middle_it_gives_the_part_until_then() {
    let server = server::start(server::http1);
    let stop = Stop::new();
    let source: Arc<dyn Source> = Arc::new(Paths { stop: Some((30, stop.clone())), ..Paths::new(&["/200"]) });
    let schedule: Schedule = "100/s for 1h".parse().unwrap();
    let mut told = Tally::new(Digits::Two);
    let run = run(&target(&server, Protocol::Http1), &schedule, &bounds(4), &source, &stop, |progress| {
        told.merge(&progress.second.all);
    })
    .unwrap();
    let all = &run.recording.all;
    assert!(run.stopped);
    assert!((30..36_000).contains(&all.ok), "{}", all.ok);
    assert!(run.recording.seconds.len() < 360);
    // What was told on the way adds up to the whole.
    assert_eq!((told.intended, told.ok, told.unsent), (all.intended, all.ok, all.unsent));
    assert_eq!(told.response.count(), all.response.count());
}
