use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::*;
use crate::issuer::Issuer;
use crate::load::{Source, Stop};
use crate::parts::server::{Answer, Handler, Server};
use crate::parts::{Behaviour, Erp};
use crate::result::Ended;
use crate::session::tests::job;
use crate::session::{Lines, Surroundings};
use crate::slo::Slo;
use crate::workload::Traffic;
use crate::workload::traffic::read_order_name;

const SECRET: &str = "a-secret-of-some-length";

/// An agent on a free port, until it is dropped.
struct Running {
    address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let (stop, (tell, told)) = (Stop::new(), sync_channel(1));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let ready = move |address| tell.send(address).map_err(std::io::Error::other);
            serve(([127, 0, 0, 1], 0).into(), SECRET, &stopped, ready).unwrap();
        });
        Running { address: told.recv().unwrap(), stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.tell();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn names(agents: &[Running]) -> Vec<String> {
    agents.iter().map(|agent| agent.address.to_string()).collect()
}

#[test]
fn two_agents_send_one_load_and_are_merged_without_loss() {
    let agents = [Running::start(), Running::start()];
    let erp = Erp::start(Behaviour::default()).unwrap();
    let mut job = job(format!("http://{}", erp.address()), 100);
    job.schedule = "101/s for 1s".parse().unwrap();
    let lines = Lines { slo: Some(Slo::parse("error=0").unwrap()), abort: None };
    let mut told = 0;
    let around = Surroundings { issuer: Some(([127, 0, 0, 1], 0).into()), ..Surroundings::default() };
    let result = coordinate(&job, &names(&agents), SECRET, &around, lines, &Stop::new(), |progress, _| {
        told += progress.second.all.ok;
    })
    .unwrap();
    let all = &result.recording.all;
    assert_eq!((all.intended, all.ok, all.response.count()), (101, 101, 101), "{all:?}");
    assert_eq!(result.recording.seconds.iter().map(|second| second.all.intended).sum::<u64>(), 101);
    assert_eq!(result.recording.tenants["acme"].ok, 101);
    assert!(result.ended == Ended::Complete && result.verdict.unwrap().holds && result.generator.threads == 2);
    assert!(told <= 101, "{told}");
}

/// Takes orders, and keeps their names.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Handler for Names {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Some(name) = request.headers().get("idempotency-key") {
            self.0.lock().unwrap().push(name.to_str().unwrap().to_owned());
        }
        Ok(Response::new(Full::default()))
    }
}

#[test]
fn agents_repeat_each_other_s_orders_by_their_names() {
    let agents = [Running::start(), Running::start()];
    let orders = Arc::new(Names::default());
    let shop = Server::start("shop", ([127, 0, 0, 1], 0).into(), orders.clone()).unwrap();
    let mut job = job(format!("http://{}", shop.address()), 100);
    job.schedule = "800/s for 1s".parse().unwrap();
    job.workload.duplicates = Some("50%".to_owned());
    let (lines, around) = (Lines::default(), Surroundings::default());
    let result = coordinate(&job, &names(&agents), SECRET, &around, lines, &Stop::new(), |_, _| ()).unwrap();
    assert_eq!(result.recording.all.ok, 800, "{:?}", result.recording.all);
    // What one generator would have sent, under one name.
    let issuer = Issuer::new().unwrap();
    let alone = Traffic::new(&job.workload, &issuer, "alone").unwrap();
    let expected: Vec<u64> = (0..800).map(|number| alone.plan(number).order).collect();
    let of = |number: &u64| expected.iter().filter(|order| *order == number).count();
    assert!((0..800).any(|number| of(&number) > 1), "there are repetitions");
    let got = orders.0.lock().unwrap();
    let runs: BTreeSet<&str> = got.iter().map(|name| read_order_name(name).unwrap().0).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let mut got: Vec<u64> = got.iter().map(|name| read_order_name(name).unwrap().1).collect();
    let mut expected = expected.clone();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn a_target_is_found_before_the_start() {
    let agent = Running::start();
    let erp = Erp::start(Behaviour::default()).unwrap();
    let asked = || erp.seconds().iter().map(|second| second.taken).sum::<u64>();
    let peer = call::Peer { address: agent.address.to_string(), secret: SECRET.to_owned() };
    let job = job(format!("http://{}", erp.address()), 100);
    let order = wire::Order { version: wire::VERSION.to_owned(), job, run: "r1".to_owned(), index: 0, of: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let run = peer.prepare(&order).await.unwrap().run;
        assert_eq!(asked(), 1, "what it is asked for to find it");
        let mut told = peer.start(run, wire::now_us()).await.unwrap();
        let done = loop {
            match told.next(Duration::from_secs(60)).await.unwrap() {
                wire::Line::Done(done) => break done,
                wire::Line::Failed { why, .. } => panic!("{why}"),
                _ => {}
            }
        };
        assert_eq!((done.recording.all.ok, asked()), (50, 51));
        // What can become no name, and what cannot be sent.
        let refused = wire::Order { run: "r 1".to_owned(), ..order };
        assert!(peer.prepare(&refused).await.unwrap_err().to_string().contains("letters and digits"));
        let mut refused = wire::Order { run: "r1".to_owned(), ..refused };
        refused.job.timeout = Duration::ZERO;
        assert!(peer.prepare(&refused).await.unwrap_err().to_string().contains("a timeout of 0ns"));
    });
}

#[test]
fn an_agent_that_is_lost_makes_the_result_partial() {
    // The second one takes its part and then ends the connection: it is this thread.
    let agent = Running::start();
    let deserter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = deserter.local_addr().unwrap();
    let thread = std::thread::spawn(move || desert(&deserter));
    let erp = Erp::start(Behaviour::default()).unwrap();
    let job = job(format!("http://{}", erp.address()), 100);
    let agents = [agent.address.to_string(), address.to_string()];
    let result =
        coordinate(&job, &agents, SECRET, &Surroundings::default(), Lines::default(), &Stop::new(), |_, _| ()).unwrap();
    thread.join().unwrap();
    let why = format!("lost: agent {address} ");
    assert!(matches!(&result.ended, Ended::Partial { why: found } if found.starts_with(&why)), "{:?}", result.ended);
    assert_eq!(result.recording.all.ok, 25, "every other moment of fifty");
}

/// Answers as an agent would until it is started.
fn desert(listener: &std::net::TcpListener) {
    use std::io::{Read, Write};
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let hello = wire::Hello { version: wire::VERSION.to_owned(), clock_us: wire::now_us(), busy: false };
        let body = match head.split(' ').nth(1).unwrap() {
            "/v1/agent" => serde_json::to_string(&hello).unwrap(),
            "/v1/runs" => r#"{"run":1,"jwks":null}"#.to_owned(),
            _ => return,
        };
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|text| text.trim().parse().unwrap())
            })
            .unwrap_or(0);
        std::io::copy(&mut (&mut stream).take(length as u64), &mut std::io::sink()).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    }
}

#[test]
fn who_is_not_there_has_another_secret_or_version_is_told_before_anything_is_sent() {
    let agent = Running::start();
    let job = job("http://127.0.0.1:1".to_owned(), 10);
    let said = |agents: &[String], secret: &str| {
        let lines = Lines::default();
        coordinate(&job, agents, secret, &Surroundings::default(), lines, &Stop::new(), |_, _| ()).unwrap_err()
    };
    let there = agent.address.to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(
        matches!(said(&[there.clone(), free.clone()], SECRET), AgentError::Unreachable { agent, .. } if agent == free)
    );
    assert!(matches!(said(std::slice::from_ref(&there), "another secret, as long"), AgentError::Refused { .. }));
    assert!(matches!(said(&[there.clone(), there.clone()], SECRET), AgentError::Asked(_)));
}

#[test]
fn a_target_that_no_agent_reaches_is_no_lost_agent() {
    let agents = [Running::start(), Running::start()];
    let job = job("http://127.0.0.1:1".to_owned(), 10);
    let lines = Lines::default();
    let around = Surroundings::default();
    let said = coordinate(&job, &names(&agents), SECRET, &around, lines, &Stop::new(), |_, _| ()).unwrap_err();
    let AgentError::Target(why) = &said else { panic!("{said:?}") };
    for agent in names(&agents) {
        assert!(why.contains(&format!("agent {agent}: nothing listens on 127.0.0.1:1: ")), "{why}");
    }
}

#[test]
fn agents_need_no_file_of_a_trace() {
    let agents = [Running::start(), Running::start()];
    let erp = Erp::start(Behaviour::default()).unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trace.path(), "0\n0.05\n0.05\n0.2\n0.35\n").unwrap();
    let mut job = job(format!("http://{}", erp.address()), 10);
    job.schedule = format!("trace {}", trace.path().display()).parse().unwrap();
    drop(trace);
    let (lines, around) = (Lines::default(), Surroundings::default());
    let result = coordinate(&job, &names(&agents), SECRET, &around, lines, &Stop::new(), |_, _| ()).unwrap();
    assert_eq!((&result.ended, result.recording.all.ok), (&Ended::Complete, 5), "{:?}", result.recording.all);
}

#[test]
fn what_is_too_large_for_an_agent_is_told_before_anything_is_sent() {
    let agent = Running::start();
    let mut job = job("http://127.0.0.1:1".to_owned(), 10);
    job.name = "x".repeat(wire::MAX_ORDER);
    let (agents, around) = (names(std::slice::from_ref(&agent)), Surroundings::default());
    let said = coordinate(&job, &agents, SECRET, &around, Lines::default(), &Stop::new(), |_, _| ()).unwrap_err();
    assert!(matches!(&said, AgentError::Asked(why) if why.contains("an agent takes 32 MiB")), "{said}");
}

#[test]
fn a_run_that_was_never_started_keeps_nobody_out() {
    let agent = Running::start();
    let peer = call::Peer { address: agent.address.to_string(), secret: SECRET.to_owned() };
    let job = job("http://127.0.0.1:1".to_owned(), 10);
    let order = wire::Order { version: wire::VERSION.to_owned(), job, run: "r1".to_owned(), index: 0, of: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        peer.prepare(&order).await.unwrap();
        peer.greet().await.unwrap();
        assert_eq!(peer.prepare(&order).await.unwrap().run, 2);
    });
}

#[test]
fn a_run_is_stopped_on_all_agents() {
    let agents = [Running::start()];
    let erp = Erp::start(Behaviour::default()).unwrap();
    let mut job = job(format!("http://{}", erp.address()), 100);
    job.schedule = "50/s for 1000s".parse().unwrap();
    let stop = Stop::new();
    let result =
        coordinate(&job, &names(&agents), SECRET, &Surroundings::default(), Lines::default(), &stop, |_, _| {
            stop.tell()
        });
    let result = result.unwrap();
    assert_eq!(result.ended, Ended::Interrupted);
    assert!(result.recording.all.ok > 0 && result.recording.seconds_measured < 900.0);
}

#[test]
fn seconds_wait_for_the_slow_but_not_for_ever() {
    let second = crate::record::Second {
        all: crate::record::Tally::new(crate::record::Digits::Two),
        tenants: Default::default(),
    };
    let mut seconds = merge::Seconds::default();
    let mut add = |at: u64| {
        let whole = seconds.add(Duration::from_millis(1_000 * at + 120), &second, 1, 2);
        whole.iter().map(|progress| (progress.elapsed.as_secs(), progress.under_way)).collect::<Vec<_>>()
    };
    assert_eq!(add(1), []);
    assert_eq!(add(1), [(1, 2)]);
    assert_eq!((add(2), add(3), add(4)), (vec![], vec![], vec![]));
    assert_eq!(add(5), [(2, 1)]);
    assert_eq!(add(2), [(3, 2)], "one that comes too late goes with the next");
}

#[test]
fn a_secret_has_a_length() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, good) in [("short", false), ("sixteen-bytes-ok\n", true), ("with spaces in between", false)] {
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(secret(file.path()).is_ok(), good, "{text:?}");
    }
    assert!(secret(std::path::Path::new("/no/such/file")).is_err());
}
