//! Plans replaced while serving; drain at the end.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::client::{Connection, request};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Reply, Upstream, ok};

fn config(path: &str, upstream: &Upstream) -> String {
    format!(
        "upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nroutes:\n  - {{ name: one, path: {path}, methods: [GET], auth: public, forward: {{ upstreams: [erp] }} }}\n",
        upstream.url()
    )
}

fn rewrite(gateway: &Gateway, from: &str, to: &str) {
    let path = gateway.dir().join("gateway.yaml");
    let text = fs::read_to_string(&path).unwrap().replace(from, to);
    let next = gateway.dir().join("next.yaml");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

#[test]
fn a_changed_file_is_a_new_plan_and_a_wrong_one_is_not() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = Gateway::start(&config("/one", &upstream));
    assert_eq!(gateway.call("GET", "/two", &[], b"").status, 404);
    rewrite(&gateway, "/one", "/two");
    eventually("the new route serves", Duration::from_secs(15), || {
        (gateway.call("GET", "/two", &[], b"").status == 200).then_some(())
    });
    assert_eq!(gateway.call("GET", "/one", &[], b"").status, 404);
    rewrite(&gateway, "methods", "metods");
    eventually("the wrong plan is refused", Duration::from_secs(15), || {
        (gateway.metric("sluis_config_reloads_total{result=\"refused\"}") >= 1.0).then_some(())
    });
    assert_eq!(gateway.call("GET", "/two", &[], b"").status, 200, "the old plan stays in force");
    assert!(gateway.log_text().contains("metods"), "the operator is told what is wrong");
    rewrite(&gateway, "metods", "methods");
    gateway.signal("HUP");
    eventually("SIGHUP reloads", Duration::from_secs(15), || {
        (gateway.metric("sluis_config_reloads_total{result=\"ok\"}") >= 2.0).then_some(())
    });
}

#[test]
fn a274_reloads_under_load_fail_no_request() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = Gateway::start(&config("/one", &upstream));
    let mut connection = Connection::open(gateway.http);
    for i in 0..300 {
        if i % 10 == 0 {
            gateway.signal("HUP");
        }
        connection.send(&request("GET", "/one", &[], b""));
        assert_eq!(connection.answer().status, 200);
    }
    eventually("the plan was replaced", Duration::from_secs(15), || {
        (gateway.metric("sluis_config_generation ") > 1.0).then_some(())
    });
}

#[test]
fn a276_an_upgrade_refuses_no_connection() {
    let upstream = Upstream::start(|_| ok(b"up"));
    let mut gateway = Gateway::start(&config("/one", &upstream));
    let address = gateway.http;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut served = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = crate::support::client::call(address, "GET", "/one", &[], b"");
                    assert_eq!(answer.status, 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    let before = gateway.pid();
    gateway.upgrade();
    assert_ne!(gateway.pid(), before);
    let mut connection = Connection::open(address);
    connection.send(&request("GET", "/one", &[], b""));
    assert_eq!(connection.answer().text(), "up");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}

#[test]
fn a237_a_request_in_flight_is_answered_before_the_end() {
    let upstream = Upstream::start(|got| match got.line.starts_with("GET /slow") {
        true => {
            std::thread::park_timeout(Duration::from_millis(700));
            ok(b"slow")
        }
        false => Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    });
    let mut gateway = Gateway::start(&config("/slow", &upstream));
    let mut connection = Connection::open(gateway.http);
    connection.send(&request("GET", "/slow", &[], b""));
    eventually("the request is in flight", Duration::from_secs(10), || {
        (gateway.metric("sluis_requests_in_flight ") == 1.0).then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(connection.answer().text(), "slow");
    assert!(gateway.wait(Duration::from_secs(10)).success());
}

#[test]
fn listeners_that_take_any_port_take_one_each() {
    let upstream = Upstream::start(|_| ok(b"up"));
    let further = "  - { name: a, address: \"127.0.0.1:0\" }\n  - { name: b, address: \"127.0.0.1:0\" }\n";
    let gateway = Gateway::start_with_listeners(&format!("{further}{}", config("/one", &upstream)));
    let line = eventually("it says where it serves", Duration::from_secs(10), || {
        gateway.log_text().lines().find(|line| line.contains("\"message\":\"serving\"")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let listeners = line["listeners"].as_str().unwrap().trim_matches(['[', ']']).split(", ");
    let addresses: BTreeSet<SocketAddr> = listeners.map(|address| address.parse().unwrap()).collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in addresses {
        assert_eq!(crate::support::client::call(address, "GET", "/one", &[], b"").text(), "up");
    }
}
