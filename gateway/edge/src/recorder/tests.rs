use http::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};
use sluis_model::hook::Forward;

use super::*;

fn record() -> Record {
    Record {
        requests: 3,
        config: vec!["currency".to_owned()],
        redact_headers: vec!["x-user".to_owned()],
        redact_claims: vec!["email".to_owned()],
        redact_body: vec!["/customer/email".to_owned(), "/lines/*/note".to_owned()],
    }
}

fn view<'a>(headers: &'a [(&'a str, &'a str)], body: &'a str) -> RequestView<'a> {
    RequestView {
        method: "POST",
        path: "/v1/orders/for-ada@example.test",
        query: "",
        route: "orders",
        parameters: &[],
        headers,
        tenant: "acme",
        subject: "user-1",
        claims: r#"{"tenant":"acme","email":"ada@example.test"}"#,
        correlation_id: "c-1",
        body: body.as_bytes(),
    }
}

#[test]
fn what_is_not_to_be_kept_is_nowhere_in_what_is_kept() {
    let record = record();
    let mut redaction = Redaction::new(&record);
    let body = r#"{"customer":{"email":"bob@example.test","name":"Bob"},"lines":[{"note":"key under mat","sku":"A"}],"total":12.50}"#;
    let request = redaction.request(&view(&[("x-user", "ada-7"), ("x-other", "for ada-7")], body)).unwrap();
    let config = [("currency", "EUR"), ("api_key", "s3cret-key")];
    let config = config.map(|(key, value)| (key.to_owned(), sluis_model::plan::Secret::new(value))).into();
    let config = redaction.config(&config);
    assert_eq!((config["currency"].as_str(), config["api_key"].as_str()), ("EUR", "[redacted]"));
    let said = Decision::Forward(Forward {
        path: Some("/b/bob@example.test".to_owned()),
        set_headers: vec![("x-key".to_owned(), "Bearer s3cret-key".to_owned())],
        body: Some(br#"{"mail":"bob@example.test","why":"key under mat","by":"Bob"}"#.to_vec()),
        ..Forward::default()
    });
    let said = redaction.decision(said);
    let kept = format!("{request:?} {said:?}");
    for secret in ["bob@example.test", "key under mat", "ada-7", "ada@example.test", "s3cret-key"] {
        assert!(!kept.contains(secret), "{secret}: {kept}");
    }
    let Some(sluis_fixture::Content::Text(body)) = &request.body else { panic!("{request:?}") };
    let body: Value = serde_json::from_str(body).unwrap();
    let lines = json!([{ "note": "[redacted]", "sku": "A" }]);
    assert_eq!(body, json!({ "customer": { "email": "[redacted]", "name": "Bob" }, "lines": lines, "total": 12.5 }));
}

#[test]
fn what_is_taken_elsewhere_is_not_in_the_request_s_own_body_either() {
    let record = record();
    let mut redaction = Redaction::new(&record);
    let config = [("api_key", "s3cret-key"), ("on", "true"), ("depot", "4711")];
    let config = config.map(|(key, value)| (key.to_owned(), sluis_model::plan::Secret::new(value))).into();
    redaction.config(&config);
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, "Bearer eyJ.tok.en".parse().unwrap());
    headers.append(COOKIE, "lang=nl; session=5ess10n".parse().unwrap());
    redaction.credentials(&headers);
    let body = concat!(
        r#"{ "token":"eyJ.tok.en", "by":"for ada\u002d7", "ada-7":1, "keys":["s3cret-key\n","5ess10n"], "ok":true,"#,
        r#" "customer":{"email":"bob@example.test"}, "mail":"<bob@example.test>", "depot":47110, "lang":"\"nl\\" }"#
    );
    let kept = json!({
        "token": "[redacted]", "by": "for [redacted]", "[redacted]": 1, "keys": ["[redacted]\n", "[redacted]"], "ok": true,
        "customer": { "email": "[redacted]" }, "mail": "<[redacted]>", "depot": 0, "lang": "\"nl\\",
    });
    let request = redaction.request(&view(&[("x-user", "ada-7")], body)).unwrap();
    let Some(sluis_fixture::Content::Text(text)) = &request.body else { panic!("{request:?}") };
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), kept, "{text}");
    assert_eq!(request.claims, json!({ "tenant": "acme", "email": "[redacted]" }));

    // All but what is taken stays as it was written; what is no JSON is searched all the same.
    let no_pointers = Record { redact_body: Vec::new(), ..record.clone() };
    for (user, body, kept) in [
        ("ada-7", r#"{"a": 1.50,  "a":"ada-7", "b" : "\u00e9"}"#, r#"{"a": 1.50,  "a":"[redacted]", "b" : "\u00e9"}"#),
        ("ada-7", "-12.5e+3", "-12.5e+3"),
        ("ada-7", "by=ada-7&total=12", "by=[redacted]&total=12"),
        (r#""ada-7""#, r#"["ada-7"]"#, r#"["[redacted]"]"#),
        (r#"{"id":"ada-7","age":207}"#, r#"{"age": 207, "id": "ada-7"}"#, r#"{"age": 0, "id": "[redacted]"}"#),
    ] {
        let request = Redaction::new(&no_pointers).request(&view(&[("x-user", user)], body)).unwrap();
        assert!(matches!(&request.body, Some(sluis_fixture::Content::Text(text)) if text == kept), "{request:?}");
    }
}

#[test]
fn a_body_that_cannot_be_searched_is_not_kept() {
    let record = record();
    let mut redaction = Redaction::new(&record);
    let request = redaction.request(&view(&[], "email: bob@example.test")).unwrap();
    assert!(!format!("{request:?}").contains("bob"), "{request:?}");
    // Where nothing is to be found, it stays as it was written.
    let request = redaction.request(&view(&[], r#"{ "total": 12.50 }"#)).unwrap();
    assert!(matches!(request.body, Some(sluis_fixture::Content::Text(text)) if text == r#"{ "total": 12.50 }"#));
}

#[test]
fn what_stands_for_a_value_is_not_searched_and_the_longest_goes_first() {
    let record = record();
    let mut redaction = Redaction::new(&record);
    let secrets = ["red", "act", "redact", "key", "long-key-7", "ey-7-more", "REDACTED", "[redacted]tail"];
    let config = secrets.iter().enumerate();
    let config = config.map(|(index, value)| (index.to_string(), sluis_model::plan::Secret::new(*value))).collect();
    redaction.config(&config);
    for (path, kept) in [
        ("/redact", "/[redacted]"),
        ("/red/act/[redacted]", "/[redacted]/[redacted]/[redacted]"),
        ("/redred", "/[redacted][redacted]"),
        ("/long-key-7/grüße", "/[redacted]/grüße"),
        ("/long-key-7-more/x", "/[redacted]/x"),
        ("/[redacted]tail", "/[redacted][redacted]"),
        ("/re-d", "/re-d"),
    ] {
        let request = redaction.request(&RequestView { path, ..view(&[("x-other", "long-key-7")], "") }).unwrap();
        assert_eq!((request.path.as_str(), request.headers["x-other"].as_str()), (kept, "[redacted]"));
    }
    let said = Decision::Respond(sluis_model::hook::ResponseChange {
        body: Some(b"\xff long-key-7".to_vec()),
        ..Default::default()
    });
    let Decision::Respond(said) = redaction.decision(said) else { panic!("another verb") };
    assert!(!String::from_utf8_lossy(&said.body.unwrap()).contains("long-key"));
    assert!(!redaction.is_past());
}

#[test]
fn what_takes_too_much_is_not_kept() {
    let record = record();
    let lines = |notes: Vec<String>| {
        let lines: Vec<Value> = notes.into_iter().map(|note| json!({ "note": note })).collect();
        json!({ "lines": lines }).to_string()
    };
    let is_past = |notes: Vec<String>| {
        let mut redaction = Redaction::new(&record);
        redaction.request(&view(&[], &lines(notes))).unwrap();
        redaction.is_past()
    };
    assert!(!is_past(vec!["the same".to_owned(); 5_000]));
    assert!(is_past((0..5_000).map(|note| format!("note {note}")).collect()));
    assert!(is_past(vec!["x".repeat(100_000)]));
}

#[test]
fn the_last_requests_are_kept_and_no_more_than_fit() {
    let recorder = Recorder::default();
    let keep = |id: usize, size: usize| {
        let fixture: Fixture = serde_json::from_value(json!({ "request": {}, "expect": { "forward": {} } })).unwrap();
        let recorded = Recorded { id: id.to_string().into(), at: 0, plugin: "p".into(), fixture, size };
        recorder.keep(recorded, 3);
    };
    (0..5).for_each(|id| keep(id, 10));
    let ids = |recorder: &Recorder| recorder.all().iter().map(|recorded| recorded.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&recorder), ["4", "3", "2"]);
    assert!(recorder.find("3").is_some() && recorder.find("1").is_none());
    keep(5, KEPT);
    assert_eq!(ids(&recorder), ["5"]);
}
