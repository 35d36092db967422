//! The head of a request towards an upstream: the client's fields, less what ends at the gateway, changed as the
//! plugin asked, plus what the operator and the gateway add. One walk over the fields serves both HTTP versions.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Uri, Version};
use sluis_model::fields;

use crate::upstream::{EndpointState, UpstreamState};

/// How much body follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body, and none was announced.
    None,
    /// So many bytes.
    Known(u64),
    /// Until its end.
    Unknown,
}

/// Fields set and removed by a plugin; already checked.
#[derive(Debug, Clone, Default)]
pub struct HeaderChange {
    /// Each replaces all of its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Gone before `set` is applied.
    pub remove: Vec<HeaderName>,
}

impl HeaderChange {
    fn touches(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name)
    }
}

/// What the gateway tells the upstream about the request.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// Correlation id.
    pub correlation_id: Arc<str>,
    /// W3C trace context, already a child of the client's.
    pub traceparent: Arc<str>,
    /// The tenant, where there is one.
    pub tenant: Option<Arc<str>>,
    /// Address of the client's connection.
    pub client: Option<std::net::IpAddr>,
    /// Whether the client came by TLS.
    pub tls: bool,
}

/// A request towards an upstream, without its body.
#[derive(Debug)]
pub struct Outgoing {
    /// The client's.
    pub method: Method,
    /// Normalised path and query, the endpoint's base path not included.
    pub target: String,
    /// The plugin's changes.
    pub change: HeaderChange,
    /// Names nominated by `Connection`.
    pub nominated: Vec<HeaderName>,
    /// The gateway's own words.
    pub provenance: Provenance,
    /// Length of the body.
    pub length: BodyLength,
}

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TENANT: HeaderName = HeaderName::from_static("x-sluis-tenant");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Outgoing {
    /// Every field but `Host` and the framing, in the order sent.
    fn for_each_field(&self, client: &HeaderMap, upstream: &UpstreamState, mut emit: impl FnMut(&HeaderName, &[u8])) {
        let operator_sets = |name: &HeaderName| upstream.set_headers.iter().any(|(set, _)| set == name);
        // It belongs to a trace that is not gone on from (W3C Trace Context §3.3.1.1).
        let orphaned = |name: &HeaderName| {
            name.as_str() == "tracestate"
                && !client.get(TRACEPARENT).is_some_and(|trace| fields::is_traceparent(trace.as_bytes()))
        };
        for (name, value) in client {
            let dropped = name == HOST
                || name == CONTENT_LENGTH
                || fields::is_hop_by_hop(name)
                || fields::ends_at_gateway(name)
                || self.nominated.contains(name)
                || orphaned(name)
                || self.change.touches(name)
                || operator_sets(name);
            if !dropped {
                emit(name, value.as_bytes());
            }
        }
        for (name, value) in &self.change.set {
            if !operator_sets(name) {
                emit(name, value.as_bytes());
            }
        }
        for (name, value) in &upstream.set_headers {
            emit(name, value.as_bytes());
        }
        let provenance = &self.provenance;
        emit(&CORRELATION_ID, provenance.correlation_id.as_bytes());
        emit(&TRACEPARENT, provenance.traceparent.as_bytes());
        if let Some(tenant) = &provenance.tenant {
            emit(&TENANT, tenant.as_bytes());
        }
        if let Some(client) = provenance.client {
            emit(&FORWARDED_FOR, client.to_string().as_bytes());
        }
        emit(&FORWARDED_PROTO, if provenance.tls { b"https" } else { b"http" });
        if let Some(host) = client.get(HOST) {
            emit(&FORWARDED_HOST, host.as_bytes());
        }
    }

    /// The head as HTTP/1.1 bytes, with room for `body_room` bytes behind it.
    pub fn encode_h1(
        &self,
        client: &HeaderMap,
        upstream: &UpstreamState,
        endpoint: &EndpointState,
        body_room: usize,
    ) -> BytesMut {
        let mut out = BytesMut::with_capacity(1024 + body_room);
        out.put_slice(self.method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(endpoint.endpoint.base_path.as_bytes());
        out.put_slice(self.target.as_bytes());
        out.put_slice(b" HTTP/1.1\r\nhost: ");
        out.put_slice(endpoint.authority.as_bytes());
        out.put_slice(b"\r\n");
        self.for_each_field(client, upstream, |name, value| put_field(&mut out, name.as_str().as_bytes(), value));
        match self.length {
            BodyLength::None => {}
            BodyLength::Known(length) => put_field(&mut out, b"content-length", length.to_string().as_bytes()),
            BodyLength::Unknown => put_field(&mut out, TRANSFER_ENCODING.as_str().as_bytes(), b"chunked"),
        }
        out.put_slice(b"\r\n");
        out
    }

    /// The head as an HTTP/2 request.
    pub fn encode_h2(
        &self,
        client: &HeaderMap,
        upstream: &UpstreamState,
        endpoint: &EndpointState,
    ) -> Result<http::request::Parts, http::Error> {
        let scheme = if endpoint.endpoint.tls { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(endpoint.authority.as_str())
            .path_and_query(format!("{}{}", endpoint.endpoint.base_path, self.target))
            .build()?;
        let (mut parts, ()) = http::Request::builder()
            .version(Version::HTTP_2)
            .method(self.method.clone())
            .uri(uri)
            .body(())?
            .into_parts();
        self.for_each_field(client, upstream, |name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                parts.headers.append(name.clone(), value);
            }
        });
        if let BodyLength::Known(length) = self.length {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(parts)
    }
}

fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}
