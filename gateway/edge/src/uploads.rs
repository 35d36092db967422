//! Components as they come in: checked, compiled, held against the fixtures that they carry, kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sluis_fixture::Named;
use sluis_ledger::{Actor, NewVersion, PluginId, UploadPolicy};
use sluis_model::hook::Usage;
use sluis_model::limits::{Permit, Permits};
use sluis_model::plan::{Tenant, TenantLimits};
use sluis_model::rollout::Version;
use sluis_model::signature::{self, SignatureFault, SignedAs};
use sluis_sandbox::Plugin;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::rollouts::{RolloutError, Rollouts, to_its_end};
use crate::state::TenantState;

/// Uploads that are looked at at once, all tenants.
const LOOKED_AT: usize = 2;
/// Uploads at once, all tenants: each has a component in memory.
const UPLOADS: usize = 8;
/// Uploads at once of one tenant.
pub const TENANT_UPLOADS: usize = 2;
/// Longest time for all fixtures of an upload: while they run, nobody else's component is looked at in its place.
const FIXTURES: Duration = Duration::from_secs(20);
/// Complaints about fixtures that are told.
const COMPLAINTS: usize = 16;
/// Bytes of one of them.
const COMPLAINT_BYTES: usize = 1 << 10;

/// How many may be under way.
pub(crate) struct Uploads {
    looked_at: Semaphore,
    permits: Arc<Permits>,
}

impl Default for Uploads {
    fn default() -> Self {
        Uploads { looked_at: Semaphore::new(LOOKED_AT), permits: Arc::new(Permits::new(UPLOADS)) }
    }
}

/// The right to send a component.
pub struct UploadPermit {
    _all: Permit,
    _tenant: Permit,
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
    /// What calling it with each of the fixtures that it carries took.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixtures: Vec<FixtureReport>,
}

/// What a call took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FixtureReport {
    /// The fixture's name.
    pub name: String,
    /// Time on the CPU, microseconds.
    pub cpu_us: u64,
    /// Linear memory at its end, KiB.
    pub memory_kib: usize,
    /// Host calls.
    pub host_calls: u32,
}

impl Report {
    fn of(plugin: &Plugin, fixtures: Vec<FixtureReport>) -> Report {
        let (hooks, facts) = (plugin.hooks(), plugin.facts());
        Report {
            digest: plugin.digest().to_owned(),
            size: facts.size,
            hooks: hooks.names().map(str::to_owned).collect(),
            imports: plugin.imports().to_vec(),
            compiled_in_ms: facts.compiled.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            fixtures,
        }
    }
}

impl Rollouts {
    /// To be asked before a byte of the component is read.
    pub fn begin_upload(&self, tenant: &TenantState) -> Result<UploadPermit, RolloutError> {
        let own = tenant.uploads.try_acquire().ok_or(RolloutError::TenantBusy)?;
        let all = self.uploads.permits.try_acquire().ok_or(RolloutError::Overloaded)?;
        Ok(UploadPermit { _all: all, _tenant: own })
    }

    /// Keeps a version once its component has loaded. Whether it is new, and what was found out. Once it is being kept that
    /// is seen through although nobody waits any more: a file without its row would be nobody's.
    pub async fn upload(
        &self,
        permit: UploadPermit,
        tenant: &TenantState,
        plugin: &str,
        version: Version,
        component: Bytes,
        by: Actor,
    ) -> Result<(bool, Report), RolloutError> {
        let _turn = self.uploads.looked_at.acquire().await.map_err(|_| RolloutError::Overloaded)?;
        let id = PluginId { tenant: tenant.tenant.id.to_string(), name: plugin.to_owned() };
        let signed_as = SignedAs { tenant: &id.tenant, plugin: &id.name, version: &version };
        let is_signed = check_signature(&tenant.tenant, signed_as, &component)?;
        let name = format!("{plugin}@{version}");
        let loaded = self
            .components
            .sandbox
            .load_bytes(&name, component.clone(), &tenant.tenant.grants)
            .await
            .map_err(RolloutError::Load)?;
        let held = tokio::time::timeout(FIXTURES, self.hold_against_fixtures(&loaded, &component)).await;
        let too_long = |_| RolloutError::Fixtures(vec![format!("they took longer than {} s", FIXTURES.as_secs())]);
        let report = Report::of(&loaded, held.map_err(too_long)??);
        let new = NewVersion {
            version,
            digest: loaded.hash(),
            bytes: component.len() as u64,
            report: serde_json::to_string(&report).unwrap_or_default(),
        };
        let TenantLimits { plugin_bytes, plugin_versions, .. } = tenant.tenant.limits;
        // Whoever holds an old signature must not get back behind what was kept.
        let policy =
            UploadPolicy { max_bytes: plugin_bytes, max_versions: u64::from(plugin_versions), only_newer: is_signed };
        let components = self.components.clone();
        let kept = to_its_end(async move {
            let _permit = permit;
            components.registry.add(id, new, component, by, policy).await.map_err(RolloutError::from)
        });
        Ok((kept.await?, report))
    }

    /// Removes a version that neither serves nor can be gone back to.
    pub async fn remove(&self, id: PluginId, version: Version, by: Actor) -> Result<(), RolloutError> {
        let components = self.components.clone();
        to_its_end(async move { components.registry.remove(id, version, by).await.map_err(RolloutError::from) }).await
    }

    /// Calls a component with the fixtures that it carries, within the limits that it will serve under.
    async fn hold_against_fixtures(&self, plugin: &Plugin, bytes: &[u8]) -> Result<Vec<FixtureReport>, RolloutError> {
        let limits = self.app().generation.load().plan.plugins.call;
        let (mut reports, mut complaints) = (Vec::new(), Vec::new());
        for Named { name, fixture } in sluis_fixture::attached(bytes)? {
            let outcome = sluis_fixture::run(plugin, &fixture, &limits).await;
            let told = outcome.complaints.into_iter().take(COMPLAINTS - complaints.len());
            complaints.extend(told.map(|complaint| cut(format!("{name}: {complaint}"))));
            if complaints.len() >= COMPLAINTS {
                break;
            }
            let Usage { cpu, memory, host_calls, .. } = outcome.called.usage;
            let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
            reports.push(FixtureReport { name, cpu_us, memory_kib: memory >> 10, host_calls });
        }
        if complaints.is_empty() { Ok(reports) } else { Err(RolloutError::Fixtures(complaints)) }
    }
}

/// Where a tenant's uploads must be signed: by one of its keys, as this very version. Whether they must.
fn check_signature(tenant: &Tenant, signed_as: SignedAs<'_>, component: &[u8]) -> Result<bool, SignatureFault> {
    let keys = &tenant.signing_keys;
    if keys.is_empty() {
        return Ok(false);
    }
    signature::verify(component, keys, signed_as, Clock::unix_millis() / 1000)?;
    Ok(true)
}

/// A complaint as it is told: what it quotes is the component's.
fn cut(mut complaint: String) -> String {
    complaint.truncate(complaint.floor_char_boundary(COMPLAINT_BYTES));
    complaint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_cut_at_a_character() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut(format!("x{}", "ü".repeat(COMPLAINT_BYTES)));
        assert_eq!(long.len(), COMPLAINT_BYTES - 1);
    }
}
