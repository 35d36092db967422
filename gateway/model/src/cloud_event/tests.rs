#![allow(clippy::unwrap_used)]

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "i-1"), ("ce-source", "/shop"), ("ce-type", "order.created")];

fn headers(more: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in REQUIRED.iter().chain(more) {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn in_json(body: &str) -> Result<Option<Incoming>, EventFault> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/CloudEvents+JSON; charset=utf-8"));
    incoming(&headers, body.as_bytes())
}

fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"i-1","source":"/shop","type":"order.created"{members}}}"#)
}

fn attribute<'e>(event: &'e Incoming, name: &str) -> Option<&'e str> {
    event.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn attributes_beside_the_data_are_taken_over() {
    let more = [
        ("ce-subject", "caf%C3%A9 \"x\""),
        ("ce-partitionkey", "order-1"),
        ("ce-time", "2026-01-01T00:00:00Z"),
        ("ce-sluisoutcome", "forged"),
        ("ce-sourceid", "forged"),
        ("content-type", "application/json"),
    ];
    let event = incoming(&headers(&more), b"{}").unwrap().unwrap();
    assert_eq!((event.event_type.as_str(), event.key.as_deref()), ("order.created", Some("order-1")));
    assert_eq!((event.content_type.as_ref(), event.data.as_ref()), (None, None));
    let expected =
        [("sourceid", "i-1"), ("sourceuri", "/shop"), ("subject", "café \"x\""), ("time", "2026-01-01T00:00:00Z")];
    let got: Vec<(&str, &str)> = event.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(got, expected, "sorted by name, and what is ours is not theirs");
}

#[test]
fn what_says_nothing_of_events_is_none() {
    assert_eq!(incoming(&HeaderMap::new(), b"{}"), Ok(None));
    let mut only_an_id = HeaderMap::new();
    only_an_id.insert("ce-id", HeaderValue::from_static("1"));
    assert_eq!(incoming(&only_an_id, b"{}"), Ok(None));
}

#[test]
fn an_object_is_unwrapped() {
    let event =
        in_json(&with(r#","data":{"a": 1.0},"partitionkey":"k","flag":true,"n":-3,"gone":null"#)).unwrap().unwrap();
    assert_eq!(event.data.as_deref(), Some(&b"{\"a\": 1.0}"[..]));
    assert_eq!((event.content_type.as_deref(), event.key.as_deref()), (Some("application/json"), Some("k")));
    assert_eq!((attribute(&event, "flag"), attribute(&event, "n")), (Some("true"), Some("-3")));
    assert_eq!(attribute(&event, "gone"), None);
    let data = |members: &str| in_json(&with(members)).unwrap().unwrap().data.unwrap();
    assert_eq!(data(r#","datacontenttype":"text/plain","data":"a\nb""#), "a\nb");
    assert_eq!(data(r#","datacontenttype":"application/json","data":"a""#), "\"a\"");
    assert_eq!(data(r#","data_base64":"/w==""#), &b"\xff"[..]);
    assert_eq!(data(""), "");
}

#[test]
fn what_is_malformed_is_refused() {
    let long = "x".repeat(MAX_VALUE + 1);
    let many: String = (0..=MAX_ATTRIBUTES).map(|n| format!(r#","a{n}":"""#)).collect();
    for members in [
        r#","a":{}"#,
        r#","a":1.5"#,
        r#","a":[]"#,
        r#","A":"x""#,
        r#","a_b":"x""#,
        r#","abcdefghijklmnopqrstu":"x""#,
        r#","a":"\u0000""#,
        r#","a":"x","a":"x""#,
        r#","partitionkey":"""#,
        r#","partitionkey":"a b""#,
        r#","data":1,"data_base64":"""#,
        r#","data_base64":"*""#,
        &format!(r#","a":"{long}""#),
        &many,
    ] {
        assert_eq!(in_json(&with(members)), Err(EventFault::Malformed), "{members}");
    }
    for body in
        ["", "[]", "1", "{", r#"{"specversion":"1.0"}"#, &with("").replace("1.0", "0.3"), &with("").replace("i-1", "")]
    {
        assert_eq!(in_json(body), Err(EventFault::Malformed), "{body}");
    }
    for field in [("ce-id", "2"), ("ce-subject", "%"), ("ce-subject", "%zz"), ("ce-subject", "%FF"), ("ce-a-b", "x")] {
        assert_eq!(incoming(&headers(&[field]), b""), Err(EventFault::Malformed), "{field:?}");
    }
    assert_eq!(incoming(&headers(&[("ce-datacontenttype", "text/plain")]), b""), Err(EventFault::Malformed));
}

#[test]
fn batches_and_other_formats_are_not_taken() {
    for media_type in ["application/cloudevents-batch+json", "application/cloudevents+avro", "application/cloudevents"]
    {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        assert_eq!(incoming(&headers, b"[]"), Err(EventFault::Unsupported), "{media_type}");
    }
}

proptest! {
    #[test]
    fn any_body_is_an_event_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
        let _ = incoming(&headers, &body);
        let _ = in_json(&with(&format!(",{text}")));
    }

    #[test]
    fn what_is_taken_holds_to_its_limits(value in "\\PC{0,300}", name in "[a-z0-9]{1,20}") {
        let json = serde_json::to_string(&value).unwrap();
        if let Ok(Some(event)) = in_json(&with(&format!(",\"{name}\":{json}"))) {
            prop_assert!(event.attributes.iter().all(|(name, value)| is_name(name) && is_value(value)));
            prop_assert!(event.attributes.is_sorted());
        }
    }

    #[test]
    fn a_value_reads_as_it_was_written(value in "\\PC{1,60}") {
        let written: String = value.bytes().map(|b| format!("%{b:02x}")).collect();
        prop_assert_eq!(decoded(written.as_bytes()), Some(value));
    }
}
