use proptest::prelude::*;

use super::*;

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

fn connection(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (header::CONNECTION, HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn a032_a033_fields_of_one_hop_go_no_further() {
    for field in [
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
    ] {
        assert!(is_hop_by_hop(&name(field)), "{field}");
    }
    for field in ["content-length", "host", "trailers", "te-x", "authorization"] {
        assert!(!is_hop_by_hop(&name(field)), "{field}");
    }
}

#[test]
fn a042_what_only_a_gateway_may_say_ends_here() {
    for field in [
        "Authorization",
        "Cookie",
        "Expect",
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-User",
        "X-Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "X-Correlation-Id",
        "X-Sluis-Tenant",
        "X-Sluis-Anything",
        "Traceparent",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Client-IP",
        "True-Client-IP",
        "Remote-User",
        "Proxy",
    ] {
        assert!(ends_at_gateway(&name(field)), "{field}");
    }
    for field in [
        "Host",
        "Accept",
        "Content-Type",
        "Content-Length",
        "User-Agent",
        "Idempotency-Key",
        "X-Shopify-Hmac-Sha256",
        "X-Sluice",
        "X-Forward",
        "Tracestate",
        "Proxied",
        "If-Match",
        "X-Hostname",
    ] {
        assert!(!ends_at_gateway(&name(field)), "{field}");
    }
}

#[test]
fn a041_connection_names_nothing_that_the_request_hangs_on() {
    let names = |values: &[&str]| nominated(&connection(values)).map(|names| names.len());
    assert_eq!(names(&[]), Ok(0));
    assert_eq!(names(&["close"]), Ok(0));
    assert_eq!(names(&["Keep-Alive, , Upgrade", "TE,HTTP2-Settings", "", "x-mine"]), Ok(4));
    for value in [
        "Authorization",
        "X-Tenant-Id, Content-Length",
        "X-Tenant-Id",
        "Content-Length",
        "Range",
        "signature-input",
        "prefer",
        "tracestate",
        "origin",
        "close, host",
        "\"x\"",
        "content-type",
        "transfer-encoding",
        "connection",
        "x-forwarded-for",
        "x-sluis-tenant",
        "cookie",
        "a b",
        "a;b",
        "traceparent",
        "idempotency-key",
        "If-Match",
    ] {
        assert_eq!(names(&[value]), Err(Refusal::MalformedRequest), "{value}");
        assert_eq!(names(&["keep-alive", value]), Err(Refusal::MalformedRequest), "{value}");
    }
    let binary = HeaderValue::from_bytes(b"\xff").unwrap();
    assert!(nominated(&[(header::CONNECTION, binary)].into_iter().collect()).is_err());
    assert_eq!(names(&[&["te"; 33].join(",")]), Err(Refusal::MalformedRequest));
}

#[test]
fn an_upstream_may_name_what_it_likes_but_not_what_the_body_is() {
    let named = nominated_by_upstream(&connection(&["X-Internal, close, content-length, set-cookie, \"x\""]));
    assert_eq!(named, [name("x-internal"), name("close")]);
}

#[test]
fn a277_a_correlation_id_is_safe_to_repeat() {
    for id in ["a", "0192-ABC_d.e", &"x".repeat(128)] {
        assert_eq!(correlation_id(id.as_bytes()), Some(id));
    }
    for id in ["", &"x".repeat(129), "a b", "a\tb", "a\r\nb", "a\"b", "\u{1b}[31m", "é", "a/b", "a,b"] {
        assert_eq!(correlation_id(id.as_bytes()), None, "{id:?}");
    }
}

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_goes_on_with_a_new_parent() {
    let child = |given: &str| child_traceparent(Some(given.as_bytes()), 0xabc0);
    assert_eq!(child(GIVEN), "00-4bf92f3577b34da6a3ce929d0e0e4736-000000000000abc1-01");
    assert_eq!(child(&GIVEN.replace("-01", "-ff")), "00-4bf92f3577b34da6a3ce929d0e0e4736-000000000000abc1-03");
    let later = GIVEN.replacen("00", "cc", 1);
    assert_eq!(child(&later), child(GIVEN));
    assert_eq!(child(&format!("{later}-what-the-future-brings")), child(GIVEN));
}

#[test]
fn a_malformed_trace_is_replaced() {
    let upper = GIVEN.to_ascii_uppercase();
    let zero_trace = GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
    let zero_parent = GIVEN.replace("00f067aa0ba902b7", &"0".repeat(16));
    let shifted = GIVEN.replace("6-0", "-60");
    let later = GIVEN.replacen("00", "cc", 1);
    for given in [
        "",
        "00",
        &GIVEN[..54],
        &format!("{GIVEN}-"),
        &format!("{GIVEN}0"),
        &upper,
        &zero_trace,
        &zero_parent,
        &shifted,
        &GIVEN.replacen("00", "ff", 1),
        &GIVEN.replacen("00", "0g", 1),
        &format!("{later}.x"),
        &GIVEN.replace('-', "_"),
    ] {
        assert!(!is_traceparent(given.as_bytes()), "{given}");
        let made = child_traceparent(Some(given.as_bytes()), 7 << 64 | 9);
        assert_eq!(made, "00-00000000000000090000000000000007-0000000000000009-00");
    }
    assert!(is_traceparent(child_traceparent(None, 0).as_bytes()), "not even without any randomness is an id zero");
}

proptest! {
    #[test]
    fn a_child_is_always_well_formed(given in proptest::collection::vec(any::<u8>(), 0..70), random in any::<u128>()) {
        prop_assert!(is_traceparent(child_traceparent(Some(&given), random).as_bytes()));
    }

    #[test]
    fn a041_no_connection_field_panics(value in "[ -~]{0,60}") {
        let headers = connection(&[&value]);
        let _ = nominated_by_upstream(&headers);
        if let Ok(names) = nominated(&headers) {
            prop_assert!(!names.iter().any(ends_at_gateway));
        }
    }
}
