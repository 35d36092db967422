//! The organisations that are served, and their shares.

use std::collections::HashMap;
use std::sync::Arc;

use super::Secret;

/// An organisation.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// `[a-z0-9-]{1,63}`.
    pub id: Arc<str>,
    /// Component file name (without `.wasm`) by slot.
    pub plugins: HashMap<Arc<str>, Arc<str>>,
    /// What becomes of a request whose plugin gives no decision, by slot; [`OnError::Fail`] where a slot is not there.
    pub on_error: HashMap<Arc<str>, OnError>,
    /// Capabilities granted, by interface name.
    pub grants: Vec<Grant>,
    /// What the capability `config` answers: settings and secrets alike.
    pub config: HashMap<String, Secret>,
    /// Where its plugins may send requests through the capability `http-client`; at most 100.
    pub http: Vec<crate::http_client::AllowedOrigin>,
    /// Counters that its plugins may add to through the capability `metrics`; at most 100.
    pub metrics: Arc<[Arc<str>]>,
    /// Keys by one of which an upload must be signed; none where it need not be.
    pub signing_keys: crate::signature::Keys,
    /// What is kept of its requests for its developers, if anything.
    pub record: Option<Arc<Record>>,
    /// Its share of the house.
    pub limits: TenantLimits,
}

/// What is kept of a tenant's requests: what its plugin was told and said. In memory, the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// How many.
    pub requests: usize,
    /// Settings whose values are kept; of the others only that they were there.
    pub config: Vec<String>,
    /// Names of fields, in lower case, whose values are not kept.
    pub redact_headers: Vec<String>,
    /// Top-level claims whose values are not kept.
    pub redact_claims: Vec<String>,
    /// JSON pointers (RFC 6901) to what is not kept of bodies; a segment `*` stands for every one.
    pub redact_body: Vec<String>,
}

/// What becomes of a request whose plugin traps, exhausts a budget or answers nonsense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is refused.
    #[default]
    Fail,
    /// It goes on as if there were no plugin.
    Bypass,
    /// The version that served before decides; of a version on trial, the one that serves.
    Previous,
}

/// A capability that a tenant's plugin may import; the word is the WIT interface's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// `sluis:plugin/log`
    Log,
    /// `sluis:plugin/config`
    Config,
    /// `sluis:plugin/clock`
    Clock,
    /// `sluis:plugin/metrics`
    Metrics,
    /// `sluis:plugin/kv`
    Kv,
    /// `sluis:plugin/http-client`
    HttpClient,
}

impl Grant {
    /// Every capability.
    pub const ALL: [Grant; 6] = [Grant::Log, Grant::Config, Grant::Clock, Grant::Metrics, Grant::Kv, Grant::HttpClient];
}

/// A tenant's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Requests per second, sustained.
    pub rate: u32,
    /// Requests at once on top of the rate.
    pub burst: u32,
    /// Requests in flight.
    pub in_flight: usize,
    /// Plugin calls at once.
    pub plugin_concurrency: usize,
    /// Bytes of undelivered events.
    pub queue_bytes: u64,
    /// Bytes that its plugins may keep through the capability `kv`, by [`crate::kv::cost`].
    pub kv_bytes: u64,
    /// Bytes of all versions of its plugins that it may have uploaded.
    pub plugin_bytes: u64,
    /// Versions of its plugins that it may have uploaded.
    pub plugin_versions: u32,
    /// Idempotency keys that are held.
    pub idempotency_keys: usize,
    /// Bytes of the answers that are kept for them.
    pub idempotency_bytes: u64,
}
