//! The claims of an access token (RFC 7519 §4.1, RFC 9068 §2.2). A claim of the wrong type is a fault of that claim, never
//! a claim that is not there.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::plan::Issuer;
use crate::refusal::TokenFault;

/// Longest `sub` and tenant, in characters (RFC 9068 and OpenID Connect Core §2 say 255 for `sub`).
const LONGEST_NAME: usize = 255;
/// End of the year 9999. Later dates are mistakes (milliseconds, `u64::MAX`), not lifetimes.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// When a token is good, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// `exp`.
    pub expires_at: u64,
    /// `nbf`, 0 where absent.
    pub not_before: u64,
}

/// `iss`, exactly as it is written. It is read before the signature, to know whose keys to ask.
pub(super) fn issuer(claims: &Map<String, Value>) -> Result<&str, TokenFault> {
    claims.get("iss").and_then(Value::as_str).ok_or(TokenFault::Issuer)
}

/// One of ours must be in `aud`, a string or an array of strings.
pub(super) fn check_audience(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(), TokenFault> {
    let ours = |audience: &str| issuer.audiences.iter().any(|accepted| accepted == audience);
    let fits = match claims.get("aud") {
        Some(Value::String(audience)) => ours(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().filter_map(Value::as_str).any(ours)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(TokenFault::Audience) }
}

/// `exp`, `nbf`, `iat` and the lifetime between them, at `now`.
///
/// Without `iat` the lifetime counts from now: a token for years is refused either way.
pub(super) fn check_times(claims: &Map<String, Value>, issuer: &Issuer, now: u64) -> Result<Times, TokenFault> {
    let leeway = issuer.leeway.as_secs();
    let date = |name, fault| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or(fault),
    };
    let expires_at = date("exp", TokenFault::Expired)?.ok_or(TokenFault::Expired)?.floor() as u64;
    let not_before = date("nbf", TokenFault::NotYetValid)?.map_or(0, |date| date.ceil() as u64);
    let issued_at = date("iat", TokenFault::IssuedInFuture)?.map(|date| date.floor() as u64);

    let latest = now.saturating_add(leeway);
    if now >= expires_at.saturating_add(leeway) {
        return Err(TokenFault::Expired);
    }
    if not_before > latest {
        return Err(TokenFault::NotYetValid);
    }
    if issued_at.is_some_and(|issued_at| issued_at > latest) {
        return Err(TokenFault::IssuedInFuture);
    }
    if expires_at.saturating_sub(issued_at.unwrap_or(latest)) > issuer.max_lifetime.as_secs() {
        return Err(TokenFault::Lifetime);
    }
    Ok(Times { expires_at, not_before })
}

/// `sub`: who, in words that may be logged.
pub(super) fn subject(claims: &Map<String, Value>) -> Result<Arc<str>, TokenFault> {
    claims.get("sub").and_then(name).ok_or(TokenFault::Subject)
}

/// The tenant, `None` where the claim is missing or no plain name.
///
/// Dots in `path` descend into objects, but for a URI: that is one collision-resistant name (RFC 7519 §4.2).
pub(super) fn tenant(claims: &Map<String, Value>, path: &str) -> Option<Arc<str>> {
    if path.contains("://") {
        return claims.get(path).and_then(name);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step)).and_then(name)
}

/// `scope` as space-separated text (RFC 8693 §4.2); else `scp`, a list or the same text. Anything else grants nothing.
pub(super) fn scopes(claims: &Map<String, Value>) -> Vec<Box<str>> {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(Box::from).collect();
    match (claims.get("scope"), claims.get("scp")) {
        (Some(Value::String(text)), _) | (None, Some(Value::String(text))) => words(text),
        (None, Some(Value::Array(items))) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(Box::from).collect()
        }
        _ => Vec::new(),
    }
}

/// RFC 7519 §2 NumericDate: seconds since the epoch, fractions allowed, from 1970 to 9999.
fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| (0.0..=LAST_SECOND).contains(seconds))
}

fn name(value: &Value) -> Option<Arc<str>> {
    let text = value.as_str()?;
    let sound = !text.is_empty() && text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
    sound.then(|| text.into())
}
