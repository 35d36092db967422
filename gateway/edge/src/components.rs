//! From the plan's tenants and slots to loaded components.

use std::collections::HashMap;
use std::sync::Arc;

use sluis_model::plan::{Plan, Tenant};
use sluis_sandbox::{LoadError, Sandbox};
use tokio::task::JoinSet;

use crate::state::{Generation, LoadedPlugins};

/// A component that did not load; its slot keeps what it had, or answers 503.
#[derive(Debug)]
pub struct Unloaded {
    /// Whose.
    pub tenant: Arc<str>,
    /// Which slot.
    pub slot: Arc<str>,
    /// Which component.
    pub component: Arc<str>,
    /// Why.
    pub error: LoadError,
}

/// Components that are looked at at once; the sandbox compiles fewer.
const AT_ONCE: usize = 8;

/// Loads every tenant's components. One that fails leaves the others alone: where the slot had one before, that
/// stays.
pub async fn load(
    sandbox: &Arc<Sandbox>,
    plan: &Plan,
    previous: Option<&Generation>,
) -> (LoadedPlugins, Vec<Unloaded>) {
    let mut loaded: LoadedPlugins = HashMap::new();
    let mut failed = Vec::new();
    let mut waiting = slots(plan);
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((tenant, slot, component)) = waiting.pop()
        {
            let (sandbox, file) = (sandbox.clone(), plan.plugins.dir.join(format!("{component}.wasm")));
            running.spawn(async move {
                let result = sandbox.load(&file, &tenant.grants).await;
                (tenant.id.clone(), slot, component, result)
            });
        }
        let (tenant, slot, component, result) = match running.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                tracing::error!(%error, "a component was given up");
                continue;
            }
            None => return (loaded, failed),
        };
        match result {
            Ok(plugin) => {
                loaded.insert((tenant, slot), plugin);
            }
            Err(error) => {
                let before = previous.and_then(|p| p.tenants.get(&tenant)).and_then(|t| t.plugins.get(&slot));
                if let Some(before) = before {
                    loaded.insert((tenant.clone(), slot.clone()), before.clone());
                }
                failed.push(Unloaded { tenant, slot, component, error });
            }
        }
    }
}

/// Every tenant's slots with the components that they name.
fn slots(plan: &Plan) -> Vec<(Arc<Tenant>, Arc<str>, Arc<str>)> {
    let mut slots = Vec::new();
    for tenant in plan.tenants.values() {
        slots.extend(tenant.plugins.iter().map(|(slot, component)| (tenant.clone(), slot.clone(), component.clone())));
    }
    slots
}

/// Tells the operator.
pub fn report(failed: &[Unloaded]) {
    for Unloaded { tenant, slot, component, error } in failed {
        tracing::error!(tenant = &**tenant, slot = &**slot, component = &**component, %error, "component not loaded");
    }
}
