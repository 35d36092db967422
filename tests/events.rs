//! Events on their way to sinks, shaped and judged by the tenant's plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream, ok};

/// A gateway whose sink has the slot `events`, which acme fills with the tester and globex does not.
struct House {
    issuer: Issuer,
    sink: Upstream,
    gateway: Gateway,
}

impl House {
    fn open(answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Self {
        Self::open_with("", answer)
    }

    fn open_with(acme: &str, answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let issuer = Issuer::start();
        let sink = Upstream::start(move |got| answer(&got.body));
        let gateway = Gateway::start(&format!(
            "{}sinks:\n  - {{ name: erp, plugin: events, http: {{ url: \"{}/events\", headers: {{ x-own: \"1\" }} }}, retry: {{ initial: 50ms, max: 200ms }} }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: orders, path: /orders, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [erp], event_type: erp.order.created }} }}\ntenants:\n  - {{ id: acme, plugins: {{ events: tester-event }}{acme} }}\n  - {{ id: globex }}\n",
            issuer.yaml(""),
            sink.url(),
            crate::support::gateway::components().display(),
        ));
        House { issuer, sink, gateway }
    }

    /// Accepts an event with this body; answers its location.
    fn accept(&self, tenant: &str, body: &Value) -> String {
        let bearer = self.issuer.bearer(tenant);
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json"), ("X-Correlation-Id", "c-1")];
        let answer = self.gateway.call("POST", "/orders", &headers, body.to_string().as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// The event's delivery once it is in this state.
    fn delivery(&self, tenant: &str, location: &str, state: &str) -> Value {
        let bearer = self.issuer.bearer(tenant);
        eventually(&format!("{location} is {state}"), Duration::from_secs(30), || {
            let answer = self.gateway.call("GET", location, &[("Authorization", &bearer)], b"");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let delivery = answer.json()["deliveries"][0].clone();
            (delivery["state"] == state).then_some(delivery)
        })
    }

    /// Accepts acme's event and waits for its end.
    fn event(&self, body: Value, state: &str) -> Value {
        let location = self.accept("acme", &body);
        self.delivery("acme", &location, state)
    }
}

#[test]
fn a_plugin_shapes_what_its_tenants_events_are_sent_as() {
    let house = House::open(|_| ok(b"{}"));
    house.event(json!({ "shape": "told" }), "delivered");
    let got = &house.sink.got()[0];
    let told: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(told["id"], got.header("ce-id").unwrap());
    let expected = json!([
        told["event_type"],
        told["sink"],
        told["route"],
        told["tenant"],
        told["correlation_id"],
        told["attempt"]
    ]);
    assert_eq!(expected, json!(["erp.order.created", "erp", "orders", "acme", "c-1", 1]));
    assert_eq!((got.header("x-own"), got.header("content-type")), (Some("1"), Some("application/json")));

    house.event(json!({ "shape": "body/hello" }), "delivered");
    house.event(json!({ "shape": "set/x-mark/a" }), "delivered");
    let got = house.sink.got();
    assert_eq!((&*got[1].body, got[1].header("content-type")), (&b"hello"[..], Some("text/plain")));
    assert_eq!(got[2].header("x-mark"), Some("a"));

    // What the operator sets is the operator's, framing is nobody's, and whose plugin it is not is left alone.
    house.event(json!({ "shape": "set/x-own/2" }), "delivered");
    assert_eq!(house.sink.got()[3].header("x-own"), Some("1"));
    let location = house.accept("globex", &json!({ "shape": "body/hello" }));
    house.delivery("globex", &location, "delivered");
    assert_eq!(house.sink.got()[4].body, br#"{"shape":"body/hello"}"#);
    assert_eq!(house.gateway.metric("sluis_plugin_faults_total{tenant=\"acme\",kind=\"output\"}"), 0.0);
    house.accept("acme", &json!({ "shape": "set/content-length/1" }));
    eventually("the forged length is refused", Duration::from_secs(30), || {
        (house.gateway.metric("sluis_plugin_faults_total{kind=\"output\",tenant=\"acme\"}") >= 1.0).then_some(())
    });
}

#[test]
fn what_needs_no_sending_is_not_sent() {
    let house = House::open(|_| ok(b"{}"));
    house.event(json!({ "shape": "done/is there already" }), "delivered");
    let dead = house.event(json!({ "shape": "dead/of no use" }), "dead");
    assert!(dead.to_string().contains("of no use"), "{dead}");
    assert_eq!(house.sink.got().len(), 0);
}

#[test]
fn a_plugin_judges_what_the_sink_answers() {
    let house = House::open(|body| {
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let status = told["answer"].as_u64().unwrap_or(200);
        Reply::Bytes(format!("HTTP/1.1 {status} Told\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes())
    });
    house.event(json!({ "answer": 409, "judge": "409:done/it was there" }), "delivered");
    let dead = house.event(json!({ "answer": 200, "judge": "200:dead/the body says no" }), "dead");
    assert!(dead.to_string().contains("the body says no"), "{dead}");
    // By itself the gateway would have given this one up.
    let location = house.accept("acme", &json!({ "answer": 422, "judge": "422:retry/0" }));
    eventually("it is tried again", Duration::from_secs(30), || (house.sink.got().len() >= 5).then_some(()));
    let bearer = house.issuer.bearer("acme");
    let answer = house.gateway.call("GET", &location, &[("Authorization", &bearer)], b"");
    assert!(!answer.text().contains("\"dead\""), "{}", answer.text());
    let dead = house.event(json!({ "answer": 422 }), "dead");
    assert!(dead.to_string().contains("422"), "what is not judged is the gateway's to judge: {dead}");
}

#[test]
fn a_plugin_that_fails_keeps_its_events_waiting() {
    let house = House::open(|_| ok(b"{}"));
    house.event(json!({ "shape": "trap-first" }), "delivered");
    let got = house.sink.got();
    assert_eq!((got.len(), &*got[0].body), (1, &br#"{"shape":"trap-first"}"#[..]));
    // The sink has it: a plugin that fails to judge that changes nothing.
    house.event(json!({ "judge": "200:trap" }), "delivered");
    assert_eq!(house.sink.got().len(), 2);
}

#[test]
fn a_slot_that_bypasses_sends_what_was_accepted() {
    let trapped = Arc::new(AtomicBool::new(false));
    let seen = trapped.clone();
    let house = House::open_with(", on_error: { events: bypass }", move |body| {
        seen.fetch_or(body == br#"{"shape":"trap"}"#, Ordering::Relaxed);
        ok(b"{}")
    });
    house.event(json!({ "shape": "trap" }), "delivered");
    assert!(trapped.load(Ordering::Relaxed));
}
