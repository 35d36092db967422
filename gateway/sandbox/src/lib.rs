//! Floor 1 of Sluis: the tenants' components, and the only crate that names wasmtime.
//!
//! What a component goes through to become a [`Plugin`]: size cap → never an artefact → its imports against the grants
//! → validation under our own ceilings and compilation in a child process → an artefact with our MAC → linked, and
//! instantiated once under limits. What a call goes through: a fresh [`wasmtime::Store`] and instance from the pool →
//! the hook under its budgets → everything dropped. Nothing survives a call.
//!
//! This crate knows no HTTP server and no queue. It returns facts ([`Outcome`]); the caller counts and logs them.

mod artefact;
mod aside;
mod call;
mod capability;
#[cfg(feature = "compiler")]
mod ceilings;
mod compile;
mod contract;
mod cpu;
mod engine;
mod error;
mod fault;
mod imports;
mod lane;
mod limiter;
#[cfg(feature = "compiler")]
pub mod limits;
mod load;
mod manner;
mod plugin;
mod state;
mod text;
mod ticker;
#[cfg(feature = "compiler")]
mod worker;

pub use error::{LoadError, SandboxError};
pub use load::{Sandbox, SandboxSettings, WorkerCommand};
pub use manner::Manner;
pub use plugin::{Facts, Hooks, Outcome, Plugin};
pub use state::{KvScope, LogLevel, LogLine, Scope};
#[cfg(feature = "compiler")]
pub use worker::compile_worker;
