//! Every "no" that Sluis says to a client, as one closed enum.
//!
//! Lower floors return a [`Refusal`]; `edge::reply` alone turns it into RFC 9457 problem+json. The match in
//! [`Refusal::answer`] is the whole table: status, stable type, metric label and who is to blame.

use std::sync::Arc;
use std::time::Duration;

/// Who caused a refusal; dashboards separate "the tenant's plugin is broken" from "we are broken".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller sent something that cannot be served.
    Client,
    /// The tenant's component failed or lied.
    Guest,
    /// The system behind the gateway failed.
    Upstream,
    /// The gateway itself, or its capacity.
    Gateway,
}

impl Blame {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Guest => "guest",
            Blame::Upstream => "upstream",
            Blame::Gateway => "gateway",
        }
    }
}

/// A problem that a tenant's plugin worded itself (`refuse` in the contract); already validated by
/// [`crate::hook`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestProblem {
    /// 400 to 599.
    pub status: u16,
    /// The problem's `type`, a URI reference of the tenant's.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// What is wrong with this request.
    pub detail: String,
    /// JSON pointer (RFC 6901) into the request's body, where one is to blame.
    pub pointer: Option<String>,
}

/// Every refusal. The same cause always gives the same variant, and the same bytes but for the correlation id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP as RFC 9112 has it, or framed in a way that two parsers could read differently.
    MalformedRequest,
    /// Head larger than the plan allows, or too many fields.
    HeadersTooLarge,
    /// Request target longer than the plan allows.
    UriTooLong,
    /// The head or body came too slowly.
    RequestTimeout,
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// A transfer coding other than `chunked`.
    UnsupportedTransferCoding,
    /// TLS server name and `Host` name different authorities (RFC 9110 §15.5.20).
    Misdirected,
    /// No route has this host and path.
    RouteNotFound,
    /// The route exists, for other methods; the value is the `Allow` field.
    MethodNotAllowed(Arc<str>),
    /// Any token that does not hold; the reason stays in metrics and logs.
    InvalidToken(TokenFault),
    /// More than one credential in one request (RFC 6750 §2).
    AmbiguousCredentials,
    /// The issuer's keys were never had, or are too old to trust.
    JwksUnavailable,
    /// The token's tenant is unknown or not the one that the route is bound to.
    TenantMismatch,
    /// The token lacks a scope that the route requires; the value is the required list, space-separated.
    InsufficientScope(Arc<str>),
    /// The tenant's request rate is used up; wait this long.
    RateLimited(Duration),
    /// The tenant has its full number of requests in flight.
    TenantBusy,
    /// The gateway has its full number of requests in flight.
    Overloaded,
    /// The upstream has its full number of requests in flight.
    UpstreamBusy,
    /// Body larger than the route's cap.
    BodyTooLarge,
    /// The route demands JSON and the body is not.
    MalformedJson,
    /// The request says that it is a CloudEvent, and is not as the specification has it, or is more than is taken.
    MalformedCloudEvent,
    /// A batch of CloudEvents, or one in another format than JSON.
    UnsupportedCloudEvent,
    /// The upstream's breaker is open; the next probe is this far away.
    CircuitOpen(Duration),
    /// The upstream is in a maintenance window, which ends in this time.
    UpstreamMaintenance(Duration),
    /// No endpoint of the upstream took a connection.
    UpstreamUnreachable,
    /// The upstream's certificate or handshake does not hold.
    UpstreamTls,
    /// Connect, first byte or total deadline passed.
    UpstreamTimeout,
    /// The upstream's answer is not HTTP that can be passed on.
    BadUpstreamResponse,
    /// The plugin trapped.
    PluginFault,
    /// The plugin used up its CPU, wall, memory or host-call budget.
    PluginBudgetExceeded,
    /// The plugin returned something that may not be acted on.
    PluginOutputInvalid,
    /// No sandbox slot is free, for the tenant or at all.
    PluginCapacity,
    /// The slot names a component that is not loaded.
    PluginUnavailable,
    /// The plugin refused in its own words.
    PluginRefused(Box<GuestProblem>),
    /// The route demands an idempotency key and the request has none.
    IdempotencyKeyMissing,
    /// What stands where the idempotency key belongs is none.
    IdempotencyKeyInvalid,
    /// The same request, by its idempotency key, is being served.
    IdempotencyInProgress,
    /// Another request had this idempotency key; the value is where the event that it led to can be asked for.
    IdempotencyKeyReused(Option<Arc<str>>),
    /// The same request, by its idempotency key, was cut off when it may have been done.
    IdempotencyOutcomeUnknown,
    /// The tenant has its full number of idempotency keys.
    IdempotencyFull,
    /// The ledger's backlog is full, or so full that only more urgent events are taken.
    QueueFull,
    /// The ledger's disk has next to nothing left.
    InsufficientStorage,
    /// The tenant's share of the backlog is full.
    TenantQueueFull,
    /// The ledger's storage failed; nothing more is accepted until a restart.
    QueueStorageFault,
    /// No such event, or another tenant's.
    EventNotFound,
    /// What was asked for is no time to wait for an event.
    WaitInvalid,
    /// A fault of ours.
    Internal,
}

/// Why a token did not hold; never told to the client, one metric label each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// No `Authorization` field, or not `Bearer`.
    Missing,
    /// Larger than the plan allows.
    TooLarge,
    /// Not three base64url segments of JSON objects, or with members twice.
    Malformed,
    /// `alg` is none, unknown, or not what the key is for.
    Algorithm,
    /// `crit`, `b64`, `zip` or `cty` present.
    Header,
    /// `typ` not among those the issuer uses.
    Type,
    /// No key has this `kid`.
    UnknownKey,
    /// The signature does not verify.
    Signature,
    /// `iss` missing, malformed or not trusted on this route.
    Issuer,
    /// `aud` missing, malformed or without ours.
    Audience,
    /// `exp` missing, malformed or past.
    Expired,
    /// `nbf` malformed or in the future.
    NotYetValid,
    /// `iat` malformed or in the future.
    IssuedInFuture,
    /// `exp` − `iat` longer than the issuer may give.
    Lifetime,
    /// `sub` missing or malformed.
    Subject,
}

impl TokenFault {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            TokenFault::Missing => "missing",
            TokenFault::TooLarge => "too_large",
            TokenFault::Malformed => "malformed",
            TokenFault::Algorithm => "algorithm",
            TokenFault::Header => "header",
            TokenFault::Type => "type",
            TokenFault::UnknownKey => "unknown_key",
            TokenFault::Signature => "signature",
            TokenFault::Issuer => "issuer",
            TokenFault::Audience => "audience",
            TokenFault::Expired => "expired",
            TokenFault::NotYetValid => "not_yet_valid",
            TokenFault::IssuedInFuture => "issued_in_future",
            TokenFault::Lifetime => "lifetime",
            TokenFault::Subject => "subject",
        }
    }
}

/// The fixed part of a refusal's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Last segment of the problem's `type`; also the metric label. Stable for ever.
    pub slug: &'static str,
    /// The problem's `title`.
    pub title: &'static str,
    /// Who is to blame.
    pub blame: Blame,
}

impl Refusal {
    /// The table: what each refusal answers.
    pub fn answer(&self) -> Answer {
        use Blame::{Client, Gateway, Guest, Upstream};
        let (status, slug, title, blame) = match self {
            Refusal::MalformedRequest => (400, "malformed-request", "The request is not well-formed HTTP", Client),
            Refusal::HeadersTooLarge => (431, "headers-too-large", "The request's header section is too large", Client),
            Refusal::UriTooLong => (414, "uri-too-long", "The request target is too long", Client),
            Refusal::RequestTimeout => (408, "request-timeout", "The request came too slowly", Client),
            Refusal::ExpectationFailed => (417, "expectation-failed", "Only 100-continue can be expected", Client),
            Refusal::UnsupportedTransferCoding => {
                (501, "unsupported-transfer-coding", "Only chunked transfer coding is supported", Client)
            }
            Refusal::Misdirected => (421, "misdirected-request", "This connection does not serve that host", Client),
            Refusal::RouteNotFound => (404, "route-not-found", "No route serves this path", Client),
            Refusal::MethodNotAllowed(_) => (405, "method-not-allowed", "The route does not serve this method", Client),
            Refusal::InvalidToken(_) => (401, "invalid-token", "A valid bearer token is required", Client),
            Refusal::AmbiguousCredentials => {
                (400, "ambiguous-credentials", "Send one credential, in one Authorization field", Client)
            }
            Refusal::JwksUnavailable => (503, "jwks-unavailable", "The issuer's keys are not available", Gateway),
            Refusal::TenantMismatch => (403, "tenant-mismatch", "The token's tenant has no access here", Client),
            Refusal::InsufficientScope(_) => (403, "insufficient-scope", "The token lacks a required scope", Client),
            Refusal::RateLimited(_) => (429, "rate-limited", "The tenant's request rate is used up", Client),
            Refusal::TenantBusy => (429, "tenant-busy", "The tenant has too many requests in flight", Client),
            Refusal::Overloaded => (503, "overloaded", "The gateway is at its capacity", Gateway),
            Refusal::UpstreamBusy => (503, "upstream-busy", "The upstream is at its capacity", Upstream),
            Refusal::BodyTooLarge => (413, "body-too-large", "The request body is too large", Client),
            Refusal::MalformedJson => (400, "malformed-json", "The request body must be JSON in UTF-8", Client),
            Refusal::MalformedCloudEvent => (400, "malformed-cloudevent", "The CloudEvent is malformed", Client),
            Refusal::UnsupportedCloudEvent => {
                (415, "unsupported-cloudevent", "Only single CloudEvents, in binary mode or as JSON, are taken", Client)
            }
            Refusal::CircuitOpen(_) => (503, "circuit-open", "The upstream is temporarily unavailable", Upstream),
            Refusal::UpstreamMaintenance(_) => {
                (503, "upstream-maintenance", "The upstream is being maintained", Upstream)
            }
            Refusal::UpstreamUnreachable => {
                (502, "upstream-unreachable", "The upstream could not be reached", Upstream)
            }
            Refusal::UpstreamTls => (502, "upstream-tls-error", "The upstream's TLS does not hold", Upstream),
            Refusal::UpstreamTimeout => (504, "upstream-timeout", "The upstream did not answer in time", Upstream),
            Refusal::BadUpstreamResponse => {
                (502, "bad-upstream-response", "The upstream's answer cannot be passed on", Upstream)
            }
            Refusal::PluginFault => (500, "plugin-fault", "The tenant's plugin failed", Guest),
            Refusal::PluginBudgetExceeded => {
                (503, "plugin-budget-exceeded", "The tenant's plugin used up its budget", Guest)
            }
            Refusal::PluginOutputInvalid => {
                (500, "plugin-output-invalid", "The tenant's plugin returned something invalid", Guest)
            }
            Refusal::PluginCapacity => (503, "plugin-capacity", "No sandbox is free for this tenant", Gateway),
            Refusal::PluginUnavailable => (503, "plugin-unavailable", "The tenant's plugin is not loaded", Gateway),
            Refusal::PluginRefused(problem) => {
                (problem.status, "plugin-refused", "The tenant's plugin refused the request", Client)
            }
            Refusal::IdempotencyKeyMissing => {
                (400, "idempotency-key-missing", "This route requires an idempotency key", Client)
            }
            Refusal::IdempotencyKeyInvalid => {
                (400, "idempotency-key-invalid", "The idempotency key is not one, or not the only one", Client)
            }
            Refusal::IdempotencyInProgress => {
                (409, "idempotency-in-progress", "The same request is being served", Client)
            }
            Refusal::IdempotencyKeyReused(_) => {
                (422, "idempotency-key-reused", "Another request had this idempotency key", Client)
            }
            Refusal::IdempotencyOutcomeUnknown => {
                (409, "idempotency-outcome-unknown", "Whether this request was done before is not known", Gateway)
            }
            Refusal::IdempotencyFull => (503, "idempotency-full", "The tenant has too many idempotency keys", Client),
            Refusal::QueueFull => (503, "queue-full", "The backlog is full", Gateway),
            Refusal::InsufficientStorage => (507, "insufficient-storage", "The disk is full", Gateway),
            Refusal::TenantQueueFull => (429, "tenant-queue-full", "The tenant's backlog is full", Client),
            Refusal::QueueStorageFault => {
                (503, "queue-storage-fault", "Nothing can be kept durably at the moment", Gateway)
            }
            Refusal::WaitInvalid => {
                (400, "wait-invalid", "The time to wait is 0 to 60 seconds, as in wait=30s", Client)
            }
            Refusal::EventNotFound => (404, "event-not-found", "There is no such event", Client),
            Refusal::Internal => (500, "internal-error", "The gateway failed", Gateway),
        };
        Answer { status, slug, title, blame }
    }

    /// Seconds for `Retry-After` (RFC 9110 §10.2.3), rounded up, where waiting helps.
    pub fn retry_after(&self) -> Option<u64> {
        let ceil = |d: &Duration| d.as_secs() + u64::from(d.subsec_nanos() > 0);
        match self {
            Refusal::RateLimited(d) | Refusal::CircuitOpen(d) | Refusal::UpstreamMaintenance(d) => Some(ceil(d).max(1)),
            Refusal::TenantBusy | Refusal::Overloaded | Refusal::UpstreamBusy | Refusal::PluginCapacity => Some(1),
            Refusal::IdempotencyInProgress => Some(1),
            Refusal::PluginUnavailable | Refusal::PluginBudgetExceeded | Refusal::JwksUnavailable => Some(5),
            Refusal::QueueFull | Refusal::TenantQueueFull | Refusal::QueueStorageFault => Some(5),
            Refusal::InsufficientStorage => Some(30),
            Refusal::IdempotencyFull => Some(5),
            _ => None,
        }
    }
}
