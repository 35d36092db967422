//! Refusal → RFC 9457 problem+json. Nobody else writes an error to a client.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use serde::Serialize;
use sluis_model::refusal::Refusal;

/// Base of every problem's `type`. Relative, so that it says the same behind any host.
pub const PROBLEM_BASE: &str = "/problems/";

/// The field that names a request to everybody who has to do with it.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_event: Option<&'a str>,
    correlation_id: &'a str,
}

/// The body of a refusal.
fn problem(refusal: &Refusal, correlation_id: &str) -> Vec<u8> {
    let answer = refusal.answer();
    let own = || format!("{PROBLEM_BASE}{}", answer.slug).into();
    let plain = Problem {
        kind: own(),
        title: answer.title,
        status: answer.status,
        detail: None,
        pointer: None,
        original_event: None,
        correlation_id,
    };
    let problem = match refusal {
        Refusal::PluginRefused(guest) => Problem {
            kind: if guest.kind.is_empty() { own() } else { guest.kind.as_str().into() },
            title: &guest.title,
            detail: Some(&guest.detail).filter(|d| !d.is_empty()).map(String::as_str),
            pointer: guest.pointer.as_deref(),
            ..plain
        },
        Refusal::IdempotencyKeyReused(event) => Problem { original_event: event.as_deref(), ..plain },
        _ => plain,
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// `WWW-Authenticate` (RFC 6750 §3): nothing but the scheme for a request without credentials, the error otherwise.
pub(crate) fn challenge(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::InvalidToken(_) => Some("Bearer error=\"invalid_token\"".to_owned()),
        Refusal::InsufficientScope(scope) => Some(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")),
        Refusal::AmbiguousCredentials => Some("Bearer error=\"invalid_request\"".to_owned()),
        _ => None,
    }
}

/// Writes the refusal; an error means that the client is gone.
pub async fn refuse(session: &mut ServerSession, refusal: &Refusal, correlation_id: &str) -> pingora::Result<()> {
    let body = Bytes::from(problem(refusal, correlation_id));
    let mut head = ResponseHeader::build_no_case(refusal.answer().status, Some(8))?;
    head.insert_header(CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    if let Some(challenge) = challenge(refusal) {
        head.insert_header(WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(seconds) = refusal.retry_after() {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    if let Refusal::MethodNotAllowed(allow) = refusal {
        head.insert_header(ALLOW, &**allow)?;
    }
    respond(session, head, body, correlation_id).await
}

/// Writes a complete answer of the gateway's own, framed and with its correlation id.
pub async fn respond(
    session: &mut ServerSession,
    mut head: ResponseHeader,
    body: Bytes,
    correlation_id: &str,
) -> pingora::Result<()> {
    head.insert_header(CORRELATION_ID, correlation_id)?;
    let bodiless = matches!(head.status.as_u16(), 204 | 304);
    if !bodiless {
        head.insert_header(CONTENT_LENGTH, body.len())?;
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    settle_request_body(session).await;
    session.write_response_header(Box::new(head)).await?;
    if !bodiless && !is_head && !body.is_empty() {
        session.write_response_body(body, true).await
    } else if session.is_http2() {
        session.write_response_body(Bytes::new(), true).await
    } else {
        Ok(())
    }
}

/// The head of an answer in JSON that nobody may keep.
pub fn json_head(status: u16, fields: &[(&'static str, &str)]) -> Result<ResponseHeader, Refusal> {
    let build = || {
        let mut head = ResponseHeader::build_no_case(status, Some(8))?;
        head.insert_header(CONTENT_TYPE, "application/json")?;
        head.insert_header(CACHE_CONTROL, "no-store")?;
        for (name, value) in fields {
            head.insert_header(*name, *value)?;
        }
        Ok::<_, Box<pingora::Error>>(head)
    };
    build().map_err(|_| Refusal::Internal)
}

/// Small bodies are read away before an early answer, so that the connection lives on; large ones are left, and the
/// connection closes behind the answer. A client that still waits for `100 Continue` sends nothing, so nothing is
/// waited for.
async fn settle_request_body(session: &mut ServerSession) {
    const DRAIN: u64 = 64 * 1024;
    if session.is_body_done() || session.is_http2() || crate::body::expects_continue(session) {
        return;
    }
    if crate::body::declared_length(session).is_some_and(|length| length <= DRAIN)
        && session.drain_request_body().await.is_err()
    {
        session.set_keepalive(None);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use sluis_model::refusal::{GuestProblem, TokenFault};

    #[test]
    fn every_invalid_token_gives_the_same_bytes() {
        let expected = problem(&Refusal::InvalidToken(TokenFault::Missing), "c");
        for fault in [TokenFault::Signature, TokenFault::Expired, TokenFault::UnknownKey, TokenFault::Malformed] {
            assert_eq!(problem(&Refusal::InvalidToken(fault), "c"), expected);
        }
        let text = String::from_utf8(expected).unwrap();
        assert!(text.contains("\"type\":\"/problems/invalid-token\""), "{text}");
    }

    #[test]
    fn a_guest_words_its_own_problem() {
        let refusal = Refusal::PluginRefused(Box::new(GuestProblem {
            status: 422,
            kind: "https://acme.example/problems/order".to_owned(),
            title: "Order refused".to_owned(),
            detail: "quantity is zero".to_owned(),
            pointer: Some("/line_items/0/quantity".to_owned()),
        }));
        let problem: serde_json::Value = serde_json::from_slice(&problem(&refusal, "c-1")).unwrap();
        assert_eq!(problem["type"], "https://acme.example/problems/order");
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["pointer"], "/line_items/0/quantity");
        assert_eq!(problem["correlation_id"], "c-1");
    }
}
