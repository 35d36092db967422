#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::Value;
use sluis_plugin::Decimal;

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
        assert_eq!(forward.path.as_deref(), Some("/api/resource/Sales%20Order"));

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
            assert_eq!((problem.status, problem.kind.as_str()), (422, "urn:globex:malformed-order"), "{}", case.why);
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
    configure(&BTreeMap::from([("delivery_days".into(), "soon".into())]));
    let Decision::Refuse(problem) = decided("orders", fixtures().order("simple").as_bytes()) else { panic!("passes") };
    assert_eq!((problem.status, problem.detail.contains("delivery_days")), (500, true));
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
    let (body, headers) = answered(200, r#"{"data":{"name":"SAL-ORD-2026-00042","po_no":"727","items":[]}}"#);
    assert_eq!(body.unwrap(), r#"{"order":"727","document_number":"SAL-ORD-2026-00042"}"#);
    assert_eq!(headers, [("content-type".into(), "application/json".into())]);
    let without = answered(200, r#"{"data":{"name":"S-1"}}"#).0.unwrap();
    assert_eq!(without, r#"{"order":null,"document_number":"S-1"}"#);
}

#[test]
fn an_answer_that_names_no_document_is_left_as_it_is_and_logged() {
    for body in ["", "<html>", "{}", r#"{"data":[]}"#, r#"{"data":{"name":7}}"#, r#"{"data":{"name":"S-1","po_no":7}}"#]
    {
        log::taken();
        assert_eq!(answered(200, body).0, None, "{body}");
        assert_eq!(log::taken().len(), 1, "{body}");
    }
}

#[test]
fn of_erpnexts_refusal_only_the_kind_is_told() {
    let refused = r#"{"exc_type":"LinkValidationError","exception":"frappe.exceptions…","exc":"[\"Traceback…\"]"}"#;
    let (body, headers) = answered(417, refused);
    let body: Value = serde_json::from_str(&body.unwrap()).unwrap();
    assert_eq!((&body["status"], &body["detail"]), (&417.into(), &"LinkValidationError".into()));
    assert!(!body.to_string().contains("Traceback"));
    assert_eq!(headers.last().unwrap().1, "application/problem+json");
    assert_eq!(answered(404, "not found").0, None);
    assert_eq!(answered(500, refused).0, None);
}

#[test]
fn a_rate_gives_back_its_lines_total() {
    let mut order: Value = serde_json::from_str(&fixtures().order("simple")).unwrap();
    configure(&BTreeMap::new());
    for quantity in [1, 3, 7, 11, 13, 997, 99_999, 123_457] {
        order["line_items"][0]["quantity"] = quantity.into();
        let Decision::Forward(forward) = decided("orders", order.to_string().as_bytes()) else { panic!("{quantity}") };
        let document: Value = serde_json::from_slice(&forward.body.unwrap()).unwrap();
        let rate = Decimal::parse_json(&document["items"][0]["rate"].to_string()).unwrap();
        let again = rate.times(Decimal::new(quantity, 0).unwrap()).unwrap().round(2).unwrap();
        assert_eq!(again.to_string(), "40.00", "{quantity} at {rate}");
    }
}
