//! Hygiene of HTTP fields: what goes no further than one hop, what ends at the gateway, what it makes anew.
//!
//! The gateway drops these from every request before it adds its own, so an upstream that reads `x-sluis-tenant` or
//! `x-forwarded-for` reads what the gateway said, never what a client did.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::refusal::Refusal;

/// Fields of one connection (RFC 9110 §7.6.1), `TE` and `Trailer` which speak of it, and those between a client and
/// its own proxy.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE | header::TE | header::TRAILER)
        || matches!(name.as_str(), "keep-alive" | "http2-settings")
        || name.as_str().starts_with("proxy-")
}

/// Request fields that end at the gateway: the client's credentials, and what only a gateway may say. The latter are
/// where the request came from, its ids, who sent it, and which method or path is meant "really": an upstream that
/// obeyed a client there would act on another request than the one that was let in.
pub fn ends_at_gateway(name: &HeaderName) -> bool {
    if matches!(*name, header::AUTHORIZATION | header::COOKIE | header::EXPECT | header::FORWARDED | header::VIA) {
        return true;
    }
    let name = name.as_str();
    match name.strip_prefix("x-") {
        Some(rest) => {
            rest.starts_with("forwarded")
                || rest.starts_with("sluis-")
                || matches!(rest, "real-ip" | "client-ip" | "cluster-client-ip" | "originating-ip" | "remote-ip")
                || matches!(rest, "remote-addr" | "remote-user" | "request-id" | "correlation-id")
                || matches!(rest, "http-method" | "http-method-override" | "method-override")
                || matches!(rest, "original-url" | "original-host" | "rewrite-url" | "host")
        }
        // `proxy` becomes the variable HTTP_PROXY in CGI.
        None => matches!(
            name,
            "traceparent"
                | "true-client-ip"
                | "client-ip"
                | "cf-connecting-ip"
                | "fastly-client-ip"
                | "remote-user"
                | "proxy"
        ),
    }
}

/// Fields that `Connection` may not name: who asks, for whom, what the body is and where it ends, under which conditions
/// the request holds. Dropping one of these would turn the request into another one.
fn is_protected(name: &HeaderName) -> bool {
    ends_at_gateway(name)
        || matches!(
            *name,
            header::HOST | header::TRANSFER_ENCODING | header::CONNECTION | header::RANGE | header::ORIGIN
        )
        || matches!(name.as_str(), "idempotency-key" | "tracestate" | "prefer" | "signature")
        || ["content-", "if-", "x-tenant", "signature-"].iter().any(|start| name.as_str().starts_with(start))
}

/// Fields that the connection options of a request name, to be dropped (RFC 9110 §7.6.1). An option that names what may
/// not be dropped refuses the request, as does anything that is not a list of names.
pub fn nominated(headers: &HeaderMap) -> Result<Vec<HeaderName>, Refusal> {
    let mut names = Vec::new();
    for option in headers.get_all(header::CONNECTION).iter().flat_map(options) {
        if option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive") {
            continue;
        }
        let name = HeaderName::from_bytes(option).map_err(|_| Refusal::MalformedRequest)?;
        if is_protected(&name) || names.len() >= MAX_OPTIONS {
            return Err(Refusal::MalformedRequest);
        }
        names.push(name);
    }
    Ok(names)
}

/// Connection options of an answer: the fields to drop, whatever they are, but those that say what the body is. What
/// is not a name is passed over.
pub fn nominated_by_upstream(headers: &HeaderMap) -> Vec<HeaderName> {
    let kept = |name: &HeaderName| name.as_str().starts_with("content-") || *name == header::SET_COOKIE;
    let values = headers.get_all(header::CONNECTION);
    let names = values.iter().flat_map(options).filter_map(|option| HeaderName::from_bytes(option).ok());
    names.filter(|name| !kept(name)).take(MAX_OPTIONS).collect()
}

/// Connection options looked at in one message.
const MAX_OPTIONS: usize = 32;

/// Members of a list field (RFC 9110 §5.6.1), empty ones passed over.
fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// A client's correlation id, where it is safe to repeat in logs and fields: `[A-Za-z0-9._-]{1,128}`.
pub fn correlation_id(value: &[u8]) -> Option<&str> {
    let fits = (1..=128).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits { std::str::from_utf8(value).ok() } else { None }
}

/// A `traceparent` (W3C Trace Context §3.2) for the next hop: the client's trace with a new parent id, or a new trace.
/// `random` is 128 fresh random bits. Where the client's is not valid, its `tracestate` must not be passed on either
/// (§3.3.1.1): see [`is_traceparent`].
pub fn child_traceparent(client: Option<&[u8]>, random: u128) -> String {
    // Neither id may be zero.
    let parent = (random as u64) | 1;
    let mut child = String::with_capacity(TRACEPARENT_LENGTH);
    child.push_str("00-");
    // Of the flags only `sampled` and `random` have a meaning; the rest is not passed on (§3.2.2.5).
    let flags = match client.and_then(trace_and_flags) {
        Some((trace, flags)) => {
            child.push_str(trace);
            flags & 0b11
        }
        None => {
            push_hex(&mut child, &(random.rotate_left(64) | 1).to_be_bytes());
            0
        }
    };
    child.push('-');
    push_hex(&mut child, &parent.to_be_bytes());
    child.push('-');
    push_hex(&mut child, &[flags]);
    child
}

/// Every request writes one: `format!` takes several times as long.
fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Whether `value` is a `traceparent` that [`child_traceparent`] goes on from.
pub fn is_traceparent(value: &[u8]) -> bool {
    trace_and_flags(value).is_some()
}

const TRACEPARENT_LENGTH: usize = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00".len();

/// Trace id and flags, of version 00 or of a later one that begins like it.
fn trace_and_flags(value: &[u8]) -> Option<(&str, u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let (known, rest) = text.split_at_checked(TRACEPARENT_LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2];
    let hex = known.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'));
    let ends = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let is_zero = |id: &str| id.bytes().all(|b| b == b'0');
    let holds = lengths && hex && ends && version != "ff" && !is_zero(trace) && !is_zero(parent);
    holds.then_some((trace, u8::from_str_radix(flags, 16).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
