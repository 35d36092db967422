#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

#[path = "../../../fixtures.rs"]
mod fixtures;
use fixtures::{Fixtures, configure, damaged};

fn fixtures() -> Fixtures {
    Fixtures::of(env!("CARGO_MANIFEST_DIR"))
}

fn decided(route: &str, order: &[u8]) -> Decision {
    let mut request = Request::sample("POST", "/v1/orders", order);
    request.route = route.into();
    Decision::from(decide(request))
}

#[test]
fn every_order_becomes_its_document_on_both_roads() {
    let orders = fixtures().orders();
    assert_eq!(orders.len(), 7);
    for fixtures::Order { name, id, order, settings, document } in orders {
        configure(&settings);
        let Decision::Forward(forward) = decided("orders", order.as_bytes()) else { panic!("{name} is not forwarded") };
        assert_eq!(String::from_utf8(forward.body.unwrap()).unwrap(), document, "{name}");
        assert_eq!(forward.path.as_deref(), Some("/b1s/v2/Orders"));

        let Decision::Enqueue(event) = decided("orders-async", order.as_bytes()) else { panic!("{name} is not kept") };
        assert_eq!(String::from_utf8(event.body.unwrap()).unwrap(), document, "{name}");
        assert_eq!(event.event_type.as_deref(), Some("erp.order.created"));
        assert_eq!((event.key, event.content_type.as_deref()), (Some(id), Some("application/json")));
    }
}

#[test]
fn every_malformed_order_is_refused_where_it_is_wrong() {
    configure(&BTreeMap::new());
    for (case, body) in fixtures().malformed() {
        for route in ["orders", "orders-async"] {
            let Decision::Refuse(problem) = decided(route, body.as_bytes()) else { panic!("{} passes", case.why) };
            assert_eq!((problem.status, problem.kind.as_str()), (422, "urn:acme:malformed-order"), "{}", case.why);
            assert_eq!(problem.pointer.as_deref(), Some(case.pointer.as_str()), "{}: {}", case.why, problem.detail);
            assert!(!problem.detail.is_empty(), "{}", case.why);
        }
    }
}

#[test]
fn a_damaged_order_is_mapped_or_refused_and_panics_nowhere() {
    configure(&BTreeMap::new());
    let mut refused = 0;
    for body in damaged(&fixtures().order("unicode")) {
        refused += usize::from(matches!(decided("orders", &body), Decision::Refuse(p) if p.status == 422));
    }
    assert!(refused > 500, "{refused} refused");
}

#[test]
fn a_setting_that_is_no_number_is_said_and_not_guessed() {
    configure(&BTreeMap::from([("due_days".into(), "soon".into())]));
    let Decision::Refuse(problem) = decided("orders", fixtures().order("simple").as_bytes()) else { panic!("passes") };
    assert_eq!((problem.status, problem.detail.contains("due_days")), (500, true));
}

#[test]
fn the_async_route_has_the_name_that_the_operator_gave_it() {
    configure(&BTreeMap::from([("async_route".into(), "later".into())]));
    let order = fixtures().order("simple");
    assert!(matches!(decided("later", order.as_bytes()), Decision::Enqueue(_)));
    assert!(matches!(decided("orders-async", order.as_bytes()), Decision::Forward(_)));
}

fn answered(status: u16, body: &str) -> (Option<String>, Vec<(String, String)>) {
    let change = answer(Response::sample(status, body.as_bytes()));
    assert_eq!(change.status, None);
    (change.body.map(|b| String::from_utf8(b).unwrap()), change.set_headers)
}

#[test]
fn the_client_gets_the_document_number() {
    let (body, headers) =
        answered(201, "{\"DocEntry\": 4711, \"DocNum\": 10023, \"NumAtCard\": \"#1001\", \"DocTotal\": 41.08}");
    assert_eq!(body.unwrap(), r##"{"order":"#1001","document_number":"10023"}"##);
    assert_eq!(headers, [("content-type".into(), "application/json".into())]);
    assert_eq!(answered(201, "{\"DocNum\": 7}").0.unwrap(), r#"{"order":null,"document_number":"7"}"#);
}

#[test]
fn an_answer_that_names_no_document_is_left_as_it_is_and_logged() {
    for body in ["", "<html>", "{}", "{\"DocNum\": \"x\"}", "[1]", "{\"DocNum\": 1, \"NumAtCard\": 5}"] {
        log::taken();
        assert_eq!(answered(200, body).0, None, "{body}");
        assert_eq!(log::taken().len(), 1, "{body}");
    }
}

#[test]
fn saps_refusal_is_told_in_its_words() {
    let old = r#"{"error":{"code":-5002,"message":{"lang":"en-us","value":"Item \"X\" is inactive"}}}"#;
    let new = r#"{"error":{"code":"-5002","details":[],"message":"Item \"X\" is inactive"}}"#;
    for body in [old, new] {
        let (body, headers) = answered(400, body);
        let body: Value = serde_json::from_str(&body.unwrap()).unwrap();
        assert_eq!((&body["status"], &body["detail"]), (&400.into(), &"Item \"X\" is inactive".into()));
        assert_eq!(headers.last().unwrap().1, "application/problem+json");
    }
    assert_eq!(answered(404, "not found").0, None);
    assert_eq!(answered(500, old).0, None);
}
