//! CloudEvents on both sides of the ledger.

use std::time::Duration;

use serde_json::json;

use crate::support::client::Answer;
use crate::support::eventually;
use crate::support::gateway::{Gateway, components};
use crate::support::issuer::Issuer;
use crate::support::upstream::{Got, Upstream, ok};

struct House {
    issuer: Issuer,
    sink: Upstream,
    gateway: Gateway,
}

/// A gateway whose routes lead to one sink, in the format that a route is named after.
fn house() -> House {
    let (issuer, sink) = (Issuer::start(), Upstream::start(|_| ok(b"")));
    let route = "methods: [POST], auth: { issuers: [idp] }";
    let gateway = Gateway::start(&format!(
        "{}sinks:\n  - {{ name: b, http: {{ url: \"{url}/b\" }} }}\n  - {{ name: s, http: {{ url: \"{url}/s\", format: structured }} }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: binary, path: /binary, {route}, enqueue: {{ sinks: [b], event_type: our.type }}, idempotency: {{ key: cloudevents }} }}\n  - {{ name: structured, path: /structured, {route}, enqueue: {{ sinks: [s], event_type: our.type }} }}\n  - {{ name: json, path: /json, {route}, enqueue: {{ sinks: [b], event_type: our.type }}, body_format: json }}\n  - {{ name: shaped, path: /shaped, {route}, enqueue: {{ sinks: [b], event_type: our.type }}, plugin: orders }}\ntenants:\n  - {{ id: acme, plugins: {{ orders: tester }}, grants: [log, config, clock, metrics, kv, http-client] }}\n",
        issuer.yaml(""),
        components().display(),
        url = sink.url(),
    ));
    House { issuer, sink, gateway }
}

impl House {
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = self.issuer.bearer("acme");
        let all: Vec<_> = [("Authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.gateway.call("POST", path, &all, body)
    }

    /// What arrives of what was accepted.
    fn arrives(&self, answer: &Answer) -> Got {
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        eventually("the event is delivered", Duration::from_secs(30), || {
            let here = |got: &Got| got.header("ce-id") == Some(&id) || String::from_utf8_lossy(&got.body).contains(&id);
            self.sink.got().into_iter().find(here)
        })
    }
}

const EVENT: [(&str, &str); 7] = [
    ("Ce-Specversion", "1.0"),
    ("Ce-Id", "shop-1"),
    ("Ce-Source", "/shops/7"),
    ("Ce-Type", "shop.order.created"),
    ("Ce-Subject", "caf%C3%A9"),
    ("Ce-Partitionkey", "order-1"),
    ("Content-Type", "application/json"),
];

#[test]
fn what_a_sender_says_of_its_event_arrives_with_it() {
    let house = house();
    let first = house.post("/binary", &EVENT, b"{\"order\":1}");
    let got = house.arrives(&first);
    assert_eq!((&got.body[..], got.header("content-type")), (&b"{\"order\":1}"[..], Some("application/json")));
    for (name, value) in [
        ("ce-type", "shop.order.created"),
        ("ce-subject", "caf%C3%A9"),
        ("ce-partitionkey", "order-1"),
        ("ce-sourceid", "shop-1"),
        ("ce-sourceuri", "/shops/7"),
        ("ce-source", "/tenants/acme/routes/binary"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert_ne!(got.header("ce-id"), Some("shop-1"));
    assert_eq!(got.header("x-replay"), None);
    let again = house.post("/binary", &EVENT, b"{\"order\":1}");
    assert_eq!((again.status, &again.body), (202, &first.body), "its source and id are its key");
}

#[test]
fn an_event_in_json_is_unwrapped_and_a_sink_may_have_it_wrapped() {
    let house = house();
    let headers = [("Content-Type", "application/cloudevents+json")];
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "2026-01-01T00:00:00Z",
        "flag": true, "data": { "order": 1 } });
    let sent = event.to_string();
    let got = house.arrives(&house.post("/binary", &headers, sent.as_bytes()));
    assert_eq!((&got.body[..], got.header("content-type")), (&b"{\"order\":1}"[..], Some("application/json")));
    assert_eq!((got.header("ce-flag"), got.header("ce-time")), (Some("true"), Some("2026-01-01T00:00:00Z")));
    let got = house.arrives(&house.post("/structured", &headers, sent.as_bytes()));
    assert!(got.header("content-type").unwrap().starts_with("application/cloudevents+json"));
    assert_eq!(got.header("ce-id"), None);
    let wrapped: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(
        (&wrapped["data"], &wrapped["type"], &wrapped["sourceid"]),
        (&json!({ "order": 1 }), &json!("t"), &json!("1"))
    );
    let got = house.arrives(&house.post("/structured", &[("Content-Type", "text/plain")], b"hello"));
    let wrapped: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(
        (&wrapped["data"], &wrapped["datacontenttype"], &wrapped["type"]),
        (&json!("hello"), &json!("text/plain"), &json!("our.type"))
    );
}

#[test]
fn a_plugins_word_on_type_and_key_goes_before_the_senders() {
    let house = house();
    let mut headers = EVENT.to_vec();
    headers.push(("X-Tester", "/enqueue/mine"));
    let got = house.arrives(&house.post("/shaped", &headers, b"{}"));
    assert_eq!((got.header("ce-type"), got.header("ce-partitionkey")), (Some("test.event"), Some("mine")));
    assert_eq!(got.header("ce-subject"), Some("caf%C3%A9"));
}

#[test]
fn what_cannot_be_taken_is_refused() {
    let house = house();
    let refused = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = house.post(path, headers, body);
        (answer.status, answer.problem())
    };
    let batch = [("Content-Type", "application/cloudevents-batch+json")];
    assert_eq!(refused("/structured", &batch, b"[]"), (415, "unsupported-cloudevent".to_owned()));
    let malformed = (400, "malformed-cloudevent".to_owned());
    assert_eq!(refused("/structured", &EVENT[..3], b"{}"), malformed);
    assert_eq!(refused("/structured", &[("Content-Type", "application/cloudevents+json")], b"{}"), malformed);
    let mut long = EVENT.to_vec();
    let value = "x".repeat(1025);
    long.push(("Ce-Note", &value));
    assert_eq!(refused("/structured", &long, b"{}"), malformed);
    let text = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "datacontenttype": "text/plain", "data": "{" });
    let headers = [("Content-Type", "application/cloudevents+json")];
    assert_eq!(refused("/json", &headers, text.to_string().as_bytes()), (400, "malformed-json".to_owned()));
    assert_eq!(house.sink.got().len(), 0);
}
