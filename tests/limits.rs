//! Caps and rates: who is refused, at once and before a body is read, and who is left alone.

use std::time::{Duration, Instant};

use crate::support::client::{Connection, request};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream, ok};

fn config(issuer: &Issuer, upstream: &Upstream, upstream_more: &str, acme: &str) -> String {
    format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"]{upstream_more} }}\nroutes:\n  - {{ name: orders, path: /orders, methods: [POST], auth: {{ issuers: [idp] }}, forward: {{ upstreams: [erp] }} }}\ntenants:\n  - {{ id: acme, limits: {{ {acme} }} }}\n  - {{ id: globex }}\n",
        issuer.yaml(""),
        upstream.url()
    )
}

#[test]
fn a264_a_tenant_past_its_rate_is_refused_and_its_neighbour_is_not() {
    let issuer = Issuer::start();
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = Gateway::start(&config(&issuer, &upstream, "", "rate: 1, burst: 5"));
    let (acme, globex) = (issuer.bearer("acme"), issuer.bearer("globex"));
    let mut refused = 0;
    for _ in 0..20 {
        let answer = gateway.call("POST", "/orders", &[("Authorization", &acme)], b"{}");
        if answer.status == 429 {
            refused += 1;
            assert_eq!(answer.problem(), "rate-limited");
            assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u64>().unwrap() >= 1));
        }
        assert_eq!(gateway.call("POST", "/orders", &[("Authorization", &globex)], b"{}").status, 200);
    }
    assert!((10..=15).contains(&refused), "{refused} of 20 refused at 1/s with a burst of 5");
}

#[test]
fn a_full_tenant_is_refused_before_its_body_and_its_neighbour_is_served() {
    let issuer = Issuer::start();
    let upstream = Upstream::start(|got| match got.header("x-sluis-tenant") {
        Some("acme") => Reply::Silence,
        _ => ok(b""),
    });
    let gateway = Gateway::start(&config(&issuer, &upstream, "", "in_flight: 4"));
    let (acme, globex) = (issuer.bearer("acme"), issuer.bearer("globex"));
    let waiting: Vec<Connection> = (0..4)
        .map(|_| {
            let mut connection = Connection::open(gateway.http);
            connection.send(&request("POST", "/orders", &[("Authorization", &acme)], b"{}"));
            connection
        })
        .collect();
    eventually("four requests wait", Duration::from_secs(10), || (upstream.got().len() == 4).then_some(()));
    // Only the head is sent: the answer must not wait for the megabyte that was announced.
    let mut connection = Connection::open(gateway.http);
    let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\nAuthorization: {acme}\r\nContent-Length: 1000000\r\n\r\n");
    let began = Instant::now();
    connection.send(head.as_bytes());
    let answer = connection.answer();
    assert_eq!((answer.status, answer.problem().as_str()), (429, "tenant-busy"));
    assert!(began.elapsed() < Duration::from_secs(1));
    for _ in 0..10 {
        assert_eq!(gateway.call("POST", "/orders", &[("Authorization", &globex)], b"{}").status, 200);
    }
    drop(waiting);
    eventually("permits come back", Duration::from_secs(10), || {
        (gateway.metric("sluis_requests_in_flight ") == 0.0).then_some(())
    });
}

#[test]
fn an_upstream_at_its_cap_is_not_asked() {
    let issuer = Issuer::start();
    let upstream = Upstream::start(|_| Reply::Silence);
    let gateway = Gateway::start(&config(&issuer, &upstream, ", in_flight: 1", ""));
    let acme = issuer.bearer("acme");
    let mut first = Connection::open(gateway.http);
    first.send(&request("POST", "/orders", &[("Authorization", &acme)], b"{}"));
    eventually("one request waits", Duration::from_secs(10), || (upstream.got().len() == 1).then_some(()));
    let answer = gateway.call("POST", "/orders", &[("Authorization", &acme)], b"{}");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "upstream-busy"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(upstream.got().len(), 1);
}
