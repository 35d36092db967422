//! What a request's head says, once it was parsed: strict where two parsers could read it differently, normalised
//! once for routing, policy and upstream alike.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use sluis_model::plan::ServerLimits;
use sluis_model::refusal::Refusal;
use sluis_model::{fields, route, target};

/// A head that may be routed.
#[derive(Debug)]
pub struct Inbound {
    host: Option<String>,
    path: String,
    query: String,
    nominated: Vec<HeaderName>,
}

impl Inbound {
    /// Checks and normalises the head that `session` has read.
    pub fn read(session: &ServerSession, limits: &ServerLimits) -> Result<Self, Refusal> {
        let request = session.req_header();
        if let Some(h1) = session.as_http1() {
            let raw = h1.get_headers_raw_bytes();
            if raw.len() > limits.head_bytes {
                return Err(Refusal::HeadersTooLarge);
            }
            strict_framing(request, &raw)?;
        }
        if request.headers.len() > limits.fields {
            return Err(Refusal::HeadersTooLarge);
        }
        if request.raw_path().len() > limits.target_bytes {
            return Err(Refusal::UriTooLong);
        }
        if request.headers.get(EXPECT).is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Err(Refusal::ExpectationFailed);
        }
        // RFC 9110 §9.3.7: about the server as a whole, which is nobody's route.
        if request.method == Method::OPTIONS && request.raw_path() == b"*" {
            return Err(Refusal::RouteNotFound);
        }
        let raw_target: Cow<'_, [u8]> = match target::origin_form(request.raw_path()) {
            Some(origin) => origin,
            None => Cow::Borrowed(request.raw_path()),
        };
        let target = target::normalise(&raw_target)?;
        let nominated = match request.headers.contains_key(CONNECTION) {
            true => fields::nominated(&request.headers)?,
            false => Vec::new(),
        };
        Ok(Inbound {
            host: host(request)?,
            path: target.path.into_owned(),
            query: target.query.into_owned(),
            nominated,
        })
    }

    /// Lower-case host without port.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Normalised path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Query without `?`.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Path and query as they go to an upstream.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Names nominated by `Connection`, once; none are left.
    pub fn take_nominated(&mut self) -> Vec<HeaderName> {
        std::mem::take(&mut self.nominated)
    }
}

fn host(request: &RequestHeader) -> Result<Option<String>, Refusal> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::MalformedRequest);
    }
    match (request.uri.authority(), field) {
        (Some(authority), _) if request.version == Version::HTTP_2 => {
            route::host_of(authority.as_str().as_bytes()).map(Some)
        }
        (_, Some(field)) => route::host_of(field.as_bytes()).map(Some),
        (Some(authority), None) => route::host_of(authority.as_str().as_bytes()).map(Some),
        (None, None) if request.version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(Refusal::MalformedRequest),
    }
}

/// RFC 9112 §6: one way to find the end of a body, and only one.
fn strict_framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Refusal> {
    let headers: &HeaderMap = &request.headers;
    if request.method == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed("".into()));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        let canonical = !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
            && (digits.len() == 1 || digits[0] != b'0')
            && digits.len() <= 19;
        if !canonical || lengths.next().is_some() {
            return Err(Refusal::MalformedRequest);
        }
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || names_content_length(raw) {
            return Err(Refusal::MalformedRequest);
        }
        let coding = coding.as_bytes();
        if !coding.eq_ignore_ascii_case(b"chunked") {
            let last = coding.rsplit(|b| *b == b',').next().unwrap_or_default();
            let ends_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked") && coding.contains(&b',');
            let listed = coding.split(|b| *b == b',').all(|c| !c.trim_ascii().is_empty());
            return Err(if ends_chunked && listed {
                Refusal::UnsupportedTransferCoding
            } else {
                Refusal::MalformedRequest
            });
        }
    }
    if headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Refusal::MalformedRequest);
    }
    Ok(())
}

/// pingora drops `Content-Length` beside `Transfer-Encoding` before anyone can see it; only the raw bytes tell.
fn names_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"\r\ncontent-length";
    raw.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
}

/// A refusal for a head that could not be parsed: there is no request to take a correlation id from.
pub async fn refuse_unread(session: &mut ServerSession, refusal: &Refusal) -> pingora::Result<()> {
    let answer = refusal.answer();
    let body = format!(
        "{{\"type\":\"{}{}\",\"title\":\"{}\",\"status\":{}}}",
        crate::reply::PROBLEM_BASE,
        answer.slug,
        answer.title,
        answer.status
    );
    let mut head = ResponseHeader::build_no_case(answer.status, Some(4))?;
    head.insert_header(http::header::CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(http::header::CONTENT_LENGTH, body.len())?;
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(Bytes::from(body), true).await?;
    session.finish_body().await
}

/// HTTP/2 bounds, from pingora's own as a base so that none of its are lost.
pub fn h2_options(limits: &ServerLimits) -> H2Options {
    const STREAM_WINDOW: u32 = 64 * 1024;
    const CONNECTION_WINDOW: u32 = 1024 * 1024;
    let mut options = default_h2_options();
    options
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(100)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(STREAM_WINDOW as usize)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(128))
        .max_concurrent_reset_streams(50);
    options
}
