//! Changes of what serves while requests go on: orders, and the judgement of versions by what they do.

use std::sync::Arc;
use std::time::Duration;

use sluis_fixture::SectionError;
use sluis_ledger::{Actor, PluginId, RegistryError};
use sluis_model::plan::{Plan, Tenant};
use sluis_model::rollout::{Order, Rollout, Verdict, Version};
use sluis_model::signature::SignatureFault;
use sluis_sandbox::LoadError;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::components::{ComponentError, Components};
use crate::lagging::Lagging;
use crate::serving::TenantPlugin;
use crate::state::{App, Generation, TenantState};
use crate::uploads::Uploads;

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
    /// The fixtures that it carries cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SectionError),
    /// The tenant's uploads must be signed, and this one is not as it must be.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// They do not hold.
    #[error("{}", .0.join("; "))]
    Fixtures(Vec<String>),
    /// The registry, or the state of the rollout.
    #[error(transparent)]
    Registry(RegistryError),
    /// The operator wants nothing changed now, for this reason.
    #[error("{0}")]
    Frozen(String),
    /// What a verdict was about has been changed meanwhile.
    #[error("changed meanwhile")]
    Outdated,
    /// The gateway failed.
    #[error("the order was given up")]
    GivenUp,
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

/// The one place where what serves is changed by anything but a new plan.
pub struct Rollouts {
    app: Arc<App>,
    /// Where components come from.
    pub components: Arc<Components>,
    /// Who may send a component now, and whose is looked at.
    pub(crate) uploads: Uploads,
    /// What could not be loaded when it was to serve.
    lagging: Lagging,
}

impl Rollouts {
    /// Over the plans of `app`.
    pub fn new(app: Arc<App>, components: Arc<Components>) -> Arc<Self> {
        Arc::new(Rollouts { app, components, uploads: Uploads::default(), lagging: Lagging::default() })
    }

    /// The process.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Follows an order; when it returns, the next request is served by what it answers. It is followed to its end although
    /// nobody waits for that any more: what is on disk must not differ from what serves.
    pub async fn order(
        self: &Arc<Self>,
        id: PluginId,
        order: Order,
        by: Actor,
        only: Only,
    ) -> Result<Rollout, RolloutError> {
        let this = self.clone();
        to_its_end(async move { this.follow(id, order, by, only).await }).await
    }

    async fn follow(&self, id: PluginId, order: Order, by: Actor, only: Only) -> Result<Rollout, RolloutError> {
        let _changing = self.components.changing.lock().await;
        let generation = self.app.generation.load_full();
        let plugin = plugin_of(&generation, &id);
        only.check(&generation, plugin.map(|(_, plugin)| plugin))?;
        // What does not load must not be promised.
        let tenant = generation.tenants.get(&*id.tenant);
        if let (Some(tenant), Some(version)) = (tenant, self.will_serve(&id, &order).await?) {
            self.components.version(&tenant.tenant, &id.name, &version).await?;
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
        if let Some((tenant, plugin)) = plugin {
            if let Err(error) = self.serve(&generation.plan, &tenant.tenant, plugin, &rollout).await {
                self.lagging.failed(id, 0, self.app.clock.now());
                return Err(error.into());
            }
            self.lagging.caught_up(&id);
        }
        Ok(rollout)
    }

    /// Lets serve what `rollout` says. What was taken out of service serves no more, although not all of what is to serve
    /// loads now.
    async fn serve(
        &self,
        plan: &Plan,
        tenant: &Tenant,
        plugin: &TenantPlugin,
        rollout: &Rollout,
    ) -> Result<(), ComponentError> {
        let before = plugin.serving.load_full();
        let serving = self.components.serving(plan, tenant, &plugin.name, rollout.clone(), before.as_deref());
        match serving.await {
            Ok(serving) => plugin.serving.store(Some(serving)),
            Err(ComponentError::NothingServes) => plugin.serving.store(None),
            Err(error) => {
                if let Some(before) = &before {
                    let alone = before.stable_alone(rollout);
                    if alone.is_some() || before.reaches_quarantined(rollout) {
                        plugin.serving.store(alone);
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The version that an order lets serve, where that is not one that serves already.
    async fn will_serve(&self, id: &PluginId, order: &Order) -> Result<Option<Version>, RegistryError> {
        Ok(match order {
            Order::Quarantine(_) | Order::Release(_) => None,
            Order::RollBack(None) => self.components.registry.rollout(id).await?.earlier.first().cloned(),
            order => order.version().cloned(),
        })
    }

    /// Ends the service of versions that fail too often, judges candidates, and tries again what could not be loaded, until
    /// told to stop.
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

    async fn quarantine(self: &Arc<Self>, Trouble { tenant, plugin, version }: Trouble) {
        let id = PluginId { tenant: tenant.to_string(), name: plugin.to_string() };
        let reason = format!("{version} failed too often");
        let by = Actor { name: GATEWAY.to_owned(), reason };
        match self.order(id, Order::Quarantine(version), by, Only::default()).await {
            // Told twice, or rolled back meanwhile.
            Ok(_) | Err(RolloutError::Registry(RegistryError::Rollout(_))) => {}
            Err(error) => tracing::error!(tenant = &*tenant, plugin = &*plugin, %error, "quarantine failed"),
        }
    }

    async fn judge(self: &Arc<Self>, now: u64) {
        let generation = self.app.generation.load_full();
        for tenant in generation.tenants.values() {
            for plugin in tenant.plugins() {
                let Some(Judged { order, reason, revision }) = verdict(plugin, now) else { continue };
                let only = Only { revision: Some(revision), unless_frozen: order == Order::Promote };
                let id = PluginId { tenant: tenant.tenant.id.to_string(), name: plugin.name.to_string() };
                let by = Actor { name: GATEWAY.to_owned(), reason: reason.to_owned() };
                match self.order(id, order, by, only).await {
                    Ok(_) | Err(RolloutError::Frozen(_) | RolloutError::Outdated) => {}
                    Err(error) => {
                        tracing::error!(tenant = &*tenant.tenant.id, plugin = &*plugin.name, %error, "verdict not followed")
                    }
                }
            }
        }
        self.catch_up().await;
    }

    /// Tries once more to load what could not be loaded when it was to serve: one plugin, as orders wait meanwhile.
    async fn catch_up(self: &Arc<Self>) {
        if self.lagging.due(self.app.clock.now()).is_none() {
            return;
        }
        let _changing = self.components.changing.lock().await;
        // It may have been loaded for an order meanwhile.
        let Some((id, number)) = self.lagging.due(self.app.clock.now()) else { return };
        let (this, plugin) = (self.clone(), id.clone());
        let done = to_its_end(async move { this.serve_again(&plugin).await.map_err(RolloutError::from) }).await;
        match done {
            Ok(()) => {
                self.lagging.caught_up(&id);
                tracing::info!(tenant = id.tenant, plugin = id.name, "what could not be loaded serves");
            }
            Err(error) => {
                let again = self.lagging.failed(id.clone(), number, self.app.clock.now());
                tracing::error!(tenant = id.tenant, plugin = id.name, %error, again, "what is to serve does not load");
            }
        }
    }

    /// Lets serve what the registry says of a plugin, if the plan still has it.
    async fn serve_again(&self, id: &PluginId) -> Result<(), ComponentError> {
        let generation = self.app.generation.load_full();
        let Some((tenant, plugin)) = plugin_of(&generation, id) else { return Ok(()) };
        let rollout = self.components.registry.rollout(id).await?;
        self.serve(&generation.plan, &tenant.tenant, plugin, &rollout).await
    }
}

/// Does it whoever waits for it: what is on disk must not differ from what was said, nor from what serves.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, RolloutError>> + Send + 'static,
) -> Result<T, RolloutError> {
    tokio::spawn(work).await.unwrap_or(Err(RolloutError::GivenUp))
}

/// What must still be so when an order's turn has come, for it to be followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Only {
    /// What serves is this revision of the rollout.
    pub revision: Option<u64>,
    /// The operator has not frozen what serves.
    pub unless_frozen: bool,
}

impl Only {
    fn check(self, generation: &Generation, plugin: Option<&Arc<TenantPlugin>>) -> Result<(), RolloutError> {
        if let Some(reason) = generation.plan.plugins.frozen.as_ref().filter(|_| self.unless_frozen) {
            return Err(RolloutError::Frozen(reason.to_string()));
        }
        let Some(revision) = self.revision else { return Ok(()) };
        let serving = plugin.and_then(|plugin| plugin.serving.load_full());
        let is_same = serving.is_some_and(|serving| serving.rollout().revision == revision);
        if is_same { Ok(()) } else { Err(RolloutError::Outdated) }
    }
}

/// What is to be done about a candidate, and why.
struct Judged {
    order: Order,
    reason: &'static str,
    /// Of the rollout that it is a candidate of.
    revision: u64,
}

/// What is to be done about a plugin's candidate now.
fn verdict(plugin: &TenantPlugin, now: u64) -> Option<Judged> {
    let serving = plugin.serving.load();
    let serving = serving.as_ref()?;
    let (candidate, own, stable) = serving.trial()?;
    let (order, reason) = match candidate.judge(own, stable, now) {
        Verdict::Wait => return None,
        Verdict::Promote => (Order::Promote, "the trial was passed"),
        Verdict::Abandon(why) => (Order::Abandon, why),
    };
    Some(Judged { order, reason, revision: serving.rollout().revision })
}

/// A plugin that one of its tenant's slots names.
fn plugin_of<'a>(generation: &'a Generation, id: &PluginId) -> Option<(&'a Arc<TenantState>, &'a Arc<TenantPlugin>)> {
    let tenant = generation.tenants.get(&*id.tenant)?;
    let plugin = tenant.plugins().find(|plugin| *plugin.name == *id.name)?;
    Some((tenant, plugin))
}
