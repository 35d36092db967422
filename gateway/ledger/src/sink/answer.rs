//! What an HTTP sink answered, and what that means where nobody else has a say in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sluis_model::hook::event::ANSWER_BYTES;
use sluis_model::retry::{ErrorClass, TransportFault, classify_status};
use tokio::time::Instant;

use super::{EXCERPT_BYTES, Failure, SendOutcome, describe};

/// An answer is read on to this length so that its connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;

/// An answer for a plugin to judge.
#[derive(Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// All of its fields.
    pub headers: HeaderMap,
    /// The beginning of its body, at most [`ANSWER_BYTES`].
    pub body: Vec<u8>,
    /// What it means by its status alone.
    pub outcome: SendOutcome,
}

/// The head says what became of the event; what follows it changes nothing, and may break off or not come at all.
pub(super) async fn outcome(answer: Response<Incoming>, until: Instant) -> SendOutcome {
    let outcome = by_status(answer.status(), answer.headers());
    let mut excerpt = Vec::new();
    let _ = tokio::time::timeout_at(until, beginning(answer.into_body(), EXCERPT_BYTES, &mut excerpt)).await;
    with_excerpt(outcome, excerpt)
}

/// Reads an answer for a plugin, whose verdict may hang on the body: one that breaks off is no answer.
pub(super) async fn read(answer: Response<Incoming>) -> Result<Answered, Failure> {
    let (head, body) = answer.into_parts();
    let outcome = by_status(head.status, &head.headers);
    let (stream, mut body) = (body, Vec::new());
    let fault = beginning(stream, ANSWER_BYTES, &mut body).await.err();
    if let Some(error) = fault.filter(|_| body.len() < ANSWER_BYTES) {
        return Err(Failure::below_http(TransportFault::Broken, describe(&error)));
    }
    let outcome = with_excerpt(outcome, body[..body.len().min(EXCERPT_BYTES)].to_vec());
    Ok(Answered { status: head.status.as_u16(), headers: head.headers, body, outcome })
}

fn by_status(status: StatusCode, headers: &HeaderMap) -> SendOutcome {
    if status.is_success() {
        return SendOutcome::Confirmed(format!("http {}", status.as_u16()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let retry_after =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|value| parse_retry_after(value, now));
    let class = classify_status(status.as_u16(), retry_after.is_some()).unwrap_or(ErrorClass::Transient);
    SendOutcome::Failed(Failure {
        class,
        kind: "http",
        status: Some(status.as_u16()),
        message: reason(status),
        excerpt: Vec::new(),
        retry_after,
    })
}

fn with_excerpt(outcome: SendOutcome, excerpt: Vec<u8>) -> SendOutcome {
    match outcome {
        SendOutcome::Failed(failure) => SendOutcome::Failed(Failure { excerpt, ..failure }),
        confirmed => confirmed,
    }
}

/// Reads the first `keep` bytes of an answer; goes on a little so that the connection can be used again. Errors where it
/// ends before its end.
async fn beginning(mut body: Incoming, keep: usize, bytes: &mut Vec<u8>) -> Result<(), hyper::Error> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let more = data.len().min(keep - bytes.len());
        bytes.extend_from_slice(&data[..more]);
        if read > DRAIN_BYTES {
            break;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
