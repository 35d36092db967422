//! Changes of what serves while requests go on: uploads, orders, and the judgement of versions by what they do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sluis_ledger::{Actor, NewVersion, PluginId, RegistryError};
use sluis_model::limits::{Permit, Permits};
use sluis_model::plan::TenantLimits;
use sluis_model::rollout::{Order, Rollout, Verdict, Version};
use sluis_sandbox::{LoadError, Plugin};
use tokio::sync::{Semaphore, mpsc, watch};
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::components::{ComponentError, Components};
use crate::serving::TenantPlugin;
use crate::state::{App, TenantState};

/// Uploads that are looked at at once, all tenants.
const LOOKED_AT: usize = 2;
/// Uploads at once, all tenants: each has a component in memory.
const UPLOADS: usize = 8;
/// Uploads at once of one tenant.
pub const TENANT_UPLOADS: usize = 2;
/// How often candidates are judged.
const JUDGED: Duration = Duration::from_secs(1);
/// Words of trouble that may wait.
pub const TROUBLE: usize = 64;
/// Who acts where nobody asked.
const GATEWAY: &str = "gateway";

/// A version that fails too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose.
    pub tenant: Arc<str>,
    /// Which plugin.
    pub plugin: Arc<str>,
    /// Which version.
    pub version: Version,
}

/// Why an upload or an order was not followed.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The component does not load.
    #[error(transparent)]
    Load(LoadError),
    /// The registry, or the state of the rollout.
    #[error(transparent)]
    Registry(RegistryError),
    /// Too many uploads at once.
    #[error("too many uploads at once")]
    Overloaded,
    /// Too many uploads of this tenant at once.
    #[error("too many uploads of this tenant at once")]
    TenantBusy,
}

impl From<ComponentError> for RolloutError {
    fn from(error: ComponentError) -> Self {
        match error {
            ComponentError::Load(error) => RolloutError::Load(error),
            ComponentError::Registry(error) => RolloutError::Registry(error),
            ComponentError::NothingServes => RolloutError::Registry(RegistryError::NoSuchVersion),
        }
    }
}

impl From<RegistryError> for RolloutError {
    fn from(error: RegistryError) -> Self {
        RolloutError::Registry(error)
    }
}

/// What was found out about an uploaded component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// BLAKE3 in hex.
    pub digest: String,
    /// Bytes.
    pub size: usize,
    /// Hooks that it exports.
    pub hooks: Vec<String>,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// How long compiling took, milliseconds; absent where the same bytes were compiled before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled_in_ms: Option<u64>,
}

impl Report {
    fn of(plugin: &Plugin) -> Report {
        let (hooks, facts) = (plugin.hooks(), plugin.facts());
        let named = [
            (hooks.on_request, "on-request"),
            (hooks.on_request_head, "on-request-head"),
            (hooks.on_response, "on-response"),
        ];
        Report {
            digest: plugin.digest().to_owned(),
            size: facts.size,
            hooks: named.into_iter().filter(|(there, _)| *there).map(|(_, name)| name.to_owned()).collect(),
            imports: plugin.imports().to_vec(),
            compiled_in_ms: facts.compiled.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// The one place where what serves is changed by anything but a new plan.
pub struct Rollouts {
    app: Arc<App>,
    /// Where components come from.
    pub components: Arc<Components>,
    looked_at: Semaphore,
    uploads: Arc<Permits>,
}

/// The right to send a component.
pub struct UploadPermit {
    _all: Permit,
    _tenant: Permit,
}

impl Rollouts {
    /// Over the plans of `app`.
    pub fn new(app: Arc<App>, components: Arc<Components>) -> Arc<Self> {
        let uploads = Arc::new(Permits::new(UPLOADS));
        Arc::new(Rollouts { app, components, looked_at: Semaphore::new(LOOKED_AT), uploads })
    }

    /// The process.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// To be asked before a byte of the component is read.
    pub fn begin_upload(&self, tenant: &TenantState) -> Result<UploadPermit, RolloutError> {
        let own = tenant.uploads.try_acquire().ok_or(RolloutError::TenantBusy)?;
        let all = self.uploads.try_acquire().ok_or(RolloutError::Overloaded)?;
        Ok(UploadPermit { _all: all, _tenant: own })
    }

    /// Keeps a version once its component has loaded. Whether it is new, and what was found out.
    pub async fn upload(
        &self,
        _permit: UploadPermit,
        tenant: &TenantState,
        plugin: &str,
        version: Version,
        component: Bytes,
        by: Actor,
    ) -> Result<(bool, Report), RolloutError> {
        let _turn = self.looked_at.acquire().await.map_err(|_| RolloutError::Overloaded)?;
        let name = format!("{plugin}@{version}");
        let loaded = self
            .components
            .sandbox
            .load_bytes(&name, component.clone(), &tenant.tenant.grants)
            .await
            .map_err(RolloutError::Load)?;
        let report = Report::of(&loaded);
        let new = NewVersion {
            version,
            digest: loaded.hash(),
            bytes: component.len() as u64,
            report: serde_json::to_string(&report).unwrap_or_default(),
        };
        let TenantLimits { plugin_bytes, plugin_versions, .. } = tenant.tenant.limits;
        let id = PluginId { tenant: tenant.tenant.id.to_string(), name: plugin.to_owned() };
        let registry = &self.components.registry;
        let added = registry.add(id, new, component, by, (plugin_bytes, u64::from(plugin_versions))).await?;
        Ok((added, report))
    }

    /// Follows an order; when it returns, the next request is served by what it answers.
    pub async fn order(&self, id: PluginId, order: Order, by: Actor) -> Result<Rollout, RolloutError> {
        let _changing = self.components.changing.lock().await;
        let generation = self.app.generation.load_full();
        let tenant = generation.tenants.get(&*id.tenant);
        // What does not load must not be promised.
        let serves = !matches!(order, Order::Quarantine(_) | Order::Release(_));
        if let (Some(tenant), Some(version)) = (tenant, order.version().filter(|_| serves)) {
            self.components.version(&tenant.tenant, &id.name, version).await?;
        }
        let action = order.label();
        let rollout = self.components.registry.roll(id.clone(), order, by.clone()).await?;
        tracing::info!(
            tenant = id.tenant,
            plugin = id.name,
            action,
            actor = by.name,
            reason = by.reason,
            stable = rollout.stable.as_ref().map(tracing::field::display),
            "rollout changed"
        );
        self.app.metrics.plugin_rollouts.with_label_values(&[action]).inc();
        let plugin = tenant.and_then(|tenant| Some((tenant, plugin_named(tenant, &id.name)?)));
        if let Some((tenant, plugin)) = plugin {
            let before = plugin.serving.load_full();
            let serving = self.components.serving(
                &generation.plan,
                &tenant.tenant,
                &plugin.name,
                rollout.clone(),
                before.as_deref(),
            );
            match serving.await {
                Ok(serving) => plugin.serving.store(Some(serving)),
                Err(ComponentError::NothingServes) => plugin.serving.store(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rollout)
    }

    /// Ends the service of versions that fail too often, and judges candidates, until told to stop.
    pub async fn watch(self: Arc<Self>, mut trouble: mpsc::Receiver<Trouble>, mut stop: watch::Receiver<bool>) {
        let mut every = tokio::time::interval(JUDGED);
        loop {
            tokio::select! {
                word = trouble.recv() => match word {
                    Some(word) => self.quarantine(word).await,
                    None => return,
                },
                _ = every.tick() => self.judge(Clock::unix_millis()).await,
                _ = stop.changed() => return,
            }
        }
    }

    async fn quarantine(&self, Trouble { tenant, plugin, version }: Trouble) {
        let id = PluginId { tenant: tenant.to_string(), name: plugin.to_string() };
        let reason = format!("{version} failed too often");
        let by = Actor { name: GATEWAY.to_owned(), reason };
        match self.order(id, Order::Quarantine(version), by).await {
            // Told twice, or rolled back meanwhile.
            Ok(_) | Err(RolloutError::Registry(RegistryError::Rollout(_))) => {}
            Err(error) => tracing::error!(tenant = &*tenant, plugin = &*plugin, %error, "quarantine failed"),
        }
    }

    async fn judge(&self, now: u64) {
        let generation = self.app.generation.load_full();
        for tenant in generation.tenants.values() {
            for plugin in tenant.plugins() {
                let Some((order, reason)) = verdict(plugin, now) else { continue };
                if order == Order::Promote && generation.plan.plugins.frozen.is_some() {
                    continue;
                }
                let id = PluginId { tenant: tenant.tenant.id.to_string(), name: plugin.name.to_string() };
                let by = Actor { name: GATEWAY.to_owned(), reason: reason.to_owned() };
                if let Err(error) = self.order(id, order, by).await {
                    tracing::error!(tenant = &*tenant.tenant.id, plugin = &*plugin.name, %error, "verdict not followed");
                }
            }
        }
    }
}

/// What is to be done about a plugin's candidate now, and why.
fn verdict(plugin: &TenantPlugin, now: u64) -> Option<(Order, &'static str)> {
    let serving = plugin.serving.load();
    let (candidate, own, stable) = serving.as_ref()?.trial()?;
    match candidate.judge(own, stable, now) {
        Verdict::Wait => None,
        Verdict::Promote => Some((Order::Promote, "the trial was passed")),
        Verdict::Abandon(why) => Some((Order::Abandon, why)),
    }
}

fn plugin_named<'a>(tenant: &'a TenantState, name: &str) -> Option<&'a Arc<TenantPlugin>> {
    tenant.plugins().find(|plugin| *plugin.name == *name)
}
