//! From the plan's tenants and their plugins to loaded components: deployed versions from the registry, and files of
//! `plugins.dir` for whatever was never deployed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluis_ledger::{PluginId, Registry, RegistryError};
use sluis_model::plan::{OnError, Plan, Tenant};
use sluis_model::rollout::{Rollout, Version};
use sluis_sandbox::{LoadError, Plugin, Sandbox};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::serving::{Loaded, Serving};
use crate::state::{Generation, LoadedPlugins};

/// Plugins that are looked at at once; the sandbox compiles fewer.
const AT_ONCE: usize = 8;

/// Where components come from.
pub struct Components {
    /// Loads them.
    pub sandbox: Arc<Sandbox>,
    /// What was uploaded, and what of it serves.
    pub registry: Registry,
    /// Held while what serves is replaced, by a new plan or by an order.
    pub changing: Mutex<()>,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// All that was deployed is in quarantine.
    #[error("every version that was deployed is in quarantine")]
    NothingServes,
}

/// A plugin that did not load; its slots keep what they had, if that may serve, or answer 503.
#[derive(Debug)]
pub struct Unloaded {
    /// Whose.
    pub tenant: Arc<str>,
    /// Which.
    pub plugin: Arc<str>,
    /// Why.
    pub error: ComponentError,
}

impl Components {
    /// Of this sandbox and this registry.
    pub fn new(sandbox: Arc<Sandbox>, registry: Registry) -> Arc<Self> {
        Arc::new(Components { sandbox, registry, changing: Mutex::new(()) })
    }

    /// Loads every tenant's plugins. One that fails leaves the others alone: where there was one before, that stays, unless
    /// it can do what it may not any more, or was taken out of service.
    pub async fn load(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        previous: Option<&Generation>,
    ) -> Result<(LoadedPlugins, Vec<Unloaded>), RegistryError> {
        let mut rollouts: HashMap<PluginId, Rollout> = self.registry.rollouts().await?.into_iter().collect();
        let mut loaded: LoadedPlugins = HashMap::new();
        let mut failed = Vec::new();
        let mut waiting = plugins(plan);
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((tenant, name)) = waiting.pop()
            {
                let rollout = rollouts.remove(&PluginId { tenant: tenant.id.to_string(), name: name.to_string() });
                let before = serving_in(previous, &tenant.id, &name);
                let (this, plan) = (self.clone(), plan.clone());
                running.spawn(async move {
                    let rollout = rollout.unwrap_or_default();
                    let result = this.serving(&plan, &tenant, &name, rollout.clone(), before.as_deref()).await;
                    let before = before.filter(|before| may_stay(before, &rollout, result.as_ref().err()));
                    (tenant.id.clone(), name, before, result)
                });
            }
            let (tenant, plugin, before, result) = match running.join_next().await {
                Some(Ok(done)) => done,
                Some(Err(error)) => {
                    tracing::error!(%error, "a component was given up");
                    continue;
                }
                None => return Ok((loaded, failed)),
            };
            match result {
                Ok(serving) => {
                    loaded.insert((tenant, plugin), serving);
                }
                Err(error) => {
                    if let Some(before) = before {
                        loaded.insert((tenant.clone(), plugin.clone()), before);
                    }
                    failed.push(Unloaded { tenant, plugin, error });
                }
            }
        }
    }

    /// What serves of one plugin by `rollout`; the file of its name where nothing was ever deployed.
    pub async fn serving(
        &self,
        plan: &Plan,
        tenant: &Tenant,
        name: &Arc<str>,
        rollout: Rollout,
        before: Option<&Serving>,
    ) -> Result<Arc<Serving>, ComponentError> {
        if rollout.revision == 0 {
            let file = plan.plugins.dir.join(format!("{name}.wasm"));
            return Ok(Serving::file(name, self.sandbox.load(&file, &tenant.grants).await?));
        }
        let stable = rollout.stable.clone().ok_or(ComponentError::NothingServes)?;
        let candidate = rollout.candidate.as_ref().map(|candidate| candidate.version.clone());
        let stable = self.version(tenant, name, &stable).await?;
        let candidate = match candidate {
            Some(version) => Some(self.version(tenant, name, &version).await?),
            None => None,
        };
        let previous = match rollout.earlier.first().filter(|_| falls_back(tenant, name)) {
            Some(version) => Some(self.version(tenant, name, version).await?),
            None => None,
        };
        Ok(Serving::versions(name, rollout, Loaded { stable, previous, candidate }, before))
    }

    /// Loads an uploaded version, with the grants that the tenant has now.
    pub async fn version(&self, tenant: &Tenant, name: &str, version: &Version) -> Result<Arc<Plugin>, ComponentError> {
        let id = PluginId { tenant: tenant.id.to_string(), name: name.to_owned() };
        let versions = self.registry.versions(&id).await?;
        let kept = versions.iter().find(|kept| kept.version.version == *version);
        let component = self.registry.component(&kept.ok_or(RegistryError::NoSuchVersion)?.version.digest).await?;
        Ok(self.sandbox.load_bytes(&format!("{name}@{version}"), component.into(), &tenant.grants).await?)
    }
}

/// Whether a slot that this plugin fills wants the version before to decide where it fails.
fn falls_back(tenant: &Tenant, name: &str) -> bool {
    let fills = |slot: &Arc<str>| tenant.plugins.get(slot).is_some_and(|plugin| **plugin == *name);
    tenant.on_error.iter().any(|(slot, on_error)| *on_error == OnError::Previous && fills(slot))
}

/// Whether what served goes on where what should serve does not load.
fn may_stay(before: &Serving, rollout: &Rollout, error: Option<&ComponentError>) -> bool {
    let must_end =
        matches!(error, Some(ComponentError::NothingServes | ComponentError::Load(LoadError::CapabilityNotGranted(_))));
    !must_end && !before.reaches_quarantined(rollout)
}

fn serving_in(generation: Option<&Generation>, tenant: &str, plugin: &str) -> Option<Arc<Serving>> {
    let tenant = generation?.tenants.get(tenant)?;
    tenant.plugins().find(|candidate| *candidate.name == *plugin)?.serving.load_full()
}

/// Every tenant's plugins, each once.
fn plugins(plan: &Plan) -> Vec<(Arc<Tenant>, Arc<str>)> {
    let mut plugins = Vec::new();
    for tenant in plan.tenants.values() {
        let names: HashSet<&Arc<str>> = tenant.plugins.values().collect();
        plugins.extend(names.into_iter().map(|name| (tenant.clone(), name.clone())));
    }
    plugins
}

/// Tells the operator.
pub fn report(failed: &[Unloaded]) {
    for Unloaded { tenant, plugin, error } in failed {
        tracing::error!(tenant = &**tenant, plugin = &**plugin, %error, "plugin not loaded");
    }
}
