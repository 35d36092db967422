//! One error per operation.

use std::path::PathBuf;

use sluis_model::rollout::{RolloutFault, Version};

use crate::claims::ClaimFault;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle in this one, has it.
    #[error("the ledger in {dir} is in use by another process{}", holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The ledger's directory.
        dir: PathBuf,
        /// Who holds it, where that can be read.
        holder: Option<u32>,
    },
    /// Written by a later version of Sluis.
    #[error("the ledger in {dir} has format {found}, this program knows formats up to {known}")]
    NewerFormat {
        /// The ledger's directory.
        dir: PathBuf,
        /// Format number in the file.
        found: i64,
        /// Newest format number of this program.
        known: i64,
    },
    /// The file is a database, but not a ledger.
    #[error("{path} is not a ledger of Sluis")]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The file or one beside it is damaged.
    #[error("the ledger {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
        reason: String,
    },
    /// There is no room for what a start has to write, not even in the reserve.
    #[error("the ledger {path} cannot be opened: its disk is full")]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Something in the directory is not what it must be: a link, a directory in the place of a file.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What stands in the way.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the ledger {path} cannot be opened: {reason}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        reason: String,
    },
}

/// Why an event is not accepted. After every one of them the event is not kept, but for [`AcceptError::Storage`] and a
/// caller that did not wait for the answer: then it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The tenant's share of the backlog is used up.
    #[error("the tenant's backlog is full")]
    TenantFull,
    /// The backlog or the accept queue is full, or a write met a full disk.
    #[error("the backlog is full")]
    Full,
    /// The backlog or the disk is so full that only more urgent events are taken.
    #[error("the backlog is nearly full")]
    Shed,
    /// The disk has next to nothing left.
    #[error("the disk is full")]
    DiskFull,
    /// Storage failed or stalls.
    #[error("storage failed")]
    Storage,
    /// The ledger is closed or closing.
    #[error("the ledger is closed")]
    Closed,
    /// An event with this id is there already.
    #[error("an event with this id exists")]
    Duplicate,
    /// The event's idempotency key cannot be taken.
    #[error(transparent)]
    Claim(#[from] ClaimFault),
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too many questions wait.
    #[error("too many reads are waiting")]
    Busy,
    /// Storage failed.
    #[error("storage failed")]
    Storage,
    /// The ledger is closed.
    #[error("the ledger is closed")]
    Closed,
}

/// Why an order about events or sinks was not carried out; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// No such event, none of its deliveries goes to that sink, or it is another tenant's.
    #[error("there is no such event")]
    NotFound,
    /// No delivery stands where this can be done to it.
    #[error("no delivery of the event is in a state that allows it")]
    NotPossible,
    /// It would be sent anew although a newer event of its key was delivered meanwhile, or is under way.
    #[error("a newer event of its key was delivered after it was given up, or is under way")]
    Overtaken,
    /// The backlog has no room for the event that takes its place.
    #[error("the backlog is full")]
    Full,
    /// Storage does not answer now.
    #[error("storage does not answer now")]
    Unavailable,
}

impl From<ReadError> for OperateError {
    fn from(_: ReadError) -> Self {
        OperateError::Unavailable
    }
}

/// Why the registry of plugins did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Versions are immutable.
    #[error("this version is there already, with other content")]
    VersionExists,
    /// Before this one, where versions only grow.
    #[error("{0} was taken before: an older version is not taken after it")]
    Older(Version),
    /// Never uploaded, or removed.
    #[error("there is no such version")]
    NoSuchVersion,
    /// It serves, or can be gone back to.
    #[error("this version is in use")]
    InUse,
    /// The tenant has as many as it may.
    #[error("the tenant has too many versions")]
    TooManyVersions,
    /// The tenant's components are as large as they may be.
    #[error("the tenant's components are too large in all")]
    TooManyBytes,
    /// The rollout does not allow it.
    #[error(transparent)]
    Rollout(#[from] RolloutFault),
    /// Storage does not answer now.
    #[error("storage does not answer now")]
    Unavailable,
}

impl From<ReadError> for RegistryError {
    fn from(_: ReadError) -> Self {
        RegistryError::Unavailable
    }
}

/// Why a change of a delivery was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkError {
    /// The disk is full, or somebody else writes; worth another try.
    #[error("the ledger cannot be written now")]
    Busy,
    /// Storage failed.
    #[error("storage failed")]
    Storage,
    /// The ledger is closed.
    #[error("the ledger is closed")]
    Closed,
    /// The delivery is not there, or its state does not allow it.
    #[error("the delivery cannot take this change")]
    Refused,
}
