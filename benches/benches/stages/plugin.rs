//! A plugin call: a fresh instance, the hook, everything dropped again.

use std::hint::black_box;
use std::sync::Arc;

use http::HeaderMap;
use sluis_bench::{ORDER, component};
use sluis_edge::decide::{self, Asked};
use sluis_edge::serving::Serving;
use sluis_edge::state::Context;
use sluis_model::hook::{CheckedDecision, Decision, RequestView};
use sluis_model::plan::Grant;
use sluis_sandbox::{Plugin, Sandbox, SandboxSettings, Scope, WorkerCommand};

use crate::COMPILE_WORKER;
use crate::house::{House, MAPPED, TENANT};
use crate::stage::{Prepared, Stage, async_turns};

/// What a guest sees of the fields.
const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("user-agent", "erp-client/1.0")];

pub fn stages() -> Vec<Stage> {
    let order_map =
        |name: &'static str, body: fn() -> Vec<u8>| Stage::new(name, move |house| call(house, "order-map", body()));
    let language = |name: &'static str, example: &'static str| {
        Stage::new(name, move |house| call(house, example, ORDER.to_vec())).slow()
    };
    vec![
        // Without a body it refuses at once: what that costs is the price of any call, the rest is the order's.
        order_map("plugin/call/no body", Vec::new),
        order_map("plugin/call/order", || ORDER.to_vec()),
        order_map("plugin/call/64 KiB", || order(64 << 10)).slow(),
        order_map("plugin/call/1 MiB", || order(1 << 20)).slow(),
        Stage::new("plugin/decided", |house| decided(house)),
        // The same mapping, in each language that plugins are written in.
        language("plugin/language/rust", "order-map"),
        language("plugin/language/c", "order-map-c"),
        language("plugin/language/javascript", "order-map-javascript"),
        language("plugin/language/python", "order-map-python")
            .uncounted("under valgrind its start takes longer than the sandbox gives it"),
    ]
}

/// One call with this body.
fn call<'h>(house: &'h House, component: &str, body: Vec<u8>) -> Prepared<'h> {
    let plugin = load(house, component);
    let scope = Arc::new(Scope { tenant: TENANT.into(), ..Scope::default() });
    let call = &house.plan.plugins.call;
    async_turns(&house.runtime, async move || {
        let outcome = plugin.on_request(view(&body, &HEADERS), &scope, call, 4 << 20).await;
        let expected = match &outcome.result {
            Ok(Decision::Forward(_)) => !body.is_empty(),
            Ok(Decision::Refuse(_)) => body.is_empty(),
            _ => false,
        };
        assert!(expected, "{:?}", outcome.result);
        black_box(outcome);
    })
}

/// The call as a request makes it: what the guest may see picked out, permits, counters, and its word checked.
fn decided(house: &House) -> Prepared<'_> {
    let generation = house.app.generation.load_full();
    let tenant = generation.tenants[TENANT].clone();
    tenant.slots["map"].plugin.serving.store(Some(Serving::file(&"order-map".into(), load(house, "order-map"))));
    let headers: HeaderMap =
        HEADERS.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
    async_turns(&house.runtime, async move || {
        let route = generation.routes.iter().find(|route| *route.route.name == *MAPPED).unwrap();
        let picked = tenant.slots["map"].plugin.serving.load().as_ref().unwrap().pick();
        let fields = decide::visible_fields(&headers);
        let cx = Context { app: &house.app, generation: &generation };
        let asked = Asked { route, tenant: &tenant, picked: &picked };
        let decision = decide::on_request(cx, asked, view(ORDER, &fields), &headers).await;
        assert!(matches!(black_box(decision), Ok(CheckedDecision::Forward(_))));
    })
}

fn load(house: &House, name: &str) -> Arc<Plugin> {
    let file = component::built().join(name).with_extension("wasm");
    assert!(file.is_file(), "{} is not there: run `sh plugins/build.sh`", file.display());
    let sandbox = Sandbox::new(settings(house)).unwrap();
    house.runtime.block_on(sandbox.load(&file, &[Grant::Log])).unwrap()
}

fn settings(house: &House) -> SandboxSettings {
    let plugins = &house.plan.plugins;
    SandboxSettings {
        instances: plugins.instances,
        long_calls: 1,
        memory: plugins.call.memory,
        component_bytes: plugins.component_bytes,
        compile_timeout: plugins.compile_timeout,
        compile_memory: plugins.compile_memory,
        artefact_dir: house.dir("artefacts"),
        worker: WorkerCommand { program: std::env::current_exe().unwrap(), args: vec![COMPILE_WORKER.to_owned()] },
    }
}

/// An order with as many lines as fit into so many bytes.
fn order(bytes: usize) -> Vec<u8> {
    let mut order: serde_json::Value = serde_json::from_slice(ORDER).unwrap();
    let lines = order["lines"].as_array_mut().unwrap();
    let (like, beside) = (lines[0].clone(), ORDER.len());
    let each = serde_json::to_vec(&like).unwrap().len() + 1;
    lines.resize((bytes - beside) / each, like);
    serde_json::to_vec(&order).unwrap()
}

fn view<'a>(body: &'a [u8], headers: &'a [(&'a str, &'a str)]) -> RequestView<'a> {
    RequestView {
        method: "POST",
        path: "/v1/orders",
        query: "",
        route: "orders",
        parameters: &[],
        headers,
        tenant: TENANT,
        subject: "user-0",
        claims: r#"{"iss":"https://idp.test","aud":"erp","sub":"user-0","tenant":"acme","scope":"orders:write"}"#,
        correlation_id: "0123456789abcdef0123456789abcdef",
        body,
    }
}
