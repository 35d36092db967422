//! The systems that requests are forwarded to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// A system that requests are forwarded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Label in logs and metrics, and what a plugin's `forward` names.
    pub name: Arc<str>,
    /// Where it listens; tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// HTTP version spoken to it.
    pub protocol: UpstreamProtocol,
    /// Trust anchors and name for TLS endpoints.
    pub tls: UpstreamTls,
    /// Fields set on every request to it (credentials of the ERP); secret values.
    pub headers: Vec<(String, Secret)>,
    /// TCP and TLS.
    pub connect_timeout: Duration,
    /// From the last request byte to the answer's head.
    pub first_byte_timeout: Duration,
    /// Whole exchange.
    pub total_timeout: Duration,
    /// Between two reads of the answer's body.
    pub idle_timeout: Duration,
    /// Idle pooled connections are closed after this.
    pub pool_idle_timeout: Duration,
    /// Idle pooled connections kept per endpoint.
    pub pool_size: usize,
    /// Extra attempts where a retry is safe.
    pub retries: u32,
    /// Retries may be at most this share of requests, in percent, over ten seconds.
    pub retry_budget_percent: u32,
    /// Requests in flight towards it.
    pub in_flight: usize,
    /// Largest answer head.
    pub response_head_bytes: usize,
    /// When to stop asking.
    pub breaker: crate::breaker::BreakerSettings,
    /// When not to ask at all.
    pub maintenance: crate::maintenance::Calendar,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or address, as in `Host` and in the TLS server name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Path put before every forwarded path; empty or starting with `/`, never ending in `/`.
    pub base_path: String,
}

/// HTTP version towards an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN on TLS endpoints and by prior knowledge on plain ones.
    Http2,
}

/// TLS towards an upstream; verification cannot be turned off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM of additional trust anchors; the web's roots otherwise.
    pub ca: Option<PathBuf>,
    /// Name to verify instead of the endpoint's host.
    pub server_name: Option<String>,
}
