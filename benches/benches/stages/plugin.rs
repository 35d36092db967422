//! A plugin call: a fresh instance, the hook, everything dropped again.

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use sluis_bench::{ORDER, component};
use sluis_model::hook::{Decision, RequestView};
use sluis_model::plan::Grant;
use sluis_sandbox::{Plugin, Sandbox, SandboxSettings, Scope, WorkerCommand};

use crate::COMPILE_WORKER;
use crate::house::{House, TENANT};

pub fn bench(criterion: &mut Criterion, house: &House) {
    let sandbox = LazyCell::new(|| Sandbox::new(settings(house)).unwrap());
    let scope = Arc::new(Scope { tenant: TENANT.into(), ..Scope::default() });
    let call = &house.plan.plugins.call;
    let mut group = criterion.benchmark_group("plugin/call");
    let plugin = LazyCell::new(|| load(house, &sandbox, "order-map"));
    // Without a body it refuses at once: what that costs is the price of any call, the rest is the order's.
    for (name, body) in [("refused at once", &b""[..]), ("order mapped", ORDER)] {
        group.bench_function(name, |b| {
            let plugin: &Plugin = &plugin;
            b.to_async(&house.runtime).iter(|| async {
                let outcome = plugin.on_request(view(body), &scope, call, 1 << 20).await;
                let expected = match &outcome.result {
                    Ok(Decision::Forward(_)) => !body.is_empty(),
                    Ok(Decision::Refuse(_)) => body.is_empty(),
                    _ => false,
                };
                assert!(expected, "{:?}", outcome.result);
                black_box(outcome)
            });
        });
    }
    group.finish();
    // The same mapping, in each language that plugins are written in.
    let mut group = criterion.benchmark_group("plugin/language");
    for (language, example) in [
        ("rust", "order-map"),
        ("c", "order-map-c"),
        ("javascript", "order-map-javascript"),
        ("python", "order-map-python"),
    ] {
        let plugin = LazyCell::new(|| load(house, &sandbox, example));
        group.bench_function(language, |b| {
            let plugin: &Plugin = &plugin;
            b.to_async(&house.runtime).iter(|| async {
                let outcome = plugin.on_request(view(ORDER), &scope, call, 1 << 20).await;
                assert!(matches!(outcome.result, Ok(Decision::Forward(_))), "{:?}", outcome.result);
                black_box(outcome)
            });
        });
    }
    group.finish();
}

fn load(house: &House, sandbox: &Arc<Sandbox>, name: &str) -> Arc<Plugin> {
    let file = component::built().join(name).with_extension("wasm");
    assert!(file.is_file(), "{} is not there: run `sh plugins/build.sh`", file.display());
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

fn view(body: &[u8]) -> RequestView<'_> {
    RequestView {
        method: "POST",
        path: "/v1/orders",
        query: "",
        route: "orders",
        parameters: &[],
        headers: &[("content-type", "application/json"), ("user-agent", "erp-client/1.0")],
        tenant: TENANT,
        subject: "user-0",
        claims: r#"{"iss":"https://idp.test","aud":"erp","sub":"user-0","tenant":"acme","scope":"orders:write"}"#,
        correlation_id: "0123456789abcdef0123456789abcdef",
        body,
    }
}
