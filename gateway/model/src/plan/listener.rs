//! Where people and programs come in, and what holds before a route is known.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where operators come in, and tenants with their plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to bind.
    pub address: SocketAddr,
    /// Who may change the tenants' plugins and look after their events, and who may see the plan. Where none, nobody may
    /// do the former, and whoever reaches the listener the latter.
    pub auth: Option<AdminAuth>,
}

/// Whose tokens may change the tenants' plugins and look after their events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAuth {
    /// Positions in `Plan::issuers`.
    pub issuers: Vec<usize>,
    /// For the plugins of the token's own tenant.
    pub deploy_scope: Arc<str>,
    /// For the events of the token's own tenant.
    pub events_scope: Arc<str>,
    /// For every tenant's, and for the plan.
    pub operate_scope: Arc<str>,
}

/// A socket for customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Label in logs and metrics.
    pub name: Arc<str>,
    /// Address to bind.
    pub address: SocketAddr,
    /// TLS, or plain HTTP/1.1.
    pub tls: Option<Tls>,
}

/// Certificates of a TLS listener; the first serves clients without a known server name only when `strict_sni` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Chains with keys; which host each serves is read from its subject alternative names.
    pub certificates: Vec<CertificateFiles>,
    /// Offer HTTP/2 by ALPN.
    pub h2: bool,
    /// Refuse a handshake whose server name no certificate covers.
    pub strict_sni: bool,
}

/// PEM files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Leaf first, then intermediates.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Process-wide settings; a change of `threads` or of a listener needs a restart, the rest is hot.
#[derive(Debug, Clone)]
pub struct Server {
    /// Worker threads of the ingress.
    pub threads: usize,
    /// Ledger, artefacts and cached keys live here; made with mode 0700.
    pub state_dir: PathBuf,
    /// Unix socket for the zero-downtime upgrade.
    pub upgrade_socket: PathBuf,
    /// Longest wait for requests in flight after SIGTERM.
    pub drain: Duration,
    /// One JSON line per request.
    pub access_log: bool,
    /// Numbers about connections and heads.
    pub limits: ServerLimits,
}

/// Limits that hold before a route is known.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Open connections, all listeners.
    pub connections: usize,
    /// Open connections from one address.
    pub connections_per_address: usize,
    /// Requests in flight, all tenants.
    pub in_flight: usize,
    /// Bytes of request line and fields.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Number of fields.
    pub fields: usize,
    /// From the first byte of a head to its blank line.
    pub head_timeout: Duration,
    /// Idle keep-alive.
    pub idle_timeout: Duration,
    /// All waits for more of a body, less a second for each KiB that came.
    pub body_timeout: Duration,
    /// A write that makes no progress.
    pub write_timeout: Duration,
    /// Requests on one connection.
    pub requests_per_connection: u32,
}
