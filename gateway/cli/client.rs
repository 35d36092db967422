//! The commands' HTTP client: HTTP/1.1 in the clear, HTTP/2 over TLS with one CA as the only trust anchor.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// Whole exchange; compiling a component may take half of it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer read.
const ANSWER_LIMIT: usize = 64 << 20;

/// A client with its kept connections.
#[derive(Debug, Clone)]
pub struct Client(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A request to send.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// GET if absent.
    pub method: Method,
    /// Absolute.
    pub url: String,
    /// For `Authorization: Bearer`.
    pub token: Option<String>,
    /// For `Idempotency-Key`.
    pub key: Option<String>,
    /// Sent if not empty.
    pub body: Bytes,
    /// Of the body; `application/json` if absent.
    pub media_type: Option<&'static str>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Spoken to the gateway.
    pub version: Version,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The trust anchor cannot be read.
    #[error("{path}: {reason}")]
    Ca {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody listens there.
    #[error("nothing listens on {0}")]
    Refused(String),
    /// Not within the time.
    #[error("no answer from {0} within {t} s", t = TIMEOUT.as_secs())]
    Timeout(String),
    /// Everything else.
    #[error("{url}: {reason}")]
    Broken {
        /// What was asked for.
        url: String,
        /// The causes, outermost first.
        reason: String,
    },
}

impl Client {
    /// A client that trusts `ca`, and nobody if there is none.
    ///
    /// # Errors
    /// When the CA's file holds no certificate.
    pub fn new(ca: Option<&Path>) -> Result<Self, ClientError> {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(path) = ca {
            let fail = |reason: String| ClientError::Ca { path: path.display().to_string(), reason };
            let certificate = CertificateDer::from_pem_file(path).map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Ca { path: String::new(), reason: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // HTTP/2 sends head and body apart: the second would wait for the first one's acknowledgement.
        tcp.set_nodelay(true);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        Ok(Client(Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)))
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn send(&self, call: Call) -> Result<Reply, ClientError> {
        let url = call.url.clone();
        let broken = |error: &dyn std::error::Error| ClientError::Broken { url: url.clone(), reason: causes(error) };
        let mut request = Request::builder().method(call.method).uri(&call.url);
        if let Some(token) = &call.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.media_type.unwrap_or("application/json"));
        }
        let request = request.body(Full::from(call.body)).map_err(|error| broken(&error))?;
        let begin = Instant::now();
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| match is_refused(&error) {
                true => ClientError::Refused(authority(&url)),
                false => broken(&error),
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| broken(&*error))?.to_bytes();
            let (status, version, headers) = (head.status, head.version, head.headers);
            Ok(Reply { status, version, headers, body, took: begin.elapsed() })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout(authority(&url))),
        }
    }

    /// The JSON at `url`; null where the answer is none.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn get(&self, url: String) -> Result<Value, ClientError> {
        Ok(self.send(Call { url, ..Call::default() }).await?.json())
    }
}

impl Reply {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A field's text, if it is there.
    pub fn field(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn authority(url: &str) -> String {
    url.split('/').nth(2).unwrap_or(url).to_owned()
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    error.downcast_ref::<std::io::Error>().is_some_and(refused) || error.source().is_some_and(is_refused)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
