//! The HTTP sink: CloudEvents 1.0.2 by HTTP requests, see [`super::message`]. Redirects are not followed.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sluis_model::hook::event::CheckedShaped;
use sluis_model::plan::{EventFormat, HttpSink};
use sluis_model::retry::TransportFault;
use tokio::time::Instant;

use super::answer::{self, Answered};
use super::message::message;
use super::{Delivery, Failure, SendOutcome, SinkError, describe};

/// Longest wait for TCP; within the attempt's own timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are closed before most servers close theirs.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of an answer.
const HEAD_BYTES: usize = 64 << 10;

/// Client and fixed parts of an HTTP sink.
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    format: EventFormat,
}

impl Http {
    pub(super) fn new(settings: &HttpSink, concurrency: usize) -> Result<Http, SinkError> {
        let uri: Uri = settings.url.parse().map_err(|_| SinkError::Url)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(SinkError::Url);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let refused = || SinkError::Header(name.clone());
            let field: HeaderName = name.parse().map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.append(field, value);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(settings.timeout)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.ca.as_deref())?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(concurrency)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_BYTES)
            .build(connector);
        let (method, timeout, format) = (settings.method.clone(), settings.timeout, settings.format);
        Ok(Http { client, method, uri, headers, timeout, format })
    }

    pub(super) async fn send(&self, delivery: &Delivery) -> SendOutcome {
        let (headers, body) = message(delivery, CheckedShaped::default(), self.format);
        let until = Instant::now() + self.timeout;
        match self.in_time(until, self.request(headers, body)).await {
            Ok(answer) => answer::outcome(answer, until).await,
            Err(failure) => SendOutcome::Failed(failure),
        }
    }

    pub(super) async fn ask(&self, delivery: &Delivery, shaped: CheckedShaped) -> Result<Answered, Failure> {
        let (headers, body) = message(delivery, shaped, self.format);
        let exchange = async { answer::read(self.request(headers, body).await?).await };
        self.in_time(Instant::now() + self.timeout, exchange).await
    }

    async fn in_time<T>(
        &self,
        until: Instant,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let late = |_| Failure::below_http(TransportFault::Timeout, format!("no answer within {:?}", self.timeout));
        tokio::time::timeout_at(until, exchange).await.map_err(late)?
    }

    /// The sink's own fields replace those of the event.
    async fn request(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let answer = self.client.request(request).await;
        answer.map_err(|error| Failure::below_http(fault(&error), describe(&error)))
    }
}

/// The web's roots and, where named, the sink's own.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, SinkError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        let unreadable = |reason: String| SinkError::Ca(path.to_owned(), reason);
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(unreadable("no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn fault(error: &Error) -> TransportFault {
    if error.is_connect() {
        return TransportFault::Connect;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return TransportFault::Malformed;
        }
        source = cause.source();
    }
    TransportFault::Broken
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_sink_is_told() {
        let settings = |url: &str| HttpSink {
            url: url.to_owned(),
            method: Method::POST,
            timeout: Duration::from_secs(1),
            headers: Vec::new(),
            ca: None,
            format: EventFormat::Binary,
        };
        for url in ["", "/orders", "ftp://erp/", "erp:7001", "http://"] {
            assert!(matches!(Http::new(&settings(url), 1), Err(SinkError::Url)), "{url}");
        }
        let mut secret = settings("http://erp/");
        secret.headers = vec![("authorization".to_owned(), sluis_model::plan::Secret::new("Bearer \n s3cret"))];
        let error = Http::new(&secret, 1).err().unwrap();
        assert!(matches!(error, SinkError::Header(_)) && !error.to_string().contains("s3cret"));
        let missing = HttpSink { ca: Some("/nonexistent/ca.pem".into()), ..settings("https://erp/") };
        assert!(matches!(Http::new(&missing, 1), Err(SinkError::Ca(..))));
    }
}
