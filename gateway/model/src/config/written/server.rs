//! The process: sockets, limits before a route is known, plugins, ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{units::*, words::*};
use super::yes;

/// Process-wide settings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Worker threads of the ingress. A change needs a restart.
    #[serde(default)]
    pub threads: Count<1, 1024, 2>,
    /// Directory for the ledger, compiled plugins and cached keys.
    #[serde(default = "Server::state_dir")]
    pub state_dir: FilePath,
    /// Unix socket over which a new process takes the listeners from an old one; `upgrade.sock` in `state_dir` by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_socket: Option<FilePath>,
    /// Longest wait for requests in flight after SIGTERM.
    #[serde(default)]
    pub drain: Period<0, { h(1) }, { s(30) }>,
    /// One JSON line per request on standard output.
    #[serde(default = "yes")]
    pub access_log: bool,
    /// Limits that hold before a route is known.
    #[serde(default)]
    pub limits: ServerLimits,
}

impl Server {
    fn state_dir() -> FilePath {
        FilePath::new("state")
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            threads: Count::default(),
            state_dir: Server::state_dir(),
            upgrade_socket: None,
            drain: Period::default(),
            access_log: yes(),
            limits: ServerLimits::default(),
        }
    }
}

/// Limits that hold before a route is known.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerLimits {
    /// Open connections, all listeners together.
    #[serde(default)]
    pub connections: Count<1, 1_000_000, 50_000>,
    /// Open connections from one address.
    #[serde(default)]
    pub connections_per_address: Count<1, 1_000_000, 512>,
    /// Requests in flight, all tenants together.
    #[serde(default)]
    pub in_flight: Count<1, 1_000_000, 10_000>,
    /// Bytes of a request line and its fields.
    #[serde(default)]
    pub head_bytes: Size<{ kib(1) }, { kib(256) }, { kib(16) }>,
    /// Bytes of a request target.
    #[serde(default)]
    pub target_bytes: Size<64, { kib(128) }, { kib(8) }>,
    /// Number of fields in a request head.
    #[serde(default)]
    pub fields: Count<8, 1000, 100>,
    /// From the first byte of a request head to its end.
    #[serde(default)]
    pub head_timeout: Period<{ ms(100) }, { min(5) }, { s(10) }>,
    /// Longest idle time of a kept connection.
    #[serde(default)]
    pub idle_timeout: Period<{ s(1) }, { h(1) }, { s(60) }>,
    /// Longest wait for more of a request body; waits add up to it, and each KiB that comes makes good for a second.
    #[serde(default)]
    pub body_timeout: Period<{ ms(100) }, { min(10) }, { s(30) }>,
    /// Longest wait for a client to take any of an answer.
    #[serde(default)]
    pub write_timeout: Period<{ ms(100) }, { min(10) }, { s(30) }>,
    /// Requests on one connection before it is closed.
    #[serde(default)]
    pub requests_per_connection: Count<1, 1_000_000, 1_000>,
}

/// A socket for customers. A change needs a restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Label in logs and metrics.
    pub name: Name,
    /// IP address and port.
    pub address: Address,
    /// Serve TLS; plain HTTP/1.1 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// TLS of a listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Each serves the hosts in its subject alternative names; the first serves all others. Read again when a file
    /// changes.
    pub certificates: Vec<Certificate>,
    /// Offer HTTP/2.
    #[serde(default = "yes")]
    pub h2: bool,
    /// Refuse a client that asks for a host which no certificate covers, instead of serving the first.
    #[serde(default)]
    pub strict_sni: bool,
}

/// The files of one certificate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM, the host's certificate first, then the intermediates.
    pub certificate: FilePath,
    /// PEM of its private key.
    pub key: FilePath,
}

/// The socket for operators: metrics, health, the resolved plan, the tenants' plugins. Never one of `listeners`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// IP address and port.
    #[serde(default = "Admin::address")]
    pub address: Address,
    /// Who may change the tenants' plugins and look after their events; without it nobody can here. With it, only
    /// operators see the plan and the upstreams' states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AdminAuth>,
}

/// Tokens of people and pipelines that change the tenants' plugins and look after their events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminAuth {
    /// Issuers whose tokens are accepted.
    pub issuers: Vec<String>,
    /// With this scope a token may change the plugins of the tenant that it names, and sees no other's.
    #[serde(default = "AdminAuth::deploy_scope")]
    pub deploy_scope: Scope,
    /// With this scope a token may see the events of the tenant that it names, and replay, discard, hold and release
    /// them.
    #[serde(default = "AdminAuth::events_scope")]
    pub events_scope: Scope,
    /// With this scope a token may do both for every tenant, pause sinks, and see the plan.
    #[serde(default = "AdminAuth::operate_scope")]
    pub operate_scope: Scope,
}

impl AdminAuth {
    fn deploy_scope() -> Scope {
        Scope::fixed("plugins:deploy")
    }

    fn events_scope() -> Scope {
        Scope::fixed("events:operate")
    }

    fn operate_scope() -> Scope {
        Scope::fixed("gateway:operate")
    }
}

impl Admin {
    fn address() -> Address {
        Address(std::net::SocketAddr::from(([127, 0, 0, 1], 9901)))
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: Admin::address(), auth: None }
    }
}

/// Where plugins come from and what each call may use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugins {
    /// Directory of components, `NAME.wasm`.
    #[serde(default = "Plugins::dir")]
    pub dir: FilePath,
    /// Plugin calls at once, all tenants together.
    #[serde(default)]
    pub instances: Count<1, 10_000, 1_000>,
    /// CPU time of one call.
    #[serde(default)]
    pub cpu: Period<{ ms(1) }, { s(10) }, { ms(10) }>,
    /// Time of one call in all, waiting included.
    #[serde(default)]
    pub wall: Period<{ ms(1) }, { s(60) }, { ms(50) }>,
    /// Memory of one call.
    #[serde(default)]
    pub memory: Size<{ mib(1) }, { gib(1) }, { mib(64) }>,
    /// Host functions called by one call.
    #[serde(default)]
    pub host_calls: Count<1, 1_000_000, 1_000>,
    /// Requests to other systems sent by one call.
    #[serde(default)]
    pub http_requests: Count<0, 1_000, 8>,
    /// Largest component.
    #[serde(default)]
    pub component_bytes: Size<{ kib(1) }, { mib(256) }, { mib(32) }>,
    /// CPU time to compile a component.
    #[serde(default)]
    pub compile_timeout: Period<{ s(1) }, { min(10) }, { s(30) }>,
    /// Memory to compile a component.
    #[serde(default)]
    pub compile_memory: Size<{ mib(64) }, { gib(16) }, { gib(1) }>,
    /// Log lines kept of one call.
    #[serde(default)]
    pub log_lines: Count<0, 10_000, 64>,
    /// Bytes kept of one log line.
    #[serde(default)]
    pub log_line_bytes: Size<16, { kib(64) }, { kib(1) }>,
    /// While this says why, tenants may upload and roll back, but change nothing else of what serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Label>,
}

impl Plugins {
    fn dir() -> FilePath {
        FilePath::new("plugins")
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Plugins {
            dir: Plugins::dir(),
            instances: Count::default(),
            cpu: Period::default(),
            wall: Period::default(),
            memory: Size::default(),
            host_calls: Count::default(),
            http_requests: Count::default(),
            component_bytes: Size::default(),
            compile_timeout: Period::default(),
            compile_memory: Size::default(),
            log_lines: Count::default(),
            log_line_bytes: Size::default(),
            frozen: None,
        }
    }
}

/// The durable store of accepted events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Undelivered events, all tenants together.
    #[serde(default)]
    pub max_bytes: Size<{ mib(1) }, { tib(64) }, { gib(10) }>,
    /// Delivered events are kept this long.
    #[serde(default)]
    pub retention: Period<{ min(1) }, { d(3650) }, { d(7) }>,
    /// Events given up are kept this long.
    #[serde(default)]
    pub dead_retention: Period<{ min(1) }, { d(3650) }, { d(30) }>,
    /// Events written in one commit at most.
    #[serde(default)]
    pub max_batch: Count<1, 4_096, 1_024>,
    /// Events of lane `low` are refused once this many percent of `max_bytes` or of the disk are used,
    #[serde(default)]
    pub shed_low: Count<1, 100, 85>,
    /// and those of lane `normal` past this many.
    #[serde(default)]
    pub shed_normal: Count<1, 100, 95>,
}
