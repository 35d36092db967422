use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::*;

const ABSENT: Result<Option<String>, KeyFault> = Ok(None);
const MALFORMED: Result<Option<String>, KeyFault> = Err(KeyFault::Malformed);

fn from(source: KeySource) -> Idempotency {
    Idempotency { source, required: false, ttl: Duration::from_secs(60), fingerprint: FingerprintMode::Bytes }
}

fn key(source: &KeySource, fields: &[(&'static str, &str)], body: &str) -> Result<Option<String>, KeyFault> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    extract(&from(source.clone()), &headers, body.as_bytes()).map(|key| key.map(|key| key.to_string()))
}

fn is(text: &str) -> Result<Option<String>, KeyFault> {
    Ok(Some(text.to_owned()))
}

#[test]
fn the_standard_field_is_read_and_another_is_taken_as_it_stands() {
    let standard = KeySource::Field(HeaderName::from_static("idempotency-key"));
    assert_eq!(key(&standard, &[("idempotency-key", "\"a\"")], ""), is("a"));
    assert_eq!(key(&standard, &[("idempotency-key", "a,b")], ""), MALFORMED);
    assert_eq!(key(&standard, &[("x-key", "a")], ""), ABSENT);
    assert_eq!(key(&standard, &[("idempotency-key", "a"), ("idempotency-key", "a")], ""), MALFORMED);
    let plain = KeySource::PlainField(HeaderName::from_static("x-key"));
    assert_eq!(key(&plain, &[("x-key", "\"a\", b;")], ""), is("\"a\", b;"));
    assert_eq!(key(&plain, &[("x-key", "")], ""), MALFORMED);
    assert_eq!(key(&plain, &[("x-key", "é")], ""), MALFORMED);
    assert_eq!(key(&plain, &[("x-key", "a"), ("x-key", "b")], ""), MALFORMED);
}

#[test]
fn a_key_can_be_a_string_or_a_whole_number_in_the_body() {
    let source = KeySource::Body(Pointer::parse("/order/id").unwrap());
    for (body, expected) in [
        (r#"{"order": {"id": "A-17"}}"#, is("A-17")),
        (r#"{"order": {"id": "A\u002d17"}}"#, is("A-17")),
        (r#"{"order": {"id": 4711}}"#, is("4711")),
        (r#"{"order": {"id": -1}}"#, is("-1")),
        (r#"{"order": {"id": 123456789012345678901234567890}}"#, is("123456789012345678901234567890")),
        ("", ABSENT),
        ("{}", ABSENT),
        (r#"{"order": []}"#, ABSENT),
        (r#"{"order": {"id": 1.0}}"#, MALFORMED),
        (r#"{"order": {"id": 1e3}}"#, MALFORMED),
        (r#"{"order": {"id": null}}"#, MALFORMED),
        (r#"{"order": {"id": true}}"#, MALFORMED),
        (r#"{"order": {"id": ["a"]}}"#, MALFORMED),
        (r#"{"order": {"id": ""}}"#, MALFORMED),
        (r#"{"order": {"id": "é"}}"#, MALFORMED),
        (r#"{"order": {"id": "a\nb"}}"#, MALFORMED),
        (r#"{"order": {"id": "a", "id": "b"}}"#, MALFORMED),
        (r#"{"order": {"id": "a"}"#, MALFORMED),
        ("order", MALFORMED),
    ] {
        assert_eq!(key(&source, &[], body), expected, "{body}");
    }
    let long = format!(r#"{{"order": {{"id": {}}}}}"#, "1".repeat(KEY_BYTES + 1));
    assert_eq!(key(&source, &[], &long), MALFORMED);
    let not_utf8 = b"{\"x\": \"\xff\", \"order\": {\"id\": \"a\"}}";
    assert_eq!(extract(&from(source), &HeaderMap::new(), not_utf8), Err(KeyFault::Malformed));
}

#[test]
fn an_event_has_one_key_whether_it_comes_in_fields_or_as_json() {
    let structured = [("content-type", "Application/CloudEvents+JSON; charset=utf-8")];
    let binary = key(&KeySource::CloudEvent, &[("ce-source", "/erp"), ("ce-id", "17")], "").unwrap().unwrap();
    assert_eq!(binary.len(), 64);
    let body = r#"{"id": "17", "data": {"id": "18"}, "source": "/erp"}"#;
    assert_eq!(key(&KeySource::CloudEvent, &structured, body), is(&binary));
    // Another content type makes it an event in fields, whatever the body says.
    assert_eq!(key(&KeySource::CloudEvent, &[("content-type", "application/json")], body), ABSENT);
    assert_eq!(key(&KeySource::CloudEvent, &[], ""), ABSENT);
    for fields in [
        &[("ce-id", "17")][..],
        &[("ce-source", "/erp")],
        &[("ce-source", "/erp"), ("ce-id", "")],
        &[("ce-source", "/erp"), ("ce-id", "17"), ("ce-id", "18")],
        &[("ce-source", "/erp"), ("ce-id", "17"), ("content-type", "a/b"), ("content-type", "a/c")],
    ] {
        assert_eq!(key(&KeySource::CloudEvent, fields, ""), MALFORMED, "{fields:?}");
    }
    for body in [
        r#"{"source": "/erp"}"#,
        r#"{"source": "/erp", "id": ""}"#,
        r#"{"source": "/erp", "id": 17}"#,
        r#"{"source": "/erp", "id": "17", "id": "18"}"#,
        "[",
    ] {
        assert_eq!(key(&KeySource::CloudEvent, &structured, body), MALFORMED, "{body}");
    }
}

#[test]
fn a_key_is_missing_only_where_there_must_be_one() {
    for source in [
        KeySource::Field(HeaderName::from_static("idempotency-key")),
        KeySource::PlainField(HeaderName::from_static("x-key")),
        KeySource::Body(Pointer::parse("/id").unwrap()),
        KeySource::CloudEvent,
    ] {
        let mut idempotency = from(source);
        assert_eq!(extract(&idempotency, &HeaderMap::new(), b""), Ok(None));
        idempotency.required = true;
        assert_eq!(extract(&idempotency, &HeaderMap::new(), b""), Err(KeyFault::Missing));
    }
}

proptest! {
    #[test]
    fn two_events_never_share_a_key(a in ("[ab]{1,3}", "[ab]{1,3}"), b in ("[ab]{1,3}", "[ab]{1,3}")) {
        let key = |(source, id): &(String, String)| {
            key(&KeySource::CloudEvent, &[("ce-source", source), ("ce-id", id)], "").unwrap().unwrap()
        };
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }

    #[test]
    fn no_body_makes_it_fail_otherwise(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let source = KeySource::Body(Pointer::parse("/0").unwrap());
        let _ = extract(&from(source), &HeaderMap::new(), &body);
    }
}
