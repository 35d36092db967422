//! Requests under an idempotency key: claimed before anything is done for them, and what they were answered is kept for
//! whoever sends them again. What a key means is [`sluis_model::idempotency`]'s; that it holds is the ledger's.

use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use sluis_ledger::{Claim, ClaimFault, ClaimQuota, Claimed, Keyed, Place, StoredAnswer};
use sluis_model::idempotency::{Fingerprinted, Idempotency, Keep, extract, fingerprint, storable};
use sluis_model::plan::Route;
use sluis_model::refusal::Refusal;

use crate::admit::Admitted;
use crate::event_status::{EVENTS_PATH, unreadable};
use crate::head::Inbound;
use crate::reply::CORRELATION_ID;
use crate::state::Context;

/// Largest body of an answer that is kept. Answers to what changes something are short, and what a tenant may have of
/// them in the ledger is for many; a larger one would also have to be held back until it has come to its end.
pub const KEPT_BYTES: usize = 256 * 1024;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a route does about a request that comes again; nothing for one of a method that changes nothing.
pub fn of<'r>(route: &'r Route, method: &Method) -> Option<&'r Idempotency> {
    route.idempotency.as_ref().filter(|_| !method.is_safe())
}

/// What a request with its key is.
pub enum Turn {
    /// It goes on: under its key, where it has one.
    First(Option<Claim>),
    /// It was answered before, like this.
    Again(StoredAnswer),
}

/// Claims the key of a request whose body is there, or says why it must not go on.
///
/// # Errors
/// Where the key is missing or malformed, stands for another request, or is in use; and where storage does not answer.
pub async fn claim(
    cx: Context<'_>,
    settings: &Idempotency,
    admitted: &Admitted<'_>,
    inbound: &Inbound,
    head: &RequestHeader,
    body: &[u8],
) -> Result<Turn, Refusal> {
    let Some(key) = extract(settings, &head.headers, body)? else {
        return Ok(Turn::First(None));
    };
    let tenant = &admitted.tenant.as_ref().ok_or(Refusal::Internal)?.tenant;
    let route = &admitted.route.route;
    let request = Fingerprinted {
        method: &head.method,
        path: inbound.path(),
        query: inbound.query(),
        content_type: head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes),
        body,
    };
    let keyed = Keyed {
        tenant: tenant.id.clone(),
        place: Place { route: route.name.clone(), key: key.as_str().into() },
        fingerprint: fingerprint(settings.fingerprint, &request),
        ttl: u64::try_from(settings.ttl.as_millis()).unwrap_or(u64::MAX),
        quota: ClaimQuota { keys: tenant.limits.idempotency_keys as u64, bytes: tenant.limits.idempotency_bytes },
        resend: route.retry_unsafe,
    };
    let claimed = cx.app.ledger.claim(keyed).await.map_err(|error| unreadable(&error))?;
    let count = |result: &str| cx.app.metrics.idempotency.with_label_values(&[result]).inc();
    match claimed {
        Claimed::New(claim) => {
            count("new");
            Ok(Turn::First(Some(claim)))
        }
        Claimed::Replay(stored) => {
            count("replayed");
            Ok(Turn::Again(stored))
        }
        Claimed::InProgress => {
            count("in_progress");
            Err(Refusal::IdempotencyInProgress)
        }
        Claimed::Reused(event) => {
            count("reused");
            Err(Refusal::IdempotencyKeyReused(event.map(|id| format!("{EVENTS_PATH}{id}").into())))
        }
        Claimed::Unknown => {
            count("unknown");
            Err(Refusal::IdempotencyOutcomeUnknown)
        }
    }
}

/// What becomes of the key of a request that an upstream answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The answer is kept.
    Keep,
    /// The request was not done, or may be done again: the key is free.
    Release,
    /// Nobody knows whether it was done.
    Unknown,
}

/// By the upstream's own answer, whatever a plugin makes of it. `resend`: the route says that a request may be sent twice.
pub fn settle(status: StatusCode, headers: &HeaderMap, resend: bool) -> Settled {
    match (status.as_u16(), storable(status.as_u16())) {
        (_, Keep::Store) => Settled::Keep,
        // Shed before it was worked on, as RFC 9110 §15.6.4 means it.
        (503, _) if headers.contains_key(RETRY_AFTER) => Settled::Release,
        (500.., _) if !resend => Settled::Unknown,
        _ => Settled::Release,
    }
}

/// Keeps the answer to a request that was done. What is too large or cannot be written stays unknown: the client gets
/// its answer all the same.
pub async fn keep(claim: Claim, head: &ResponseHeader, body: &Bytes, correlation_id: &str) {
    if body.len() > KEPT_BYTES {
        return;
    }
    if let Err(fault) = claim.complete(stored(head, body, correlation_id)).await {
        tracing::warn!(%fault, correlation_id, "an answer was not kept for its idempotency key");
    }
}

/// Keeps what a plugin answered, before anybody hears of it. What would not be said again is not kept, and the key is
/// free.
///
/// # Errors
/// Where the tenant has too many keys, or storage does not answer.
pub async fn keep_own(claim: Claim, head: &ResponseHeader, body: &Bytes, correlation_id: &str) -> Result<(), Refusal> {
    if storable(head.status.as_u16()) == Keep::Release || body.len() > KEPT_BYTES {
        return Ok(());
    }
    claim.complete(stored(head, body, correlation_id)).await.map_err(unclaimed)
}

/// An answer as it is kept, with the correlation id of the request that was done.
pub fn stored(head: &ResponseHeader, body: &Bytes, correlation_id: &str) -> StoredAnswer {
    // Framing is made anew. Cookies are for the client that was answered: whoever repeats its request in another session
    // is not to be given that one.
    let left_out = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, SET_COOKIE, CORRELATION_ID];
    let fields = head.headers.iter().filter(|(name, _)| !left_out.contains(name));
    // A value is bytes (RFC 9110 §5.5), and each is kept as the character of that number.
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    let mut headers: Vec<(String, String)> = fields.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.push((CORRELATION_ID.to_string(), correlation_id.to_owned()));
    StoredAnswer { status: head.status.as_u16(), headers, body: body.clone() }
}

/// The head of an answer that is told again, and the correlation id of the request that was done.
///
/// # Errors
/// Where it cannot be read back.
pub fn restored(answer: &StoredAnswer) -> Result<(ResponseHeader, String), Refusal> {
    let mut correlation_id = String::new();
    let mut head = ResponseHeader::build_no_case(answer.status, Some(answer.headers.len() + 2))
        .map_err(|_| Refusal::QueueStorageFault)?;
    for (name, text) in &answer.headers {
        if *name == CORRELATION_ID.as_str() {
            correlation_id.clone_from(text);
            continue;
        }
        let name: HeaderName = name.parse().map_err(|_| Refusal::QueueStorageFault)?;
        let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
        let value = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()).ok_or(Refusal::QueueStorageFault)?;
        head.append_header(name, value).map_err(|_| Refusal::QueueStorageFault)?;
    }
    head.insert_header(REPLAYED, "true").map_err(|_| Refusal::Internal)?;
    Ok((head, correlation_id))
}

/// What a client is told where its key cannot be held.
pub fn unclaimed(fault: ClaimFault) -> Refusal {
    match fault {
        ClaimFault::Full => Refusal::IdempotencyFull,
        ClaimFault::Taken => Refusal::IdempotencyInProgress,
        ClaimFault::Unavailable => Refusal::QueueStorageFault,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_key_follows_from_the_upstreams_answer() {
        let plain = HeaderMap::new();
        let shed = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("1"))]);
        let of =
            |status: u16, headers: &HeaderMap, resend| settle(StatusCode::from_u16(status).unwrap(), headers, resend);
        for status in [200, 201, 202, 204, 301, 400, 404, 409, 422] {
            assert_eq!(of(status, &plain, false), Settled::Keep, "{status}");
        }
        for status in [401, 403, 408, 425, 429] {
            assert_eq!(of(status, &plain, false), Settled::Release, "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(of(status, &plain, false), Settled::Unknown, "{status}");
            assert_eq!(of(status, &plain, true), Settled::Release, "{status}");
        }
        assert_eq!(of(503, &shed, false), Settled::Release);
        assert_eq!(of(500, &shed, false), Settled::Unknown);
    }

    #[test]
    fn an_answer_comes_back_byte_for_byte_but_for_its_cookies() {
        let mut head = ResponseHeader::build_no_case(201, None).unwrap();
        head.append_header("x-twice", "a").unwrap();
        head.append_header("x-twice", "b").unwrap();
        head.append_header("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap()).unwrap();
        head.append_header("set-cookie", "session=1").unwrap();
        head.append_header("content-length", "2").unwrap();
        let (back, correlation_id) = restored(&stored(&head, &Bytes::from_static(b"ok"), "c-1")).unwrap();
        assert_eq!((back.status.as_u16(), correlation_id.as_str()), (201, "c-1"));
        let values: Vec<&[u8]> = back.headers.get_all("x-twice").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [b"a", b"b"]);
        assert_eq!(back.headers["x-latin"].as_bytes(), b"caf\xe9");
        assert_eq!(back.headers["idempotent-replayed"], "true");
        assert!(!back.headers.contains_key("set-cookie") && !back.headers.contains_key("content-length"));
    }
}
