//! The gateway's parts, put together as `edge::server` does it, without its listeners.

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
use sluis_model::plan::Plan;
use tokio::runtime::Runtime;

/// The tenant of all measurements.
pub const TENANT: &str = "acme";

/// A plan from a file, and what runs it.
pub struct House {
    pub runtime: Runtime,
    pub app: App,
    pub plan: Arc<Plan>,
    pub issuer: Issuer,
    /// On the disk of the build directory: `/tmp` may be memory, or forbid compiled code.
    pub dir: tempfile::TempDir,
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
        House { runtime, app, plan, issuer, dir }
    }

    /// A directory of this name for one measurement's files.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
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
    let plugins = Default::default();
    let generation = Generation::build(plan.clone(), &plugins, tokens, &metrics, &capabilities, None).unwrap();
    // A loop asks faster than any tenant may: what is measured is the work, not the refusal.
    for tenant in generation.tenants.values() {
        tenant.rate.set(1_000_000_000, 1_000_000_000);
    }
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
        // Nobody listens: no component is called here.
        trouble: tokio::sync::mpsc::channel(1).0,
        capabilities,
        metrics,
        in_flight: Arc::new(Permits::new(plan.server.limits.in_flight)),
        waiting: Arc::new(Permits::new(1)),
        draining: AtomicBool::new(false),
    }
}

/// The defaults.
fn config(upstream: std::net::SocketAddr) -> String {
    let issuers = Issuer::yaml(upstream);
    format!(
        "version: 1\n\
         server: {{ state_dir: state }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         {issuers}\
         upstreams:\n  - {{ name: erp, endpoints: [\"http://{upstream}\"] }}\n\
         plugins: {{ dir: . }}\n\
         routes:\n\
         \x20 - {{ name: orders, path: /v1/orders, methods: [POST], \
         auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, forward: {{ upstreams: [erp] }} }}\n\
         \x20 - {{ name: status, path: /v1/status, methods: [GET], auth: public, forward: {{ upstreams: [erp] }} }}\n\
         tenants:\n  - {{ id: {TENANT} }}\n"
    )
}
