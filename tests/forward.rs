//! Forwarding as a client and an upstream see it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Connection, request};
use crate::support::gateway::{Gateway, free_address};
use crate::support::upstream::{Reply, Upstream, ok};

/// A public route to `upstreams`, everything forwarded.
fn config(endpoints: &[String], more: &str) -> String {
    let endpoints = endpoints.iter().map(|e| format!("\"{e}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "upstreams:\n  - {{ name: erp, endpoints: [{endpoints}]{more} }}\nroutes:\n  - {{ name: all, path: \"/{{rest...}}\", methods: [GET, POST, PUT, DELETE], auth: public, forward: {{ upstreams: [erp] }} }}\n"
    )
}

fn gateway(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::start(&config(&[upstream.url()], more))
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("POST {path} HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(10_000) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[test]
fn bodies_of_every_size_and_framing_arrive_whole_in_both_directions() {
    let upstream = Upstream::start(|got| match got.header("x-answer") {
        Some("chunked") => {
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in got.body.chunks(7_000) {
                out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                out.extend(piece);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
            Reply::Bytes(out)
        }
        Some("close") => {
            let mut out = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            out.extend(&got.body);
            Reply::Last(out)
        }
        _ => ok(&got.body),
    });
    let gateway = gateway(&upstream, "");
    for size in [0, 1, 993, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 93_000, 1_000_000, 5_000_000] {
        let body = pattern(size);
        for answer in ["length", "chunked", "close"] {
            let got = gateway.call("POST", "/echo", &[("x-answer", answer)], &body);
            assert_eq!(got.status, 200);
            assert!(got.body == body, "{size} bytes with length, answered by {answer}: {} came back", got.body.len());
        }
        let mut connection = Connection::open(gateway.http);
        connection.send(&chunked("/echo", &body));
        let got = connection.answer();
        assert!(got.body == body, "{size} bytes chunked: {} came back", got.body.len());
    }
}

#[test]
fn connections_live_on_both_sides() {
    let upstream = Upstream::start(|_| ok(b"done"));
    let gateway = gateway(&upstream, "");
    let mut connection = Connection::open(gateway.http);
    for _ in 0..20 {
        connection.send(&request("POST", "/a", &[], b"x"));
        assert_eq!(connection.answer().text(), "done");
    }
    assert_eq!(upstream.connections(), 1);
    connection.send(&request("GET", "/a", &[("Connection", "close")], b""));
    assert_eq!(connection.answer().header("connection"), Some("close"));
    assert!(connection.is_closed());
}

#[test]
fn what_ends_at_the_gateway_does_not_reach_the_upstream() {
    let upstream = Upstream::start(|_| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\n\r\n".to_vec(),
        )
    });
    let gateway = gateway(&upstream, ", headers: { authorization: \"Basic erp\", x-api-version: \"2\" }");
    let answer = gateway.call(
        "GET",
        "/a?b=c",
        &[
            ("Authorization", "Bearer client"),
            ("Connection", "x-mine"),
            ("X-Mine", "1"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Proxy-Authorization", "x"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Api-Version", "1"),
            ("X-Sluis-Tenant", "someone-else"),
            ("X-Kept", "yes"),
            ("X-Correlation-Id", "order-4711"),
        ],
        b"",
    );
    assert_eq!(answer.header("x-kept"), Some("yes"));
    assert_eq!(answer.header("x-secret"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-correlation-id"), Some("order-4711"));
    let got = &upstream.got()[0];
    assert_eq!(got.line, "GET /a?b=c HTTP/1.1");
    assert_eq!(got.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!(got.headers("authorization"), ["Basic erp"]);
    assert_eq!(got.headers("x-api-version"), ["2"]);
    assert_eq!(got.header("x-kept"), Some("yes"));
    assert_eq!(got.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got.header("x-correlation-id"), Some("order-4711"));
    assert!(got.header("traceparent").is_some_and(|t| t.len() == 55));
    for gone in ["connection", "x-mine", "te", "upgrade", "proxy-authorization", "x-sluis-tenant", "content-length"] {
        assert_eq!(got.header(gone), None, "{gone}");
    }
}

#[test]
fn a001_both_framings_at_once_are_refused_and_never_forwarded() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = gateway(&upstream, "");
    let cases: [&[u8]; 6] = [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in cases {
        let mut connection = Connection::open(gateway.http);
        connection.send(bytes);
        assert_eq!(connection.answer().status, 400, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(upstream.got().len(), 0);
}

#[test]
fn a030_a_question_about_the_server_as_a_whole_is_nobodys_route() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = gateway(&upstream, "");
    let mut connection = Connection::open(gateway.http);
    connection.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.answer().status, 404);
    connection.send(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.answer().status, 400);
    assert_eq!(upstream.got().len(), 0);
}

#[test]
fn a_trace_state_goes_on_only_with_its_trace() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = gateway(&upstream, "");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, kept) in [(Some(trace), Some("vendor=1")), (Some("00-0-0-00"), None), (None, None)] {
        let mut headers = vec![("Tracestate", "vendor=1")];
        headers.extend(given.map(|trace| ("Traceparent", trace)));
        gateway.call("GET", "/", &headers, b"");
        let got = upstream.got().pop().unwrap();
        assert_eq!(got.header("tracestate"), kept);
        let goes_on = got.header("traceparent").unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-");
        assert_eq!(goes_on, kept.is_some());
    }
}

#[test]
fn a034_a_waiting_client_is_invited_or_refused_before_it_sends() {
    let upstream = Upstream::start(|got| ok(&got.body));
    let gateway = gateway(&upstream, "");
    let mut connection = Connection::open(gateway.http);
    connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.one_answer(false).unwrap().status, 100);
    connection.send(b"hello");
    assert_eq!(connection.answer().text(), "hello");

    let mut connection = Connection::open(gateway.http);
    connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: tea\r\n\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.problem().as_str()), (417, "expectation-failed"));
}

#[test]
fn head_and_bodiless_answers_end_with_their_head() {
    let upstream = Upstream::start(|got| {
        let bytes: &[u8] = match got.line.as_str() {
            "GET /204 HTTP/1.1" => b"HTTP/1.1 204 No Content\r\n\r\n",
            "GET /304 HTTP/1.1" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        };
        Reply::Bytes(bytes.to_vec())
    });
    let gateway = gateway(&upstream, "");
    let mut connection = Connection::open(gateway.http);
    for (method, path, status) in [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/", 200)] {
        connection.send(&request(method, path, &[], b""));
        assert_eq!(connection.try_answer(method == "HEAD").unwrap().status, status, "{method} {path}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_answers_before_it_has_read_is_heard() {
    let upstream = Upstream::start_early(
        b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig".to_vec(),
    );
    let gateway = gateway(&upstream, "");
    let began = Instant::now();
    let answer = gateway.call("POST", "/", &[], &pattern(8_000_000));
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a250_refused_connections_and_silence_have_their_own_answers() {
    let refused = Gateway::start(&config(&[format!("http://{}", free_address())], ""));
    let answer = refused.call("POST", "/", &[], b"x");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "upstream-unreachable"));

    let silent = Upstream::start(|_| Reply::Silence);
    let slow = gateway(&silent, ", first_byte_timeout: 300ms");
    let answer = slow.call("POST", "/", &[], b"x");
    assert_eq!((answer.status, answer.problem().as_str()), (504, "upstream-timeout"));

    let nowhere = Gateway::start(&config(&["http://does-not-exist.invalid".to_owned()], ""));
    let answer = nowhere.call("GET", "/", &[], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "upstream-unreachable"));
}

#[test]
fn a_body_that_does_not_come_in_time_is_not_held_against_the_upstream() {
    let upstream = Upstream::start(|_| ok(b"whole"));
    let gateway = gateway(
        &upstream,
        ", connect_timeout: 300ms, first_byte_timeout: 300ms, total_timeout: 300ms, breaker: { consecutive_failures: 3 }",
    );
    for _ in 0..4 {
        let mut connection = Connection::open(gateway.http);
        let head = "POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 200000\r\n\r\n";
        connection.send(&[head.as_bytes(), &pattern(100_000)].concat());
        let answer = connection.try_answer(false).unwrap();
        assert_eq!((answer.status, answer.problem().as_str()), (408, "request-timeout"));
    }
    assert_eq!(gateway.call("POST", "/", &[], b"x").status, 200);
}

#[test]
fn a57_a_body_that_drips_is_refused_whole_or_streamed() {
    let upstream = Upstream::start(|_| ok(b"whole"));
    let gateway = Gateway::start_limited("body_timeout: 500ms", &config(&[upstream.url()], ""));
    // The first is read whole before it is sent on, the second while it is.
    for length in [1_000, 200_000] {
        let mut connection = Connection::open(gateway.http);
        connection
            .send(format!("POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        let mut drip = connection.writer();
        let dripping = std::thread::spawn(move || {
            // Each wait by itself is short enough.
            while drip.write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let answer = connection.try_answer(false).unwrap();
        assert_eq!((answer.status, answer.problem().as_str()), (408, "request-timeout"), "{length}");
        drop(connection);
        dripping.join().unwrap();
    }
    assert_eq!(gateway.call("POST", "/", &[], b"x").status, 200);
}

#[test]
fn a251_a_stall_in_the_middle_breaks_the_answer_off() {
    let upstream = Upstream::start(|_| {
        // Ten bytes announced, three sent, then silence: the next request's handler would hold the thread.
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    });
    let gateway = gateway(&upstream, ", idle_timeout: 300ms");
    let mut connection = Connection::open(gateway.http);
    connection.send(&request("GET", "/", &[], b""));
    assert!(connection.try_answer(false).is_err(), "a cut answer must not look whole");
    let mut again = Connection::open(gateway.http);
    again.send(&request("GET", "/", &[], b""));
    assert!(again.try_answer(false).is_err());
    assert_eq!(upstream.connections(), 2, "a stalled connection is not used again");
}

#[test]
fn a252_a253_the_breaker_opens_probes_and_closes() {
    static STATUS: AtomicUsize = AtomicUsize::new(500);
    let upstream = Upstream::start(|_| {
        let status = STATUS.load(Ordering::SeqCst);
        Reply::Bytes(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes())
    });
    let gateway = gateway(&upstream, ", breaker: { consecutive_failures: 5, open: 1s, max_open: 2s }");
    for _ in 0..5 {
        assert_eq!(gateway.call("POST", "/", &[], b"x").status, 500);
    }
    let answer = gateway.call("POST", "/", &[], b"x");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "circuit-open"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(upstream.got().len(), 5, "no call while open");
    assert!(gateway.metric("sluis_breaker_state{upstream=\"erp\"}") == 2.0);
    STATUS.store(200, Ordering::SeqCst);
    crate::support::eventually("the probe closes the breaker", Duration::from_secs(10), || {
        (gateway.call("POST", "/", &[], b"x").status == 200).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(gateway.call("POST", "/", &[], b"x").status, 200);
    }
}

#[test]
fn a254_client_errors_do_not_open_the_breaker() {
    let upstream = Upstream::start(|_| Reply::Bytes(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let gateway = gateway(&upstream, "");
    for _ in 0..30 {
        assert_eq!(gateway.call("POST", "/", &[], b"x").status, 422);
    }
}

#[test]
fn a255_a259_only_what_is_safe_is_sent_again() {
    // Every second request on a connection finds it closed at that very moment.
    let upstream = Upstream::start(|got| match got.header("x-first") {
        Some(_) => ok(b"first"),
        None if got.connection == 0 => Reply::Last(Vec::new()),
        None => ok(b"again"),
    });
    let gateway = gateway(&upstream, "");
    assert_eq!(gateway.call("GET", "/", &[("x-first", "1")], b"").text(), "first");
    assert_eq!(gateway.call("GET", "/", &[], b"").text(), "again", "an idempotent request is sent again");

    let upstream = Upstream::start(|got| match got.header("x-first") {
        Some(_) => ok(b"first"),
        None => Reply::Last(Vec::new()),
    });
    let gateway = self::gateway(&upstream, "");
    assert_eq!(gateway.call("POST", "/", &[("x-first", "1")], b"x").text(), "first");
    let answer = gateway.call("POST", "/", &[], b"x");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "bad-upstream-response"));
    assert_eq!(upstream.got().len(), 2, "a POST is never sent twice");
}

#[test]
fn an_endpoint_that_is_down_is_passed_over() {
    let upstream = Upstream::start(|_| ok(b"up"));
    let gateway = Gateway::start(&config(&[format!("http://{}", free_address()), upstream.url()], ""));
    for _ in 0..10 {
        assert_eq!(gateway.call("POST", "/", &[], b"x").text(), "up");
    }
}

#[test]
fn a047_answers_that_cannot_be_passed_on_are_a_bad_gateway() {
    let upstream = Upstream::start(|_| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec())
    });
    let gateway = gateway(&upstream, "");
    let answer = gateway.call("GET", "/", &[], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "bad-upstream-response"));
    gateway.call("GET", "/", &[], b"");
    assert_eq!(upstream.connections(), 2, "such a connection is never used again");
}

#[test]
fn a_client_that_leaves_ends_the_exchange() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen_end = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_to_end(&mut all).map(|_| ())
    });
    let gateway = Gateway::start(&config(&[format!("http://{address}")], ""));
    let mut connection = Connection::open(gateway.http);
    connection.send(&request("POST", "/", &[], b"x"));
    crate::support::eventually("the request is in flight", Duration::from_secs(10), || {
        (gateway.metric("sluis_requests_in_flight ") == 1.0).then_some(())
    });
    drop(connection);
    assert!(seen_end.join().unwrap().is_ok(), "the upstream connection is closed when the client leaves");
    crate::support::eventually("nothing is in flight", Duration::from_secs(10), || {
        (gateway.metric("sluis_requests_in_flight ") == 0.0).then_some(())
    });
}

#[test]
fn routes_are_found_or_refused_by_name() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = Gateway::start(&format!(
        "upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nroutes:\n  - {{ name: one, path: /one, methods: [GET], auth: public, forward: {{ upstreams: [erp] }} }}\n",
        upstream.url()
    ));
    let answer = gateway.call("GET", "/two", &[], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (404, "route-not-found"));
    let answer = gateway.call("DELETE", "/one", &[], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"));
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")));
    for path in ["/%00", "/a%2fb", "/../../etc", "/a%0d%0a"] {
        assert_eq!(gateway.call("GET", path, &[], b"").status, 400, "{path}");
    }
    assert_eq!(upstream.got().len(), 0);
}

#[test]
fn a052_a049_oversized_heads_are_refused() {
    let upstream = Upstream::start(|_| ok(b""));
    let gateway = gateway(&upstream, "");
    let answer = gateway.call("GET", &format!("/{}", "a".repeat(8 * 1024)), &[], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (414, "uri-too-long"));
    let answer = gateway.call("GET", "/", &[("x", &"a".repeat(16 * 1024))], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (431, "headers-too-large"));
    let many: Vec<(String, &str)> = (0..101).map(|i| (format!("x-{i}"), "v")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert_eq!(gateway.call("GET", "/", &many, b"").status, 431);
}
