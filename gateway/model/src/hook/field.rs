//! Field changes that a guest asks for: names, values, numbers, and what is not the guest's to say.

use http::header::{self, HeaderName, HeaderValue};

use super::OutputFault;
use crate::fields;

/// Fields set and removed by one decision.
const MAX_CHANGES: usize = 64;
/// Their names and values together, bytes.
const MAX_BYTES: usize = 8 * 1024;

/// Names to set with their values, and names to remove.
pub(super) type Changes = (Vec<(HeaderName, HeaderValue)>, Vec<HeaderName>);

/// Checks the changes to a request on its way to an upstream.
pub(super) fn check_request(set: &[(String, String)], remove: &[String]) -> Result<Changes, OutputFault> {
    check(set, remove, request_forbids)
}

/// Checks the changes to an answer on its way to a client.
pub(super) fn check_response(set: &[(String, String)], remove: &[String]) -> Result<Changes, OutputFault> {
    let changes = check(set, remove, response_forbids)?;
    if changes.0.iter().all(|(name, value)| response_value_holds(name, value)) {
        Ok(changes)
    } else {
        Err(OutputFault::HeaderValue)
    }
}

/// Checks the fields of a request of the guest's own: credentials for elsewhere are its to send.
pub(crate) fn check_outgoing(set: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, OutputFault> {
    let forbids = |name: &HeaderName| !matches!(*name, header::AUTHORIZATION | header::COOKIE) && request_forbids(name);
    Ok(check(set, &[], forbids)?.0)
}

fn check(
    set: &[(String, String)],
    remove: &[String],
    forbids: fn(&HeaderName) -> bool,
) -> Result<Changes, OutputFault> {
    let set_bytes: usize = set.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = set_bytes + remove.iter().map(String::len).sum::<usize>();
    if set.len() + remove.len() > MAX_CHANGES || bytes > MAX_BYTES {
        return Err(OutputFault::HeadersTooMany);
    }
    let checked_name = |name: &str| {
        // Names with `_` are one with those with `-` once a server puts them into variables.
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !name.as_str().contains('_'));
        let name = name.ok_or(OutputFault::HeaderName)?;
        if forbids(&name) { Err(OutputFault::HeaderForbidden) } else { Ok(name) }
    };
    let mut names_set: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(set.len());
    for (name, value) in set {
        let name = checked_name(name)?;
        if is_single(&name) && names_set.iter().any(|(earlier, _)| *earlier == name) {
            return Err(OutputFault::HeaderValue);
        }
        names_set.push((name, checked_value(value)?));
    }
    let names_removed = remove.iter().map(|name| checked_name(name)).collect::<Result<_, _>>()?;
    Ok((names_set, names_removed))
}

/// Visible ASCII, spaces and tabs inside (RFC 9110 §5.5); what lies beyond ASCII has no agreed meaning.
fn checked_value(value: &str) -> Result<HeaderValue, OutputFault> {
    if value.trim_ascii() != value || !value.is_ascii() {
        return Err(OutputFault::HeaderValue);
    }
    HeaderValue::from_str(value).map_err(|_| OutputFault::HeaderValue)
}

/// Fields that make no sense twice.
fn is_single(name: &HeaderName) -> bool {
    matches!(*name, header::CONTENT_TYPE | header::LOCATION | header::ETAG | header::RETRY_AFTER)
}

/// What only the gateway and the operator may say to an upstream.
fn request_forbids(name: &HeaderName) -> bool {
    matches!(*name, header::HOST | header::CONTENT_LENGTH)
        || name.as_str() == "tracestate"
        || fields::is_hop_by_hop(name)
        || fields::ends_at_gateway(name)
}

/// What only the gateway may say to a client: framing, ids, who must log in how, and what binds the whole host, which
/// other tenants may share.
fn response_forbids(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::DATE
            | header::WWW_AUTHENTICATE
            | header::ALT_SVC
            | header::REFRESH
            | header::STRICT_TRANSPORT_SECURITY
    ) || name.as_str() == "clear-site-data"
        || fields::is_hop_by_hop(name)
        || fields::ends_at_gateway(name)
}

/// A redirect stays on the web, a cookie stays on its host.
fn response_value_holds(name: &HeaderName, value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    match *name {
        header::LOCATION | header::CONTENT_LOCATION => location_holds(text),
        header::SET_COOKIE => {
            let mut attributes = text.split(';').skip(1).map(|part| part.split('=').next().unwrap_or_default());
            !attributes.any(|attribute| attribute.trim_ascii().eq_ignore_ascii_case("domain"))
        }
        _ => true,
    }
}

/// An `http` or `https` URL with a host, or a reference without a scheme (RFC 3986 §4.2).
fn location_holds(text: &str) -> bool {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let start = text.split(['/', '?', '#']).next().unwrap_or_default();
    let schemed = |scheme: &str| {
        let rest = text.get(scheme.len()..).filter(|_| text.len() > scheme.len());
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && rest.is_some_and(|rest| !rest.starts_with(['/', '?', '#']))
    };
    plain && (!start.contains(':') || schemed("http://") || schemed("https://"))
}
