use http::Method;
use proptest::prelude::*;
use serde_json::Value;

use super::super::canonical::canonical;
use super::super::*;

fn of_body(mode: FingerprintMode, body: &str) -> Fingerprint {
    let content_type = Some(&b"application/json"[..]);
    let body = body.as_bytes();
    fingerprint(mode, &Fingerprinted { method: &Method::POST, path: "/v1/orders", query: "", content_type, body })
}

fn spelling(text: &str) -> Option<String> {
    canonical(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn every_part_of_a_request_tells_it_apart() {
    let base = Fingerprinted { method: &Method::POST, path: "/a", query: "b", content_type: Some(b"c"), body: b"d" };
    let others = [
        Fingerprinted { method: &Method::PUT, ..base },
        Fingerprinted { path: "/", ..base },
        Fingerprinted { path: "/ab", query: "", ..base },
        Fingerprinted { query: "bc", content_type: Some(b""), ..base },
        Fingerprinted { content_type: Some(b""), ..base },
        Fingerprinted { content_type: None, ..base },
        Fingerprinted { content_type: Some(b"cd"), body: b"", ..base },
        Fingerprinted { body: b"d ", ..base },
    ];
    let mut seen = vec![fingerprint(FingerprintMode::Bytes, &base)];
    assert_eq!(fingerprint(FingerprintMode::Bytes, &base), seen[0]);
    for other in others {
        let fingerprint = fingerprint(FingerprintMode::Bytes, &other);
        assert!(!seen.contains(&fingerprint), "{other:?}");
        seen.push(fingerprint);
    }
}

/// Kept fingerprints are compared with those that the next release makes.
#[test]
fn a_fingerprint_is_of_each_part_behind_its_length() {
    let hashed = |body: &str| {
        let mut bytes = Vec::new();
        for part in ["POST", "/v1/orders", "", "application/json", body] {
            bytes.extend(part.starts_with("application").then_some(1));
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part.bytes());
        }
        *blake3::hash(&bytes).as_bytes()
    };
    let body = r#"{"b": [1], "a": "\u0041"}"#;
    assert_eq!(of_body(FingerprintMode::Bytes, body), hashed(body));
    assert_eq!(of_body(FingerprintMode::CanonicalJson, body), hashed(r#"{"a":"A","b":[1,],}"#));
}

#[test]
fn a_canonical_body_is_the_same_however_it_is_written() {
    for (one, other) in [
        (r#"{"a":1,"b":2}"#, "{ \"b\" : 2,\r\n\t\"a\": 1 }"),
        (r#"{"a":{"y":[1,2],"x":null}}"#, r#"{"a": {"x": null, "y": [1, 2]}}"#),
        (r#"["\u0041\/\n\ud83d\ude00"]"#, "[\"A/\\u000a\u{1f600}\"]"),
        (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        ("7", " 7\n"),
    ] {
        assert_eq!(spelling(one), spelling(other), "{one} {other}");
        assert!(spelling(one).is_some(), "{one}");
        let mode = FingerprintMode::CanonicalJson;
        assert_eq!(of_body(mode, one), of_body(mode, other), "{one} {other}");
        assert_ne!(of_body(FingerprintMode::Bytes, one), of_body(FingerprintMode::Bytes, other), "{one} {other}");
    }
}

#[test]
fn what_could_be_read_differently_is_not_the_same() {
    for (one, other) in [
        ("1", "1.0"),
        ("100", "1e2"),
        ("12345678901234567890123", "12345678901234567890124"),
        ("[1,2]", "[2,1]"),
        ("[1,[2]]", "[[1],2]"),
        ("[12]", "[1,2]"),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
        (r#"["a b"]"#, r#"["ab"]"#),
        (r#"["\\"]"#, r#"["\\\\"]"#),
        (r#"["1"]"#, "[1]"),
        ("{}", "[]"),
        (r#"{"a":{}}"#, r#"{"a":{"a":{}}}"#),
        (r#"{"a,b":1}"#, r#"{"a":1,"b":1}"#),
    ] {
        let mode = FingerprintMode::CanonicalJson;
        assert_ne!(of_body(mode, one), of_body(mode, other), "{one} {other}");
    }
}

#[test]
fn a_body_without_a_canonical_spelling_counts_by_its_bytes() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for body in
        ["", "{", "{} {}", "[1,]", "[01]", r#"["\ud800"]"#, r#"{"\udc00":1}"#, "\u{feff}{}", &deep(65), &deep(100_000)]
    {
        assert_eq!(spelling(body), None, "{}", &body[..body.len().min(100)]);
        let bytes = of_body(FingerprintMode::Bytes, body);
        assert_eq!(of_body(FingerprintMode::CanonicalJson, body), bytes);
    }
    assert_eq!(canonical(b"[\"\xff\"]"), None);
    assert!(spelling(&deep(64)).is_some());
}

proptest! {
    /// Written by one writer or another, the same values have one spelling, and other values another.
    #[test]
    fn one_spelling_is_one_value(a in any_value(), b in any_value(), shuffle in any::<u64>()) {
        let mut seed = shuffle;
        prop_assert_eq!(spelling(&written(&a, &mut seed)), spelling(&a.to_string()), "{}", a);
        prop_assert_eq!(a == b, spelling(&a.to_string()) == spelling(&b.to_string()), "{} {}", a, b);
    }

    #[test]
    fn no_text_makes_it_fail(text in r#"[\[\]{}",:\\ua0-9 e.\-]{0,40}"#) {
        let _ = spelling(&text);
    }
}

/// A value in another order and with other white space and escapes than `serde_json` writes.
fn written(value: &Value, seed: &mut u64) -> String {
    let mut odd = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 63 == 1
    };
    let space = if odd() { " \n\t\r" } else { "" };
    let string = |text: &str, escape: bool| match escape {
        true => format!("\"{}\"", text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>()),
        false => serde_json::to_string(text).unwrap(),
    };
    let parts = |mut parts: Vec<String>, backwards: bool| {
        if backwards {
            parts.reverse();
        }
        parts.join(&format!("{space},{space}"))
    };
    match value {
        Value::String(text) => string(text, odd()),
        Value::Array(items) => {
            let items = items.iter().map(|item| written(item, seed)).collect();
            format!("[{space}{}{space}]", parts(items, false))
        }
        Value::Object(members) => {
            let (backwards, escape) = (odd(), odd());
            let members = members
                .iter()
                .map(|(name, value)| format!("{}{space}:{space}{}", string(name, escape), written(value, seed)))
                .collect();
            format!("{{{space}{}{space}}}", parts(members, backwards))
        }
        plain => plain.to_string(),
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = r#"[ab\\"/é, \n]{0,2}"#;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 16, 3, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(text, inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
