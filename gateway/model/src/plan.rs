//! Configuration as checked: nothing optional is left that has a default, every name is resolved, every limit has
//! its number. The rest of the program sees only this; `config` is the only writer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::idempotency::Idempotency;
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

/// Where operators come in, and tenants with their plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to bind.
    pub address: SocketAddr,
    /// Who may change the tenants' plugins and look after their events; nobody where none.
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
    /// For every tenant's.
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
    /// Between two reads of a body.
    pub body_timeout: Duration,
    /// A write that makes no progress.
    pub write_timeout: Duration,
    /// Requests on one connection.
    pub requests_per_connection: u32,
}

/// Who signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Label in logs and metrics.
    pub name: Arc<str>,
    /// Exact value of `iss`.
    pub issuer: Arc<str>,
    /// Accepted values of `aud`; one must be in the token.
    pub audiences: Vec<String>,
    /// JWS algorithms that this issuer may use, by their RFC 7518/8037 names.
    pub algorithms: Vec<Algorithm>,
    /// Accepted values of the header's `typ`, lower case, without `application/`; an absent `typ` passes only if
    /// `allow_missing_type`.
    pub types: Vec<String>,
    /// Whether a token without `typ` passes.
    pub allow_missing_type: bool,
    /// The claim that names the tenant; dots descend into objects.
    pub tenant_claim: Arc<str>,
    /// Clock skew allowed, at most 60 s.
    pub leeway: Duration,
    /// Longest `exp` − `iat`.
    pub max_lifetime: Duration,
    /// Where the keys come from.
    pub jwks: Jwks,
}

/// JWS signature algorithms that Sluis verifies. Symmetric ones and `none` are not in the list, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// How an issuer's keys are fetched (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// `https`, or `http` where `allow_insecure`.
    pub url: String,
    /// Allow plain http and addresses that are not public. For an issuer inside the same network.
    pub allow_insecure: bool,
    /// Fetch again after this; `Cache-Control: max-age` may move it within [60 s, 10 min].
    pub refresh: Duration,
    /// At most one fetch for unknown `kid`s in this time, whatever the number of `kid`s.
    pub cooldown: Duration,
    /// Keys serve this long after their last successful fetch when the issuer cannot be reached.
    pub stale_if_error: Duration,
    /// Whole fetch.
    pub timeout: Duration,
    /// Largest answer.
    pub max_bytes: usize,
    /// Largest number of keys.
    pub max_keys: usize,
    /// Extra trust anchors (PEM) for the fetch.
    pub ca: Option<PathBuf>,
}

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

/// A system that events are delivered to.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Label, and what a plugin's `enqueue` names.
    pub name: Arc<str>,
    /// How it is reached.
    pub kind: SinkKind,
    /// Slot of the tenants' plugins that shape its events and judge its answers, if any.
    pub plugin: Option<Arc<str>>,
    /// When to try again, and when to give up.
    pub retry: crate::retry::RetrySettings,
    /// Deliveries in flight.
    pub concurrency: usize,
    /// What the deliveries of one key owe each other.
    pub order: Order,
    /// A newer event takes the place of the undelivered older ones of its key.
    pub compact_by_key: bool,
    /// What it is asked at most.
    pub pacing: crate::pacing::PacingSettings,
    /// When to stop asking.
    pub breaker: crate::breaker::BreakerSettings,
    /// When not to ask at all.
    pub maintenance: crate::maintenance::Calendar,
}

/// What the deliveries of one ordering key owe each other, within a tenant and a sink. In order, one of a key is in
/// flight at a time, and the rest is blocked behind it; keys do not wait for each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    #[default]
    None,
    /// The first is tried until it is too old, permanent errors included; then the next has its turn.
    Block,
    /// A dead one lets the next go.
    DlqAndContinue,
    /// The next ones stay blocked behind a dead one until an operator replays or discards it.
    ParkKey,
}

impl Sink {
    /// The sink as an event has it.
    pub fn of_event(&self) -> crate::event::EventSink {
        let in_order = self.order != Order::None || self.compact_by_key;
        crate::event::EventSink { name: self.name.clone(), in_order, compacts: self.compact_by_key }
    }
}

/// The kinds of sink, a closed set.
#[derive(Debug, Clone)]
pub enum SinkKind {
    /// An HTTP endpoint; 2xx is the confirmation.
    Http(HttpSink),
}

/// An HTTP sink.
#[derive(Debug, Clone)]
pub struct HttpSink {
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// Usually POST.
    pub method: http::Method,
    /// Whole attempt.
    pub timeout: Duration,
    /// Fields set on every attempt; secret values.
    pub headers: Vec<(String, Secret)>,
    /// PEM of additional trust anchors.
    pub ca: Option<PathBuf>,
    /// How it gets its events.
    pub format: EventFormat,
}

/// How an HTTP sink gets a CloudEvent (HTTP protocol binding §3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// The data as it is, the attributes as fields beside it.
    #[default]
    Binary,
    /// Both as one JSON object.
    Structured,
}

/// What one route does.
#[derive(Debug, Clone)]
pub struct Route {
    /// Label in logs and metrics.
    pub name: Arc<str>,
    /// Lower-case host without port; none serves every host.
    pub host: Option<String>,
    /// Path template: segments, `{name}` for one segment, a trailing `{name...}` for the rest.
    pub path: String,
    /// Methods served.
    pub methods: Vec<http::Method>,
    /// Who may come in.
    pub auth: Auth,
    /// Bound to this tenant: any other tenant's token is refused.
    pub tenant: Option<Arc<str>>,
    /// Slot of the tenant's plugin that decides, if any.
    pub plugin: Option<Arc<str>>,
    /// What happens without a plugin, and what a plugin may choose from.
    pub action: Action,
    /// Largest body where it is needed whole: by a plugin, the ledger or an idempotency key.
    pub body_limit: usize,
    /// What a body must be, a client's and one that a plugin makes of it.
    pub body_format: BodyFormat,
    /// A POST may be sent again after the connection broke before any answer.
    pub retry_unsafe: bool,
    /// What is done about requests that come again, if anything. The route has a tenant then, and not only safe methods.
    pub idempotency: Option<Idempotency>,
}

/// What a body must be, where there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// Any bytes.
    #[default]
    Any,
    /// One JSON text in UTF-8 (RFC 8259).
    Json,
}

impl BodyFormat {
    /// Whether a body is what it must be. An empty one is none, so nothing is asked of it.
    pub fn admits(self, body: &[u8]) -> bool {
        match self {
            BodyFormat::Any => true,
            // serde_json skips what it does not keep without a look at its encoding.
            BodyFormat::Json => {
                let text = std::str::from_utf8(body);
                body.is_empty() || text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
            }
        }
    }
}

/// Who may come in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anyone; the request has no tenant unless the route is bound to one.
    Public,
    /// A bearer token.
    Jwt {
        /// Positions in `Plan::issuers`.
        issuers: Vec<usize>,
        /// All of them are needed.
        scopes: Vec<Arc<str>>,
    },
}

/// A route's journeys: at least one of the two is there.
#[derive(Debug, Clone, Default)]
pub struct Action {
    /// Forward to one of these; the first is the default.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Enqueue for these, all of them by default.
    pub enqueue: Option<Enqueue>,
    /// What becomes of a request that cannot be forwarded now. [`Otherwise::Enqueue`] only where there are both journeys.
    pub otherwise: Otherwise,
    /// The client may choose to have its request enqueued, or to wait only so long, by `Prefer: respond-async` and `wait`
    /// (RFC 7240 §4.1, §4.3). Only where there are both journeys.
    pub prefer: bool,
}

/// What becomes of a request that cannot be forwarded now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It is enqueued.
    Enqueue,
}

/// The journey to the ledger.
#[derive(Debug, Clone)]
pub struct Enqueue {
    /// Sinks that the event goes to.
    pub sinks: Vec<Arc<Sink>>,
    /// CloudEvents type given to events of this route when the plugin names none.
    pub event_type: Arc<str>,
    /// How urgent the events of this route are.
    pub lane: crate::lane::Lane,
}

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
