//! One mapping in every language that plugins are written in, and the examples' twins: the same orders become the same
//! documents, to the byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluis_model::config::default_call_limits;
use sluis_model::hook::{CallFault, Decision, RequestView};
use sluis_model::plan::{CallLimits, Grant, Secret};
use sluis_sandbox::{Plugin, Sandbox, SandboxSettings, Scope, WorkerCommand};

use crate::support::gateway::components;

const BODY: usize = 1 << 20;

/// A sandbox as the gateway has it, with a compiler that takes as long as it needs on a busy machine.
fn sandbox() -> Arc<Sandbox> {
    let settings = SandboxSettings {
        instances: 4,
        long_calls: 1,
        memory: default_call_limits().memory,
        component_bytes: 64 << 20,
        compile_timeout: Duration::from_secs(240),
        compile_memory: 4 << 30,
        // Kept from run to run: the interpreters take the compiler long.
        artefact_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("artefacts"),
        worker: WorkerCommand { program: env!("CARGO_BIN_EXE_sluis").into(), args: vec!["compile-worker".into()] },
    };
    Sandbox::new(settings).unwrap()
}

async fn load(sandbox: &Arc<Sandbox>, name: &str) -> Arc<Plugin> {
    let path = components().join(name).with_extension("wasm");
    sandbox.load(&path, &Grant::ALL).await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The defaults, without the clock: what a machine does beside the tests is not what is looked at.
fn limits() -> CallLimits {
    CallLimits { cpu: Duration::from_secs(60), wall: Duration::from_secs(60), ..default_call_limits() }
}

async fn decide(plugin: &Plugin, route: &str, settings: &Value, order: &[u8]) -> Result<Decision, CallFault> {
    let config = settings.as_object().into_iter().flatten();
    let config = config.map(|(key, value)| (key.clone(), Secret::new(value.as_str().unwrap()))).collect();
    let scope = Arc::new(Scope { tenant: "acme".into(), config, ..Scope::default() });
    let headers = [("content-type", "application/json"), ("user-agent", "test")];
    let view = RequestView {
        method: "POST",
        path: "/v1/orders",
        query: "",
        route,
        parameters: &[],
        headers: &headers,
        tenant: "acme",
        subject: "user-1",
        claims: "{}",
        correlation_id: "c-1",
        body: order,
    };
    plugin.on_request(view, &scope, &limits(), BODY).await.result
}

/// A refusal's status and pointer; none where it was none.
fn refused(decision: &Decision) -> Option<(u16, Option<&str>)> {
    match decision {
        Decision::Refuse(problem) => Some((problem.status, problem.pointer.as_deref())),
        _ => None,
    }
}

#[tokio::test]
async fn one_mapping_in_four_languages() {
    let sandbox = sandbox();
    let mut mappings = Vec::new();
    for name in ["order-map", "order-map-c", "order-map-javascript", "order-map-python"] {
        mappings.push((name, load(&sandbox, name).await));
    }
    let order = |lines: Value| {
        json!({ "id": "ORD-1", "customer": { "id": "C-1", "name": "Müller & Søn \"Nord\"" }, "currency": "EUR",
                "lines": lines, "ship_to": { "city": "Århus", "zip": 8000, "floor": null },
                "placed_at": "2026-11-20T12:00:00Z", "note": [1, 2.5, true] })
        .to_string()
    };
    let line = |qty: &str, price: &str, text: &str| {
        let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        json!({ "sku": "A/1", "qty": number(qty), "unit_price": number(price), "description": text })
    };
    let one = |qty: &str, price: &str| order(json!([line(qty, price, "x")]));
    let long: Vec<Value> = (0..40).map(|n| line("3", &format!("{n}.99"), "one of many")).collect();
    let good = [
        include_str!("../benches/fixtures/order.json").to_owned(),
        order(json!([])),
        order(json!([line("2", "\"19.99\"", "tab\there, 日本語 🚢, \\ and / and \u{1}\u{7f}")])),
        order(json!([line("1", "0.10", ""), line("0", "5", "none"), line("-1", "2.50", "back")])),
        order(Value::Array(long)),
        one("1", "\"0.000000000000000001\""),
        one("123456", "\"999999.99\""),
        // Text that a program wrote with escapes, and numbers with exponents.
        one("1", "1").replace("\"A/1\"", r#""A\/1 é 🚢\n""#).replace("\"unit_price\":1", "\"unit_price\":1.25e2"),
    ];
    for (at, order) in good.iter().enumerate() {
        let mut documents = Vec::new();
        for (name, plugin) in &mappings {
            let decision = decide(plugin, "orders", &Value::Null, order.as_bytes()).await;
            let Ok(Decision::Forward(forward)) = &decision else { panic!("{name}, order {at}: {decision:?}") };
            documents.push((name, String::from_utf8(forward.body.clone().unwrap()).unwrap()));
        }
        for (name, document) in &documents {
            assert_eq!(document, &documents[0].1, "{name}, order {at}");
        }
    }
    let bad = [
        ("", "{"),
        ("", "[]"),
        ("/lines/0/qty", &one("1", "1").replace("\"qty\":1", "\"qty\":\"one\"")),
        ("/lines/0/unit_price", &one("1", "\"1,5\"")),
        ("/lines/0", &one("\"999999999999999999\"", "\"999999999999999999\"")),
        ("/customer/name", &one("1", "1").replace("\"name\":", "\"named\":")),
    ];
    for (pointer, order) in bad {
        for (name, plugin) in &mappings {
            let decision = decide(plugin, "orders", &Value::Null, order.as_bytes()).await.unwrap();
            let (status, at) = refused(&decision).unwrap_or_else(|| panic!("{name} {order}: {decision:?}"));
            assert_eq!(status, 422, "{name} {order}");
            // serde tells of a member that is not there at the object that lacks it.
            let lacking = *name == "order-map" && pointer == "/customer/name" && at == Some("/customer");
            assert!(at == Some(pointer) || lacking, "{name} {order}: {at:?}");
        }
    }
}

/// An order of an example in Rust, and the settings of its tenant.
fn orders_of(example: &str) -> Vec<(String, Vec<u8>, Value)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/examples").join(example).join("fixtures");
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = files.filter_map(|file| file.strip_suffix(".order.json").map(String::from));
    let orders: Vec<_> = names
        .map(|name| {
            let order = std::fs::read(dir.join(format!("{name}.order.json"))).unwrap();
            let settings = std::fs::read(dir.join(format!("{name}.settings.json")));
            let settings = settings.map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
            (name, order, settings)
        })
        .collect();
    assert!(orders.len() >= 5, "{example} has orders");
    orders
}

async fn twins(original: &str, twin: &str) {
    let sandbox = sandbox();
    let orders = orders_of(original);
    let (original, twin) = (load(&sandbox, original).await, load(&sandbox, twin).await);
    for (name, order, settings) in orders {
        for route in ["orders", "orders-async"] {
            let says = decide(&original, route, &settings, &order).await.unwrap();
            let twin_says = decide(&twin, route, &settings, &order).await;
            assert!(refused(&says).is_none(), "{name}");
            assert_eq!(Ok(says), twin_says, "{name} on {route}");
        }
        let cut = &order[..order.len() / 2];
        let says = decide(&original, "orders", &settings, cut).await.unwrap();
        let twin_says = decide(&twin, "orders", &settings, cut).await.unwrap();
        assert_eq!(refused(&says), refused(&twin_says), "half of {name}");
    }
}

#[tokio::test]
async fn acmes_twin_in_javascript() {
    twins("acme-orders", "hooli-orders").await;
}

#[tokio::test]
async fn globexs_twin_in_python() {
    twins("globex-orders", "vandelay-orders").await;
}
