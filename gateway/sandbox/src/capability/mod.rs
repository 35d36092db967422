//! Everything a guest may touch, one file per interface. What is not in this list does not exist for a guest; which of
//! it a tenant may use is decided by its grants, before anything is compiled.

mod clock;
mod config;
mod http_client;
mod kv;
mod log;
mod metrics;
mod panic;
mod wasi;

use sluis_model::plan::Grant;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::state::CallState;

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Free for everyone: names of types, last words, and the WASI subset that leads nowhere.
    Free,
    /// Only with this grant.
    Granted(Grant),
    /// Not offered.
    Never,
}

/// The whole table of imports.
pub(crate) fn offer(import: &str) -> Offer {
    match import {
        "sluis:plugin/types@1.0.0" | "sluis:plugin/panic@1.0.0" => Offer::Free,
        "sluis:plugin/log@1.0.0" => Offer::Granted(Grant::Log),
        "sluis:plugin/config@1.0.0" => Offer::Granted(Grant::Config),
        "sluis:plugin/clock@1.0.0" => Offer::Granted(Grant::Clock),
        "sluis:plugin/metrics@1.0.0" => Offer::Granted(Grant::Metrics),
        "sluis:plugin/kv@1.0.0" => Offer::Granted(Grant::Kv),
        "sluis:plugin/http-client@1.0.0" => Offer::Granted(Grant::HttpClient),
        other if wasi::offers(other) => Offer::Free,
        _ => Offer::Never,
    }
}

/// Everything of the table, linked. A component takes from it what it imports and was granted.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    panic::link(&mut linker)?;
    log::link(&mut linker)?;
    config::link(&mut linker)?;
    clock::link(&mut linker)?;
    metrics::link(&mut linker)?;
    kv::link(&mut linker)?;
    http_client::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}
