//! What is alive: one generation of plan with its run-time state, and the parts that outlive generations.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use sluis_ledger::Ledger;
use sluis_model::kv::Kv;
use sluis_model::limits::{Permits, Rate};
use sluis_model::plan::{Grant, Plan, Route, Tenant};
use sluis_sandbox::{KvScope, Scope};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::event_status::TENANT_WAITING;
use crate::flood::AT_ONCE;
use crate::http_client::{HttpConnections, TenantHttp};
use crate::jwks::Jwks;
use crate::metrics::{Metrics, RouteMetrics, TenantMetrics, UpstreamMetrics};
use crate::recorder::Recorder;
use crate::rollouts::Trouble;
use crate::serving::{Serving, Slot, TenantPlugin};
use crate::tenant_log::TenantLog;
use crate::tokens::{TokenCache, Tokens};
use crate::uploads::TENANT_UPLOADS;
use crate::upstream::{UpstreamError, UpstreamState};

/// The process: what every request needs.
pub struct App {
    /// The plan in force with its state; a request keeps the one that it began with.
    pub generation: ArcSwap<Generation>,
    /// Clocks.
    pub clock: Clock,
    /// Keys of all issuers.
    pub jwks: Jwks,
    /// Verified tokens.
    pub token_cache: Arc<TokenCache>,
    /// Durable events.
    pub ledger: Arc<Ledger>,
    /// Takes word of versions that fail too often; what there is no room for is told again at the next fault.
    pub trouble: mpsc::Sender<Trouble>,
    /// What stands behind the plugins' capabilities.
    pub capabilities: Capabilities,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// Requests in flight, all tenants.
    pub in_flight: Arc<Permits>,
    /// Requests that wait for something to become of an event, all tenants.
    pub waiting: Arc<Permits>,
    /// Set once at the beginning of the end.
    pub draining: AtomicBool,
}

/// What stands behind the plugins' capabilities, shared by all tenants.
pub struct Capabilities {
    /// `kv`
    pub kv: Arc<dyn Kv>,
    /// `http-client`
    pub http: Arc<HttpConnections>,
}

/// What a request is served with: the process, and the plan that it began with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The process.
    pub app: &'a Arc<App>,
    /// The plan and its state.
    pub generation: &'a Generation,
}

/// One plan and the state that belongs to it.
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// As checked.
    pub plan: Arc<Plan>,
    /// In the plan's order.
    pub routes: Vec<RouteState>,
    /// Tokens to identities, with the plan's issuers.
    pub tokens: Tokens,
    /// By id.
    pub tenants: HashMap<Arc<str>, Arc<TenantState>>,
    /// By name.
    pub upstreams: HashMap<Arc<str>, Arc<UpstreamEntry>>,
}

/// A route with what it needs resolved.
pub struct RouteState {
    /// As checked.
    pub route: Arc<Route>,
    /// In the route's order; the first is the default.
    pub upstreams: Vec<Arc<UpstreamEntry>>,
    /// Scopes joined by spaces, for the challenge.
    pub scope_text: Arc<str>,
    /// Its counters.
    pub metrics: RouteMetrics,
}

/// An upstream and its counters.
pub struct UpstreamEntry {
    /// Connections, breaker, permits.
    pub state: Arc<UpstreamState>,
    /// Its counters.
    pub metrics: UpstreamMetrics,
}

/// A tenant and its share of the house.
pub struct TenantState {
    /// As checked.
    pub tenant: Arc<Tenant>,
    /// Requests per second.
    pub rate: Arc<Rate>,
    /// Refusals that it is told at once.
    pub refusals: Arc<Rate>,
    /// Requests in flight.
    pub in_flight: Arc<Permits>,
    /// Plugin calls at once.
    pub plugin_calls: Arc<Permits>,
    /// Uploads of plugins at once.
    pub uploads: Arc<Permits>,
    /// Requests that wait for something to become of an event.
    pub waiting: Arc<Permits>,
    /// What its plugins said last.
    pub log: Arc<TenantLog>,
    /// Its last requests, where it wants them kept.
    pub recorder: Arc<Recorder>,
    /// Its plugins by slot.
    pub slots: HashMap<Arc<str>, Slot>,
    /// What its plugins may see of it.
    pub scope: Arc<Scope>,
    /// The same without anything that acts on the world, for versions whose word is only compared.
    pub shadow_scope: Arc<Scope>,
    /// Its counters.
    pub metrics: TenantMetrics,
}

/// What stands behind plugins, by tenant and name.
pub type LoadedPlugins = HashMap<(Arc<str>, Arc<str>), Arc<Serving>>;

impl Generation {
    /// Builds the state of `plan`, keeping of `previous` what survives a reload: pools, breakers, permits and rates.
    pub fn build(
        plan: Arc<Plan>,
        plugins: &LoadedPlugins,
        tokens: Tokens,
        metrics: &Metrics,
        capabilities: &Capabilities,
        previous: Option<&Generation>,
    ) -> Result<Self, UpstreamError> {
        let upstreams = plan
            .upstreams
            .iter()
            .map(|(name, settings)| {
                let before = previous.and_then(|p| p.upstreams.get(name)).map(|entry| &entry.state);
                let state = UpstreamState::build(settings, before)?;
                Ok((name.clone(), Arc::new(UpstreamEntry { state, metrics: UpstreamMetrics::new(metrics, name) })))
            })
            .collect::<Result<HashMap<_, _>, UpstreamError>>()?;
        let tenants = plan
            .tenants
            .iter()
            .map(|(id, tenant)| {
                let before = previous.and_then(|p| p.tenants.get(id));
                (id.clone(), Arc::new(TenantState::build(tenant, plugins, metrics, capabilities, before)))
            })
            .collect();
        let routes = plan.router.routes().iter().map(|route| RouteState::build(route, &upstreams, metrics)).collect();
        Ok(Generation { number: previous.map_or(1, |p| p.number + 1), plan, routes, tokens, tenants, upstreams })
    }
}

impl RouteState {
    fn build(route: &Arc<Route>, upstreams: &HashMap<Arc<str>, Arc<UpstreamEntry>>, metrics: &Metrics) -> Self {
        let scope_text = match &route.auth {
            sluis_model::plan::Auth::Jwt { scopes, .. } => scopes.join(" ").into(),
            sluis_model::plan::Auth::Public => "".into(),
        };
        RouteState {
            route: route.clone(),
            upstreams: route.action.upstreams.iter().filter_map(|u| upstreams.get(&u.name).cloned()).collect(),
            scope_text,
            metrics: RouteMetrics::new(metrics, &route.name),
        }
    }
}

impl TenantState {
    /// Its plugins, each once.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<TenantPlugin>> {
        let mut seen = HashSet::new();
        self.slots.values().map(|slot| &slot.plugin).filter(move |plugin| seen.insert(plugin.name.clone()))
    }

    fn build(
        tenant: &Arc<Tenant>,
        plugins: &LoadedPlugins,
        metrics: &Metrics,
        capabilities: &Capabilities,
        before: Option<&Arc<TenantState>>,
    ) -> Self {
        let limits = &tenant.limits;
        let (rate, in_flight, plugin_calls, uploads) = match before {
            Some(before) => {
                before.rate.set(limits.rate, limits.burst);
                before.in_flight.set_limit(limits.in_flight);
                before.plugin_calls.set_limit(limits.plugin_concurrency);
                (before.rate.clone(), before.in_flight.clone(), before.plugin_calls.clone(), before.uploads.clone())
            }
            None => (
                Arc::new(Rate::new(limits.rate, limits.burst)),
                Arc::new(Permits::new(limits.in_flight)),
                Arc::new(Permits::new(limits.plugin_concurrency)),
                Arc::new(Permits::new(TENANT_UPLOADS)),
            ),
        };
        let mut by_name: HashMap<&str, Arc<TenantPlugin>> = HashMap::new();
        let mut slots = HashMap::with_capacity(tenant.plugins.len());
        for (slot, name) in &tenant.plugins {
            let plugin = by_name.entry(name).or_insert_with(|| {
                let serving = plugins.get(&(tenant.id.clone(), name.clone())).cloned();
                Arc::new(TenantPlugin { name: name.clone(), serving: serving.into() })
            });
            let on_error = tenant.on_error.get(slot).copied().unwrap_or_default();
            slots.insert(slot.clone(), Slot { plugin: plugin.clone(), on_error });
        }
        let granted = |grant| tenant.grants.contains(&grant);
        let shadow_scope = Scope {
            tenant: tenant.id.clone(),
            config: tenant.config.clone(),
            metrics: tenant.metrics.clone(),
            ..Scope::default()
        };
        let scope = Scope {
            kv: granted(Grant::Kv).then(|| KvScope { store: capabilities.kv.clone(), quota: limits.kv_bytes }),
            http: granted(Grant::HttpClient)
                .then(|| TenantHttp::new(&capabilities.http, &tenant.id, &tenant.http) as _),
            ..shadow_scope.clone()
        };
        TenantState {
            tenant: tenant.clone(),
            rate,
            refusals: before.map_or_else(|| Arc::new(Rate::new(AT_ONCE, AT_ONCE)), |before| before.refusals.clone()),
            in_flight,
            plugin_calls,
            uploads,
            waiting: before.map_or_else(|| Arc::new(Permits::new(TENANT_WAITING)), |before| before.waiting.clone()),
            log: before.map(|before| before.log.clone()).unwrap_or_default(),
            // What was kept by other rules than the new ones is gone.
            recorder: before
                .filter(|before| before.tenant.record == tenant.record)
                .map(|before| before.recorder.clone())
                .unwrap_or_default(),
            slots,
            scope: Arc::new(scope),
            shadow_scope: Arc::new(shadow_scope),
            metrics: TenantMetrics::new(metrics, tenant),
        }
    }
}
