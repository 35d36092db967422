//! Everything a guest may touch, one file per interface. What is not in this list does not exist for a guest; which of
//! it a tenant may use is decided by its grants, before anything is compiled.

mod config;
mod log;
mod wasi;

use sluis_model::plan::Grant;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::state::CallState;

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Free for everyone: names of types, and the WASI subset that leads nowhere.
    Free,
    /// Only with this grant.
    Granted(Grant),
    /// Not offered.
    Never,
}

/// The whole table of imports.
pub(crate) fn offer(import: &str) -> Offer {
    match import {
        "sluis:plugin/types@1.0.0" => Offer::Free,
        "sluis:plugin/log@1.0.0" => Offer::Granted(Grant::Log),
        "sluis:plugin/config@1.0.0" => Offer::Granted(Grant::Config),
        other if wasi::offers(other) => Offer::Free,
        _ => Offer::Never,
    }
}

/// Everything of the table, linked. A component takes from it what it imports and was granted.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    log::link(&mut linker)?;
    config::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}
