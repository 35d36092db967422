//! What stands behind the plugins' capability `http-client`: each tenant's requests go to its own origins, over
//! connections that all tenants share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus::IntCounterVec;
use sluis_model::fields;
use sluis_model::http_client::{
    ANSWER_BYTES, AllowedOrigin, Answer, Answering, CheckedOutgoing, HttpClient, HttpFault, Outgoing, check,
};

use crate::address::{Guarded, Resolve, SystemResolver, is_private_literal, is_refused};
use crate::metrics::Metrics;

/// However long a guest would wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Idle connections to one origin, and how long they are kept.
const IDLE: (usize, Duration) = (16, Duration::from_secs(30));
/// Largest head of an answer, and its fields.
const HEAD: (usize, usize) = (16 * 1024, 100);
const OURS: HeaderValue = HeaderValue::from_static(concat!("sluis/", env!("CARGO_PKG_VERSION")));

type Connections = Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>;

/// Connections to other systems. What may only go to public addresses never shares one with what may go anywhere.
pub struct HttpConnections {
    public: Connections,
    any: Connections,
    requests: IntCounterVec,
}

impl HttpConnections {
    /// With the web's trust anchors and the system's resolver.
    pub fn new(metrics: &Metrics) -> Result<Arc<Self>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
        let connections = |allow_private| connections(tls.clone(), Guarded { inner: resolver.clone(), allow_private });
        let requests = metrics.plugin_http_requests.clone();
        Ok(Arc::new(HttpConnections { public: connections(false), any: connections(true), requests }))
    }

    async fn exchange(&self, checked: CheckedOutgoing) -> Result<Answer, HttpFault> {
        let CheckedOutgoing { mut request, allow_insecure } = checked;
        if !allow_insecure && request.uri().host().is_some_and(is_private_literal) {
            return Err(HttpFault::NotAllowed);
        }
        request.headers_mut().entry(USER_AGENT).or_insert(OURS);
        let client = if allow_insecure { &self.any } else { &self.public };
        let answer = client.request(request.map(Full::new)).await.map_err(|error| match is_refused(&error) {
            true => HttpFault::NotAllowed,
            false => HttpFault::Connection,
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { HttpFault::TooLarge } else { HttpFault::Connection }
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: told(&head.headers), body: body.to_bytes().into() })
    }
}

fn connections(tls: rustls::ClientConfig, resolver: Guarded) -> Connections {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE.0)
        .pool_idle_timeout(IDLE.1)
        .http1_max_buf_size(HEAD.0)
        .http1_max_headers(HEAD.1)
        .build(connector)
}

/// The fields that a plugin is told: text, and nothing of the connection.
fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| !fields::is_hop_by_hop(name));
    kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// One tenant's.
pub struct TenantHttp {
    connections: Arc<HttpConnections>,
    tenant: Arc<str>,
    allowed: Vec<AllowedOrigin>,
}

impl TenantHttp {
    /// Sends to the origins that are `allowed`, and counts for `tenant`.
    pub fn new(connections: &Arc<HttpConnections>, tenant: &Arc<str>, allowed: &[AllowedOrigin]) -> Arc<Self> {
        Arc::new(TenantHttp { connections: connections.clone(), tenant: tenant.clone(), allowed: allowed.to_vec() })
    }
}

impl std::fmt::Debug for TenantHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantHttp").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl HttpClient for TenantHttp {
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Answering<'_> {
        Box::pin(async move {
            let answer = match check(outgoing, &self.allowed) {
                Ok(checked) => {
                    let exchange = self.connections.exchange(checked);
                    tokio::time::timeout(timeout.min(LONGEST), exchange).await.unwrap_or(Err(HttpFault::Timeout))
                }
                Err(fault) => Err(fault),
            };
            let result = answer.as_ref().err().map_or("answered", |fault| fault.label());
            self.connections.requests.with_label_values(&[&*self.tenant, result]).inc();
            answer
        })
    }
}
