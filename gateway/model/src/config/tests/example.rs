//! The annotated example is the documentation of every setting and of every default: here it is held to that.

use serde_json::Value as Json;

use super::super::written::Written;
use super::super::{EXAMPLE, decode, schema, tree};
use super::Memory;

/// The example with the settings in use that it only mentions.
pub(super) fn full() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with("  ") => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn world(text: &str) -> Memory {
    Memory::new(text).env("ERP_TOKEN", "t0ken").file("secrets/erp-token", "t1ken\n").file("secrets/acme", "t2ken\n")
}

fn written(text: &str) -> Written {
    let node = tree::parse(text, 0, &mut 0).unwrap();
    decode::decode(&node, &[]).unwrap()
}

#[test]
fn the_example_holds_without_a_warning() {
    let checked = world(EXAMPLE).check().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.warnings, []);
}

#[test]
fn the_example_holds_with_everything_it_mentions() {
    let checked = world(&full()).check().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.warnings, []);
    let upstream = &checked.plan.upstreams["erp"];
    assert_eq!(upstream.headers[0].1.expose(), "Bearer t0ken");
    assert_eq!(checked.plan.tenants["acme"].config["api_key"].expose(), "t2ken");
}

/// Walks the schema beside the example's value: each setting must be there once at least, and where it has a default
/// that is a plain value, with that default.
#[test]
fn the_example_shows_every_setting_and_its_default() {
    let schema = schema();
    let example: Json = {
        // Decoded and written again, so that `60s` and `1m` are the same.
        let mut json = serde_json::to_value(written(&full())).unwrap();
        json["include"] = Json::Array(vec!["tenants.d/*.yaml".into()]);
        json
    };
    let text = full();
    let mut seen = Vec::new();
    walk(&schema, &schema, &[&example], "", &mut seen);
    assert!(seen.len() > 120, "{}", seen.len());
    for path in seen {
        let key = path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{key}:")), "{path} is not written out");
    }
}

fn walk(root: &Json, schema: &Json, values: &[&Json], path: &str, seen: &mut Vec<String>) {
    let schema = match schema.get("$ref").and_then(Json::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    for one_of in schema.get("anyOf").and_then(Json::as_array).into_iter().flatten() {
        let objects: Vec<&Json> = values.iter().copied().filter(|v| !v.is_null()).collect();
        walk(root, one_of, &objects, path, seen);
    }
    if let Some(items) = schema.get("items") {
        let items_of: Vec<&Json> = values.iter().filter_map(|v| v.as_array()).flatten().collect();
        walk(root, items, &items_of, path, seen);
    }
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        let here: Vec<&Json> = values.iter().filter_map(|v| v.get(name)).collect();
        assert!(!here.is_empty(), "the example does not show {path}");
        if let Some(default) = property.get("default")
            && !default.is_null()
            && !default.is_object()
            && *default != Json::Array(Vec::new())
        {
            assert!(here.iter().all(|value| *value == default), "{path}: default {default}, in the example {here:?}");
        }
        seen.push(path.clone());
        walk(root, property, &here, &path, seen);
    }
}

#[test]
fn what_is_left_out_has_the_value_that_the_example_shows() {
    // Only what has no default, and nothing else, is left: the plan must stay the same.
    let bare = "\
version: 1
listeners: [{name: http, address: 127.0.0.1:8080}]
issuers: [{name: idp, issuer: https://idp.example, audiences: [erp], jwks: {url: https://idp.example/.well-known/jwks.json}}]
upstreams: [{name: erp, endpoints: [http://127.0.0.1:7001]}]
sinks: [{name: erp-orders, http: {url: http://127.0.0.1:7001/events}}]
routes:
  - {name: orders, path: /v1/orders, methods: [POST], auth: {issuers: [idp]}, plugin: orders, forward: {upstreams: [erp]}}
  - {name: orders-async, path: /v1/orders/async, methods: [POST], auth: {issuers: [idp]}, plugin: orders, enqueue: {sinks: [erp-orders], event_type: erp.order.created}}
  - {name: status, path: /v1/status, methods: [GET], auth: public, forward: {upstreams: [erp]}}
tenants: [{id: acme, plugins: {orders: acme-orders}}]
";
    let bare = world(bare).check().unwrap().plan;
    let example = world(EXAMPLE).check().unwrap().plan;
    assert_eq!(bare.resolved, example.resolved);
    let show = |plan: &crate::plan::Plan| format!("{plan:#?}").replace(&plan.digest, "");
    assert_eq!(show(&bare), show(&example));
}

#[test]
fn the_resolved_plan_is_a_configuration_that_gives_the_same_plan() {
    let first = world(&full()).check().unwrap().plan;
    let text = serde_json::to_string_pretty(&first.resolved).unwrap();
    assert!(!text.contains("ken"), "{text}");
    let second = Memory::new(text).check().unwrap_or_else(|error| panic!("{error}")).plan;
    assert_eq!(first.resolved, second.resolved);
    let show = |plan: &crate::plan::Plan| {
        format!("{:?}", (&plan.listeners, &plan.server, &plan.issuers, plan.router.routes()))
    };
    assert_eq!(show(&first), show(&second));
}

#[test]
fn the_schema_describes_every_setting() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for definition in definitions {
        for (name, property) in definition["properties"].as_object().into_iter().flatten() {
            assert!(property.get("description").is_some(), "{name} in {}", definition["description"]);
            assert_eq!(definition["additionalProperties"], false);
        }
    }
}
