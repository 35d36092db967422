//! Requests that are sent again: done once, answered alike, and never done twice where nobody knows.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::client::{Answer, Connection, request};
use crate::support::eventually;
use crate::support::gateway::{Gateway, components, free_address};
use crate::support::issuer::Issuer;
use crate::support::upstream::{Reply, Upstream, ok};

const KEPT: usize = 256 * 1024;

struct House {
    issuer: Issuer,
    erp: Arc<Upstream>,
    gateway: Gateway,
}

/// A gateway before an ERP that is upstream and sink.
fn house(erp: Upstream) -> House {
    house_at(&erp.url(), erp)
}

fn house_at(url: &str, erp: Upstream) -> House {
    let issuer = Issuer::start();
    let route = "methods: [POST, GET], auth: { issuers: [idp] }, idempotency: { required: true }";
    let gateway = Gateway::start(&format!(
        "{}upstreams:\n  - {{ name: erp, endpoints: [\"{url}\"], retries: 0, breaker: {{ consecutive_failures: 100 }} }}\nsinks:\n  - {{ name: erp, http: {{ url: \"{url}/events\" }}, retry: {{ initial: 100ms, max: 500ms }} }}\nplugins: {{ dir: \"{}\", cpu: 100ms, wall: 5s }}\nroutes:\n  - {{ name: sync, path: /sync, {route}, forward: {{ upstreams: [erp] }}, body_limit: 1KiB }}\n  - {{ name: twice, path: /twice, {route}, forward: {{ upstreams: [erp] }}, retry_unsafe: true }}\n  - {{ name: async, path: /async, {route}, enqueue: {{ sinks: [erp], event_type: erp.order.created }} }}\n  - {{ name: tester, path: /tester, {route}, plugin: orders, forward: {{ upstreams: [erp] }} }}\n  - {{ name: shaped, path: /shaped, {route}, plugin: answers, forward: {{ upstreams: [erp] }} }}\ntenants:\n  - {{ id: acme, plugins: {{ orders: tester, answers: tester-response }}, grants: [log, config, clock, metrics, kv, http-client], limits: {{ rate: 1000000, burst: 1000000, in_flight: 10000 }} }}\n  - {{ id: globex }}\n",
        issuer.yaml(""),
        components().display()
    ));
    House { issuer, erp: Arc::new(erp), gateway }
}

impl House {
    fn send(&self, path: &str, key: &str, body: &[u8]) -> Answer {
        self.send_as("acme", path, &[("Idempotency-Key", key)], body)
    }

    fn send_as(&self, tenant: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = self.issuer.bearer(tenant);
        let all: Vec<_> = [("Authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.gateway.call("POST", path, &all, body)
    }

    /// How often the ERP was asked.
    fn asked(&self) -> usize {
        self.erp.got().len()
    }
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem())
}

fn no(status: u16, problem: &str) -> (u16, String) {
    (status, problem.to_owned())
}

fn is_replay_of(again: &Answer, first: &Answer) {
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{again:?}");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let rest = |answer: &Answer| -> Vec<(String, String)> {
        let mut rest = answer.headers.clone();
        rest.retain(|(name, _)| !["idempotent-replayed", "connection", "keep-alive", "date"].contains(&name.as_str()));
        rest.sort();
        rest
    };
    assert_eq!(rest(again), rest(first));
}

fn status(line: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

#[test]
fn a_key_must_be_there_and_be_one() {
    let house = house(Upstream::start(|_| ok(b"")));
    assert_eq!(refused(&house.send_as("acme", "/sync", &[], b"{}")), no(400, "idempotency-key-missing"));
    let long = "x".repeat(256);
    for key in ["", "\"\"", "\"open", "two words", "a,b", "a;b", "\"a\" b", "caf\u{e9}", &long] {
        assert_eq!(refused(&house.send("/sync", key, b"{}")), no(400, "idempotency-key-invalid"), "{key:?}");
    }
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    assert_eq!(refused(&house.send_as("acme", "/sync", &two, b"{}")), no(400, "idempotency-key-invalid"));
    assert_eq!(house.asked(), 0);
    assert_eq!(house.send("/sync", &"x".repeat(255), b"{}").status, 200);
    let bearer = house.issuer.bearer("acme");
    let safe = house.gateway.call("GET", "/sync", &[("Authorization", &bearer)], b"");
    assert_eq!(safe.status, 200, "what changes nothing needs no key");
}

/// Sends the same request at once from many connections, each again as long as it is told to; whoever is cut off has no
/// answer.
fn race(house: &House, key: &'static str) -> Vec<Option<Answer>> {
    let (address, bearer) = (house.gateway.http, house.issuer.bearer("acme"));
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let bearer = bearer.clone();
            std::thread::spawn(move || {
                let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
                let mut connection = Connection::open(address);
                loop {
                    connection.send(&request("POST", "/async", &headers, b"{\"order\":1}"));
                    match connection.try_answer(false) {
                        Ok(answer) if answer.status == 409 => {
                            assert_eq!(answer.problem(), "idempotency-in-progress");
                            assert_eq!(answer.header("retry-after"), Some("1"));
                        }
                        Ok(answer) => return Some(answer),
                        Err(_) => return None,
                    }
                }
            })
        })
        .collect();
    clients.into_iter().map(|client| client.join().unwrap()).collect()
}

#[test]
fn a232_a_hundred_at_once_are_one_event_with_one_answer_also_after_kill_9() {
    let mut house = house(Upstream::start(|_| ok(b"")));
    let answers: Vec<Answer> = race(&house, "k-1").into_iter().flatten().collect();
    assert_eq!(answers.len(), 100);
    let first = &answers[0];
    let location = first.header("location").unwrap().to_owned();
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.body == first.body));
    assert!(answers.iter().all(|answer| answer.header("location") == Some(&*location)));
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    assert!(house.gateway.metric("sluis_idempotency_total{result=\"replayed\"}") >= 99.0);
    eventually("it is delivered", Duration::from_secs(30), || (house.asked() == 1).then_some(()));

    house.gateway.kill_and_restart();
    let again = house.send("/async", "k-1", b"{\"order\":1}");
    assert_eq!((again.status, &again.body), (202, &first.body));
    let other = house.send("/async", "k-1", b"{\"order\":2}");
    assert_eq!(refused(&other), no(422, "idempotency-key-reused"));
    assert_eq!(other.json()["original_event"], location.as_str());
    let theirs = house.send_as("globex", "/async", &[("Idempotency-Key", "k-1")], b"{\"order\":2}");
    assert_eq!(theirs.status, 202, "a key is the tenant's own");
    assert_ne!(theirs.header("location"), Some(&*location));
    eventually("theirs is delivered", Duration::from_secs(30), || (house.asked() == 2).then_some(()));
}

#[test]
fn a232_kill_9_among_duplicates_leaves_one_event() {
    let mut house = house(Upstream::start(|_| ok(b"")));
    for (round, key) in ["k-1", "k-2", "k-3", "k-4", "k-5"].into_iter().enumerate() {
        let (address, bearer) = (house.gateway.http, house.issuer.bearer("acme"));
        let tried = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (bearer, tried) = (bearer.clone(), tried.clone());
                std::thread::spawn(move || {
                    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
                    let (mut connection, mut bodies) = (Connection::open(address), HashSet::new());
                    loop {
                        connection.send(&request("POST", "/async", &headers, b"{\"order\":1}"));
                        tried.fetch_add(1, Ordering::SeqCst);
                        match connection.try_answer(false) {
                            Ok(answer) if answer.status == 202 => drop(bodies.insert(answer.body)),
                            Ok(answer) => assert_eq!(answer.problem(), "idempotency-in-progress"),
                            Err(_) => return bodies,
                        }
                    }
                })
            })
            .collect();
        // Another place each time: before the commit, in it, after it.
        eventually("they have begun", Duration::from_secs(30), || {
            (tried.load(Ordering::SeqCst) > round * round).then_some(())
        });
        house.gateway.kill_and_restart();
        let mut bodies: HashSet<Vec<u8>> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        bodies.insert(house.send("/async", key, b"{\"order\":1}").body);
        assert_eq!(bodies.len(), 1, "whoever was answered was answered alike");
        eventually("it is delivered", Duration::from_secs(30), || {
            let ids: HashSet<String> = house.erp.got().iter().map(|got| got.header("ce-id").unwrap().into()).collect();
            assert!(ids.len() <= round + 1, "{ids:?}");
            (ids.len() == round + 1).then_some(())
        });
    }
}

#[test]
fn a_forwarded_request_is_done_once_and_answered_alike() {
    let house = house(Upstream::start(|_| {
        Reply::Bytes(b"HTTP/1.1 201 Created\r\nX-Document: 42\r\nX-Twice: a\r\nX-Twice: b\r\nContent-Length: 8\r\n\r\n{\"n\": 1}".to_vec())
    }));
    let first = house.send_as("acme", "/sync", &[("Idempotency-Key", "k"), ("X-Correlation-Id", "c-1")], b"{}");
    assert_eq!((first.status, first.header("x-correlation-id")), (201, Some("c-1")));
    assert_eq!(first.header("idempotent-replayed"), None);
    // Another token of the same tenant, and the key as a quoted string.
    let bearer = house.issuer.bearer_of("somebody-else", "acme", "orders:write");
    let headers = [("Authorization", &*bearer), ("Idempotency-Key", "\"k\""), ("X-Correlation-Id", "c-2")];
    is_replay_of(&house.gateway.call("POST", "/sync", &headers, b"{}"), &first);
    assert_eq!(house.asked(), 1);
    let other = house.send("/sync", "k", b"{ }");
    assert_eq!(refused(&other), no(422, "idempotency-key-reused"));
    assert!(other.json().get("original_event").is_none());
    assert_eq!(refused(&house.send("/sync?a=1", "k", b"{}")), no(422, "idempotency-key-reused"));
    assert_eq!(house.send("/twice", "k", b"{}").status, 201, "a key holds on its route");
    assert_eq!(house.send_as("globex", "/sync", &[("Idempotency-Key", "k")], b"{}").status, 201);
    assert_eq!(house.asked(), 3);
}

#[test]
fn a_client_that_hangs_up_gets_its_answer_when_it_comes_back() {
    let (reached, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let gate = (reached.clone(), open.clone());
    let house = house(Upstream::start(move |got| {
        gate.0.fetch_add(1, Ordering::SeqCst);
        eventually("the gate is open", Duration::from_secs(30), || gate.1.load(Ordering::SeqCst).then_some(()));
        ok(&got.body)
    }));
    let bearer = house.issuer.bearer("acme");
    let mut connection = Connection::open(house.gateway.http);
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "k")];
    connection.send(&request("POST", "/sync", &headers, b"{\"order\":1}"));
    eventually("it is at the upstream", Duration::from_secs(30), || {
        (reached.load(Ordering::SeqCst) == 1).then_some(())
    });
    drop(connection);
    for _ in 0..20 {
        let again = house.send("/sync", "k", b"{\"order\":1}");
        assert_eq!(refused(&again), no(409, "idempotency-in-progress"));
        assert_eq!(again.header("retry-after"), Some("1"));
    }
    assert_eq!(refused(&house.send("/sync", "k", b"{}")), no(422, "idempotency-key-reused"));
    open.store(true, Ordering::SeqCst);
    let answer = eventually("its answer is kept", Duration::from_secs(30), || {
        Some(house.send("/sync", "k", b"{\"order\":1}")).filter(|answer| answer.status != 409)
    });
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"order\":1}"));
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    assert_eq!(house.asked(), 1);
}

#[test]
fn what_broke_after_it_was_sent_is_not_sent_again() {
    let mut house = house(Upstream::start(|got| match &got.body[..] {
        b"silence" => Reply::Silence,
        _ => Reply::Last(Vec::new()),
    }));
    assert_eq!(refused(&house.send("/sync", "k", b"{}")), no(502, "bad-upstream-response"));
    assert_eq!(refused(&house.send("/sync", "k", b"{}")), no(409, "idempotency-outcome-unknown"));
    let bearer = house.issuer.bearer("acme");
    let mut connection = Connection::open(house.gateway.http);
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "k-2")];
    connection.send(&request("POST", "/sync", &headers, b"silence"));
    eventually("it is at the upstream", Duration::from_secs(30), || (house.asked() == 2).then_some(()));
    house.gateway.kill_and_restart();
    assert_eq!(refused(&house.send("/sync", "k", b"{}")), no(409, "idempotency-outcome-unknown"));
    assert_eq!(refused(&house.send("/sync", "k-2", b"silence")), no(409, "idempotency-outcome-unknown"));
    assert_eq!(house.asked(), 2);
    // The route that says so sends it again.
    assert_eq!(refused(&house.send("/twice", "k", b"{}")), no(502, "bad-upstream-response"));
    assert_eq!(refused(&house.send("/twice", "k", b"{}")), no(502, "bad-upstream-response"));
    assert_eq!(house.asked(), 4);
}

#[test]
fn what_never_left_may_be_sent_again() {
    let address = free_address();
    let house = house_at(&format!("http://{address}"), Upstream::start(|_| ok(b"")));
    assert_eq!(refused(&house.send("/sync", "k", b"{}")), no(502, "upstream-unreachable"));
    let erp = Upstream::start_at(address, |_| ok(b"done"));
    let answer = house.send("/sync", "k", b"{}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(erp.got().len(), 1);
}

#[test]
fn what_the_upstream_answers_decides_what_becomes_of_the_key() {
    let house = house(Upstream::start(|got| match String::from_utf8_lossy(&got.body).as_ref() {
        "503" => Reply::Bytes(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_vec()),
        line => status(&format!("{line} As told")),
    }));
    let mut asked = 0;
    for (path, answer, again) in [
        ("/sync", "204", Some(204)),
        ("/sync", "422", Some(422)),
        ("/sync", "429", None),
        ("/sync", "401", None),
        ("/sync", "503", None),
        ("/twice", "500", None),
        ("/sync", "500", Some(409)),
    ] {
        let key = format!("{path}-{answer}");
        assert_eq!(house.send(path, &key, answer.as_bytes()).status.to_string(), answer);
        let second = house.send(path, &key, answer.as_bytes());
        asked += if again.is_some() { 1 } else { 2 };
        assert_eq!(house.asked(), asked, "{path} {answer}");
        assert_eq!(second.status, again.unwrap_or(answer.parse().unwrap()), "{path} {answer}");
        let replayed = again.is_some_and(|status| status != 409);
        assert_eq!(second.header("idempotent-replayed").is_some(), replayed, "{path} {answer}");
    }
}

#[test]
fn bodies_at_their_limits_pass_and_one_byte_more_does_not() {
    let house = house(Upstream::start(|got| match got.body.len() {
        1024 => ok(&vec![b'x'; KEPT]),
        1023 => ok(&vec![b'x'; KEPT + 1]),
        _ => {
            let size = KEPT + 1;
            let mut bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n").into_bytes();
            bytes.extend(vec![b'x'; size]);
            bytes.extend(b"\r\n0\r\n\r\n");
            Reply::Bytes(bytes)
        }
    }));
    let at = vec![b'a'; 1024];
    let first = house.send("/sync", "k", &at);
    assert_eq!((first.status, first.body.len()), (200, KEPT));
    is_replay_of(&house.send("/sync", "k", &at), &first);
    for (key, length) in [("told", 1023), ("chunked", 1022)] {
        let large = house.send("/sync", key, &vec![b'a'; length]);
        assert_eq!((large.status, large.body.len()), (200, KEPT + 1), "the client gets it all the same");
        let again = house.send("/sync", key, &vec![b'a'; length]);
        assert_eq!(refused(&again), no(409, "idempotency-outcome-unknown"));
    }
    assert_eq!(refused(&house.send("/sync", "over", &vec![b'a'; 1025])), no(413, "body-too-large"));
    assert_eq!(house.asked(), 3);
}

#[test]
fn what_a_plugin_answers_is_kept_and_what_it_refuses_is_not() {
    let house = house(Upstream::start(|_| ok(b"{}")));
    let send =
        |directive: &str| house.send_as("acme", "/tester", &[("Idempotency-Key", "k"), ("X-Tester", directive)], b"{}");
    assert_eq!(send("/refuse/422").status, 422);
    assert_eq!(send("/trap").status, 500);
    assert_eq!(send("/respond/429/slowly").status, 429);
    let first = send("/respond/200/mine");
    assert_eq!((first.status, first.text().as_str()), (200, "mine"));
    is_replay_of(&send("/respond/200/another"), &first);
    assert_eq!(house.asked(), 0);
    let shaped = house.send("/shaped", "k", b"{}");
    is_replay_of(&house.send("/shaped", "k", b"{}"), &shaped);
    assert_eq!(house.asked(), 1);
}
