//! The HTTP sink: CloudEvents 1.0 in binary content mode (HTTP protocol binding §3.1). Redirects are not followed.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sluis_model::plan::HttpSink;
use sluis_model::retry::{ErrorClass, TransportFault, classify_status};

use super::{Delivery, EXCERPT_BYTES, Failure, SendOutcome, SinkError};
use crate::status::rfc3339;

/// Longest wait for TCP; within the attempt's own timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are closed before most servers close theirs.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer is read on to this length so that its connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;
/// Largest head of an answer.
const HEAD_BYTES: usize = 64 << 10;
/// Longest field value made of something a tenant wrote.
const FIELD_BYTES: usize = 4 << 10;

/// Client and fixed parts of an HTTP sink.
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
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
        Ok(Http { client, method: settings.method.clone(), uri, headers, timeout: settings.timeout })
    }

    pub(super) async fn send(&self, delivery: &Delivery) -> SendOutcome {
        match tokio::time::timeout(self.timeout, self.exchange(delivery)).await {
            Ok(outcome) => outcome,
            Err(_) => failed(TransportFault::Timeout, format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, delivery: &Delivery) -> SendOutcome {
        let mut request = Request::new(Full::new(delivery.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = fields(delivery);
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        match self.client.request(request).await {
            // The head of a 2xx is the confirmation; what follows it changes nothing.
            Ok(answer) if answer.status().is_success() => {
                let status = answer.status().as_u16();
                let _ = excerpt(answer.into_body()).await;
                SendOutcome::Confirmed(format!("http {status}"))
            }
            Ok(answer) => refused(answer).await,
            Err(error) => failed(fault(&error), describe(&error)),
        }
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

/// The event's attributes as fields. The caller's own headers are set after them.
fn fields(delivery: &Delivery) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    };
    put("ce-specversion", "1.0");
    put("ce-id", &delivery.event_id.to_string());
    put("ce-source", &encoded(&format!("/tenants/{}/routes/{}", delivery.tenant, delivery.route)));
    put("ce-type", &encoded(&delivery.event_type));
    put("ce-time", &rfc3339(delivery.accepted_at));
    if let Some(key) = &delivery.key {
        put("ce-partitionkey", &encoded(key));
    }
    put("x-correlation-id", &encoded(&delivery.correlation_id));
    if let Some(traceparent) = &delivery.traceparent {
        put("traceparent", traceparent);
    }
    put("x-sluis-attempt", &delivery.attempt.to_string());
    let content_type = HeaderValue::from_str(&delivery.content_type);
    fields.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    fields
}

/// CloudEvents HTTP protocol binding §3.1.3.2: a value is percent-encoded where it is not printable ASCII, and at space,
/// double quote and percent sign.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        let mut utf8 = [0; 4];
        let bytes = char.encode_utf8(&mut utf8);
        if matches!(char, '!'..='~') && !matches!(char, '"' | '%') {
            out.push(char);
        } else {
            bytes.bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
        if out.len() > FIELD_BYTES {
            break;
        }
    }
    out
}

/// The first bytes of an answer; reads on a little so that the connection can be used again.
async fn excerpt(mut body: Incoming) -> Vec<u8> {
    let (mut kept, mut read) = (Vec::new(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let more = data.len().min(EXCERPT_BYTES - kept.len());
        kept.extend_from_slice(&data[..more]);
        if read > DRAIN_BYTES {
            break;
        }
    }
    kept
}

async fn refused(answer: Response<Incoming>) -> SendOutcome {
    let status = answer.status();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| parse_retry_after(value, now));
    let class = classify_status(status.as_u16(), retry_after.is_some()).unwrap_or(ErrorClass::Transient);
    SendOutcome::Failed(Failure {
        class,
        kind: "http",
        status: Some(status.as_u16()),
        message: reason(status),
        excerpt: excerpt(answer.into_body()).await,
        retry_after,
    })
}

fn reason(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("the sink answered {} {reason}", status.as_u16()),
        None => format!("the sink answered {}", status.as_u16()),
    }
}

/// Seconds or an HTTP date (RFC 9110 §10.2.3); `now` is the time since the epoch.
fn parse_retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = time::OffsetDateTime::parse(value, &time::format_description::well_known::Rfc2822).ok()?;
    let at = Duration::from_secs(u64::try_from(date.unix_timestamp()).ok()?);
    Some(at.saturating_sub(now))
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

/// The chain of causes in one line: addresses and TLS alerts, nothing of the event.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(512));
    text
}

fn failed(fault: TransportFault, message: String) -> SendOutcome {
    SendOutcome::Failed(Failure {
        class: fault.class(),
        kind: fault.label(),
        status: None,
        message,
        excerpt: Vec::new(),
        retry_after: None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_as_the_binding_says() {
        assert_eq!(encoded("order-42"), "order-42");
        assert_eq!(encoded("a \"b\" 100%"), "a%20%22b%22%20100%25");
        assert_eq!(encoded("Euro € 😀\r\n"), "Euro%20%E2%82%AC%20%F0%9F%98%80%0D%0A");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_777);
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_sink_is_told() {
        let settings = |url: &str| HttpSink {
            url: url.to_owned(),
            method: Method::POST,
            timeout: Duration::from_secs(1),
            headers: Vec::new(),
            ca: None,
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
