#![allow(clippy::unwrap_used)]

use super::*;

fn asked(directive: &str) -> Decision {
    let mut request = Request::sample("POST", directive, b"{\"a\":1}");
    request.headers.push(("content-type".into(), "application/json".into()));
    decide(request)
}

#[test]
fn directives_do_what_the_table_says() {
    assert!(matches!(asked("/echo"), Decision::Forward(f) if f.path.is_none() && f.body.is_none()));
    assert!(matches!(asked("/path/a/b?c=d"), Decision::Forward(f) if f.path.as_deref() == Some("/a/b?c=d")));
    assert!(matches!(asked("/set/x-a/b/c"), Decision::Forward(f) if f.set_headers == [("x-a".into(), "b/c".into())]));
    assert!(matches!(asked("/json"), Decision::Forward(f) if f.body.as_deref() == Some(b"{\"a\":1}")));
    assert!(matches!(asked("/respond/418/tea"), Decision::Respond(r) if r.status == 418 && r.body == b"tea"));
    assert!(
        matches!(asked("/refuse/451"), Decision::Refuse(p) if p.status == 451 && p.pointer.as_deref() == Some("/lines/0"))
    );
    assert!(matches!(asked("/enqueue/k1"), Decision::Enqueue(e) if e.key.as_deref() == Some("k1")));
    assert!(matches!(asked("/nonsense"), Decision::Refuse(p) if p.status == 404));
    config::set("greeting", "hello");
    assert!(matches!(asked("/config/greeting"), Decision::Respond(r) if r.body == b"hello"));
    assert!(matches!(asked("/config/none"), Decision::Respond(r) if r.status == 404));
    asked("/log/warn/a line");
    assert_eq!(log::taken(), [("warn".into(), "a line".into())]);
}

#[test]
fn the_header_goes_before_the_path() {
    let mut request = Request::sample("POST", "/echo", b"");
    request.headers.push(("x-tester".into(), "/respond/204/".into()));
    assert!(matches!(decide(request), Decision::Respond(r) if r.status == 204));
}

#[test]
fn what_was_told_can_be_read() {
    let Decision::Respond(answer) = asked("/request") else { panic!("an answer") };
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&told["method"], &told["body"]), (&"POST".into(), &"{\"a\":1}".into()));
    assert_eq!(told["headers"][0][0], "content-type");
}
