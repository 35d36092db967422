//! Whole requests through a gateway with its listeners and threads, over sockets: what the other stages are parts of.

use std::time::Duration;

use sluis_bench::component;
use sluis_bench::issuer::Issuer;
use sluis_edge::server::{self, Options, Running};
use sluis_sandbox::WorkerCommand;

use crate::COMPILE_WORKER;
use crate::far_end::FarEnd;
use crate::house::{House, TENANT};
use crate::stage::{Prepared, Stage, Turns};

/// Known token, upstream.
pub const FORWARDED: &str = "whole/forwarded";
/// The same through order-map, on as many connections as there are slots: with more, calls that valgrind makes long enough
/// to be interrupted would find none.
pub const MAPPED: &str = "whole/mapped";
/// Connections of a request without a plugin.
const CONNECTIONS: u64 = 16;
/// Slots of the sandbox, for which valgrind has room.
const SLOTS: u64 = 4;

pub fn stages() -> Vec<Stage> {
    let stage = |name: &'static str, path: &'static str, connections| {
        Stage::new(name, move |house| serve(house, name, path, connections)).slow()
    };
    vec![stage(FORWARDED, "/v1/orders", CONNECTIONS), stage(MAPPED, "/v1/mapped", SLOTS)]
}

struct Served {
    far_end: FarEnd,
    running: Option<Running>,
}

impl Turns for Served {
    fn take(&mut self, turns: u64) {
        assert_eq!(self.far_end.send(turns), 0, "orders that were not answered with 200");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
    }
}

/// Starts both ends, and waits until the gateway has the issuer's keys.
fn serve<'h>(house: &'h House, name: &str, path: &str, connections: u64) -> Prepared<'h> {
    let mut far_end = FarEnd::start();
    let dir = house.dir(name);
    std::fs::create_dir_all(&dir).unwrap();
    let config = dir.join("gateway.yaml");
    std::fs::write(&config, self::config(house, &far_end)).unwrap();
    let worker = WorkerCommand { program: std::env::current_exe().unwrap(), args: vec![COMPILE_WORKER.to_owned()] };
    let loaded = sluis_edge::load::load(&config).unwrap();
    let running = server::start(loaded, Options { config, worker, upgrade: false }).unwrap();
    far_end.aim(connections, running.listeners[0].1, path, &house.issuer.token(TENANT, "user-whole").unwrap());
    let mut tries = 0;
    while far_end.send(1) > 0 {
        tries += 1;
        assert!(tries < 1_000, "the gateway answers no order; are the components built (`sh plugins/build.sh`)?");
        house.runtime.block_on(tokio::time::sleep(Duration::from_millis(10)));
    }
    Box::new(Served { far_end, running: Some(running) })
}

/// One worker, and limits out of the way.
fn config(house: &House, far_end: &FarEnd) -> String {
    let components = serde_json::to_string(&std::path::absolute(component::built()).unwrap()).unwrap();
    let (issuers, erp) = (Issuer::yaml(house.upstream), far_end.upstream);
    let tokens = "auth: { issuers: [idp], scopes: [\"orders:write\"] }";
    format!(
        "version: 1\n\
         server: {{ threads: 1, state_dir: state, access_log: false, drain: 1s, \
         limits: {{ connections_per_address: 4096, requests_per_connection: 1000000 }} }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         {issuers}\
         upstreams:\n  - {{ name: erp, endpoints: [\"http://{erp}\"] }}\n\
         plugins: {{ dir: {components}, instances: {SLOTS}, cpu: 10s, wall: 60s }}\n\
         routes:\n\
         \x20 - {{ name: orders, path: /v1/orders, methods: [POST], {tokens}, forward: {{ upstreams: [erp] }} }}\n\
         \x20 - {{ name: mapped, path: /v1/mapped, methods: [POST], plugin: map, {tokens}, \
         forward: {{ upstreams: [erp] }} }}\n\
         tenants:\n  - {{ id: {TENANT}, plugins: {{ map: order-map }}, grants: [log], limits: {{ rate: 1000000, \
         burst: 1000000, in_flight: 10000, plugin_concurrency: 10000 }} }}\n"
    )
}
