use std::collections::HashMap;

use http::header::AUTHORIZATION;

use super::traffic::{Traffic, read_order_name};
use super::*;
use crate::issuer::Issuer;
use crate::load::{Expect, Source};

fn issuer(yaml: &str) -> Issuer {
    let shape = traffic::Shape::of(&Workload::parse(yaml).unwrap()).unwrap();
    Issuer::with(&shape.algorithms()).unwrap()
}

fn traffic(yaml: &str) -> Traffic {
    traffic_by(&issuer(yaml), yaml)
}

fn traffic_by(issuer: &Issuer, yaml: &str) -> Traffic {
    Traffic::new(&Workload::parse(yaml).unwrap(), issuer, "r1").unwrap()
}

/// All of a request but the signature of its token.
fn text(traffic: &Traffic, number: u64) -> String {
    let planned = traffic.plan(number);
    let mut fields: Vec<String> = planned
        .request
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            format!("{name}: {}", if name == AUTHORIZATION { value.split('.').next().unwrap() } else { value })
        })
        .collect();
    fields.sort();
    let (method, uri, body) = (planned.request.method(), planned.request.uri(), planned.request.body());
    format!("{} {method} {uri} {fields:?} {body:?} {:?} {}", planned.tenant, planned.expect, planned.order)
}

const MIXED: &str = "
seed: 42
users: 200
tenants: acme=70,globex=30
bad_tokens: expired=2%,audience=2%,kid=2%,forged=2%,none=2%
duplicates: 5%
cloud_events: true
request:
  path: /v1/orders?from=shop
  size: 600B:90,2KiB:10
  fields: {x-shop: north}
";

#[test]
fn equal_seeds_make_equal_requests_whoever_asks_in_whatever_order() {
    // The names of its keys are the issuer's own.
    let issuer = issuer(MIXED);
    let (one, other) = (traffic_by(&issuer, MIXED), traffic_by(&issuer, MIXED));
    let forwards: Vec<String> = (0..3_000).map(|number| text(&one, number)).collect();
    let mut backwards: Vec<String> = (0..3_000).rev().map(|number| text(&other, number)).collect();
    backwards.reverse();
    assert!(forwards == backwards);
    let another = traffic_by(&issuer, &MIXED.replace("seed: 42", "seed: 43"));
    assert!(forwards != (0..3_000).map(|number| text(&another, number)).collect::<Vec<_>>());
}

#[test]
fn shares_come_out_as_they_were_written() {
    let traffic = traffic(MIXED);
    let all = 50_000;
    let planned: Vec<_> = (0..all).map(|number| (number, traffic.plan(number))).collect();
    let share = |holds: &dyn Fn(&(u64, crate::load::Planned)) -> bool| {
        planned.iter().filter(|planned| holds(planned)).count() as f64 / all as f64
    };
    let close = |seen: f64, wanted: f64| assert!((seen - wanted).abs() < 0.01, "{seen} instead of {wanted}");
    close(share(&|(_, planned)| planned.tenant == 0), 0.7);
    close(share(&|(_, planned)| planned.expect == Expect::Unauthorised), 0.1);
    close(share(&|(number, planned)| planned.order != *number), 0.05);
    close(share(&|(_, planned)| planned.request.body().len() == 2_048), 0.1);
    close(share(&|(_, planned)| planned.request.body().len() == 600), 0.9);
    assert_eq!(traffic.tenants(), ["acme", "globex"]);
}

#[test]
fn a_repetition_is_an_earlier_request_to_the_letter() {
    let traffic = traffic(MIXED);
    let mut repetitions = 0;
    for number in 0..5_000 {
        let planned = traffic.plan(number);
        if planned.order != number {
            repetitions += 1;
            assert!(planned.order + 256 <= number);
            assert_eq!(text(&traffic, number), text(&traffic, planned.order));
        }
        let name = planned.request.headers()["idempotency-key"].to_str().unwrap();
        assert_eq!(read_order_name(name), Some(("r1", planned.order)));
        assert_eq!(planned.request.headers()["ce-id"], name);
    }
    assert!(repetitions > 100, "{repetitions}");
}

#[test]
fn a_repetition_that_overtakes_its_order_neither_loses_nor_invents_it() {
    let looked = traffic("{users: 10, tenants: acme, duplicates: 5%}");
    let repetition = (0..5_000).find(|number| looked.plan(*number).order != *number).unwrap();
    let traffic = looked.renewed("r2");
    // The gateway delivers what comes first, and replays its answer to the other.
    let order = traffic.plan(repetition).order;
    traffic.orders().arrived(order);
    traffic.answered(order, Some(202));
    traffic.plan(order);
    traffic.answered(order, Some(202));
    let delivery = traffic.orders().delivery();
    assert_eq!((delivery.accepted, delivery.arrived, delivery.lost, delivery.invented), (1, 1, 0, 0));
}

#[test]
fn orders_are_numbered_and_keyed_in_the_body_as_in_the_fields() {
    let traffic = traffic("{users: 10, keys: 3, cloud_events: true, tenants: 'acme,globex'}");
    for number in 0..100 {
        let planned = traffic.plan(number);
        let body: serde_json::Value = serde_json::from_slice(planned.request.body()).unwrap();
        assert_eq!(body["number"], planned.order);
        let key = planned.request.headers()["ce-partitionkey"].to_str().unwrap();
        assert_eq!(format!("r1-key-{}", body["key"]), key, "no two loads share a key");
        assert_eq!(body["key"].as_u64().unwrap() / 3, planned.tenant as u64, "no two tenants share a key");
        assert_eq!(planned.request.body().len(), 993);
    }
}

#[test]
fn numbered_tenants_differ_by_zipf_and_share_their_users() {
    let traffic =
        traffic("{users: 1000, tenants: [{name: org-, count: 50, zipf: 1.0}, {name: shop, weight: 1, tenant: acme}]}");
    let mut counts = HashMap::new();
    for number in 0..20_000 {
        *counts.entry(traffic.plan(number).tenant).or_insert(0) += 1;
    }
    assert_eq!(traffic.tenants()[0], "org-0");
    assert_eq!(traffic.tenants()[50], "shop");
    let (first, second, shop) = (counts[&0], counts[&1], counts[&50]);
    assert!((1.7..2.3).contains(&(f64::from(first) / f64::from(second))), "{first} {second}");
    assert!((9_500..10_500).contains(&shop), "{shop}");
}

#[test]
fn tenants_have_requests_of_their_own() {
    let traffic = traffic(
        "
request: {fields: {accept: application/json}, path: /v1/orders}
users: 10
tenants:
  - {name: reader, request: {method: GET, path: /v1/status, anonymous: true}}
  - {name: spinner, request: {fields: {x-tester: /spin}, body: 'n={{number}}', content_type: text/plain}}
",
    );
    for number in 0..200 {
        let planned = traffic.plan(number);
        let fields = planned.request.headers();
        if planned.tenant == 0 {
            assert_eq!((planned.request.method().as_str(), planned.request.uri().path()), ("GET", "/v1/status"));
            assert!(!fields.contains_key(AUTHORIZATION) && planned.request.body().is_empty());
        } else {
            assert_eq!(
                (&fields["x-tester"], &fields["content-type"]),
                (&"/spin".parse().unwrap(), &"text/plain".parse().unwrap())
            );
            assert_eq!(planned.request.body(), format!("n={number}").as_bytes());
            assert!(!fields.contains_key("accept"));
        }
        traffic.answered(planned.order, Some(200));
    }
    let accepted = traffic.orders().delivery().accepted;
    assert!((50..150).contains(&accepted), "what only reads does not have to arrive: {accepted}");
}

#[test]
fn new_tokens_take_the_place_of_the_old_ones() {
    let workload = Workload::parse("{users: 5, tenants: acme}").unwrap();
    let mut issuer = Issuer::new().unwrap();
    let traffic = Traffic::new(&workload, &issuer, "r1").unwrap();
    let token = || traffic.plan(7).request.headers()[AUTHORIZATION].clone();
    let before = token();
    issuer.rotate().unwrap();
    traffic.renew_tokens(&issuer).unwrap();
    assert_ne!(token(), before);
}

#[test]
fn another_run_has_the_same_tokens_and_orders_of_its_own() {
    let one = traffic("{users: 5, tenants: acme}");
    let other = one.renewed("r2");
    let (before, after) = (one.plan(7).request, other.plan(7).request);
    assert_eq!(before.headers()[AUTHORIZATION], after.headers()[AUTHORIZATION]);
    assert_eq!(read_order_name(after.headers()["idempotency-key"].to_str().unwrap()), Some(("r2", 7)));
    one.answered(7, Some(200));
    assert_eq!((one.orders().delivery().accepted, other.orders().delivery().accepted), (1, 0));
}

#[test]
fn a_request_without_a_token_has_no_bad_one() {
    let yaml = "{users: 10, bad_tokens: 'kid=50%', tenants: [{name: a, request: {anonymous: true}}, {name: b}]}";
    let traffic = traffic(yaml);
    let flawed = |tenant: usize| {
        let planned = (0..500).map(|number| traffic.plan(number)).filter(|planned| planned.tenant == tenant);
        planned.filter(|planned| planned.expect == Expect::Unauthorised).count()
    };
    assert!(flawed(0) == 0 && flawed(1) > 50, "{} {}", flawed(0), flawed(1));
}

#[test]
fn what_cannot_be_meant_is_told_with_its_place() {
    let said = |yaml: &str| Workload::parse(yaml).unwrap_err().to_string();
    assert!(said("{tenats: acme}").contains("tenats"), "{}", said("{tenats: acme}"));
    let nested = said("tenants:\n  - name: acme\n    wieght: 3");
    assert!(nested.contains("wieght") && nested.contains("line 3"), "{nested}");
    assert!(said("{tenants: []}").contains("there must be one"));
    assert!(said("{tenants: [{name: a}, {name: a}]}").contains("twice"));
    assert!(said("{tenants: [{name: a, zipf: 1}]}").contains("add `count`"));
    assert!(said("{tenants: [{name: a, count: 100001}]}").contains("100000"));
    assert!(said("{users: 0}").contains("users"));
    assert!(said("{algorithms: HS256}").contains("not among ES256"));
    assert!(said("{bad_tokens: 'late=1%'}").contains("not among expired"));
    assert!(said("{request: {path: orders}}").contains("does not begin"));
    assert!(said("{request: {fields: {content-length: '3'}}}").contains("client's to set"));
    assert!(said("{request: {fields: {'a b': x}}}").contains("a b"));
    assert!(said("{request: {size: 17MiB}}").contains("at most"));
    assert!(said("{request: {method: 'A B'}}").contains("method"));
}
