//! Floor 1 of Sluis: durable events; the only crate that names a database or a broker.
//!
//! Invariants:
//! 1. [`Ledger::accept`] returns `Ok` only after the transaction that holds the event is on stable storage.
//! 2. An event leaves only when its sink confirmed, or the tenant's plugin for that sink said that it is done. A crash
//!    may repeat an attempt, with the same event id and a higher attempt number; it never loses one.
//! 3. One thread writes. Everything that changes state goes through it and is committed in groups.
//! 4. After a failed commit nothing more is accepted or delivered by this process: the writer is poisoned, and
//!    [`Ledger::health`] says so. What was being written then may be kept, but nobody is told that it is. A full disk is
//!    not such a failure; it refuses until there is room again.
//! 5. Every arrow of the state machine in [`sluis_model::event`] is a row with time, actor and reason.

#![forbid(unsafe_code)]

mod backlog;
mod claims;
pub mod clock;
mod deliver;
mod error;
mod housekeeping;
mod kv;
mod ledger;
mod observer;
mod operate;
mod purge;
mod registry;
pub mod sink;
mod status;
mod store;
mod upkeep;

pub use backlog::{Backlog, SinkDepth};
pub use claims::{Claim, ClaimFault, ClaimQuota, Claimed, Keyed, Place, StoredAnswer};
pub use error::{AcceptError, OpenError, OperateError, ReadError, RegistryError};
pub use ledger::{Health, Ledger, Options};
pub use observer::{NoObserver, Observer};
pub use operate::{
    By, Cursor, Filter, Listed, NewBody, OPERATOR, OperateEntry, Operated, Operation, Page, SinkHold, Subject,
};
pub use registry::{Actor, AuditEntry, NewVersion, PluginId, PluginVersion, Registry, UploadPolicy};
pub use status::{DeliveryStatus, EventStatus, HistoryEntry, LastError, rfc3339};
pub use upkeep::{Finding, Repaired, Report, UpkeepError, backup, repair, verify};
