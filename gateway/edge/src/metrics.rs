//! Every metric and its labels; no other file names one. Labels come from the plan or from closed enums, so their
//! number is bounded by configuration, never by traffic.

use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use sluis_model::plan::Tenant;

use crate::tokens::TokenCacheCounts;

/// Upper bounds of latency buckets, in seconds.
const LATENCY: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of commit buckets, in seconds: a good disk takes less than half a millisecond.
const COMMIT: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Upper bounds of plugin call buckets, in seconds.
const PLUGIN: &[f64] =
    &[0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05];
/// Upper bounds of commit batch sizes.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    /// Requests by route and status class.
    pub requests: IntCounterVec,
    /// Whole request, by route.
    pub request_duration: HistogramVec,
    /// Requests in flight.
    pub requests_in_flight: IntGauge,
    /// Requests by tenant and outcome.
    pub tenant_requests: IntCounterVec,
    /// Refusals by slug and blame.
    pub refusals: IntCounterVec,
    /// Refused tokens by reason.
    pub token_faults: IntCounterVec,
    /// Verified-token cache lookups by result, since the start.
    pub token_cache: IntGaugeVec,
    /// Fetches of an issuer's keys by result.
    pub jwks_fetches: IntCounterVec,
    /// Tokens with an unknown `kid` for which no further fetch was made, because of one just before.
    pub jwks_suppressed: IntCounterVec,
    /// Usable keys of an issuer.
    pub jwks_keys: IntGaugeVec,
    /// Upstream time to the answer's head.
    pub upstream_duration: HistogramVec,
    /// Upstream answers by status class, and failures.
    pub upstream_requests: IntCounterVec,
    /// Attempts beyond the first.
    pub upstream_retries: IntCounterVec,
    /// 0 closed, 1 half-open, 2 open.
    pub breaker_state: IntGaugeVec,
    /// Plugin call, host side included.
    pub plugin_duration: HistogramVec,
    /// Plugin faults by kind.
    pub plugin_faults: IntCounterVec,
    /// Log lines of plugins dropped past their limit.
    pub plugin_log_dropped: IntCounterVec,
    /// Requests that plugins sent to other systems, by result: `answered`, or why not.
    pub plugin_http_requests: IntCounterVec,
    /// Uploads of plugins by result: `kept`, `there`, or the reason for refusing.
    pub plugin_uploads: IntCounterVec,
    /// Changes of what serves, by action.
    pub plugin_rollouts: IntCounterVec,
    /// Counters of the tenants' own.
    pub plugin_counters: IntCounterVec,
    /// Additions to counters that a tenant has not.
    pub plugin_counts_dropped: IntCounterVec,
    /// Requests under an idempotency key, by what the key said of them: `new`, `replayed`, `in_progress`, `reused` or
    /// `unknown`.
    pub idempotency: IntCounterVec,
    /// Events accepted.
    pub events_accepted: IntCounterVec,
    /// Group commit: events in one.
    pub ledger_batch: Histogram,
    /// Group commit: time on disk.
    pub ledger_commit: Histogram,
    /// Delivery attempts by sink and outcome.
    pub delivery_attempts: IntCounterVec,
    /// Undelivered events.
    pub backlog_events: IntGauge,
    /// Undelivered bytes.
    pub backlog_bytes: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections refused, by cap.
    pub connections_refused: IntCounterVec,
    /// Number of the plan in force.
    pub config_generation: IntGauge,
    /// Reloads by result.
    pub config_reloads: IntCounterVec,
}

impl Metrics {
    /// Registers everything; fails only if two metrics here have one name.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let r = Registry::new_custom(Some("sluis".to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            r.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            r.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            r.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histograms = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            r.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            r.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let metrics = Metrics {
            requests: counters("requests_total", "Requests answered", &["route", "status"])?,
            request_duration: histograms(
                "request_duration_seconds",
                "From head read to answer written",
                LATENCY,
                &["route"],
            )?,
            requests_in_flight: gauge("requests_in_flight", "Requests being served")?,
            tenant_requests: counters("tenant_requests_total", "Requests by tenant", &["tenant", "outcome"])?,
            refusals: counters("refusals_total", "Requests refused", &["type", "blame"])?,
            token_faults: counters("token_faults_total", "Tokens refused", &["reason"])?,
            token_cache: gauges("token_cache_lookups", "Verified-token cache since the start", &["result"])?,
            jwks_fetches: counters("jwks_fetches_total", "Fetches of an issuer's keys", &["issuer", "result"])?,
            jwks_suppressed: counters("jwks_suppressed_total", "Unknown key ids without a fetch", &["issuer"])?,
            jwks_keys: gauges("jwks_keys", "Usable keys of an issuer", &["issuer"])?,
            upstream_duration: histograms(
                "upstream_duration_seconds",
                "Until the answer's head",
                LATENCY,
                &["upstream"],
            )?,
            upstream_requests: counters("upstream_requests_total", "Answers of upstreams", &["upstream", "status"])?,
            upstream_retries: counters("upstream_retries_total", "Attempts beyond the first", &["upstream"])?,
            breaker_state: gauges("breaker_state", "0 closed, 1 half-open, 2 open", &["upstream"])?,
            plugin_duration: histograms("plugin_duration_seconds", "Plugin calls", PLUGIN, &["tenant", "hook"])?,
            plugin_faults: counters("plugin_faults_total", "Plugin calls that gave no decision", &["tenant", "kind"])?,
            plugin_http_requests: counters(
                "plugin_http_requests_total",
                "Requests that plugins sent to other systems",
                &["tenant", "result"],
            )?,
            plugin_uploads: counters("plugin_uploads_total", "Uploads of plugins", &["result"])?,
            plugin_rollouts: counters("plugin_rollouts_total", "Changes of what serves", &["action"])?,
            plugin_log_dropped: counters("plugin_log_dropped_total", "Log lines past the limit", &["tenant"])?,
            plugin_counters: counters("plugin_counter_total", "Counters of tenants' own", &["tenant", "counter"])?,
            plugin_counts_dropped: counters(
                "plugin_counts_dropped_total",
                "Additions to counters that a tenant has not",
                &["tenant"],
            )?,
            idempotency: counters("idempotency_total", "Requests under an idempotency key", &["result"])?,
            events_accepted: counters("events_accepted_total", "Events accepted durably", &["tenant"])?,
            ledger_batch: histogram("ledger_batch_size", "Events in one commit", BATCH)?,
            ledger_commit: histogram("ledger_commit_seconds", "Commit with fsync", COMMIT)?,
            delivery_attempts: counters("delivery_attempts_total", "Delivery attempts", &["sink", "outcome"])?,
            backlog_events: gauge("backlog_events", "Undelivered events")?,
            backlog_bytes: gauge("backlog_bytes", "Undelivered bytes")?,
            connections: gauge("connections", "Open client connections")?,
            connections_refused: counters("connections_refused_total", "Connections past a cap", &["cap"])?,
            config_generation: gauge("config_generation", "Number of the plan in force")?,
            config_reloads: counters("config_reloads_total", "Reloads", &["result"])?,
            registry: r.clone(),
        };
        let build = IntGaugeVec::new(Opts::new("build_info", "Version"), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        r.register(Box::new(build))?;
        Ok(Arc::new(metrics))
    }

    /// Takes over what the token cache counted itself.
    pub fn set_tokens(&self, counts: &TokenCacheCounts) {
        let set = |result: &str, value: u64| {
            self.token_cache.with_label_values(&[result]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set("hit", counts.hits);
        set("miss", counts.misses);
        set("entries", counts.entries as u64);
    }

    /// The registry in Prometheus text format.
    pub fn render(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// Counters of one route, resolved once so that a request pays no look-up.
pub struct RouteMetrics {
    by_class: [IntCounter; 5],
    /// Whole request.
    pub duration: Histogram,
}

impl RouteMetrics {
    /// Of the route with this name.
    pub fn new(metrics: &Metrics, route: &str) -> Self {
        let class = |class: &str| metrics.requests.with_label_values(&[route, class]);
        RouteMetrics {
            by_class: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            duration: metrics.request_duration.with_label_values(&[route]),
        }
    }

    /// Counts an answer.
    pub fn count(&self, status: u16) {
        self.by_class[class_index(status)].inc();
    }
}

/// Counters of one upstream.
pub struct UpstreamMetrics {
    by_class: [IntCounter; 5],
    /// No answer.
    pub failed: IntCounter,
    /// Attempts beyond the first.
    pub retries: IntCounter,
    /// Until the answer's head.
    pub duration: Histogram,
    /// 0 closed, 1 half-open, 2 open.
    pub breaker: IntGauge,
}

impl UpstreamMetrics {
    /// Of the upstream with this name.
    pub fn new(metrics: &Metrics, upstream: &str) -> Self {
        let class = |class: &str| metrics.upstream_requests.with_label_values(&[upstream, class]);
        UpstreamMetrics {
            by_class: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            failed: class("failed"),
            retries: metrics.upstream_retries.with_label_values(&[upstream]),
            duration: metrics.upstream_duration.with_label_values(&[upstream]),
            breaker: metrics.breaker_state.with_label_values(&[upstream]),
        }
    }

    /// Counts an answer.
    pub fn count(&self, status: u16) {
        self.by_class[class_index(status)].inc();
    }
}

/// Counters of one tenant.
pub struct TenantMetrics {
    /// Answered, whatever the status.
    pub served: IntCounter,
    /// Refused by the gateway.
    pub refused: IntCounter,
    /// Accepted into the ledger.
    pub accepted: IntCounter,
    /// `on-request` calls.
    pub on_request: Histogram,
    /// `on-response` calls.
    pub on_response: Histogram,
    /// `on-event` calls.
    pub on_event: Histogram,
    /// Log lines dropped.
    pub log_dropped: IntCounter,
    /// Its plugins' own, in the plan's order.
    pub counters: Vec<IntCounter>,
    /// Additions to counters that it has not.
    pub counts_dropped: IntCounter,
}

impl TenantMetrics {
    /// Of this tenant.
    pub fn new(metrics: &Metrics, tenant: &Tenant) -> Self {
        let counter = |name: &Arc<str>| metrics.plugin_counters.with_label_values(&[&*tenant.id, name]);
        let counters = tenant.metrics.iter().map(counter).collect();
        let tenant = &*tenant.id;
        TenantMetrics {
            served: metrics.tenant_requests.with_label_values(&[tenant, "served"]),
            refused: metrics.tenant_requests.with_label_values(&[tenant, "refused"]),
            accepted: metrics.events_accepted.with_label_values(&[tenant]),
            on_request: metrics.plugin_duration.with_label_values(&[tenant, "on-request"]),
            on_response: metrics.plugin_duration.with_label_values(&[tenant, "on-response"]),
            on_event: metrics.plugin_duration.with_label_values(&[tenant, "on-event"]),
            log_dropped: metrics.plugin_log_dropped.with_label_values(&[tenant]),
            counters,
            counts_dropped: metrics.plugin_counts_dropped.with_label_values(&[tenant]),
        }
    }
}

fn class_index(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}
