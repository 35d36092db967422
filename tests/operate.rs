//! People who look after events: found, shown, sent anew, given up, held, paused, and written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Answer, call};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream};

/// A gateway with the sinks `erp` and `crm`, the tenants acme and globex, and people with tokens. The sinks answer with
/// a status of the test's choice (0: not before there is another), but 200 to whatever says `good`.
pub struct House {
    pub issuer: Issuer,
    pub sink: Upstream,
    pub gateway: Gateway,
    pub answer: Arc<AtomicU16>,
}

impl House {
    pub fn open() -> Self {
        let answer = Arc::new(AtomicU16::new(422));
        let told = answer.clone();
        let sink = Upstream::start(move |got| {
            let good = String::from_utf8_lossy(&got.body).contains("good");
            let status = || if good { 200 } else { told.load(Ordering::SeqCst) };
            while status() == 0 {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            let status = status();
            Reply::Bytes(format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n").into_bytes())
        });
        let issuer = Issuer::start();
        let gateway = Gateway::start_with_uploads(&format!(
            "{}sinks:\n  - {{ name: erp, http: {{ url: \"{url}/erp\" }}, retry: {{ initial: 50ms, max: 100ms }} }}\n  - {{ name: crm, http: {{ url: \"{url}/crm\" }}, retry: {{ initial: 50ms, max: 100ms }} }}\n  - {{ name: wms, http: {{ url: \"{url}/wms\" }}, order: dlq_and_continue }}\nroutes:\n  - {{ name: orders, path: /orders, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [erp], event_type: erp.order.created }} }}\n  - {{ name: both, path: /both, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [erp, crm], event_type: erp.stock.changed }} }}\n  - {{ name: stock, path: /stock, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [wms], event_type: erp.stock.changed }} }}\ntenants:\n  - {{ id: acme }}\n  - {{ id: globex }}\n",
            issuer.yaml(""),
            url = sink.url(),
        ));
        House { issuer, sink, gateway, answer }
    }

    /// Accepts an event; answers its id.
    pub fn accept(&self, tenant: &str, path: &str, body: &str, correlation_id: &str) -> String {
        self.accept_with(tenant, path, body, &[("X-Correlation-Id", correlation_id)])
    }

    /// Accepts a CloudEvent of a key.
    fn accept_keyed(&self, tenant: &str, path: &str, body: &str, id: &str, key: &str) -> String {
        let event = [("ce-specversion", "1.0"), ("ce-type", "stock"), ("ce-source", "/erp")];
        self.accept_with(tenant, path, body, &[&event[..], &[("ce-id", id), ("ce-partitionkey", key)]].concat())
    }

    fn accept_with(&self, tenant: &str, path: &str, body: &str, fields: &[(&str, &str)]) -> String {
        let bearer = self.issuer.bearer(tenant);
        let headers = [&[("Authorization", &*bearer), ("Content-Type", "application/json")], fields].concat();
        let answer = self.gateway.call("POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A call of the operators' listener by an operator.
    pub fn operator(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.by(&self.issuer.bearer_of("op-1", "none", "gateway:operate"), method, path, body)
    }

    /// A call of the operators' listener by somebody of a tenant who looks after its events.
    fn tenant(&self, tenant: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.by(&self.issuer.bearer_of("dev-1", tenant, "events:operate"), method, path, body)
    }

    fn by(&self, bearer: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Authorization", bearer), ("Content-Type", "application/json")];
        call(self.gateway.admin, method, path, &headers, body.as_bytes())
    }

    /// What an operator is shown.
    fn look(&self, path: &str) -> Value {
        let answer = self.operator("GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The events that an operator finds, in their order.
    fn found(&self, path: &str) -> Vec<String> {
        ids(&self.look(path))
    }

    /// Waits until the delivery of an event to a sink is in a state.
    pub fn wait(&self, id: &str, sink: &str, state: &str) -> Value {
        eventually(&format!("{id} is {state} at {sink}"), Duration::from_secs(30), || {
            let event = self.look(&format!("/v1/events/{id}"));
            let stands = |d: &Value| d["sink"] == sink && d["state"] == state;
            event["deliveries"].as_array().unwrap().iter().any(stands).then_some(event)
        })
    }

    /// Accepts an event that its sinks refuse for good.
    pub fn dead(&self, tenant: &str, path: &str, body: &str, correlation_id: &str) -> String {
        let id = self.accept(tenant, path, body, correlation_id);
        self.wait(&id, "erp", "dead");
        if path == "/both" {
            self.wait(&id, "crm", "dead");
        }
        id
    }
}

fn ids(page: &Value) -> Vec<String> {
    page["deliveries"].as_array().unwrap().iter().map(|d| d["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_finds_what_it_is_asked_for() {
    let house = House::open();
    let good = house.accept("acme", "/orders", r#"{"good":1}"#, "c-1");
    house.wait(&good, "erp", "delivered");
    let bad = house.dead("acme", "/orders", "{}", "c-2");
    let both = house.dead("globex", "/both", "{}", "c-3");
    assert_eq!(house.found("/v1/events"), [&both, &both, &bad, &good].map(String::clone), "newest first");
    let accepted = house.look(&format!("/v1/events/{bad}"))["accepted_at"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("tenant=globex".to_owned(), vec![&both, &both]),
        ("sink=crm".to_owned(), vec![&both]),
        ("state=delivered".to_owned(), vec![&good]),
        ("state=dead,held".to_owned(), vec![&both, &both, &bad]),
        ("type=erp.order.created".to_owned(), vec![&bad, &good]),
        ("route=both&sink=erp".to_owned(), vec![&both]),
        ("correlation_id=c-2".to_owned(), vec![&bad]),
        ("key=none".to_owned(), vec![]),
        (format!("since={accepted}"), vec![&both, &both, &bad]),
        (format!("until={accepted}"), vec![&good]),
        ("tenant=nobody".to_owned(), vec![]),
    ] {
        assert_eq!(house.found(&format!("/v1/events?{query}")).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let dead = house.look("/v1/dlq?tenant=acme");
    assert_eq!(ids(&dead), [bad.as_str()]);
    let error = &dead["deliveries"][0]["last_error"];
    assert_eq!((&error["status"], &error["attempt"]), (&json!(422), &json!(1)), "{dead}");
}

#[test]
fn what_is_asked_for_wrongly_is_refused_by_name() {
    let house = House::open();
    for (query, problem) in [
        ("state=broken", "invalid-filter"),
        ("state=dead,", "invalid-filter"),
        ("since=yesterday", "invalid-filter"),
        ("until=2026-13-01T00:00:00Z", "invalid-filter"),
        ("limit=0", "invalid-filter"),
        ("limit=501", "invalid-filter"),
        ("cursor=zzz", "invalid-cursor"),
        ("cursor=AAAA", "invalid-cursor"),
        ("colour=red", "malformed-request"),
        ("limit=many", "malformed-request"),
        ("sink=erp&sink=crm", "malformed-request"),
    ] {
        for path in ["/v1/events", "/v1/dlq"] {
            let answer = house.operator("GET", &format!("{path}?{query}"), &Value::Null);
            assert_eq!((answer.status, answer.problem().as_str()), (400, problem), "{query}");
        }
    }
    assert_eq!(house.operator("GET", "/v1/dlq?state=held", &Value::Null).problem(), "invalid-filter");
    let id = house.dead("acme", "/orders", "{}", "c-1");
    for (path, body) in [
        (format!("/v1/events/{id}/replay"), json!({ "forced": true })),
        (format!("/v1/events/{id}/replay"), json!({ "content_type": "text/plain" })),
        (format!("/v1/events/{id}/replay"), json!({ "body": { "base64": "%" } })),
        (format!("/v1/events/{id}/replay"), json!({ "body": 1, "content_type": "a\nb" })),
        (format!("/v1/events/{id}/discard"), json!({ "body": 1 })),
        ("/v1/dlq/replay".to_owned(), json!({ "filter": { "colour": "red" } })),
        ("/v1/dlq/replay".to_owned(), json!({ "max": 10_001 })),
        ("/v1/dlq/replay".to_owned(), json!({ "rate": 0 })),
        ("/v1/sinks/erp/pause".to_owned(), json!({ "because": "" })),
    ] {
        let answer = house.operator("POST", &path, &body);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-request"), "{path} {body}");
    }
    let large = json!({ "reason": "x".repeat(65 << 10) });
    let answer = house.operator("POST", &format!("/v1/events/{id}/discard"), &large);
    assert_eq!((answer.status, answer.problem().as_str()), (413, "body-too-large"));
    assert_eq!(house.operator("GET", "/v1/nowhere", &Value::Null).problem(), "not-found");
    assert_eq!(house.operator("PUT", "/v1/events", &Value::Null).problem(), "method-not-allowed");
    assert_eq!(call(house.gateway.admin, "GET", "/v1/events", &[], b"").problem(), "invalid-token");
    let deployer = house.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    assert_eq!(house.by(&deployer, "GET", "/v1/events", &Value::Null).problem(), "insufficient-scope");
    let keeper = house.issuer.bearer_of("dev-1", "acme", "events:operate");
    let plugins = house.by(&keeper, "GET", "/v1/tenants/acme/plugins", &Value::Null);
    assert_eq!(plugins.problem(), "insufficient-scope");
}

#[test]
fn what_tells_of_every_tenant_is_for_operators_where_there_are_any() {
    let house = House::open();
    let ask = |bearer: Option<&str>, path: &str| {
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", *bearer)).collect();
        call(house.gateway.admin, "GET", path, &headers, b"")
    };
    let tenants = ["events:operate", "plugins:deploy"].map(|scope| house.issuer.bearer_of("dev-1", "acme", scope));
    for path in ["/plan", "/upstreams"] {
        let nobody = ask(None, path);
        assert_eq!((nobody.status, nobody.problem().as_str()), (401, "invalid-token"), "{path}");
        assert!(!nobody.text().contains("acme"), "{path}: {}", nobody.text());
        for bearer in &tenants {
            let answer = ask(Some(bearer), path);
            assert_eq!((answer.status, answer.problem().as_str()), (403, "insufficient-scope"), "{path}");
        }
    }
    assert_eq!(house.look("/plan")["plan"]["tenants"][0]["id"], "acme");
    assert_eq!(house.look("/upstreams"), json!({}));
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(ask(None, path).status, 200, "{path}: probes and scrapers have no token");
    }
    let open = Gateway::start(&format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\n",
        house.issuer.yaml(""),
        house.sink.url()
    ));
    assert_eq!(call(open.admin, "GET", "/plan", &[], b"").json()["generation"], 1, "without `admin.auth`");
    let upstreams = call(open.admin, "GET", "/upstreams", &[], b"").json();
    assert_eq!(upstreams, json!({ "erp": { "breaker": "closed", "in_flight": 0 } }));
}

#[test]
fn pages_join_without_a_gap() {
    let house = House::open();
    let mut expected: Vec<String> =
        (0..7).map(|n| house.accept("acme", "/orders", r#"{"good":1}"#, &format!("c-{n}"))).collect();
    expected.reverse();
    let (mut found, mut path) = (Vec::new(), "/v1/events?limit=3".to_owned());
    for pages in 1.. {
        let page = house.look(&path);
        found.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            assert_eq!(pages, 3);
            break;
        };
        path = format!("/v1/events?limit=3&cursor={next}");
    }
    assert_eq!(found, expected);
}

#[test]
fn a_dead_order_is_found_shown_edited_and_sent_anew() {
    let house = House::open();
    let id = house.dead("acme", "/orders", r#"{"total":"1,50"}"#, "c-1");
    let found = house.tenant("acme", "GET", "/v1/dlq", &Value::Null).json();
    assert_eq!(ids(&found), [id.as_str()]);
    let shown = house.tenant("acme", "GET", &format!("/v1/events/{id}"), &Value::Null).json();
    assert_eq!((&shown["tenant"], &shown["state"], &shown["size"]), (&json!("acme"), &json!("failed"), &json!(16)));
    let body = house.tenant("acme", "GET", &format!("/v1/events/{id}/body"), &Value::Null);
    assert_eq!((body.text().as_str(), body.header("content-type")), (r#"{"total":"1,50"}"#, Some("application/json")));
    assert_eq!(body.header("content-disposition"), Some("attachment"));
    assert_eq!(body.header("x-content-type-options"), Some("nosniff"));

    let replay = format!("/v1/events/{id}/replay");
    let rehearsed = house.tenant("acme", "POST", &replay, &json!({ "dry_run": true, "body": {} })).json();
    assert_eq!((&rehearsed["deliveries"], &rehearsed["dry_run"]), (&json!(1), &json!(true)), "{rehearsed}");
    assert_eq!(ids(&house.look("/v1/events?state=dead")), [id.as_str()], "nothing was moved");

    // Sent as it was written: numbers keep their digits.
    let order = r#"{"body": {"total": 1.50, "good": 1}, "reason": "a point, and no comma"}"#;
    let bearer = house.issuer.bearer_of("dev-1", "acme", "events:operate");
    let answer = call(house.gateway.admin, "POST", &replay, &[("Authorization", &bearer)], order.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let moved = answer.json();
    let new = moved["replaced_by"].as_str().unwrap().to_owned();
    assert_eq!((&moved["event"], &moved["deliveries"]), (&json!(id), &json!(1)));
    let arrived = house.wait(&new, "erp", "delivered");
    assert_eq!(arrived["causation_id"], id.as_str());
    let got = house.sink.got();
    let got = got.iter().find(|got| got.header("ce-id") == Some(&new)).unwrap();
    assert_eq!(got.body, br#"{"total": 1.50, "good": 1}"#);
    assert_eq!((got.header("ce-causationid"), got.header("content-type")), (Some(&*id), Some("application/json")));

    let old = house.look(&format!("/v1/events/{id}"));
    let last = old["history"].as_array().unwrap().last().unwrap();
    let who = (&last["state"], &last["actor"], &last["reason"]);
    assert_eq!(who, (&json!("replayed"), &json!("tenant:dev-1"), &json!("a point, and no comma")));
    let audit = house.tenant("acme", "GET", "/v1/audit/events", &Value::Null).json();
    assert_eq!((&audit[0]["action"], &audit[0]["event"]), (&json!("replay"), &json!(id)), "{audit}");
    assert_eq!(house.tenant("globex", "GET", "/v1/audit/events", &Value::Null).json(), json!([]));

    let again = house.tenant("acme", "POST", &replay, &json!({}));
    assert_eq!((again.status, again.problem().as_str()), (409, "not-possible"));
}

#[test]
fn a_body_that_is_edited_goes_to_one_sink() {
    let house = House::open();
    let id = house.dead("acme", "/both", "{}", "c-1");
    let replay = |body: Value| house.operator("POST", &format!("/v1/events/{id}/replay"), &body);
    let which = replay(json!({ "body": "good" }));
    assert_eq!((which.status, which.problem().as_str()), (400, "malformed-request"));
    assert!(which.text().contains("crm"), "it says which there are: {}", which.text());
    let moved = replay(json!({ "body": { "text": "good day" }, "sink": "crm", "content_type": "text/plain" })).json();
    house.wait(moved["replaced_by"].as_str().unwrap(), "crm", "delivered");
    // The bytes of "good\xff".
    let moved = replay(json!({ "body": { "base64": "Z29vZP8=" } })).json();
    house.wait(moved["replaced_by"].as_str().unwrap(), "erp", "delivered");
    let got = house.sink.got();
    let sent = |body: &[u8]| got.iter().any(|got| got.body == body);
    assert!(sent(b"good day") && sent(b"good\xff"));
    assert_eq!(replay(json!({ "sink": "nowhere" })).status, 404);
}

#[test]
fn what_is_not_dead_is_not_sent_anew() {
    let house = House::open();
    let id = house.accept("acme", "/orders", r#"{"good":1}"#, "c-1");
    house.wait(&id, "erp", "delivered");
    for action in ["replay", "discard", "hold", "release"] {
        let answer = house.operator("POST", &format!("/v1/events/{id}/{action}"), &json!({}));
        assert_eq!((answer.status, answer.problem().as_str()), (409, "not-possible"), "{action}");
    }
    for order in [json!({ "body": 1 }), json!({ "dry_run": true })] {
        let answer = house.operator("POST", &format!("/v1/events/{id}/replay"), &order);
        assert_eq!((answer.status, answer.problem().as_str()), (409, "not-possible"), "{order}");
    }
}

#[test]
fn another_tenants_events_are_not_there() {
    let house = House::open();
    let id = house.dead("acme", "/orders", "{}", "c-1");
    for (method, path, body) in [
        ("GET", format!("/v1/events/{id}"), Value::Null),
        ("GET", format!("/v1/events/{id}/body"), Value::Null),
        ("POST", format!("/v1/events/{id}/replay"), json!({})),
        ("POST", format!("/v1/events/{id}/replay"), json!({ "body": 1 })),
        ("POST", format!("/v1/events/{id}/replay"), json!({ "dry_run": true })),
        ("POST", format!("/v1/events/{id}/discard"), json!({})),
        ("POST", format!("/v1/events/{id}/hold"), json!({})),
        ("POST", format!("/v1/events/{id}/release"), json!({})),
        ("GET", "/v1/events?tenant=acme".to_owned(), Value::Null),
        ("GET", "/v1/dlq?tenant=acme".to_owned(), Value::Null),
        ("GET", "/v1/audit/events?tenant=acme".to_owned(), Value::Null),
        ("POST", "/v1/dlq/replay".to_owned(), json!({ "filter": { "tenant": "acme" } })),
        ("GET", "/v1/events/not-an-id".to_owned(), Value::Null),
    ] {
        let answer = house.tenant("globex", method, &path, &body);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{method} {path}");
    }
    assert_eq!(ids(&house.tenant("globex", "GET", "/v1/events", &Value::Null).json()), [""; 0]);
    for (method, path) in [("GET", "/v1/sinks"), ("POST", "/v1/sinks/erp/pause"), ("POST", "/v1/sinks/erp/resume")] {
        let answer = house.tenant("acme", method, path, &Value::Null);
        assert_eq!((answer.status, answer.problem().as_str()), (403, "insufficient-scope"), "{path}");
    }
}

#[test]
fn a_sink_that_is_paused_gets_nothing_until_it_is_resumed() {
    let house = House::open();
    let pause = house.operator("POST", "/v1/sinks/erp/pause", &json!({ "reason": "month end" }));
    assert_eq!(pause.status, 204, "{}", pause.text());
    let id = house.accept("acme", "/both", r#"{"good":1}"#, "c-1");
    house.wait(&id, "crm", "delivered");
    let event = house.wait(&id, "erp", "held");
    let erp = event["deliveries"].as_array().unwrap().iter().find(|d| d["sink"] == "erp").unwrap();
    assert_eq!(erp["attempts"], 0);
    let sinks = house.look("/v1/sinks");
    let erp = sinks["sinks"].as_array().unwrap().iter().find(|sink| sink["sink"] == "erp").unwrap();
    assert_eq!((&erp["states"]["held"], &erp["lanes"]["normal"]), (&json!(1), &json!(1)), "{sinks}");
    let hold = &erp["holds"][0];
    assert_eq!((&hold["actor"], &hold["reason"]), (&json!("operator:op-1"), &json!("month end")));

    assert_eq!(house.operator("POST", "/v1/sinks/erp/resume", &json!({})).status, 204);
    let event = house.wait(&id, "erp", "delivered");
    let erp = event["deliveries"].as_array().unwrap().iter().find(|d| d["sink"] == "erp").unwrap();
    assert_eq!(erp["attempts"], 1);
    let again = house.operator("POST", "/v1/sinks/erp/resume", &json!({}));
    assert_eq!((again.status, again.problem().as_str()), (409, "not-possible"));
    assert_eq!(house.operator("POST", "/v1/sinks/nowhere/pause", &json!({})).status, 404);
    let audit = house.look("/v1/audit/events");
    let told: Vec<&Value> = audit.as_array().unwrap().iter().map(|line| &line["action"]).collect();
    assert_eq!(told, ["resume", "pause"]);
    let before = house.look(&format!("/v1/audit/events?before={}", audit[0]["seq"]));
    assert_eq!((before.as_array().unwrap().len(), &before[0]["action"]), (1, &json!("pause")));
}

#[test]
fn what_waits_is_held_released_and_given_up_by_its_tenant() {
    let house = House::open();
    house.answer.store(503, Ordering::SeqCst);
    let id = house.accept("acme", "/orders", "{}", "c-1");
    let order = |action: &str| {
        let path = format!("/v1/events/{id}/{action}");
        eventually(action, Duration::from_secs(30), || {
            // An attempt may be under way.
            let answer = house.tenant("acme", "POST", &path, &json!({ "sink": "erp", "reason": "by hand" }));
            (answer.status == 200).then(|| answer.json())
        })
    };
    assert_eq!(order("hold")["deliveries"], 1);
    house.wait(&id, "erp", "held");
    order("release");
    order("discard");
    let event = house.wait(&id, "erp", "discarded");
    let last = event["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["actor"], &last["reason"]), (&json!("tenant:dev-1"), &json!("by hand")));
}

#[test]
fn what_a_sink_is_at_work_on_is_not_held() {
    let house = House::open();
    house.answer.store(0, Ordering::SeqCst);
    let id = house.accept("acme", "/orders", "{}", "c-1");
    house.wait(&id, "erp", "leased");
    for action in ["hold", "discard"] {
        let answer = house.operator("POST", &format!("/v1/events/{id}/{action}"), &json!({}));
        assert_eq!((answer.status, answer.problem().as_str()), (409, "not-possible"), "{action}");
    }
    house.answer.store(200, Ordering::SeqCst);
    house.wait(&id, "erp", "delivered");
    assert_eq!(house.sink.got().len(), 1);
}

#[test]
fn what_was_given_up_is_sent_anew_by_the_filter() {
    let house = House::open();
    let mine: Vec<String> = (0..5).map(|n| house.dead("acme", "/orders", "{}", &format!("c-{n}"))).collect();
    house.dead("globex", "/orders", "{}", "c-9");
    let order = json!({ "filter": { "sink": "erp" }, "max": 3, "dry_run": true });
    let rehearsed = house.tenant("acme", "POST", "/v1/dlq/replay", &order);
    assert_eq!(rehearsed.status, 200, "{}", rehearsed.text());
    let rehearsed = rehearsed.json();
    assert_eq!((&rehearsed["matched"], &rehearsed["more"]), (&json!(3), &json!(true)));
    assert_eq!(ids(&rehearsed), mine[..3], "the oldest first");
    assert_eq!(house.found("/v1/dlq").len(), 6, "nothing was moved");

    house.answer.store(200, Ordering::SeqCst);
    let order = json!({ "filter": { "type": "erp.order.created" }, "rate": 1000, "reason": "the ERP is back" });
    let started = house.tenant("acme", "POST", "/v1/dlq/replay", &order);
    assert_eq!(started.status, 202, "{}", started.text());
    let path = started.header("location").unwrap().to_owned();
    let job = eventually("the job ends", Duration::from_secs(30), || {
        let job = house.tenant("acme", "GET", &path, &Value::Null).json();
        (job["state"] != "running").then_some(job)
    });
    assert_eq!((&job["state"], &job["matched"], &job["moved"]), (&json!("done"), &json!(5), &json!(5)), "{job}");
    for id in &mine {
        house.wait(id, "erp", "delivered");
    }
    assert_eq!(house.found("/v1/dlq").len(), 1, "globex's is left alone");
    assert_eq!(house.tenant("globex", "GET", &path, &Value::Null).status, 404);
    assert_eq!(house.operator("GET", &path, &Value::Null).status, 200);
    assert_eq!(house.tenant("acme", "DELETE", &path, &Value::Null).problem(), "not-possible", "it has ended");
}

#[test]
fn what_a_newer_one_of_its_key_has_overtaken_is_sent_anew_by_force_only() {
    let house = House::open();
    let old = house.accept_keyed("acme", "/stock", "{}", "1", "sku-7");
    house.wait(&old, "wms", "dead");
    let newer = house.accept_keyed("acme", "/stock", r#"{"good":1}"#, "2", "sku-7");
    house.wait(&newer, "wms", "delivered");
    assert_eq!(house.look("/v1/dlq")["deliveries"][0]["overtaken"], true);
    let path = format!("/v1/events/{old}/replay");
    for order in [json!({}), json!({ "dry_run": true }), json!({ "body": { "good": 2 } })] {
        let refused = house.tenant("acme", "POST", &path, &order);
        assert_eq!((refused.status, &*refused.problem()), (409, "newer-delivered"), "{order}: {}", refused.text());
    }
    let all = |order: Value| {
        let started = house.tenant("acme", "POST", "/v1/dlq/replay", &order);
        let path = started.header("location").unwrap().to_owned();
        eventually("the job ends", Duration::from_secs(30), || {
            let job = house.tenant("acme", "GET", &path, &Value::Null).json();
            (job["state"] != "running").then_some((job["moved"].clone(), job["overtaken"].clone()))
        })
    };
    assert_eq!(all(json!({})), (json!(0), json!(1)));
    assert_eq!(house.tenant("acme", "POST", "/v1/dlq/discard", &json!({ "force": true })).status, 400);
    house.answer.store(200, Ordering::SeqCst);
    assert_eq!(all(json!({ "force": true })), (json!(1), json!(0)));
    house.wait(&old, "wms", "delivered");
}

#[test]
fn a_job_is_alone_and_can_be_canceled() {
    let house = House::open();
    for n in 0..3 {
        house.dead("acme", "/orders", "{}", &format!("c-{n}"));
    }
    let started = house.tenant("acme", "POST", "/v1/dlq/discard", &json!({ "rate": 1 }));
    let path = started.header("location").unwrap().to_owned();
    let second = house.tenant("acme", "POST", "/v1/dlq/replay", &json!({}));
    assert_eq!((second.status, second.problem().as_str()), (409, "job-running"));
    assert_eq!(house.tenant("acme", "DELETE", &path, &Value::Null).status, 202);
    let job = eventually("it ends", Duration::from_secs(30), || {
        let job = house.tenant("acme", "GET", &path, &Value::Null).json();
        (job["state"] != "running").then_some(job)
    });
    assert_eq!((&job["state"], &job["actor"]), (&json!("canceled"), &json!("tenant:dev-1")));
    let left = house.found("/v1/dlq").len();
    assert_eq!(left as u64 + job["moved"].as_u64().unwrap(), 3, "{job}");
    assert_eq!(house.tenant("acme", "GET", "/v1/jobs", &Value::Null).json()[0]["id"], job["id"]);

    // The last sixteen are kept.
    let nothing = json!({ "filter": { "key": "none" } });
    for _ in 0..16 {
        eventually("the job before has ended", Duration::from_secs(30), || {
            (house.tenant("globex", "POST", "/v1/dlq/replay", &nothing).status == 202).then_some(())
        });
    }
    assert_eq!(house.look("/v1/jobs").as_array().unwrap().len(), 16);
    assert_eq!(house.tenant("acme", "GET", &path, &Value::Null).status, 404);
}

#[test]
fn all_of_it_is_described() {
    let house = House::open();
    let described = call(house.gateway.admin, "GET", "/openapi.json", &[], b"").json();
    for (path, methods) in [
        ("/v1/events", &["get"][..]),
        ("/v1/events/{id}", &["get"]),
        ("/v1/events/{id}/body", &["get"]),
        ("/v1/events/{id}/replay", &["post"]),
        ("/v1/events/{id}/discard", &["post"]),
        ("/v1/events/{id}/hold", &["post"]),
        ("/v1/events/{id}/release", &["post"]),
        ("/v1/dlq", &["get"]),
        ("/v1/dlq/replay", &["post"]),
        ("/v1/dlq/discard", &["post"]),
        ("/v1/jobs", &["get"]),
        ("/v1/jobs/{id}", &["get", "delete"]),
        ("/v1/sinks", &["get"]),
        ("/v1/sinks/{sink}/pause", &["post"]),
        ("/v1/sinks/{sink}/resume", &["post"]),
        ("/v1/audit/events", &["get"]),
    ] {
        for method in methods {
            assert!(described["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let parameters = described["paths"]["/v1/events"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    for name in
        ["tenant", "sink", "state", "key", "type", "route", "correlation_id", "since", "until", "cursor", "limit"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}
