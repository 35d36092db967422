//! The gateway's parts, put together as `edge::server` does it, without its listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sluis_bench::issuer::Issuer;
use sluis_bench::upstream;
use sluis_edge::clock::Clock;
use sluis_edge::http_client::HttpConnections;
use sluis_edge::jwks::{Jwks, JwksContext};
use sluis_edge::metrics::Metrics;
use sluis_edge::observe::Observed;
use sluis_edge::state::{App, Capabilities, Generation};
use sluis_edge::tokens::{self, TokenCache, Tokens};
use sluis_ledger::Ledger;
use sluis_model::limits::Permits;
use sluis_model::plan::{Plan, Route};
use tokio::runtime::Runtime;

/// The tenant of all measurements.
pub const TENANT: &str = "acme";
/// The route `POST /v1/orders`: a token, no plugin, one upstream.
pub const ORDERS: &str = "orders";
/// The route `POST /v1/mapped`: the same with a plugin in its slot.
pub const MAPPED: &str = "mapped";

/// A plan from a file, and what runs it.
pub struct House {
    pub runtime: Runtime,
    pub app: Arc<App>,
    pub plan: Arc<Plan>,
    pub issuer: Issuer,
    /// Serves the issuer's keys.
    pub upstream: SocketAddr,
    /// On the disk of the build directory: `/tmp` may be memory, or forbid compiled code.
    dir: tempfile::TempDir,
}

impl House {
    /// Loads the plan, opens a ledger, fetches the issuer's keys over HTTP.
    pub fn build() -> House {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let issuer = Issuer::new().unwrap();
        let upstream = upstream::start(issuer.jwks()).unwrap();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = dir.path().join("gateway.yaml");
        std::fs::write(&file, config(upstream)).unwrap();
        let plan = sluis_edge::load::load(&file).unwrap().plan;
        std::fs::create_dir_all(&plan.server.state_dir).unwrap();
        let app = runtime.block_on(app(&plan));
        House { runtime, app: Arc::new(app), plan, issuer, upstream, dir }
    }

    /// A place of this name for one measurement's files.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The plan once more, to be changed.
    pub fn load(&self) -> Plan {
        let loaded = sluis_edge::load::load(&self.dir("gateway.yaml")).unwrap();
        Arc::into_inner(loaded.plan).unwrap()
    }

    /// Another plan's state beside that of the house.
    pub fn generation(&self, plan: Arc<Plan>) -> Generation {
        let tokens = Tokens::new(self.app.token_cache.clone(), self.app.jwks.reconcile(&plan.issuers));
        generation(plan, tokens, &self.app.metrics, &self.app.capabilities)
    }

    /// A route of the plan.
    pub fn route(&self, name: &str) -> Arc<Route> {
        self.plan.router.routes().iter().find(|route| *route.name == *name).unwrap().clone()
    }
}

async fn app(plan: &Arc<Plan>) -> App {
    let metrics = Metrics::new().unwrap();
    let observed = Observed::new(metrics.clone());
    let state_dir = plan.server.state_dir.clone();
    let ledger = Arc::new(Ledger::open(&state_dir.join("ledger"), &plan.ledger).unwrap());
    let jwks = Jwks::new(JwksContext::new(tokio::runtime::Handle::current(), state_dir, observed));
    let token_cache = Arc::new(TokenCache::new(tokens::DEFAULT_CAPACITY));
    let tokens = Tokens::new(token_cache.clone(), jwks.reconcile(&plan.issuers));
    let capabilities = Capabilities { kv: ledger.clone(), http: HttpConnections::new(&metrics).unwrap() };
    let generation = generation(plan.clone(), tokens, &metrics, &capabilities);
    let mut tries = 0;
    while jwks.status().iter().any(|source| source.keys.is_none()) {
        tries += 1;
        assert!(tries < 1_000, "the issuer's keys were not fetched: {:?}", jwks.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    App {
        generation: arc_swap::ArcSwap::from_pointee(generation),
        clock: Clock::start(),
        jwks,
        token_cache,
        ledger,
        // Nobody listens: no rollout is on trial here.
        trouble: tokio::sync::mpsc::channel(1).0,
        capabilities,
        metrics,
        in_flight: Arc::new(Permits::new(plan.server.limits.in_flight)),
        waiting: Arc::new(Permits::new(1)),
        draining: AtomicBool::new(false),
    }
}

/// No slot is filled: who measures a plugin loads it.
fn generation(plan: Arc<Plan>, tokens: Tokens, metrics: &Metrics, capabilities: &Capabilities) -> Generation {
    let generation = Generation::build(plan, &Default::default(), tokens, metrics, capabilities, None).unwrap();
    // A loop asks faster than any tenant may: what is measured is the work, not the refusal.
    for tenant in generation.tenants.values() {
        tenant.rate.set(1_000_000_000, 1_000_000_000);
    }
    generation
}

/// The defaults, but for what valgrind cannot bear: a slot of the sandbox takes 13 GiB of address space, of which it has
/// 64, and a call takes fifty times as long.
fn config(upstream: SocketAddr) -> String {
    let issuers = Issuer::yaml(upstream);
    let tokens = "auth: { issuers: [idp], scopes: [\"orders:write\"] }";
    format!(
        "version: 1\n\
         server: {{ state_dir: state, access_log: false }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         {issuers}\
         upstreams:\n  - {{ name: erp, endpoints: [\"http://{upstream}\"] }}\n\
         plugins: {{ dir: ., instances: 2, cpu: 10s, wall: 60s }}\n\
         routes:\n\
         \x20 - {{ name: {ORDERS}, path: /v1/orders, methods: [POST], {tokens}, forward: {{ upstreams: [erp] }} }}\n\
         \x20 - {{ name: {MAPPED}, path: /v1/mapped, methods: [POST], plugin: map, {tokens}, \
         forward: {{ upstreams: [erp] }} }}\n\
         \x20 - {{ name: status, path: /v1/status, methods: [GET], auth: public, forward: {{ upstreams: [erp] }} }}\n\
         tenants:\n  - {{ id: {TENANT}, plugins: {{ map: order-map }}, grants: [log] }}\n"
    )
}
