//! Events from 202 to delivery, across failures, restarts and kills.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::client::{Answer, Connection, call, request};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream, ok};

fn config(issuer: &Issuer, sink: &Upstream, more: &str) -> String {
    format!(
        "{}sinks:\n  - {{ name: erp, http: {{ url: \"{}/events\" }}, retry: {{ initial: 100ms, max: 500ms }}{more} }}\nroutes:\n  - {{ name: orders-async, path: /orders, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [erp], event_type: erp.order.created }} }}\ntenants:\n  - {{ id: acme, limits: {{ rate: 1000000, burst: 1000000, in_flight: 10000 }} }}\n  - {{ id: globex }}\n",
        issuer.yaml(""),
        sink.url()
    )
}

fn status(gateway: &Gateway, location: &str, bearer: &str) -> Answer {
    gateway.call("GET", location, &[("Authorization", bearer)], b"")
}

fn wait_for(gateway: &Gateway, location: &str, bearer: &str, state: &str) {
    eventually(&format!("{location} is {state}"), Duration::from_secs(30), || {
        let answer = status(gateway, location, bearer);
        assert_eq!(answer.status, 200);
        answer.text().contains(&format!("\"{state}\"")).then_some(())
    });
}

#[test]
fn an_accepted_order_is_delivered_and_can_be_asked_for() {
    let issuer = Issuer::start();
    let sink = Upstream::start(|_| ok(b"{}"));
    let gateway = Gateway::start(&config(&issuer, &sink, ""));
    let bearer = issuer.bearer("acme");
    let answer = gateway.call(
        "POST",
        "/orders",
        &[("Authorization", &bearer), ("Content-Type", "application/json"), ("X-Correlation-Id", "c-1")],
        b"{\"id\":1}",
    );
    assert_eq!(answer.status, 202);
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(answer.json()["status_url"], location.as_str());
    assert_eq!(status(&gateway, &location, &bearer).status, 200, "read your writes");
    wait_for(&gateway, &location, &bearer, "delivered");
    let got = &sink.got()[0];
    assert_eq!(got.body, b"{\"id\":1}");
    assert_eq!(got.header("ce-type"), Some("erp.order.created"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("x-correlation-id"), Some("c-1"));
    assert!(location.ends_with(got.header("ce-id").unwrap()));
    let other = status(&gateway, &location, &issuer.bearer("globex"));
    assert_eq!((other.status, other.problem().as_str()), (404, "event-not-found"), "another tenant sees nothing");
    assert_eq!(gateway.call("GET", &location, &[], b"").status, 401);
}

#[test]
fn a_failing_sink_is_tried_again_until_it_takes_the_event() {
    let healthy = Arc::new(AtomicBool::new(false));
    let issuer = Issuer::start();
    let sink = {
        let healthy = healthy.clone();
        Upstream::start(move |_| {
            if healthy.load(Ordering::SeqCst) {
                ok(b"")
            } else {
                Reply::Bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
        })
    };
    let gateway = Gateway::start(&config(&issuer, &sink, ""));
    let bearer = issuer.bearer("acme");
    let answer = gateway.call("POST", "/orders", &[("Authorization", &bearer)], b"{}");
    let location = answer.header("location").unwrap().to_owned();
    eventually("three attempts", Duration::from_secs(20), || (sink.got().len() >= 3).then_some(()));
    healthy.store(true, Ordering::SeqCst);
    wait_for(&gateway, &location, &bearer, "delivered");
    let ids: HashSet<String> = sink.got().iter().map(|g| g.header("ce-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "every attempt carries the same id");
}

#[test]
fn a_sink_that_refuses_for_good_makes_a_dead_letter() {
    let issuer = Issuer::start();
    let sink = Upstream::start(|_| Reply::Bytes(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let gateway = Gateway::start(&config(&issuer, &sink, ""));
    let bearer = issuer.bearer("acme");
    let answer = gateway.call("POST", "/orders", &[("Authorization", &bearer)], b"{}");
    wait_for(&gateway, answer.header("location").unwrap(), &bearer, "dead");
    assert_eq!(sink.got().len(), 1);
}

#[test]
fn a_restart_loses_nothing_and_goes_on() {
    let healthy = Arc::new(AtomicBool::new(false));
    let issuer = Issuer::start();
    let sink = {
        let healthy = healthy.clone();
        Upstream::start(move |_| if healthy.load(Ordering::SeqCst) { ok(b"") } else { Reply::Last(Vec::new()) })
    };
    let mut gateway = Gateway::start(&config(&issuer, &sink, ""));
    let bearer = issuer.bearer("acme");
    let locations: Vec<String> = (0..50)
        .map(|i| {
            let body = format!("{{\"id\":{i}}}");
            let answer = gateway.call("POST", "/orders", &[("Authorization", &bearer)], body.as_bytes());
            assert_eq!(answer.status, 202);
            answer.header("location").unwrap().to_owned()
        })
        .collect();
    gateway.kill_and_restart();
    healthy.store(true, Ordering::SeqCst);
    for location in &locations {
        wait_for(&gateway, location, &issuer.bearer("acme"), "delivered");
    }
}

/// From here on certain system calls of a process about one file fail, until this is killed. None where nothing can be
/// traced here.
fn injected_into(pid: u32, path: &Path, inject: &str) -> Option<Child> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-p", &pid.to_string(), "-e", &format!("inject={inject}"), "-P"]).arg(path);
    let mut strace = strace.stderr(Stdio::piped()).spawn().ok()?;
    let mut said = String::new();
    // It says so once it has all threads, and has more to say about those that begin later: the pipe stays open.
    BufReader::new(strace.stderr.as_mut()?).read_line(&mut said).ok()?;
    if said.contains("attached") {
        return Some(strace);
    }
    let _ = strace.wait();
    None
}

#[test]
fn a217_a_main_file_that_cannot_be_synchronised_ends_accepting_and_readiness_until_a_restart() {
    let issuer = Issuer::start();
    let sink = Upstream::start(|_| ok(b""));
    let mut gateway = Gateway::start(&config(&issuer, &sink, ""));
    let bearer = issuer.bearer("acme");
    let ledger = gateway.dir().join("state/ledger/ledger.db").canonicalize().unwrap();
    let Some(mut strace) = injected_into(gateway.pid(), &ledger, "fdatasync:error=EIO") else {
        println!("strace is not installed, or nothing can be traced here: nothing was tested");
        return;
    };
    let order = vec![b'x'; 20_000];
    let accept = |gateway: &Gateway| gateway.call("POST", "/orders", &[("Authorization", &bearer)], &order);
    let mut locations = Vec::new();
    // Until the log is long enough to be moved.
    let refused = loop {
        let answer = accept(&gateway);
        if answer.status != 202 {
            break answer;
        }
        locations.push(answer.header("location").unwrap().to_owned());
        assert!(locations.len() < 1_000, "nothing was moved");
    };
    assert!(!locations.is_empty(), "some were accepted before");
    for refused in [refused, accept(&gateway)] {
        assert_eq!((refused.status, refused.problem().as_str()), (503, "queue-storage-fault"));
    }
    let ready = call(gateway.admin, "GET", "/readyz", &[], b"");
    assert_eq!((ready.status, &ready.json()["reasons"][0]), (503, &serde_json::json!("ledger storage fault")));
    strace.kill().unwrap();
    strace.wait().unwrap();
    gateway.kill_and_restart();
    for location in &locations {
        wait_for(&gateway, location, &bearer, "delivered");
    }
    assert_eq!(accept(&gateway).status, 202);
}

/// `SLUIS_KILL_ROUNDS` and `SLUIS_KILL_ORDERS` lengthen it (`make soak`: 20 rounds of 10,000).
#[test]
fn a213_kill_9_while_orders_come_in_loses_none_and_invents_none() {
    let from_env =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let rounds = from_env("SLUIS_KILL_ROUNDS", 3);
    let orders = from_env("SLUIS_KILL_ORDERS", 1_000);
    let issuer = Issuer::start();
    let delivered: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let sink = {
        let delivered = delivered.clone();
        Upstream::start(move |got| {
            *delivered.lock().unwrap().entry(String::from_utf8_lossy(&got.body).into_owned()).or_default() += 1;
            ok(b"")
        })
    };
    let mut gateway = Gateway::start(&config(&issuer, &sink, ", concurrency: 64"));
    let (mut acknowledged, mut sent) = (HashSet::new(), HashSet::new());
    for round in 0..rounds {
        let bearer = issuer.bearer("acme");
        let address = gateway.http;
        let acked = Arc::new(Mutex::new(Vec::new()));
        let tried = Arc::new(Mutex::new(Vec::new()));
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (bearer, acked, tried) = (bearer.clone(), acked.clone(), tried.clone());
                std::thread::spawn(move || {
                    let mut connection = Connection::open(address);
                    for i in 0..orders / 8 {
                        let body = format!("{round}-{client}-{i}");
                        tried.lock().unwrap().push(body.clone());
                        connection.send(&request("POST", "/orders", &[("Authorization", &bearer)], body.as_bytes()));
                        match connection.try_answer(false) {
                            Ok(answer) if answer.status == 202 => acked.lock().unwrap().push(body),
                            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        // A different place in every round, always in the middle of the stream.
        let goal = orders * (2 + round % 7) / 10;
        eventually("enough orders were accepted", Duration::from_secs(120), || {
            (acked.lock().unwrap().len() >= goal).then_some(())
        });
        gateway.kill_and_restart();
        for client in clients {
            client.join().unwrap();
        }
        acknowledged.extend(acked.lock().unwrap().drain(..));
        sent.extend(tried.lock().unwrap().drain(..));
    }
    eventually("every acknowledged order is delivered", Duration::from_secs(180), || {
        let delivered = delivered.lock().unwrap();
        acknowledged.iter().all(|order| delivered.contains_key(order)).then_some(())
    });
    let delivered = delivered.lock().unwrap();
    let invented: Vec<_> = delivered.keys().filter(|order| !sent.contains(*order)).collect();
    assert!(invented.is_empty(), "never sent: {invented:?}");
    let duplicates: usize = delivered.values().map(|times| times - 1).sum();
    println!(
        "{rounds} kills: {} acknowledged, {} delivered, 0 lost, 0 invented, {duplicates} delivered more than once",
        acknowledged.len(),
        delivered.len()
    );
}
