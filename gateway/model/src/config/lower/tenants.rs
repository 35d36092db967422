//! Tenants.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;

use super::super::tree::at;
use super::super::written::{self, Written};
use super::Check;
use crate::http_client::{AllowedOrigin, Origin};
use crate::plan::{self, Grant, OnError, TenantLimits};
use crate::signature::KEY_BYTES;

/// Counters of a tenant's own: each is a series of the metrics.
const MAX_COUNTERS: usize = 100;
/// Systems that a tenant's plugins may ask.
const MAX_ORIGINS: usize = 100;

impl Check<'_> {
    pub(super) fn tenants(&mut self, written: &Written) -> HashMap<Arc<str>, Arc<plan::Tenant>> {
        self.at_most(&at!["tenants"], &written.tenants, 100_000);
        self.unique("tenants", "id", written.tenants.iter().map(|t| &*t.id));
        for (i, tenant) in written.tenants.iter().enumerate() {
            let bytes: usize = tenant.config.iter().map(|(key, value)| key.len() + value.expose().len()).sum();
            if bytes > 1 << 20 {
                self.error(&at!["tenants", i, "config"], "all keys and values together are larger than 1 MiB");
            }
            self.at_most(&at!["tenants", i, "metrics"], &tenant.metrics, MAX_COUNTERS);
            for (j, name) in tenant.metrics.iter().enumerate() {
                if tenant.metrics[..j].contains(name) {
                    self.error(&at!["tenants", i, "metrics", j], "this counter is there already");
                }
            }
            for slot in tenant.on_error.keys().filter(|slot| !tenant.plugins.contains_key(*slot)) {
                let message = "this tenant has no plugin in this slot";
                self.error_of_key(&at!["tenants", i, "on_error", &**slot], message, None);
            }
            self.record(i, tenant);
            for (name, key) in &tenant.signing_keys {
                if signing_key(key).is_none() {
                    let message = "a public key of 32 bytes in base64 belongs here: `sluis plugin key` prints it";
                    self.error(&at!["tenants", i, "signing_keys", &**name], message);
                }
            }
            if tenant.limits.queue_bytes.u64() > written.ledger.max_bytes.u64() && self.is_written(i) {
                self.error(&at!["tenants", i, "limits", "queue_bytes"], "must not be more than `ledger.max_bytes`");
            }
        }
        let tenants = written.tenants.iter().enumerate();
        tenants.map(|(i, t)| (t.id.arc(), Arc::new(tenant(t, self.origins(i, &t.http))))).collect()
    }

    fn origins(&mut self, tenant: usize, written: &[written::HttpOrigin]) -> Vec<AllowedOrigin> {
        self.at_most(&at!["tenants", tenant, "http"], written, MAX_ORIGINS);
        let mut allowed: Vec<AllowedOrigin> = Vec::with_capacity(written.len());
        for (i, written) in written.iter().enumerate() {
            let path = at!["tenants", tenant, "http", i, "origin"];
            let Some(url) = self.url(&path, &written.origin) else { continue };
            let Some(origin) = Origin::of(&url).filter(|_| url.query().is_none() && url.path() == "/") else {
                self.error(&path, "only a scheme, a host and a port belong here, as in `https://api.example.com`");
                continue;
            };
            if !origin.is_secure() && !written.allow_insecure {
                let help = "or `allow_insecure: true`, in a network that is safe".to_owned();
                self.error_with(&path, "others can read and change what is sent: `https` belongs here", Some(help));
            }
            if allowed.iter().any(|other| other.origin == origin) {
                self.error(&path, "this origin is there already");
            }
            allowed.push(AllowedOrigin { origin, allow_insecure: written.allow_insecure });
        }
        allowed
    }

    /// What is not to be kept must be named so that it is found.
    fn record(&mut self, tenant: usize, written: &written::Tenant) {
        let Some(record) = &written.record else { return };
        for (j, pointer) in record.redact_body.iter().enumerate() {
            if !pointer.starts_with('/') {
                let message = "a JSON pointer belongs here, such as `/customer/email`";
                self.error(&at!["tenants", tenant, "record", "redact_body", j], message);
            }
        }
        for (j, key) in record.config.iter().enumerate() {
            if !written.config.contains_key(key) {
                self.error(&at!["tenants", tenant, "record", "config", j], "this tenant has no such setting");
            }
        }
    }

    /// Whether a tenant's `queue_bytes` was written out; a default may be more than a small ledger has.
    fn is_written(&self, tenant: usize) -> bool {
        let limits = self.places.root.nearest(&at!["tenants", tenant, "limits"]).node;
        limits.get("queue_bytes").is_some()
    }
}

fn tenant(written: &written::Tenant, http: Vec<AllowedOrigin>) -> plan::Tenant {
    let limits = &written.limits;
    let grants: BTreeMap<_, _> = written.grants.iter().map(|grant| (*grant as u8, grant)).collect();
    plan::Tenant {
        id: written.id.arc(),
        plugins: written.plugins.iter().map(|(slot, component)| (slot.arc(), component.arc())).collect(),
        on_error: written
            .on_error
            .iter()
            .map(|(slot, on_error)| {
                let on_error = match on_error {
                    written::OnError::Fail => OnError::Fail,
                    written::OnError::Bypass => OnError::Bypass,
                    written::OnError::Previous => OnError::Previous,
                };
                (slot.arc(), on_error)
            })
            .collect(),
        grants: grants
            .into_values()
            .map(|grant| match grant {
                written::Grant::Log => Grant::Log,
                written::Grant::Config => Grant::Config,
                written::Grant::Clock => Grant::Clock,
                written::Grant::Metrics => Grant::Metrics,
                written::Grant::Kv => Grant::Kv,
                written::Grant::HttpClient => Grant::HttpClient,
            })
            .collect(),
        config: written.config.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
        http,
        metrics: written.metrics.iter().map(|name| name.arc()).collect(),
        signing_keys: written
            .signing_keys
            .iter()
            .filter_map(|(name, key)| Some((name.to_string(), signing_key(key)?)))
            .collect(),
        record: written.record.as_ref().map(|record| Arc::new(self::record(record))),
        limits: TenantLimits {
            rate: limits.rate.u32(),
            burst: limits.burst.u32(),
            in_flight: limits.in_flight.usize(),
            plugin_concurrency: limits.plugin_concurrency.usize(),
            queue_bytes: limits.queue_bytes.u64(),
            kv_bytes: limits.kv_bytes.u64(),
            plugin_bytes: limits.plugin_bytes.u64(),
            plugin_versions: limits.plugin_versions.u32(),
            idempotency_keys: limits.idempotency_keys.usize(),
            idempotency_bytes: limits.idempotency_bytes.u64(),
        },
    }
}

fn signing_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
}

fn record(written: &written::Record) -> plan::Record {
    plan::Record {
        requests: written.requests.usize(),
        config: written.config.iter().map(|key| key.to_string()).collect(),
        redact_headers: written.redact_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        redact_claims: written.redact_claims.clone(),
        redact_body: written.redact_body.clone(),
    }
}
