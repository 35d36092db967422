//! Tenants' plugins through the whole gateway: what they decide is done, what they do wrong harms nobody else.
//!
//! The guest is `plugins/examples/tester`: it does as the path of the request says.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Answer, Connection, request};
use crate::support::eventually;
use crate::support::gateway::{Gateway, components};
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream, ok};
use crate::support::workshop::{Workshop, example};

struct House {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

/// Budgets are ten times the usual: an unoptimised host on a busy machine takes milliseconds for its own part.
fn house() -> House {
    house_with("")
}

/// The same with more settings of acme's.
fn house_with(acme: &str) -> House {
    let issuer = Issuer::start();
    let upstream = Upstream::start(|got| ok(&got.body));
    let gateway = Gateway::start(&format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: test, path: \"/{{rest...}}\", methods: [GET, POST], auth: {{ issuers: [idp] }}, plugin: orders, forward: {{ upstreams: [erp] }} }}\n  - {{ name: json, path: \"/{{rest...}}\", methods: [PUT, DELETE], auth: {{ issuers: [idp] }}, plugin: orders, forward: {{ upstreams: [erp] }}, body_format: json }}\ntenants:\n  - {{ id: acme, plugins: {{ orders: tester }}, grants: [log, config, clock, metrics, kv, http-client], config: {{ greeting: hello }}, metrics: [mapped, odd]{acme} }}\n  - {{ id: globex, plugins: {{ orders: tester }}, grants: [log, config, clock, metrics, kv, http-client] }}\n  - {{ id: stdco, plugins: {{ orders: panics }}, grants: [log, config] }}\n  - {{ id: nothing }}\n",
        issuer.yaml(""),
        upstream.url(),
        components().display()
    ));
    House { issuer, upstream, gateway }
}

impl House {
    fn post(&self, tenant: &str, path: &str) -> Answer {
        self.gateway.call("POST", path, &[("Authorization", &self.issuer.bearer(tenant))], b"{\"order\":1}")
    }
}

#[test]
fn a_plugin_forwards_responds_and_refuses() {
    let house = house();
    let echoed = house.post("acme", "/echo");
    assert_eq!((echoed.status, echoed.text().as_str()), (200, "{\"order\":1}"));
    assert_eq!(house.upstream.got().len(), 1);
    let responded = house.post("acme", "/respond/418");
    assert_eq!(responded.status, 418);
    let refused = house.post("acme", "/refuse");
    assert_eq!(refused.status, 422);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.json()["pointer"].is_string(), "{}", refused.text());
    assert_eq!(house.upstream.got().len(), 1, "neither reached the upstream");
}

#[test]
fn settings_are_the_tenants_own() {
    let house = house();
    assert!(house.post("acme", "/config/greeting").text().contains("hello"));
    assert!(!house.post("globex", "/config/greeting").text().contains("hello"));
}

#[test]
fn a172_a_spinning_guest_is_stopped() {
    let house = house();
    let began = Instant::now();
    let answer = house.post("acme", "/spin");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "plugin-budget-exceeded"));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(house.upstream.got().len(), 0);
}

#[test]
fn a176_a_hogging_guest_is_refused_memory() {
    let house = house();
    let answer = house.post("acme", "/hog");
    assert!(answer.status == 500 || answer.status == 503, "{}", answer.status);
    assert_eq!(house.upstream.got().len(), 0);
    assert_eq!(house.post("acme", "/echo").status, 200);
}

#[test]
fn a179_a_trap_is_told_to_the_operator_and_not_to_the_client() {
    let house = house();
    for (tenant, path) in [("acme", "/trap"), ("stdco", "/panic/on-purpose")] {
        let answer = house.post(tenant, path);
        assert_eq!((answer.status, answer.problem().as_str()), (500, "plugin-fault"), "{tenant}");
        assert!(!answer.text().contains(".rs"), "nothing of the panic in the answer");
    }
    for tenant in ["acme", "stdco"] {
        // Lines are written behind the answer, never before it.
        let line = eventually("the operator is told", Duration::from_secs(10), || {
            let log = house.gateway.log_text();
            log.lines().find(|l| l.contains("gave no decision") && l.contains(tenant)).map(str::to_owned)
        });
        assert!(line.contains(".rs:"), "file and line are in the log: {line}");
        assert!(line.contains("guest"), "blame is in the log: {line}");
    }
}

#[test]
fn a201_to_a207_a_lying_guest_is_not_believed() {
    let house = house();
    for lie in ["header-crlf", "status", "upstream", "path", "many-headers", "forbidden-header"] {
        let answer = house.post("acme", &format!("/lie/{lie}"));
        assert_eq!((answer.status, answer.problem().as_str()), (500, "plugin-output-invalid"), "{lie}");
    }
    assert_eq!(house.upstream.got().len(), 0, "nothing is forwarded");
}

#[test]
fn a196_a_tenant_at_its_cap_of_calls_is_alone_with_it() {
    let house = house_with(", limits: { plugin_concurrency: 1 }");
    let (address, bearer) = (house.gateway.http, house.issuer.bearer("acme"));
    let spin = || crate::support::client::call(address, "POST", "/spin", &[("Authorization", &bearer)], b"{}");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..16).map(|_| scope.spawn(spin)).collect();
        while calls.iter().any(|call| !call.is_finished()) {
            assert_eq!(house.post("globex", "/echo").status, 200);
        }
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.problem() == "plugin-capacity").collect();
    assert!(!refused.is_empty() && refused.len() < 16, "{} of 16", refused.len());
    assert!(refused.iter().all(|answer| answer.status == 503 && answer.header("retry-after") == Some("1")));
}

#[test]
fn a210_a_route_that_demands_json_gets_json() {
    let house = house();
    let bearer = house.issuer.bearer("acme");
    let call =
        |method: &str, path: &str, body: &[u8]| house.gateway.call(method, path, &[("Authorization", &bearer)], body);
    for body in [&b"{\"order\":"[..], b"<order/>", b"{\"order\":\"\xff\"}"] {
        let answer = call("PUT", "/echo", body);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-json"));
    }
    for lie in ["no-json", "no-utf8"] {
        let answer = call("PUT", &format!("/lie/{lie}"), b"{}");
        assert_eq!((answer.status, answer.problem().as_str()), (500, "plugin-output-invalid"), "{lie}");
    }
    assert_eq!(house.upstream.got().len(), 0, "nothing is forwarded");
    assert_eq!(call("PUT", "/echo", b"{\"order\":1}").status, 200);
    assert_eq!(call("POST", "/lie/no-json", b"<order/>").status, 200, "other routes take any bytes");
    assert_eq!(call("DELETE", "/echo", b"").status, 200, "a request without a body has none to be JSON");
}

/// The beginning of an answer that is sent on as it comes, with what its plugin is to make of it.
fn half(directive: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Tester: {directive}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n")
}

/// The rest of it.
const OTHER_HALF: &[u8] = b"5\r\nwhole\r\n0\r\n\r\n";

/// Waits until something of the answer has come.
fn begun(client: &Connection) {
    eventually("the answer begins", Duration::from_secs(10), || (!client.is_silent()).then_some(()));
}

/// There is no hook that decides while an answer goes by: it begins when its plugin has decided on all of it, and a word
/// that comes later cannot be.
#[test]
fn a212_an_answer_begins_when_its_plugin_has_decided_on_the_whole_of_it() {
    let issuer = Issuer::start();
    let (upstream, answers) = Upstream::start_in_pieces();
    let route = "methods: [POST], auth: { issuers: [idp] }, forward: { upstreams: [erp] }";
    let gateway = Gateway::start(&format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: plain, path: /plain, {route} }}\n  - {{ name: shaped, path: /shaped, plugin: answers, {route} }}\ntenants:\n  - {{ id: acme, plugins: {{ answers: tester-response }}, grants: [log, config, clock, metrics, kv, http-client] }}\n",
        issuer.yaml(""),
        upstream.url(),
        components().display()
    ));
    let bearer = issuer.bearer("acme");
    let ask = |path: &str| {
        let mut client = Connection::open(gateway.http);
        client.send(&request("POST", path, &[("Authorization", &bearer)], b"{}"));
        client
    };
    let asked = |calls: f64| {
        gateway.metric("sluis_plugin_duration_seconds_count{hook=\"on-response\",tenant=\"acme\"}") == calls
    };
    for (n, (directive, status, body)) in [("status/203", 203, "half whole"), ("trap", 500, "")].into_iter().enumerate()
    {
        let rest = answers.begin(half(directive));
        let mut shaped = ask("/shaped");
        eventually("the answer's head is with the gateway", Duration::from_secs(10), || {
            (gateway.metric("sluis_upstream_requests_total{status=\"2xx\",upstream=\"erp\"}") == 2.0 * n as f64 + 1.0)
                .then_some(())
        });
        // Meanwhile one without a plugin has begun as soon as there was something of it.
        let rest_of_plain = answers.begin(half("keep"));
        let mut plain = ask("/plain");
        begun(&plain);
        assert!(shaped.is_silent() && asked(n as f64), "the plugin is not asked about half of it");
        rest_of_plain.send(OTHER_HALF.to_vec()).unwrap();
        drop(rest_of_plain);
        assert_eq!(plain.answer().text(), "half whole");

        assert!(shaped.is_silent());
        rest.send(OTHER_HALF.to_vec()).unwrap();
        drop(rest);
        let answer = shaped.answer();
        assert_eq!(answer.status, status, "its word is about all of the answer");
        assert!(if status == 500 { answer.problem() == "plugin-fault" } else { answer.text() == body });
        assert!(asked(n as f64 + 1.0));
    }
    assert_eq!(gateway.metric("sluis_plugin_faults_total{kind=\"trap\",tenant=\"acme\"}"), 1.0);
}

/// The only word that may come beside an answer on its way is that of a version on trial.
#[test]
fn a212_a_refusal_beside_an_answer_that_has_begun_is_ignored_and_counted() {
    let (upstream, answers) = Upstream::start_in_pieces();
    let shop = Workshop::open_before(upstream, "", "");
    shop.kept("1.0.0", &example("tester"));
    // Refuses what is no order.
    shop.kept("2.0.0", &example("order-map"));
    shop.deploy("1.0.0");
    let tried = shop.order("deploy", &json!({ "version": "2.0.0", "trial": { "shadow": 100 } }));
    assert_eq!(tried.status, 200, "{}", tried.text());
    let rest = answers.begin(half("keep"));
    let bearer = shop.issuer.bearer("acme");
    let mut client = Connection::open(shop.gateway.http);
    client.send(&request("POST", "/", &[("Authorization", &bearer), ("X-Tester", "/echo")], b"{}"));
    begun(&client);
    eventually("it is counted", Duration::from_secs(10), || {
        let candidate = shop.orders()["trial"]["candidate"].clone();
        (candidate["calls"] == 1 && candidate["errors"] == 1).then_some(())
    });
    rest.send(OTHER_HALF.to_vec()).unwrap();
    drop(rest);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "half whole"));
    assert_eq!(shop.upstream.got().len(), 1);
}

#[test]
fn a194_nothing_is_remembered_between_requests() {
    let house = house();
    let first = house.post("acme", "/state").text();
    for _ in 0..20 {
        assert_eq!(house.post("acme", "/state").text(), first);
        assert_eq!(house.post("globex", "/state").text(), first);
    }
}

#[test]
fn a188_a_flood_of_log_lines_is_cut() {
    let house = house();
    house.post("acme", "/log-flood");
    eventually("the request is logged, so its lines are", Duration::from_secs(10), || {
        house.gateway.log_text().contains("\"path\":\"/log-flood\"").then_some(())
    });
    let lines = house.gateway.log_text().lines().filter(|l| l.contains("sluis::plugin")).count();
    assert!((1..=64).contains(&lines), "{lines} lines");
    assert!(house.gateway.metric("sluis_plugin_log_dropped_total{tenant=\"acme\"}") > 0.0);
}

#[test]
fn a_clock_tells_the_time_to_the_millisecond() {
    let house = house();
    let wall = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let before = wall();
    let told: u128 = house.post("acme", "/now").text().parse().unwrap();
    assert!((before..=wall()).contains(&told), "{told}");
}

#[test]
fn a189_counters_are_declared_and_the_tenants_own() {
    let house = house();
    for path in ["/count/mapped/3", "/count/mapped/4", "/count/undeclared/1", "/count/tenant/1"] {
        assert_eq!(house.post("acme", path).status, 200);
    }
    assert_eq!(house.post("globex", "/count/mapped/100").status, 200);
    let counter = |tenant: &str, name: &str| {
        house.gateway.metric(&format!("sluis_plugin_counter_total{{counter=\"{name}\",tenant=\"{tenant}\"}}"))
    };
    assert_eq!(counter("acme", "mapped"), 7.0);
    assert_eq!(counter("acme", "odd"), 0.0);
    let dropped =
        |tenant: &str| house.gateway.metric(&format!("sluis_plugin_counts_dropped_total{{tenant=\"{tenant}\"}}"));
    assert_eq!((dropped("acme"), dropped("globex")), (2.0, 1.0));
    let metrics = crate::support::client::call(house.gateway.admin, "GET", "/metrics", &[], b"").text();
    assert!(!metrics.contains("undeclared") && !metrics.contains("counter=\"mapped\",tenant=\"globex\""));
}

#[test]
fn what_a_plugin_keeps_is_its_tenants_own_and_outlives_the_process() {
    let mut house = house_with(", limits: { kv_bytes: 1KiB }");
    let said = |house: &House, tenant: &str, path: &str| {
        let answer = house.post(tenant, path);
        (answer.status, answer.text())
    };
    assert_eq!(said(&house, "acme", "/kv/add/number/41"), (200, "41".to_owned()));
    assert_eq!(said(&house, "acme", "/kv/swap/number/40/no"), (200, "false".to_owned()));
    assert_eq!(said(&house, "globex", "/kv/get/number").0, 404);
    assert_eq!(said(&house, "globex", "/kv/swap/number/-/7"), (200, "true".to_owned()));
    house.gateway.kill_and_restart();
    assert_eq!(said(&house, "acme", "/kv/add/number/1"), (200, "42".to_owned()));
    assert_eq!(said(&house, "globex", "/kv/get/number"), (200, "7".to_owned()));
    let long = "x".repeat(900);
    assert_eq!(said(&house, "acme", &format!("/kv/set/long/{long}")), (507, "quota".to_owned()));
    assert_eq!(said(&house, "globex", &format!("/kv/set/long/{long}")).0, 200, "a neighbour's quota is its own");
    assert_eq!(said(&house, "acme", "/kv/get"), (507, "key".to_owned()));
    assert_eq!(said(&house, "acme", "/kv/set/number/text").0, 200);
    assert_eq!(said(&house, "acme", "/kv/add/number/1"), (507, "value".to_owned()));
    assert_eq!(said(&house, "acme", "/kv/delete/number"), (200, "true".to_owned()));
    assert_eq!(said(&house, "acme", "/kv/get/number").0, 404);
}

#[test]
fn a_plugin_asks_the_systems_that_its_tenant_may_and_no_other() {
    let system = Upstream::start(|got| match got.line.split(' ').nth(1) {
        Some("/large") => ok(&vec![b'x'; (1 << 20) + 1]),
        Some("/moved") => Reply::Bytes(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => ok(&got.body),
    });
    let url = system.url();
    let house = house_with(&format!(
        ", http: [{{ origin: \"{url}\", allow_insecure: true }}, {{ origin: \"https://127.0.0.1\" }}, {{ origin: \"https://localhost\" }}]"
    ));
    let ask = |tenant: &str, directive: &str| {
        let headers = [("Authorization", &*house.issuer.bearer(tenant)), ("X-Tester", directive)];
        let answer = house.gateway.call("POST", "/", &headers, b"{\"order\":1}");
        (answer.status, answer.text())
    };
    let fault = |word: &str| (502, word.to_owned());
    assert_eq!(ask("acme", &format!("/http/PUT/{url}/a?b=c")), (200, "{\"order\":1}".to_owned()));
    let got = &system.got()[0];
    assert_eq!(got.line, "PUT /a?b=c HTTP/1.1");
    assert!(got.header("host").is_some_and(|host| url.ends_with(host)), "{got:?}");
    assert_eq!(ask("globex", &format!("/http/GET/{url}/")), fault("not-allowed"), "its neighbour may not");
    for private in ["http://127.0.0.2:1/", "https://127.0.0.1/", "https://localhost/"] {
        assert_eq!(ask("acme", &format!("/http/GET/{private}")), fault("not-allowed"), "{private}");
    }
    assert_eq!(ask("acme", &format!("/http/CONNECT/{url}/")), fault("not-allowed"));
    assert_eq!(ask("acme", "/http/GET/nowhere"), fault("malformed"));
    assert_eq!(ask("acme", &format!("/http/GET/{url}/large")), fault("too-large"));
    assert_eq!(ask("acme", &format!("/http/GET/{url}/moved")).0, 302, "redirects are not followed");
    let flood = ask("acme", &format!("/http-flood/10/{url}/"));
    assert_eq!(flood, (200, "200 200 200 200 200 200 200 200 too-many too-many".to_owned()));
    let counted = |tenant: &str, result: &str| {
        let labels = format!("{{result=\"{result}\",tenant=\"{tenant}\"}}");
        house.gateway.metric(&format!("sluis_plugin_http_requests_total{labels}"))
    };
    assert_eq!((counted("acme", "answered"), counted("acme", "not-allowed")), (10.0, 4.0));
    assert_eq!(counted("globex", "not-allowed"), 1.0);
}

#[test]
fn a_tenant_without_a_component_is_told_so() {
    let house = house();
    let answer = house.post("nothing", "/echo");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "plugin-unavailable"));
    assert_eq!(house.upstream.got().len(), 0);
}

#[test]
fn a_neighbour_is_served_while_a_guest_spins_hogs_and_traps() {
    let house = house();
    let bearer = house.issuer.bearer("acme");
    let address = house.gateway.http;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hostile: Vec<_> = ["/spin", "/hog", "/trap", "/lie/status"]
        .into_iter()
        .map(|path| {
            let (bearer, stop) = (bearer.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    crate::support::client::call(address, "POST", path, &[("Authorization", &bearer)], b"{}");
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for _ in 0..200 {
        assert_eq!(house.post("globex", "/echo").status, 200);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in hostile {
        assert!(thread.join().unwrap() > 0);
    }
}
