//! Versions of the tenants' plugins, which of them serve, and who changed that, as statements of the running transaction.

use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::rollout::{Order, Rollout, Version};

use crate::error::RegistryError;
use crate::registry::{Actor, AuditEntry, NewVersion, PluginId, PluginVersion, UploadPolicy};

/// Entries of the audit that are kept of a tenant.
const AUDIT: i64 = 1_000;

/// A change of the registry.
#[derive(Debug)]
pub(crate) struct RegistryEdit {
    pub plugin: PluginId,
    pub change: Change,
    pub by: Actor,
    /// Milliseconds since the epoch.
    pub at: u64,
}

/// What is to be changed.
#[derive(Debug)]
pub(crate) enum Change {
    Add { version: NewVersion, policy: UploadPolicy },
    Remove { version: Version },
    Roll { order: Order },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Whether the version is a new one; false where it was there, byte for byte.
    Added(bool),
    /// Digest of a component that no version has any more.
    Removed(Option<[u8; 32]>),
    Rolled(Rollout),
}

/// The tables `plugin_versions`, `plugin_floors`, `plugin_rollouts` and `plugin_audit`.
pub(crate) struct RegistryTables<'c> {
    digest: Statement<'c>,
    sums: Statement<'c>,
    newest: Statement<'c>,
    add: Statement<'c>,
    forget_floors: Statement<'c>,
    add_floor: Statement<'c>,
    remove: Statement<'c>,
    shared: Statement<'c>,
    rollout: Statement<'c>,
    roll: Statement<'c>,
    audit: Statement<'c>,
    forget: Statement<'c>,
}

impl<'c> RegistryTables<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<RegistryTables<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(RegistryTables {
            digest: sql("SELECT digest FROM plugin_versions WHERE tenant = ?1 AND plugin = ?2 AND version = ?3")?,
            sums: sql("SELECT count(*), coalesce(sum(bytes), 0) FROM plugin_versions WHERE tenant = ?1")?,
            newest: sql("SELECT version FROM plugin_versions WHERE tenant = ?1 AND plugin = ?2
                UNION ALL SELECT version FROM plugin_floors WHERE tenant = ?1 AND plugin = ?2")?,
            add: sql("INSERT INTO plugin_versions
                (tenant, plugin, version, digest, bytes, report, uploaded_at, uploaded_by)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            forget_floors: sql("DELETE FROM plugin_floors WHERE tenant = ?1 AND plugin = ?2")?,
            add_floor: sql("INSERT INTO plugin_floors (tenant, plugin, version) VALUES (?1, ?2, ?3)")?,
            remove: sql("DELETE FROM plugin_versions WHERE tenant = ?1 AND plugin = ?2 AND version = ?3")?,
            shared: sql("SELECT 1 FROM plugin_versions WHERE digest = ?1")?,
            rollout: sql("SELECT rollout FROM plugin_rollouts WHERE tenant = ?1 AND plugin = ?2")?,
            roll: sql("INSERT INTO plugin_rollouts (tenant, plugin, rollout, changed_at) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (tenant, plugin) DO UPDATE SET rollout = excluded.rollout, changed_at = excluded.changed_at")?,
            audit: sql("INSERT INTO plugin_audit (at, tenant, plugin, actor, action, version, reason)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            forget: sql("DELETE FROM plugin_audit WHERE tenant = ?1 AND seq <=
                (SELECT seq FROM plugin_audit WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)")?,
        })
    }

    pub fn edit(&mut self, edit: &RegistryEdit) -> rusqlite::Result<Result<Changed, RegistryError>> {
        let done = match &edit.change {
            Change::Add { version, policy } => self.add(&edit.plugin, version, *policy, edit)?,
            Change::Remove { version } => self.remove(&edit.plugin, version)?,
            Change::Roll { order } => self.roll(&edit.plugin, order, edit.at)?,
        };
        if done.as_ref().is_ok_and(|changed| *changed != Changed::Added(false)) {
            self.write_audit(edit)?;
        }
        Ok(done)
    }

    fn add(
        &mut self,
        plugin: &PluginId,
        version: &NewVersion,
        policy: UploadPolicy,
        edit: &RegistryEdit,
    ) -> rusqlite::Result<Result<Changed, RegistryError>> {
        if policy.only_newer
            && let Some(newest) = self.newest_of(plugin)?
            && version.version < newest
        {
            return Ok(Err(RegistryError::Older(newest)));
        }
        let is_new = match self.digest_of(plugin, &version.version)? {
            None => true,
            Some(digest) if digest == version.digest => false,
            Some(_) => return Ok(Err(RegistryError::VersionExists)),
        };
        if is_new {
            if let Err(full) = self.check_room(plugin, version, policy)? {
                return Ok(Err(full));
            }
            self.insert(plugin, version, edit)?;
        }
        if policy.only_newer {
            self.forget_floors.execute((&plugin.tenant, &plugin.name))?;
            self.add_floor.execute((&plugin.tenant, &plugin.name, version.version.to_string()))?;
        }
        Ok(Ok(Changed::Added(is_new)))
    }

    /// The newest version of a plugin that is there, or that its floor remembers.
    fn newest_of(&mut self, plugin: &PluginId) -> rusqlite::Result<Option<Version>> {
        let mut newest: Option<Version> = None;
        for found in self.newest.query_map((&plugin.tenant, &plugin.name), read_version)? {
            newest = newest.max(Some(found?));
        }
        Ok(newest)
    }

    fn check_room(
        &mut self,
        plugin: &PluginId,
        version: &NewVersion,
        policy: UploadPolicy,
    ) -> rusqlite::Result<Result<(), RegistryError>> {
        let (count, bytes): (i64, i64) =
            self.sums.query_row((&plugin.tenant,), |row| Ok((row.get(0)?, row.get(1)?)))?;
        if count.cast_unsigned() >= policy.max_versions {
            return Ok(Err(RegistryError::TooManyVersions));
        }
        let too_large = bytes.cast_unsigned().saturating_add(version.bytes) > policy.max_bytes;
        Ok(if too_large { Err(RegistryError::TooManyBytes) } else { Ok(()) })
    }

    fn insert(&mut self, plugin: &PluginId, version: &NewVersion, edit: &RegistryEdit) -> rusqlite::Result<()> {
        self.add.execute(rusqlite::params![
            plugin.tenant,
            plugin.name,
            version.version.to_string(),
            version.digest,
            version.bytes.cast_signed(),
            version.report,
            edit.at.cast_signed(),
            edit.by.name,
        ])?;
        Ok(())
    }

    fn digest_of(&mut self, plugin: &PluginId, version: &Version) -> rusqlite::Result<Option<[u8; 32]>> {
        self.digest.query_row((&plugin.tenant, &plugin.name, version.to_string()), |row| row.get(0)).optional()
    }

    fn remove(&mut self, plugin: &PluginId, version: &Version) -> rusqlite::Result<Result<Changed, RegistryError>> {
        let Some(digest) = self.digest_of(plugin, version)? else { return Ok(Err(RegistryError::NoSuchVersion)) };
        let rollout = self.rollout_of(plugin)?;
        if rollout.in_use().chain(&rollout.earlier).any(|used| used == version) {
            return Ok(Err(RegistryError::InUse));
        }
        self.remove.execute((&plugin.tenant, &plugin.name, version.to_string()))?;
        let shared = self.shared.exists((digest,))?;
        Ok(Ok(Changed::Removed((!shared).then_some(digest))))
    }

    fn roll(&mut self, plugin: &PluginId, order: &Order, at: u64) -> rusqlite::Result<Result<Changed, RegistryError>> {
        let wanted = match order {
            Order::Deploy(version) => Some(version),
            Order::Try(candidate) => Some(&candidate.version),
            _ => None,
        };
        if let Some(version) = wanted
            && self.digest_of(plugin, version)?.is_none()
        {
            return Ok(Err(RegistryError::NoSuchVersion));
        }
        let next = match self.rollout_of(plugin)?.apply(order.clone(), at) {
            Ok(next) => next,
            Err(fault) => return Ok(Err(RegistryError::Rollout(fault))),
        };
        let written =
            serde_json::to_string(&next).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.roll.execute((&plugin.tenant, &plugin.name, written, at.cast_signed()))?;
        Ok(Ok(Changed::Rolled(next)))
    }

    fn rollout_of(&mut self, plugin: &PluginId) -> rusqlite::Result<Rollout> {
        Ok(self.rollout.query_row((&plugin.tenant, &plugin.name), rollout).optional()?.unwrap_or_default())
    }

    fn write_audit(&mut self, edit: &RegistryEdit) -> rusqlite::Result<()> {
        let (action, version) = match &edit.change {
            Change::Add { version, .. } => ("upload", Some(&version.version)),
            Change::Remove { version } => ("remove", Some(version)),
            Change::Roll { order } => (order.label(), order.version()),
        };
        let PluginId { tenant, name } = &edit.plugin;
        let version = version.map(Version::to_string);
        self.audit.execute((edit.at.cast_signed(), tenant, name, &edit.by.name, action, version, &edit.by.reason))?;
        self.forget.execute((tenant, AUDIT))?;
        Ok(())
    }
}

/// Questions to the same tables.
pub(crate) struct RegistryQueries<'c> {
    digests: Statement<'c>,
    versions: Statement<'c>,
    rollouts: Statement<'c>,
    audit: Statement<'c>,
}

impl<'c> RegistryQueries<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<RegistryQueries<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(RegistryQueries {
            digests: sql("SELECT DISTINCT digest FROM plugin_versions")?,
            versions: sql("SELECT version, digest, bytes, report, uploaded_at, uploaded_by
                FROM plugin_versions WHERE tenant = ?1 AND plugin = ?2 ORDER BY uploaded_at DESC, version DESC")?,
            rollouts: sql("SELECT rollout, tenant, plugin FROM plugin_rollouts
                WHERE ?1 IS NULL OR (tenant = ?1 AND plugin = ?2)")?,
            audit: sql("SELECT seq, at, plugin, actor, reason, action, version FROM plugin_audit
                WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3")?,
        })
    }

    pub fn digests(&mut self) -> rusqlite::Result<Vec<[u8; 32]>> {
        self.digests.query_map((), |row| row.get(0))?.collect()
    }

    pub fn versions(&mut self, plugin: &PluginId) -> rusqlite::Result<Vec<PluginVersion>> {
        let version = |row: &rusqlite::Row<'_>| {
            Ok(PluginVersion {
                version: NewVersion {
                    version: read_version(row)?,
                    digest: row.get(1)?,
                    bytes: row.get::<_, i64>(2)?.cast_unsigned(),
                    report: row.get(3)?,
                },
                uploaded_at: row.get::<_, i64>(4)?.cast_unsigned(),
                uploaded_by: row.get(5)?,
            })
        };
        self.versions.query_map((&plugin.tenant, &plugin.name), version)?.collect()
    }

    pub fn rollouts(&mut self, of: Option<&PluginId>) -> rusqlite::Result<Vec<(PluginId, Rollout)>> {
        let (tenant, plugin) = (of.map(|of| &of.tenant), of.map(|of| &of.name));
        let found = |row: &rusqlite::Row<'_>| Ok((PluginId { tenant: row.get(1)?, name: row.get(2)? }, rollout(row)?));
        self.rollouts.query_map((tenant, plugin), found)?.collect()
    }

    pub fn audit(&mut self, tenant: &str, before: Option<i64>, limit: usize) -> rusqlite::Result<Vec<AuditEntry>> {
        let entry = |row: &rusqlite::Row<'_>| {
            Ok(AuditEntry {
                seq: row.get(0)?,
                at: row.get::<_, i64>(1)?.cast_unsigned(),
                plugin: row.get(2)?,
                actor: Actor { name: row.get(3)?, reason: row.get(4)? },
                action: row.get(5)?,
                version: row.get(6)?,
            })
        };
        let rows = self.audit.query_map((tenant, before.unwrap_or(i64::MAX), limit as i64), entry)?;
        rows.collect()
    }
}

/// Reads a version from the first column.
fn read_version(row: &rusqlite::Row<'_>) -> rusqlite::Result<Version> {
    let text: String = row.get(0)?;
    Version::parse(&text).map_err(|error| FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

/// Reads a rollout from the first column.
fn rollout(row: &rusqlite::Row<'_>) -> rusqlite::Result<Rollout> {
    let text: String = row.get(0)?;
    let unfit = |error: serde_json::Error| FromSqlConversionFailure(0, Type::Text, error.into());
    serde_json::from_str(&text).map_err(unfit)
}
