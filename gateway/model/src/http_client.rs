//! Requests that plugins send to other systems: to whom, what, how much. Whoever sends them implements [`HttpClient`].

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Uri};

use crate::hook::{OutputFault, check_outgoing};

/// Largest body of a request.
pub const REQUEST_BYTES: usize = 256 << 10;
/// Largest body of an answer.
pub const ANSWER_BYTES: usize = 1 << 20;
/// Longest URL.
pub const URL_BYTES: usize = 2048;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpFault {
    /// The tenant may not send there, or not this.
    NotAllowed,
    /// No such request can be sent.
    Malformed,
    /// The call has sent as many as it may.
    TooMany,
    /// The request's or the answer's body is too large.
    TooLarge,
    /// The answer did not come in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
}

impl HttpFault {
    /// The contract's word, also the metric's.
    pub fn label(self) -> &'static str {
        match self {
            HttpFault::NotAllowed => "not-allowed",
            HttpFault::Malformed => "malformed",
            HttpFault::TooMany => "too-many",
            HttpFault::TooLarge => "too-large",
            HttpFault::Timeout => "timeout",
            HttpFault::Connection => "connection",
        }
    }
}

/// Scheme, host and port (RFC 6454 §4): where requests may go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    /// Lower case.
    host: String,
    port: u16,
}

impl Origin {
    /// Of an absolute `http` or `https` URL without credentials.
    pub fn of(url: &Uri) -> Option<Origin> {
        let tls = match url.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = url.authority()?;
        // A final dot names the same host, by another name than the one that was allowed.
        let host = authority.host().to_ascii_lowercase();
        if authority.as_str().contains('@') || host.is_empty() || host.ends_with('.') {
            return None;
        }
        // `http` is silent about a port that is none.
        let port = match authority.as_str().get(host.len()..)? {
            "" => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => authority.port_u16().filter(|port| *port != 0)?,
        };
        Some(Origin { tls, host, port })
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.tls
    }
}

/// Where a tenant's plugins may send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    /// Exactly this.
    pub origin: Origin,
    /// The scheme may be `http`, and its address need not be a public one.
    pub allow_insecure: bool,
}

/// What a guest wants to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract in `wit/http-client.wit` says it all")]
pub struct Outgoing {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As it came.
    pub status: u16,
    /// What is text, without fields of the connection.
    pub headers: Vec<(String, String)>,
    /// At most [`ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// A request that can be sent.
#[derive(Debug)]
pub struct CheckedOutgoing {
    /// With an absolute URL.
    pub request: Request<Bytes>,
    /// Its address need not be a public one.
    pub allow_insecure: bool,
}

/// Checks what a guest wants to be sent against what its tenant may.
pub fn check(outgoing: Outgoing, allowed: &[AllowedOrigin]) -> Result<CheckedOutgoing, HttpFault> {
    if outgoing.body.len() > REQUEST_BYTES {
        return Err(HttpFault::TooLarge);
    }
    if outgoing.url.len() > URL_BYTES || outgoing.url.contains('#') {
        return Err(HttpFault::Malformed);
    }
    let url: Uri = outgoing.url.parse().map_err(|_| HttpFault::Malformed)?;
    let origin = Origin::of(&url).ok_or(HttpFault::Malformed)?;
    let method = Method::from_bytes(outgoing.method.as_bytes()).map_err(|_| HttpFault::Malformed)?;
    let allowed = allowed.iter().find(|allowed| allowed.origin == origin).ok_or(HttpFault::NotAllowed)?;
    // A tunnel would lead anywhere, and an echo would show what the gateway adds.
    if [Method::CONNECT, Method::TRACE].contains(&method) {
        return Err(HttpFault::NotAllowed);
    }
    let headers = check_outgoing(&outgoing.headers).map_err(|fault| match fault {
        OutputFault::HeaderForbidden => HttpFault::NotAllowed,
        _ => HttpFault::Malformed,
    })?;
    let mut request = Request::new(Bytes::from(outgoing.body));
    (*request.method_mut(), *request.uri_mut()) = (method, url);
    for (name, value) in headers {
        request.headers_mut().append(name, value);
    }
    Ok(CheckedOutgoing { request, allow_insecure: allowed.allow_insecure })
}

/// An answer that is being waited for.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, HttpFault>> + Send + 'a>>;

/// Sends the requests of one tenant's plugins, having checked them.
pub trait HttpClient: fmt::Debug + Send + Sync {
    /// Waits for the whole answer, for `timeout` at most. May be dropped at any await.
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Answering<'_>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allowed(urls: &[&str]) -> Vec<AllowedOrigin> {
        let origin = |url: &&str| Origin::of(&url.parse().unwrap()).unwrap();
        urls.iter().map(|url| AllowedOrigin { origin: origin(url), allow_insecure: false }).collect()
    }

    fn get(url: &str) -> Outgoing {
        Outgoing { method: "GET".into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    fn fault(outgoing: Outgoing) -> Option<HttpFault> {
        check(outgoing, &allowed(&["https://api.example.com", "http://10.0.0.5:8080"])).err()
    }

    #[test]
    fn a_request_goes_where_its_tenant_may_send_and_nowhere_else() {
        for url in ["https://api.example.com", "https://API.example.com:443/v1?a=b", "http://10.0.0.5:8080/"] {
            assert_eq!(fault(get(url)), None, "{url}");
        }
        for url in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://example.com/",
            "https://evil-api.example.com/",
            "https://api.example.com.evil.example/",
            "http://10.0.0.5/",
            "http://169.254.169.254/latest/meta-data",
            "https://[::1]/",
        ] {
            assert_eq!(fault(get(url)), Some(HttpFault::NotAllowed), "{url}");
        }
        for url in [
            "",
            "/v1",
            "api.example.com/v1",
            "ftp://api.example.com/",
            "https://user:secret@api.example.com/",
            "https://evil.example@api.example.com/",
            "https://api.example.com./",
            "https://api.example.com:0/",
            "https://api.example.com:99999/",
            "https://api.example.com/#part",
            "https://api.example.com/a b",
            "https://api.example.com/\r\nhost: evil",
            &format!("https://api.example.com/{}", "x".repeat(URL_BYTES)),
        ] {
            assert_eq!(fault(get(url)), Some(HttpFault::Malformed), "{url}");
        }
    }

    #[test]
    fn methods_and_fields_are_the_guests_own_but_for_what_is_the_gateways() {
        let with = |method: &str, name: &str, value: &str| Outgoing {
            method: method.into(),
            headers: vec![(name.into(), value.into())],
            ..get("https://api.example.com/")
        };
        for (name, value) in [("authorization", "Bearer x"), ("cookie", "a=b"), ("content-type", "a/b"), ("x-a", "")] {
            assert_eq!(fault(with("POST", name, value)), None, "{name}");
        }
        for name in ["host", "content-length", "transfer-encoding", "connection", "x-forwarded-for", "x-sluis-tenant"] {
            assert_eq!(fault(with("POST", name, "1")), Some(HttpFault::NotAllowed), "{name}");
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("x-a", "line\r\nbreak"), ("x-a", " x"), ("a_b", "x")] {
            assert_eq!(fault(with("POST", name, value)), Some(HttpFault::Malformed), "{name}: {value}");
        }
        for method in ["CONNECT", "TRACE"] {
            assert_eq!(fault(with(method, "x-a", "")), Some(HttpFault::NotAllowed), "{method}");
        }
        for method in ["", "GE T", "GET\n"] {
            assert_eq!(fault(with(method, "x-a", "")), Some(HttpFault::Malformed), "{method:?}");
        }
    }

    #[test]
    fn a_large_body_is_not_sent() {
        let body = |bytes: usize| Outgoing { body: vec![0; bytes], ..get("https://api.example.com/") };
        assert_eq!(fault(body(REQUEST_BYTES)), None);
        assert_eq!(fault(body(REQUEST_BYTES + 1)), Some(HttpFault::TooLarge));
    }
}
