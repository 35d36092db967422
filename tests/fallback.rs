//! Store and forward: what cannot be forwarded now, or need not be, is kept and delivered later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::client::{Answer, Connection, request};
use crate::support::eventually;
use crate::support::gateway::{Gateway, components, free_address};
use crate::support::issuer::Issuer;
use crate::support::upstream::{Got, Reply, Upstream, ok};

struct House {
    issuer: Issuer,
    sink: Upstream,
    gateway: Gateway,
}

/// A gateway before an upstream with these settings, and a sink.
fn house(url: &str, settings: &str) -> House {
    let (issuer, sink) = (Issuer::start(), Upstream::start(|_| ok(b"")));
    let route = "methods: [POST, GET], auth: { issuers: [idp] }, forward: { upstreams: [erp] }";
    let keeps = "enqueue: { sinks: [later], event_type: erp.order.created }";
    let gateway = Gateway::start(&format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{url}\"], retries: 0{settings} }}\nsinks:\n  - {{ name: later, http: {{ url: \"{}/events\" }} }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: plain, path: /plain, {route} }}\n  - {{ name: kept, path: /kept, {route}, {keeps}, else: enqueue }}\n  - {{ name: once, path: /once, {route}, {keeps}, else: enqueue, prefer: true, idempotency: {{ required: true }} }}\n  - {{ name: chosen, path: /chosen, {route}, {keeps}, prefer: true }}\n  - {{ name: shaped, path: /shaped, {route}, {keeps}, else: enqueue, plugin: orders }}\ntenants:\n  - {{ id: acme, plugins: {{ orders: tester }}, grants: [log, config, clock, metrics, kv, http-client] }}\n",
        issuer.yaml(""),
        sink.url(),
        components().display()
    ));
    House { issuer, sink, gateway }
}

impl House {
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = self.issuer.bearer("acme");
        let all: Vec<_> = [("Authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.gateway.call("POST", path, &all, body)
    }

    /// The event that an answer promises, as it arrives.
    fn arrives(&self, answer: &Answer) -> Got {
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), Some(format!("/v1/events/{id}").as_str()));
        eventually("the event is delivered", Duration::from_secs(30), || {
            self.sink.got().into_iter().find(|got| got.header("ce-id") == Some(&id))
        })
    }
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem())
}

#[test]
fn what_cannot_reach_the_upstream_is_kept_where_the_route_says_so() {
    let house = house(&format!("http://{}", free_address()), ", breaker: { consecutive_failures: 2, open: 60s }");
    let got = house.arrives(&house.post("/kept", &[("Content-Type", "application/json")], b"{\"order\":1}"));
    assert_eq!((&got.body[..], got.header("ce-type")), (&b"{\"order\":1}"[..], Some("erp.order.created")));
    assert_eq!((got.header("content-type"), got.header("ce-sluisoutcome")), (Some("application/json"), None));
    assert_eq!(refused(&house.post("/plain", &[], b"{}")), (502, "upstream-unreachable".to_owned()));
    let shut = house.post("/plain", &[], b"{}");
    assert_eq!(refused(&shut), (503, "circuit-open".to_owned()));
    house.arrives(&house.post("/kept", &[], b"{}"));
    let shaped = house.post("/shaped", &[("X-Tester", "/body/shaped"), ("Content-Type", "text/plain")], b"{}");
    let got = house.arrives(&shaped);
    assert_eq!((&got.body[..], got.header("content-type")), (&b"shaped"[..], Some("text/plain")));
    let bearer = house.issuer.bearer("acme");
    let read = house.gateway.call("GET", "/kept", &[("Authorization", &bearer)], b"");
    assert_eq!(refused(&read), (503, "circuit-open".to_owned()), "what only reads makes no event");
}

#[test]
fn what_an_upstream_has_no_room_for_is_kept() {
    let (reached, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let gate = (reached.clone(), open.clone());
    let erp = Upstream::start(move |_| {
        gate.0.fetch_add(1, Ordering::SeqCst);
        eventually("the gate is open", Duration::from_secs(30), || gate.1.load(Ordering::SeqCst).then_some(()));
        ok(b"")
    });
    let house = house(&erp.url(), ", in_flight: 1");
    let bearer = house.issuer.bearer("acme");
    let mut connection = Connection::open(house.gateway.http);
    connection.send(&request("POST", "/kept", &[("Authorization", &bearer)], b"first"));
    eventually("it is at the upstream", Duration::from_secs(30), || {
        (reached.load(Ordering::SeqCst) == 1).then_some(())
    });
    assert_eq!(refused(&house.post("/plain", &[], b"{}")), (503, "upstream-busy".to_owned()));
    assert_eq!(house.arrives(&house.post("/kept", &[], b"second")).body, b"second");
    open.store(true, Ordering::SeqCst);
    assert_eq!(connection.answer().status, 200);
}

#[test]
fn an_upstream_in_maintenance_is_not_asked() {
    let erp = Upstream::start(|_| ok(b""));
    let window = "{ from: \"2020-01-01T00:00:00Z\", to: \"2120-01-01T00:00:00Z\" }";
    let house = house(&erp.url(), &format!(", maintenance: [{window}]"));
    let answer = house.post("/plain", &[], b"{}");
    assert_eq!(refused(&answer), (503, "upstream-maintenance".to_owned()));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 86_400);
    house.arrives(&house.post("/kept", &[], b"{}"));
    let first = house.post("/once", &[("Idempotency-Key", "k")], b"{}");
    house.arrives(&first);
    let again = house.post("/once", &[("Idempotency-Key", "k")], b"{}");
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(erp.got().len(), 0);
}

#[test]
fn what_ran_out_of_time_is_kept_and_says_that_it_may_have_been_done() {
    let erp = Upstream::start(|got| if got.body == b"break" { Reply::Last(Vec::new()) } else { Reply::Silence });
    let mut house = house(
        &erp.url(),
        ", connect_timeout: 300ms, first_byte_timeout: 300ms, total_timeout: 300ms, breaker: { consecutive_failures: 100 }",
    );
    assert_eq!(refused(&house.post("/plain", &[], b"{}")), (504, "upstream-timeout".to_owned()));
    let got = house.arrives(&house.post("/kept", &[], b"{}"));
    assert_eq!(got.header("ce-sluisoutcome"), Some("unknown"));
    let key = [("Idempotency-Key", "k")];
    let first = house.post("/once", &key, b"{}");
    assert_eq!(house.arrives(&first).header("ce-sluisoutcome"), Some("unknown"));
    let asked = erp.got().len();
    let again = house.post("/once", &key, b"{}");
    assert_eq!((again.status, &again.body, again.header("location")), (202, &first.body, first.header("location")));
    house.gateway.kill_and_restart();
    let again = house.post("/once", &key, b"{}");
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let broken = house.post("/kept", &[], b"break");
    assert_eq!(refused(&broken), (502, "bad-upstream-response".to_owned()), "it may have been done, and it is over");
    assert_eq!(erp.got().len(), asked + 1);
    // Who waits only so long, and does not say that a later answer will do, is told that there is none.
    let plain = house.post("/chosen", &[("Prefer", "wait=1")], b"{}");
    assert_eq!(refused(&plain), (504, "upstream-timeout".to_owned()));
}

#[test]
fn a_client_may_choose_not_to_wait() {
    let erp = Upstream::start(|got| if got.body == b"slow" { Reply::Silence } else { ok(&got.body) });
    let house = house(&erp.url(), "");
    let now = house.post("/chosen", &[("Prefer", "handling=lenient, respond-async")], b"later");
    assert_eq!(now.header("preference-applied"), Some("respond-async"));
    let got = house.arrives(&now);
    assert_eq!((&got.body[..], got.header("ce-sluisoutcome")), (&b"later"[..], None));
    assert_eq!(erp.got().len(), 0);
    let keyed = [("Prefer", "respond-async"), ("Idempotency-Key", "k")];
    let first = house.post("/once", &keyed, b"{}");
    let again = house.post("/once", &keyed, b"{}");
    assert_eq!(
        (first.status, &first.body, first.header("preference-applied")),
        (202, &again.body, Some("respond-async"))
    );
    assert_eq!(again.header("preference-applied"), Some("respond-async"));
    for ignored in ["wait=soon", "respond-async=no", "wait=30", "wait=30, respond-async", "\""] {
        let answer = house.post("/chosen", &[("Prefer", ignored)], b"{}");
        assert_eq!((answer.status, answer.header("preference-applied")), (200, None), "{ignored}");
    }
    assert_eq!(house.post("/kept", &[("Prefer", "respond-async")], b"{}").status, 200, "that route lets nobody choose");
    let patient = house.post("/chosen", &[("Prefer", "respond-async, wait=1")], b"slow");
    assert_eq!(patient.header("preference-applied"), Some("respond-async"));
    assert_eq!(house.arrives(&patient).header("ce-sluisoutcome"), Some("unknown"));
}
