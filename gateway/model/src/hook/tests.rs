use proptest::prelude::*;

use super::*;
use crate::plan::{BodyFormat, Route};
use crate::refusal::GuestProblem;
use crate::testing::both_journeys;

fn route() -> Route {
    both_journeys(&["erp", "crm"], &["orders", "audit", "stock"])
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn forward(change: Forward) -> Result<CheckedForward, OutputFault> {
    match check_decision(Decision::Forward(change), &route())? {
        CheckedDecision::Forward(checked) => Ok(checked),
        other => panic!("{other:?}"),
    }
}

fn enqueue(change: EnqueueDecision) -> Result<CheckedEnqueue, OutputFault> {
    match check_decision(Decision::Enqueue(change), &route())? {
        CheckedDecision::Enqueue(checked) => Ok(checked),
        other => panic!("{other:?}"),
    }
}

fn with_fields(fields: &[(&str, &str)]) -> (Result<CheckedForward, OutputFault>, Result<CheckedResponse, OutputFault>) {
    let set_headers = pairs(fields);
    let answer = ResponseChange { set_headers: set_headers.clone(), ..ResponseChange::default() };
    (forward(Forward { set_headers, ..Forward::default() }), check_response(answer, 10))
}

fn faults(fields: &[(&str, &str)]) -> (Option<OutputFault>, Option<OutputFault>) {
    let (request, answer) = with_fields(fields);
    (request.err(), answer.err())
}

#[test]
fn a201_names_and_values_are_what_http_allows() {
    for value in ["a\r\nb: c", "a\nb", "a\0b", " a", "a ", "\ta", "é", "\u{7f}", "\u{1b}[31m"] {
        let fault = Some(OutputFault::HeaderValue);
        assert_eq!(faults(&[("x-a", value)]), (fault, fault), "{value:?}");
    }
    for name in ["", "a b", "a:", ":path", "a\r\n", "é", "a(b", "x_a", "Content_Length"] {
        let fault = Some(OutputFault::HeaderName);
        assert_eq!(faults(&[(name, "a")]), (fault, fault), "{name:?}");
    }
    let checked = with_fields(&[("X-Erp-Company", "SBO DEMO"), ("x-empty", "")]).0.unwrap();
    assert_eq!(checked.set_headers[0].0, "x-erp-company", "in lower case");
    assert_eq!(checked.set_headers[1].1, "");
}

#[test]
fn a202_what_is_the_gateways_to_say_is_not_the_guests() {
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Proxy-Authorization",
        "Proxy-Anything",
        "X-Sluis-Tenant",
        "X-Correlation-Id",
        "Traceparent",
        "Authorization",
        "Forwarded",
        "X-Forwarded-For",
        "X-Real-IP",
        "Via",
    ] {
        let fault = Some(OutputFault::HeaderForbidden);
        assert_eq!(faults(&[(name, "a")]), (fault, fault), "{name}");
        let remove_headers = vec![name.to_string()];
        let removed = forward(Forward { remove_headers: remove_headers.clone(), ..Forward::default() });
        assert_eq!(removed.err(), fault, "{name}");
        let removed = check_response(ResponseChange { remove_headers, ..ResponseChange::default() }, 10);
        assert_eq!(removed.err(), fault, "{name}");
    }
    assert_eq!(faults(&[("host", "evil")]).0, Some(OutputFault::HeaderForbidden));
    assert_eq!(faults(&[("cookie", "a=b")]).0, Some(OutputFault::HeaderForbidden));
    for name in ["www-authenticate", "alt-svc", "refresh", "strict-transport-security", "clear-site-data", "date"] {
        assert_eq!(faults(&[(name, "a")]).1, Some(OutputFault::HeaderForbidden), "{name}");
    }
    for name in ["content-type", "if-match", "prefer", "x-http2", "sap-client", "idempotency-key"] {
        assert_eq!(faults(&[(name, "a")]), (None, None), "{name}");
    }
}

#[test]
fn a203_changes_are_limited_in_number_and_bytes() {
    let many: Vec<(String, String)> = (0..65).map(|n| (format!("x-{n}"), String::new())).collect();
    let names: Vec<String> = many.iter().map(|(name, _)| name.clone()).collect();
    let check = |set: usize, remove: usize| {
        forward(Forward {
            set_headers: many[..set].to_vec(),
            remove_headers: names[..remove].to_vec(),
            ..Forward::default()
        })
        .err()
    };
    assert_eq!(check(64, 0), None);
    assert_eq!(check(32, 32), None);
    assert_eq!(check(65, 0), Some(OutputFault::HeadersTooMany));
    assert_eq!(check(0, 65), Some(OutputFault::HeadersTooMany));
    assert_eq!(check(33, 32), Some(OutputFault::HeadersTooMany));
    let of = |length: usize| faults(&[("x-a", &"v".repeat(length - 3))]);
    assert_eq!(of(8 * 1024), (None, None));
    let fault = Some(OutputFault::HeadersTooMany);
    assert_eq!(of(8 * 1024 + 1), (fault, fault));
}

#[test]
fn a203_some_fields_come_once_and_cookies_may_come_often() {
    let fault = Some(OutputFault::HeaderValue);
    assert_eq!(faults(&[("content-type", "a/b"), ("Content-Type", "a/b")]), (fault, fault));
    assert_eq!(faults(&[("location", "/a"), ("location", "/b")]).1, fault);
    assert_eq!(faults(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]).1, None);
}

#[test]
fn a204_a_status_is_final_and_some_have_no_body() {
    let check = |status: Option<u16>, body: Option<&[u8]>| {
        check_response(ResponseChange { status, body: body.map(<[u8]>::to_vec), ..ResponseChange::default() }, 10)
    };
    for status in [0, 1, 99, 100, 101, 103, 199, 600, 999, 1000, u16::MAX] {
        assert_eq!(check(Some(status), None).err(), Some(OutputFault::Status), "{status}");
    }
    for status in [200, 202, 302, 404, 599] {
        assert_eq!(check(Some(status), Some(b"x")).unwrap().status.unwrap().as_u16(), status);
    }
    for status in [204, 205, 304] {
        assert_eq!(check(Some(status), Some(b"x")).err(), Some(OutputFault::Body), "{status}");
        assert_eq!(check(Some(status), Some(b"")).unwrap().body.as_deref(), Some(&b""[..]));
        assert_eq!(check(Some(status), None).unwrap().body.as_deref(), Some(&b""[..]), "the upstream's does not stay");
    }
    assert_eq!(check(None, None).unwrap().status, None);
    let respond = check_decision(Decision::Respond(ResponseChange::default()), &route());
    assert_eq!(respond.err(), Some(OutputFault::Status), "an answer of its own has a status");
}

#[test]
fn a205_bodies_stay_within_the_routes_limit() {
    let limit = route().body_limit;
    for (length, fault) in [(limit, None), (limit + 1, Some(OutputFault::Body))] {
        let body = Some(vec![0; length]);
        assert_eq!(forward(Forward { body: body.clone(), ..Forward::default() }).err(), fault);
        assert_eq!(enqueue(EnqueueDecision { body: body.clone(), ..EnqueueDecision::default() }).err(), fault);
        let respond = ResponseChange { status: Some(200), body, ..ResponseChange::default() };
        assert_eq!(check_decision(Decision::Respond(respond), &route()).err(), fault);
    }
}

#[test]
fn a210_a_route_that_demands_json_gets_json() {
    let mut route = route();
    let half = b"{\"a\":".to_vec();
    let wrong =
        [half.clone(), b"{} {}".to_vec(), b"{\"a\":\"\xff\"}".to_vec(), b"\xef\xbb\xbf{}".to_vec(), b" ".to_vec()];
    for body_format in [BodyFormat::Any, BodyFormat::Json] {
        route.body_format = body_format;
        let fault = (body_format == BodyFormat::Json).then_some(OutputFault::BodyFormat);
        for body in &wrong {
            let body = Some(body.clone());
            let forward = Decision::Forward(Forward { body: body.clone(), ..Forward::default() });
            assert_eq!(check_decision(forward, &route).err(), fault, "{body:?}");
            let enqueue = Decision::Enqueue(EnqueueDecision { body: body.clone(), ..EnqueueDecision::default() });
            assert_eq!(check_decision(enqueue, &route).err(), fault, "{body:?}");
        }
        for body in [None, Some(Vec::new()), Some(b" [1, {\"a\": null}] ".to_vec()), Some("\"ä\"".into())] {
            let forward = Decision::Forward(Forward { body, ..Forward::default() });
            assert!(check_decision(forward, &route).is_ok());
        }
        // What it answers itself is no request, and often a page for people.
        let respond = ResponseChange { status: Some(200), body: Some(half.clone()), ..ResponseChange::default() };
        assert!(check_decision(Decision::Respond(respond), &route).is_ok());
    }
    assert!(BodyFormat::Json.admits(&[vec![b'['; 500_000], vec![b']'; 500_000]].concat()), "depth costs no stack");
}

#[test]
fn a206_a_path_stays_on_its_upstream() {
    let check = |path: &str| forward(Forward { path: Some(path.to_owned()), ..Forward::default() });
    for path in [
        "",
        "a",
        "*",
        "?a",
        "http://evil/",
        "https://evil/",
        "//evil",
        "/\\evil",
        "\\\\evil",
        "@evil",
        "/@evil",
        "/a@b",
        "/a\r\nHost: evil",
        "/a b",
        "/a\tb",
        "/..",
        "/../a",
        "/a/../b",
        "/a/./b",
        "/a/%2e%2e/b",
        "/a//b",
        "/a#b",
        "/é",
        "/%00",
        "/%0d%0a",
        "/a%2fb",
        "/a?b\r\nc",
        "/a?b#c",
        &format!("/{}", "a".repeat(8 * 1024)),
    ] {
        assert_eq!(check(path).err(), Some(OutputFault::Path), "{path:?}");
    }
    for (path, target) in [
        ("/", "/"),
        ("/b1s/v2/Orders", "/b1s/v2/Orders"),
        ("/b1s/v2/Orders(12)?$select=DocNum", "/b1s/v2/Orders(12)?$select=DocNum"),
        ("/api/resource/Sales%20Order?owner=a@b", "/api/resource/Sales%20Order?owner=a@b"),
        ("/%7ea%c3%a9", "/~a%C3%A9"),
    ] {
        assert_eq!(check(path).unwrap().target.as_deref(), Some(target));
    }
    assert_eq!(forward(Forward::default()).unwrap().target, None);
}

#[test]
fn a207_upstreams_and_sinks_are_the_routes() {
    let to = |name: &str| forward(Forward { upstream: Some(name.to_owned()), ..Forward::default() });
    assert_eq!(&*to("crm").unwrap().upstream.name, "crm");
    assert_eq!(&*forward(Forward::default()).unwrap().upstream.name, "erp");
    for name in ["", "ERP", "erp ", "other", "127.0.0.1"] {
        assert_eq!(to(name).err(), Some(OutputFault::Upstream), "{name}");
    }
    let for_sinks = |names: &[&str]| {
        let sinks = names.iter().map(ToString::to_string).collect();
        let checked = enqueue(EnqueueDecision { sinks, ..EnqueueDecision::default() })?;
        Ok(checked.sinks.iter().map(|sink| sink.name.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(for_sinks(&[]).unwrap(), ["orders", "audit", "stock"]);
    assert_eq!(for_sinks(&["stock", "orders"]).unwrap(), ["stock", "orders"]);
    for names in [&["other"][..], &["orders", ""], &["orders", "audit", "orders"], &["orders"; 100]] {
        assert_eq!(for_sinks(names), Err(OutputFault::Sink), "{names:?}");
    }
    let none = both_journeys(&[], &[]);
    assert_eq!(check_decision(Decision::Forward(Forward::default()), &none).err(), Some(OutputFault::Upstream));
    assert_eq!(check_decision(Decision::Enqueue(EnqueueDecision::default()), &none).err(), Some(OutputFault::Sink));
}

#[test]
fn a208_a209_what_names_an_event_is_plain_and_short() {
    let of = |event_type: &str| {
        enqueue(EnqueueDecision { event_type: Some(event_type.to_owned()), ..EnqueueDecision::default() })
    };
    assert_eq!(of("com.acme.order.created/v1").unwrap().event_type.as_deref(), Some("com.acme.order.created/v1"));
    assert_eq!(enqueue(EnqueueDecision::default()).unwrap().event_type, None);
    for text in ["", "a b", "a\r\nb", "é", "a\0", &"a".repeat(129)] {
        assert_eq!(of(text).err(), Some(OutputFault::EventType), "{text:?}");
    }
    let keyed = |key: &str| enqueue(EnqueueDecision { key: Some(key.to_owned()), ..EnqueueDecision::default() });
    assert_eq!(keyed("order:4711").unwrap().key.as_deref(), Some("order:4711"));
    assert!(keyed(&"k".repeat(255)).is_ok());
    for text in ["", "a b", "a\r\nb", "é", &"k".repeat(256)] {
        assert_eq!(keyed(text).err(), Some(OutputFault::Key), "{text:?}");
    }
}

#[test]
fn a209_a_content_type_is_a_media_type() {
    let of = |content_type: &str| {
        enqueue(EnqueueDecision { content_type: Some(content_type.to_owned()), ..EnqueueDecision::default() }).err()
    };
    for text in [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.acme+json;v=1; q=\"a b\"",
        "text/plain ;a=b",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
    for text in [
        "",
        "/",
        "a/",
        "/b",
        "a",
        "a/b/c",
        "a b/c",
        "a/b;",
        "a/b; c",
        "a/b; c=",
        "a/b; c=\"",
        "a/b; c=\"d\"e\"",
        "a/b\r\nc: d",
        "a/b ",
        " a/b",
        "a/b, c/d",
        "é/b",
        "a/b;c=é",
        &format!("a/{}", "b".repeat(254)),
    ] {
        assert_eq!(of(text), Some(OutputFault::ContentType), "{text:?}");
    }
}

#[test]
fn a211_a_redirect_stays_on_the_web_and_a_cookie_on_its_host() {
    for location in
        ["/a", "a/b", "?a=b:c", "#x", "https://shop.example/a", "HTTP://shop.example", "//shop.example/", "/a:b"]
    {
        assert_eq!(faults(&[("location", location)]).1, None, "{location}");
    }
    for location in [
        "javascript:alert(1)",
        "JavaScript:x",
        "data:text/html,x",
        "file:///etc",
        "https:",
        "https:evil",
        "https://",
        "http:///a",
        "mailto:a",
        "a:b",
        "java\tscript:x",
        "https://a b",
        "/\\evil",
        "",
        ":a",
    ] {
        assert_eq!(faults(&[("location", location)]).1, Some(OutputFault::HeaderValue), "{location:?}");
    }
    for cookie in ["a=b", "a=b; Path=/; Secure; HttpOnly", "domain=x; Path=/", "a=b; x-domain=c"] {
        assert_eq!(faults(&[("set-cookie", cookie)]).1, None, "{cookie}");
    }
    for cookie in ["a=b; Domain=example.com", "a=b;domain=x", "a=b; Path=/;\tDOMAIN =x", "a=b; domain"] {
        assert_eq!(faults(&[("set-cookie", cookie)]).1, Some(OutputFault::HeaderValue), "{cookie:?}");
    }
}

fn problem() -> GuestProblem {
    GuestProblem {
        status: 422,
        kind: "https://acme.example/problems/line".to_owned(),
        title: "A line has no quantity".to_owned(),
        detail: "Line 2 (SKU é-1) has no quantity".to_owned(),
        pointer: Some("/line_items/1/quantity".to_owned()),
    }
}

fn refuse(change: impl FnOnce(&mut GuestProblem)) -> Option<OutputFault> {
    let mut problem = problem();
    change(&mut problem);
    check_decision(Decision::Refuse(problem), &route()).err()
}

#[test]
fn a_problem_of_the_guests_is_short_and_plain() {
    assert_eq!(refuse(|_| {}), None);
    for status in [0, 200, 204, 302, 399, 600, 65_535] {
        assert_eq!(refuse(|p| p.status = status), Some(OutputFault::Status), "{status}");
    }
    for kind in ["", "urn:acme:line", "tag:acme.example,2026:x", "about:blank", "/problems/a", "line?a:b#c"] {
        assert_eq!(refuse(|p| p.kind = kind.to_owned()), None, "{kind}");
    }
    for kind in ["a b", "a\"b", "a\nb", "é", "a<b", &"k".repeat(257)] {
        assert_eq!(refuse(|p| p.kind = kind.to_owned()), Some(OutputFault::Problem), "{kind:?}");
    }
    for pointer in ["", "/", "/a~0b/~1", "/é/0"] {
        assert_eq!(refuse(|p| p.pointer = Some(pointer.to_owned())), None, "{pointer}");
    }
    for pointer in ["a", "#/a", "/a~", "/~2", "/a\nb", &format!("/{}", "a".repeat(1024))] {
        assert_eq!(refuse(|p| p.pointer = Some(pointer.to_owned())), Some(OutputFault::Problem), "{pointer:?}");
    }
    assert_eq!(refuse(|p| p.pointer = None), None);
    for text in ["a\r\nb", "\u{1b}[31m", "\u{85}", "\0", &"a".repeat(1025)] {
        assert_eq!(refuse(|p| p.title = text.to_owned()), Some(OutputFault::Problem), "{text:?}");
        assert_eq!(refuse(|p| p.detail = text.to_owned()), Some(OutputFault::Problem), "{text:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,30}", "/[a-z%.?@/]{0,20}", "(content-|x-|set-)?[a-z-]{1,10}"]
}

proptest! {
    /// Whatever a guest says, what passes can be written into a request or an answer as it is.
    #[test]
    fn a201_what_passes_can_be_written(
        path in proptest::option::of(text()),
        set_headers in proptest::collection::vec((text(), text()), 0..4),
        remove_headers in proptest::collection::vec(text(), 0..3),
        status in proptest::option::of(any::<u16>()),
    ) {
        let request = Forward { path, set_headers: set_headers.clone(), remove_headers: remove_headers.clone(), ..Forward::default() };
        if let Ok(checked) = forward(request) {
            if let Some(target) = checked.target {
                prop_assert!(target.starts_with('/') && !target.starts_with("//"));
                prop_assert!(target.bytes().all(|b| b.is_ascii_graphic()));
            }
            for (name, value) in checked.set_headers {
                prop_assert!(!crate::fields::is_hop_by_hop(&name) && !crate::fields::ends_at_gateway(&name));
                prop_assert!(value.as_bytes().iter().all(|b| *b == b'\t' || (b' '..=b'~').contains(b)));
            }
        }
        let answer = ResponseChange { status, set_headers, remove_headers, body: None };
        if let Ok(checked) = check_response(answer, 10) {
            prop_assert!(checked.status.is_none_or(|status| (200..600).contains(&status.as_u16())));
        }
    }
}
