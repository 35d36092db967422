//! One fetch of a key set, with a bound on everything: time, bytes, addresses, redirects (none).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sluis_model::identity::KeySetFault;
use sluis_model::plan::Jwks;

use crate::address::{Guarded, Resolve, SystemResolver, is_private_literal, is_refused};

/// Largest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
/// Most fields of an answer.
const HEAD_FIELDS: usize = 100;
/// Largest file of trust anchors.
const CA_BYTES: u64 = 1024 * 1024;

/// An answer with status 200.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// At most `max_bytes`. Its `Content-Type` is not looked at: it is a key set if it parses as one.
    pub body: Bytes,
    /// How long it says it is fresh, where it says.
    pub max_age: Option<Duration>,
}

/// Why there is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FetchFault {
    /// The URL is malformed, or is not `https` and the plan does not allow that.
    #[error("the URL is not allowed")]
    Url,
    /// The file of extra trust anchors cannot be read or holds no certificate.
    #[error("the trust anchors cannot be used")]
    TrustAnchors,
    /// The host has no public address, and the plan does not allow others.
    #[error("the host has no public address")]
    Address,
    /// Not resolved, not connected, TLS failed, or the answer broke off.
    #[error("the connection failed")]
    Connection,
    /// Not finished in time.
    #[error("the answer came too slowly")]
    Timeout,
    /// Another status than 200. Redirects are among them: they are not followed.
    #[error("the answer has status {0}")]
    Status(u16),
    /// More bytes than the plan allows.
    #[error("the answer is too large")]
    TooLarge,
    /// The body is no key set.
    #[error(transparent)]
    Keys(#[from] KeySetFault),
}

impl FetchFault {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            FetchFault::Url => "url",
            FetchFault::TrustAnchors => "trust_anchors",
            FetchFault::Address => "address",
            FetchFault::Connection => "connection",
            FetchFault::Timeout => "timeout",
            FetchFault::Status(300..400) => "redirect",
            FetchFault::Status(_) => "status",
            FetchFault::TooLarge => "too_large",
            FetchFault::Keys(KeySetFault::NotJson) => "not_json",
            FetchFault::Keys(KeySetFault::NotASet) => "not_a_set",
            FetchFault::Keys(KeySetFault::TooManyKeys) => "too_many_keys",
            FetchFault::Keys(KeySetFault::DuplicateKid) => "duplicate_kid",
        }
    }
}

/// How a set is fetched.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Fetches once; keeps every bound of `settings` itself.
    async fn fetch(&self, settings: &Jwks) -> Result<Fetched, FetchFault>;
}

/// Over HTTP. A fetch is rare, so each has its own client: no idle connections, and changed trust anchors count at once.
pub struct HttpFetch {
    resolver: Arc<dyn Resolve>,
}

impl HttpFetch {
    /// With another way to resolve names.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        HttpFetch { resolver }
    }
}

impl Default for HttpFetch {
    fn default() -> Self {
        HttpFetch::new(Arc::new(SystemResolver::default()))
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, settings: &Jwks) -> Result<Fetched, FetchFault> {
        tokio::time::timeout(settings.timeout, self.get(settings)).await.unwrap_or(Err(FetchFault::Timeout))
    }
}

impl HttpFetch {
    async fn get(&self, settings: &Jwks) -> Result<Fetched, FetchFault> {
        let url = check_url(settings)?;
        let request = Request::get(url)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("sluis/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchFault::Url)?;
        let answer = self.client(settings).await?.request(request).await.map_err(|error| match is_refused(&error) {
            true => FetchFault::Address,
            false => FetchFault::Connection,
        })?;
        if answer.status() != http::StatusCode::OK {
            return Err(FetchFault::Status(answer.status().as_u16()));
        }
        let max_age = max_age(answer.headers());
        let body = Limited::new(answer.into_body(), settings.max_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FetchFault::TooLarge } else { FetchFault::Connection }
        })?;
        Ok(Fetched { body: body.to_bytes(), max_age })
    }

    async fn client(&self, settings: &Jwks) -> Result<Client<Connector, Empty<Bytes>>, FetchFault> {
        let resolver = Guarded { inner: Arc::clone(&self.resolver), allow_private: settings.allow_insecure };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls_config(settings).await?);
        let tls = if settings.allow_insecure { tls.https_or_http() } else { tls.https_only() };
        Ok(Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(HEAD_BYTES)
            .http1_max_headers(HEAD_FIELDS)
            .build(tls.enable_http1().wrap_connector(tcp)))
    }
}

type Connector = hyper_rustls::HttpsConnector<HttpConnector<Guarded>>;

fn check_url(settings: &Jwks) -> Result<Uri, FetchFault> {
    let url: Uri = settings.url.parse().map_err(|_| FetchFault::Url)?;
    let host = url.host().ok_or(FetchFault::Url)?;
    let scheme = url.scheme().ok_or(FetchFault::Url)?;
    if *scheme != Scheme::HTTPS && !(*scheme == Scheme::HTTP && settings.allow_insecure) {
        return Err(FetchFault::Url);
    }
    // A literal address never meets the resolver, so it is judged here.
    if !settings.allow_insecure && is_private_literal(host) { Err(FetchFault::Address) } else { Ok(url) }
}

/// The Web's trust anchors, and those of the plan beside them.
async fn tls_config(settings: &Jwks) -> Result<ClientConfig, FetchFault> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &settings.ca {
        let size = tokio::fs::metadata(path).await.map_err(|_| FetchFault::TrustAnchors)?.len();
        if size > CA_BYTES {
            return Err(FetchFault::TrustAnchors);
        }
        let pem = tokio::fs::read(path).await.map_err(|_| FetchFault::TrustAnchors)?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(FetchFault::TrustAnchors);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| FetchFault::TrustAnchors)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// RFC 9111 §5.2.2: `max-age` in seconds; `no-store` and `no-cache` are an age of zero. The caller clamps it.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives = fields.flat_map(|field| field.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    directives
        .filter_map(|directive| match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => Some(0),
            // A number too large to read is a long time.
            Some(("max-age", seconds)) if seconds.bytes().all(|byte| byte.is_ascii_digit()) && !seconds.is_empty() => {
                Some(seconds.parse().unwrap_or(u64::from(u32::MAX)))
            }
            _ => None,
        })
        .min()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a145_max_age_is_read_as_rfc_9111_has_it() {
        let age = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(CACHE_CONTROL, http::HeaderValue::from_static(field));
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age(&[]), None);
        assert_eq!(age(&["public, max-age=300, must-revalidate"]), Some(300));
        assert_eq!(age(&["Max-Age=0"]), Some(0));
        assert_eq!(age(&["max-age=600", "no-store"]), Some(0));
        assert_eq!(age(&["max-age=999999999999999999999999"]), Some(u64::from(u32::MAX)));
        for nonsense in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=\"60\"", "s-maxage=5"] {
            assert_eq!(age(&[nonsense]), None, "{nonsense}");
        }
    }
}
