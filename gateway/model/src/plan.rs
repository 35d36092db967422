//! Configuration as checked: nothing optional is left that has a default, every name is resolved, every limit has
//! its number. The rest of the program sees only this; `config` is the only writer.

mod issuer;
mod listener;
mod route;
mod sink;
mod tenant;
mod upstream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use issuer::{Algorithm, Issuer, Jwks};
pub use listener::{Admin, AdminAuth, CertificateFiles, Listener, Server, ServerLimits, Tls};
pub use route::{Action, Auth, BodyFormat, Enqueue, Otherwise, Route};
pub use sink::{EventFormat, HttpSink, Order, Sink, SinkKind};
pub use tenant::{Grant, OnError, Record, Tenant, TenantLimits};
pub use upstream::{Endpoint, Upstream, UpstreamProtocol, UpstreamTls};

use crate::route::Router;

/// One generation of configuration, immutable. In-flight requests finish on the plan they began with.
#[derive(Debug)]
pub struct Plan {
    /// BLAKE3 of the sources, hex: tells two generations apart.
    pub digest: String,
    /// Where customers come in.
    pub listeners: Vec<Listener>,
    /// Where operators come in; never one of `listeners`.
    pub admin: Admin,
    /// Process-wide settings.
    pub server: Server,
    /// Token issuers, by position.
    pub issuers: Vec<Arc<Issuer>>,
    /// Systems that requests are forwarded to, by name.
    pub upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// Systems that events are delivered to, by name.
    pub sinks: HashMap<Arc<str>, Arc<Sink>>,
    /// Routes in the order written, and the index over them.
    pub router: Router,
    /// Tenants by id.
    pub tenants: HashMap<Arc<str>, Arc<Tenant>>,
    /// Where components come from and what each call may use.
    pub plugins: Plugins,
    /// The durable store.
    pub ledger: Ledger,
    /// As written, with every default filled in, paths absolute and secrets redacted: for people.
    pub resolved: serde_json::Value,
}

/// Where components come from and what each call may use.
#[derive(Debug, Clone)]
pub struct Plugins {
    /// `NAME.wasm` files.
    pub dir: PathBuf,
    /// Largest component file.
    pub component_bytes: usize,
    /// Compile worker: CPU time.
    pub compile_timeout: Duration,
    /// Compile worker: address space.
    pub compile_memory: u64,
    /// Sandbox slots in the pool.
    pub instances: u32,
    /// Each call.
    pub call: CallLimits,
    /// Tenants may not change what serves.
    pub frozen: Option<Arc<str>>,
}

/// What one plugin call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Time on the CPU.
    pub cpu: Duration,
    /// Time in all, host calls included.
    pub wall: Duration,
    /// Linear memory, all memories together.
    pub memory: usize,
    /// Host calls of every kind.
    pub host_calls: u32,
    /// Requests to other systems.
    pub http_requests: u32,
    /// Log lines.
    pub log_lines: u32,
    /// Bytes of one log line.
    pub log_line_bytes: usize,
}

/// The durable store.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Undelivered bytes, all tenants.
    pub max_bytes: u64,
    /// Finished events are kept this long.
    pub retention: Duration,
    /// Dead events are kept this long.
    pub dead_retention: Duration,
    /// Events in one commit at most.
    pub max_batch: usize,
    /// Who is refused before the backlog or the disk is full.
    pub shedding: crate::shedding::Shedding,
}

/// A value that never shows in logs, errors or the resolved plan.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Secret(value.into())
    }

    /// The value itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
