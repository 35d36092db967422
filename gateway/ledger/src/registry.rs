//! The tenants' plugins: immutable versions, and which of them serve. Components are files beside the database, named by
//! their digest; a version is there once its row is on stable storage, and its file was before.

use std::collections::HashSet;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sluis_model::rollout::{Order, Rollout, Version};
use tokio::sync::Mutex;

use crate::error::{OpenError, RegistryError};
use crate::ledger::Ledger;
use crate::store::{Change, Changed, RegistryEdit};

/// A tenant's plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId {
    /// Id of the tenant.
    pub tenant: String,
    /// `[a-z0-9-]{1,63}`.
    pub name: String,
}

/// Who changes something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// A token's subject, or a part of the gateway.
    pub name: String,
    /// In the actor's words; may be empty.
    pub reason: String,
}

/// A version that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Semantic version (semver.org 2.0.0).
    pub version: Version,
    /// BLAKE3 of the component.
    pub digest: [u8; 32],
    /// Length of the component.
    pub bytes: u64,
    /// What was found out about it, as JSON.
    pub report: String,
}

/// What a version must keep to when it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPolicy {
    /// Bytes of all components of the tenant.
    pub max_bytes: u64,
    /// Versions of all plugins of the tenant.
    pub max_versions: u64,
    /// No version before the newest that is there, or that ever came by this rule: removing that one must not open the way
    /// back.
    pub only_newer: bool,
}

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginVersion {
    /// What was uploaded.
    pub version: NewVersion,
    /// Milliseconds since the epoch.
    pub uploaded_at: u64,
    /// The actor's name.
    pub uploaded_by: String,
}

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts all entries of the ledger.
    pub seq: i64,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// Which plugin.
    pub plugin: String,
    /// Who.
    pub actor: Actor,
    /// What: `upload`, `remove`, `deploy`, `try`, `promote`, `abandon`, `rollback`, `quarantine` or `release`.
    pub action: String,
    /// Which version, where the action has one.
    pub version: Option<String>,
}

/// See the module.
pub struct Registry {
    ledger: Arc<Ledger>,
    dir: PathBuf,
    /// Held while a file and its row are changed together.
    files: Mutex<()>,
}

impl Registry {
    /// Opens the registry of a ledger, with components in `dir`, which is made where it is missing. Files that belong to
    /// no version (of an upload that was cut off) are removed.
    pub async fn open(ledger: Arc<Ledger>, dir: &Path) -> Result<Registry, OpenError> {
        let io = |source| OpenError::Io { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io)?;
        let unread = |_| OpenError::Database { path: dir.to_owned(), reason: "it cannot be read".to_owned() };
        let known: HashSet<String> =
            ledger.store.plugin_digests().await.map_err(unread)?.iter().map(file_name).collect();
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if !known.contains(&*entry.file_name().to_string_lossy()) {
                std::fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(Registry { ledger, dir: dir.to_owned(), files: Mutex::new(()) })
    }

    /// Keeps a version; `component` has the version's digest. Answers whether it is new: the same bytes under the same
    /// version are there already, other bytes are refused. To be run to its end, as [`Registry::remove`]: a file whose row
    /// was given up on stays until the next start.
    pub async fn add(
        &self,
        plugin: PluginId,
        version: NewVersion,
        component: Bytes,
        by: Actor,
        policy: UploadPolicy,
    ) -> Result<bool, RegistryError> {
        let _files = self.files.lock().await;
        let (dir, digest) = (self.dir.clone(), version.digest);
        let written = tokio::task::spawn_blocking(move || write(&dir, &digest, &component)).await;
        let new_file = match written {
            Ok(Ok(new)) => new,
            Ok(Err(error)) => {
                tracing::error!(%error, "a component was not written");
                return Err(RegistryError::Unavailable);
            }
            Err(_) => return Err(RegistryError::Unavailable),
        };
        let added = self.change(plugin, Change::Add { version, policy }, by).await;
        // Where storage does not answer the row may be there all the same; then the file is needed.
        if new_file && added.as_ref().is_err_and(|error| *error != RegistryError::Unavailable) {
            self.remove_file(&digest);
        }
        Ok(added? == Changed::Added(true))
    }

    /// The component of a version.
    pub async fn component(&self, digest: &[u8; 32]) -> Result<Vec<u8>, RegistryError> {
        let path = self.path(digest);
        match tokio::fs::read(&path).await {
            Ok(bytes) if blake3::hash(&bytes) == *digest => Ok(bytes),
            Ok(_) => {
                tracing::error!(path = %path.display(), "a component is damaged");
                Err(RegistryError::Unavailable)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(RegistryError::NoSuchVersion),
            Err(error) => {
                tracing::error!(%error, "a component was not read");
                Err(RegistryError::Unavailable)
            }
        }
    }

    /// Removes a version that neither serves nor can be gone back to.
    pub async fn remove(&self, plugin: PluginId, version: Version, by: Actor) -> Result<(), RegistryError> {
        let _files = self.files.lock().await;
        if let Changed::Removed(Some(digest)) = self.change(plugin, Change::Remove { version }, by).await? {
            self.remove_file(&digest);
        }
        Ok(())
    }

    /// Follows an order, and answers what came of it.
    pub async fn roll(&self, plugin: PluginId, order: Order, by: Actor) -> Result<Rollout, RegistryError> {
        match self.change(plugin, Change::Roll { order }, by).await? {
            Changed::Rolled(rollout) => Ok(rollout),
            Changed::Added(_) | Changed::Removed(_) => Err(RegistryError::Unavailable),
        }
    }

    /// The versions of a plugin, the last uploaded first.
    pub async fn versions(&self, plugin: &PluginId) -> Result<Vec<PluginVersion>, RegistryError> {
        Ok(self.ledger.store.plugin_versions(plugin).await?)
    }

    /// What serves of one plugin; a rollout without anything where nothing was deployed.
    pub async fn rollout(&self, plugin: &PluginId) -> Result<Rollout, RegistryError> {
        let rollouts = self.ledger.store.plugin_rollouts(Some(plugin)).await?;
        Ok(rollouts.into_iter().next().map(|(_, rollout)| rollout).unwrap_or_default())
    }

    /// What serves of all plugins.
    pub async fn rollouts(&self) -> Result<Vec<(PluginId, Rollout)>, RegistryError> {
        Ok(self.ledger.store.plugin_rollouts(None).await?)
    }

    /// What was done with a tenant's plugins, the last first: `limit` entries before `before`.
    pub async fn audit(
        &self,
        tenant: &str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        Ok(self.ledger.store.plugin_audit(tenant, before, limit).await?)
    }

    async fn change(&self, plugin: PluginId, change: Change, by: Actor) -> Result<Changed, RegistryError> {
        self.ledger.store.registry(RegistryEdit { plugin, change, by, at: self.ledger.clock.now() }).await
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        self.dir.join(file_name(digest))
    }

    fn remove_file(&self, digest: &[u8; 32]) {
        if let Err(error) = std::fs::remove_file(self.path(digest)) {
            tracing::warn!(%error, "a component that nobody needs was not removed");
        }
    }
}

fn file_name(digest: &[u8; 32]) -> String {
    format!("{}.wasm", blake3::Hash::from_bytes(*digest).to_hex())
}

/// Puts the file where it is not yet, whole and durable. Answers whether it is new.
fn write(dir: &Path, digest: &[u8; 32], component: &[u8]) -> std::io::Result<bool> {
    let path = dir.join(file_name(digest));
    if std::fs::read(&path).is_ok_and(|there| there == component) {
        return Ok(false);
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(component)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    std::fs::File::open(dir)?.sync_all()?;
    Ok(true)
}
