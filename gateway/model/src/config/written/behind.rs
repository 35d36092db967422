//! The systems around the gateway: token issuers, upstreams, sinks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{units::*, words::*};
use super::Maintenance;
use crate::plan::{Algorithm, Secret};

/// Who signs tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Label in logs and metrics, and how routes refer to it.
    pub name: Name,
    /// Exact value of a token's `iss`.
    pub issuer: Label,
    /// Accepted values of `aud`; a token must have one of them.
    pub audiences: Vec<Label>,
    /// Accepted signature algorithms. Only public-key ones exist here.
    #[serde(default = "Issuer::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Accepted values of the header's `typ`, without `application/`, in any case.
    #[serde(default = "Issuer::types")]
    pub types: Vec<Label>,
    /// Accept tokens without `typ` too.
    #[serde(default)]
    pub allow_missing_type: bool,
    /// The claim that holds the tenant's id; a dot steps into an object.
    #[serde(default = "Issuer::tenant_claim")]
    pub tenant_claim: Label,
    /// Clock difference that is forgiven.
    #[serde(default)]
    pub leeway: Period<0, { s(60) }, { s(30) }>,
    /// Longest time from a token's `iat` to its `exp`.
    #[serde(default)]
    pub max_lifetime: Period<{ s(1) }, { d(31) }, { h(24) }>,
    /// Where its keys are.
    pub jwks: Jwks,
}

impl Issuer {
    fn algorithms() -> Vec<Algorithm> {
        vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS256]
    }

    fn types() -> Vec<Label> {
        vec![Label::fixed("at+jwt"), Label::fixed("jwt")]
    }

    fn tenant_claim() -> Label {
        Label::fixed("tenant")
    }
}

/// How an issuer's keys are fetched.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// An `https` URL.
    pub url: String,
    /// Allow an `http` URL, and addresses that are not public: for an issuer in the same network.
    #[serde(default)]
    pub allow_insecure: bool,
    /// Fetch again after this; the answer's `Cache-Control: max-age` may shorten it, to a minute at least.
    #[serde(default)]
    pub refresh: Period<{ s(60) }, { min(10) }, { min(10) }>,
    /// Tokens with unknown keys cause one fetch in this time at most.
    #[serde(default)]
    pub cooldown: Period<{ s(1) }, { min(10) }, { s(30) }>,
    /// Keys serve this long after the last good fetch while the issuer cannot be reached.
    #[serde(default)]
    pub stale_if_error: Period<0, { d(7) }, { h(24) }>,
    /// Time for one fetch.
    #[serde(default)]
    pub timeout: Period<{ ms(100) }, { s(30) }, { s(5) }>,
    /// Largest answer.
    #[serde(default)]
    pub max_bytes: Size<{ kib(1) }, { mib(4) }, { kib(256) }>,
    /// Largest number of keys.
    #[serde(default)]
    pub max_keys: Count<1, 1_000, 100>,
    /// PEM of additional trust anchors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,
}

/// A system that requests are forwarded to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Label in logs and metrics, and how routes and plugins refer to it.
    pub name: Name,
    /// Where it listens, as `http` or `https` URLs; a path is put before every forwarded path. Tried in turn.
    pub endpoints: Vec<String>,
    /// HTTP version spoken to it.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// How `https` endpoints are verified; that cannot be turned off.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// Fields set on every request to it.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Time for TCP and TLS.
    #[serde(default)]
    pub connect_timeout: Period<{ ms(10) }, { s(60) }, { s(2) }>,
    /// From the last byte of a request to the head of its answer.
    #[serde(default)]
    pub first_byte_timeout: Period<{ ms(10) }, { h(1) }, { s(30) }>,
    /// Time for a whole exchange.
    #[serde(default)]
    pub total_timeout: Period<{ ms(10) }, { h(1) }, { s(60) }>,
    /// Longest wait between two reads of an answer's body.
    #[serde(default)]
    pub idle_timeout: Period<{ ms(10) }, { h(1) }, { s(30) }>,
    /// Idle kept connections are closed after this.
    #[serde(default)]
    pub pool_idle_timeout: Period<{ ms(100) }, { h(1) }, { s(30) }>,
    /// Idle connections kept per endpoint.
    #[serde(default)]
    pub pool_size: Count<0, 100_000, 128>,
    /// Further attempts, where one is safe.
    #[serde(default)]
    pub retries: Count<0, 3, 1>,
    /// Retries may be at most this many percent of the requests of ten seconds.
    #[serde(default)]
    pub retry_budget_percent: Count<0, 100, 20>,
    /// Requests in flight towards it.
    #[serde(default)]
    pub in_flight: Count<1, 1_000_000, 1_024>,
    /// Largest head of an answer.
    #[serde(default)]
    pub response_head_bytes: Size<{ kib(1) }, { mib(1) }, { kib(64) }>,
    /// When to stop asking it for a while.
    #[serde(default)]
    pub breaker: Breaker,
    /// When not to ask it at all.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
}

/// HTTP version towards an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN on `https` endpoints, by prior knowledge on `http` ones.
    Http2,
}

/// How an upstream's certificate is verified.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM of its trust anchors; the web's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,
    /// Name to verify instead of the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// When a system is left alone, and for how long.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Opens after this many failures in a row.
    #[serde(default)]
    pub consecutive_failures: Count<1, 10_000, 5>,
    /// Opens when this many percent of the outcomes in `window` failed …
    #[serde(default)]
    pub failure_percent: Count<1, 100, 50>,
    /// … if there were at least this many outcomes.
    #[serde(default)]
    pub minimum_outcomes: Count<1, 100_000, 20>,
    /// Length of time that outcomes count.
    #[serde(default)]
    pub window: Period<{ s(1) }, { min(10) }, { s(10) }>,
    /// First time that it stays open; doubles with every failed probe …
    #[serde(default)]
    pub open: Period<{ ms(100) }, { min(10) }, { s(10) }>,
    /// … up to this.
    #[serde(default)]
    pub max_open: Period<{ ms(100) }, { h(1) }, { s(60) }>,
}

/// A system that events are delivered to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// Label in logs and metrics, and how routes and plugins refer to it.
    pub name: Name,
    /// Delivered by an HTTP request; a 2xx answer confirms it.
    pub http: HttpSink,
    /// Slot whose plugin, where the event's tenant has one there, shapes each event and judges each answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Name>,
    /// When to try again, and when to give up.
    #[serde(default)]
    pub retry: Retry,
    /// Deliveries in flight.
    #[serde(default)]
    pub concurrency: Count<1, 10_000, 16>,
    /// What the deliveries of one ordering key owe each other.
    #[serde(default)]
    pub order: Order,
    /// Let a newer event take the place of the undelivered older ones of its key.
    #[serde(default)]
    pub compact_by_key: bool,
    /// Attempts per second, and a tenth of that at once; as many as come without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Count<1, 1_000_000, 100>>,
    /// Retries may be at most this many percent of the attempts of a minute, or ten per second if that is more. Past that a
    /// tenant's go one after the other, each within `retry.max`.
    #[serde(default)]
    pub retry_budget_percent: Count<0, 100, 20>,
    /// Time from a tenth of `concurrency` to all of it after an outage; `0s` turns that off.
    #[serde(default)]
    pub slow_start: Period<0, { h(1) }, { s(60) }>,
    /// When to stop asking it for a while.
    #[serde(default)]
    pub breaker: Breaker,
    /// When not to ask it at all.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
}

/// What the deliveries of one ordering key owe each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nothing.
    #[default]
    None,
    /// The first is tried until it is too old, permanent errors included; then the next has its turn.
    Block,
    /// A dead one lets the next go.
    DlqAndContinue,
    /// The next ones wait behind a dead one until an operator replays or discards it.
    ParkKey,
}

/// An HTTP sink.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSink {
    /// An `http` or `https` URL.
    pub url: String,
    /// Method of the request.
    #[serde(default = "HttpSink::method")]
    pub method: String,
    /// Time for one attempt.
    #[serde(default)]
    pub timeout: Period<{ ms(10) }, { min(10) }, { s(30) }>,
    /// Fields set on every attempt.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// PEM of its trust anchors; the web's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,
    /// How it gets its events.
    #[serde(default)]
    pub format: EventFormat,
}

/// How an HTTP sink gets a CloudEvent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// The data as it is, the attributes as `ce-` fields beside it.
    #[default]
    Binary,
    /// Both as one JSON object.
    Structured,
}

impl HttpSink {
    fn method() -> String {
        "POST".to_owned()
    }
}

/// When a delivery is tried again, and when it is given up.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// First wait; up to half of each wait is random.
    #[serde(default)]
    pub initial: Period<{ ms(10) }, { h(1) }, { s(1) }>,
    /// Growth of the wait from one attempt to the next.
    #[serde(default)]
    pub factor: Factor,
    /// Longest wait.
    #[serde(default)]
    pub max: Period<{ ms(10) }, { h(24) }, { min(15) }>,
    /// An event older than this is given up.
    #[serde(default)]
    pub max_age: Period<{ s(1) }, { d(30) }, { h(24) }>,
    /// Attempts after which an event is given up, should it not be too old before.
    #[serde(default)]
    pub max_attempts: Count<1, 100_000, 1_000>,
}
