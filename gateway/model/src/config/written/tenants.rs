//! The organisations that are served.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{units::*, words::*};
use crate::plan::Secret;

/// An organisation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// What the issuer's tenant claim says.
    pub id: TenantId,
    /// Its component (a file in `plugins.dir`, without `.wasm`) for each slot.
    #[serde(default)]
    pub plugins: BTreeMap<Name, Name>,
    /// What becomes of a request whose plugin traps, exhausts a budget or answers nonsense, by slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on_error: BTreeMap<Name, OnError>,
    /// Capabilities that its plugins may use.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// What its plugins read through the capability `config`.
    #[serde(default)]
    pub config: BTreeMap<Label, Secret>,
    /// Where its plugins may send requests through the capability `http-client`.
    #[serde(default)]
    pub http: Vec<HttpOrigin>,
    /// Counters that its plugins may add to through the capability `metrics`.
    #[serde(default)]
    pub metrics: Vec<Name>,
    /// Public keys (Ed25519, in base64), by name: uploads must be signed by one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signing_keys: BTreeMap<Label, String>,
    /// Keep what its plugins are told and say, for its developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Its share.
    #[serde(default)]
    pub limits: TenantLimits,
}

/// What is kept of a tenant's requests, in memory, for `sluis plugin replay`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// How many, the last ones; 4 MiB in all at most.
    #[serde(default)]
    pub requests: Count<1, 1_000, 50>,
    /// Settings whose values are kept; of the others only that they were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<Label>,
    /// Names of fields whose values are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_headers: Vec<String>,
    /// Top-level claims whose values are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_claims: Vec<String>,
    /// JSON pointers to what is not kept of bodies; a segment `*` stands for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_body: Vec<String>,
}

/// What becomes of a request whose plugin gives no decision.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It is refused.
    Fail,
    /// It goes on as if there were no plugin.
    Bypass,
    /// The version that served before decides.
    Previous,
}

/// A system that a tenant's plugins may ask.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpOrigin {
    /// Scheme, host and, where it is not the scheme's own, port: `https://api.example.com`.
    pub origin: String,
    /// Allow `http`, and addresses that are not public: for a system in the same network.
    #[serde(default)]
    pub allow_insecure: bool,
}

/// A capability, named as in `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Lines in the gateway's log.
    Log,
    /// The tenant's own `config`.
    Config,
    /// What time it is.
    Clock,
    /// The tenant's own counters.
    Metrics,
    /// Durable state of the tenant's own.
    Kv,
    /// Requests to other systems.
    HttpClient,
}

/// A tenant's share.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// Requests per second, sustained.
    #[serde(default)]
    pub rate: Count<1, 1_000_000, 500>,
    /// Requests at once on top of the rate.
    #[serde(default)]
    pub burst: Count<1, 1_000_000, 1_000>,
    /// Requests in flight.
    #[serde(default)]
    pub in_flight: Count<1, 1_000_000, 256>,
    /// Plugin calls at once.
    #[serde(default)]
    pub plugin_concurrency: Count<1, 10_000, 32>,
    /// Bytes of undelivered events.
    #[serde(default)]
    pub queue_bytes: Size<{ kib(1) }, { tib(64) }, { gib(1) }>,
    /// Bytes that its plugins may keep through the capability `kv`.
    #[serde(default)]
    pub kv_bytes: Size<0, { gib(64) }, { mib(16) }>,
    /// Bytes of all versions of its plugins that it may have uploaded.
    #[serde(default)]
    pub plugin_bytes: Size<0, { gib(64) }, { mib(100) }>,
    /// Versions of its plugins that it may have uploaded.
    #[serde(default)]
    pub plugin_versions: Count<0, 100_000, 100>,
    /// Idempotency keys that are held.
    #[serde(default)]
    pub idempotency_keys: Count<1, 100_000_000, 1_000_000>,
    /// Bytes of the answers that are kept for them.
    #[serde(default)]
    pub idempotency_bytes: Size<{ mib(1) }, { tib(64) }, { gib(1) }>,
}
