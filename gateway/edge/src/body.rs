//! Reading a request's body: whole up to a cap where somebody needs it, and never before somebody does.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use pingora::protocols::http::ServerSession;
use sluis_model::refusal::Refusal;

use crate::forward::Failure;
use crate::forward::exchange::{AttemptError, client_attempt_error};
use crate::forward::head::BodyLength;
use crate::patience::Patience;

/// `Content-Length`, where there is a well-formed one.
pub fn declared_length(session: &ServerSession) -> Option<u64> {
    std::str::from_utf8(session.get_header_bytes(CONTENT_LENGTH)).ok()?.parse().ok()
}

/// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
pub fn expects_continue(session: &ServerSession) -> bool {
    session.get_header(EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// What the head says of the body's length.
pub fn length(session: &mut ServerSession) -> BodyLength {
    if let Some(length) = declared_length(session) {
        return BodyLength::Known(length);
    }
    let announced =
        session.req_header().headers.contains_key(TRANSFER_ENCODING) || (session.is_http2() && !session.is_body_done());
    if announced { BodyLength::Unknown } else { BodyLength::None }
}

/// Asks a waiting client for its body.
pub async fn invite(session: &mut ServerSession) -> Result<(), Failure> {
    if expects_continue(session) && !session.is_body_done() {
        session.write_continue_response().await.map_err(|_| Failure::ClientGone)?;
    }
    Ok(())
}

/// The whole body, at most `cap` bytes, as fast as `body_timeout` wants it. A declared length past the cap is refused before
/// a byte is read.
pub async fn read_whole(session: &mut ServerSession, cap: usize, body_timeout: Duration) -> Result<Bytes, Failure> {
    let declared = declared_length(session);
    if declared.is_some_and(|length| length > cap as u64) {
        return Err(Refusal::BodyTooLarge.into());
    }
    if session.is_body_done() {
        return Ok(Bytes::new());
    }
    invite(session).await?;
    let mut patience = Patience::new(body_timeout);
    let mut next = async || patience.next(session).await.map_err(|error| unread(&error));
    let Some(first) = next().await? else {
        return Ok(Bytes::new());
    };
    // One read is the common case: its bytes are the body, without another copy.
    if first.len() <= cap && declared == Some(first.len() as u64) {
        return match next().await? {
            None => Ok(first),
            Some(_) => Err(Refusal::MalformedRequest.into()),
        };
    }
    let expected = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(expected.max(first.len()).min(cap));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > cap {
            return Err(Refusal::BodyTooLarge.into());
        }
        whole.extend_from_slice(&bytes);
        piece = next().await?;
    }
    Ok(whole.freeze())
}

fn unread(error: &pingora::Error) -> Failure {
    match client_attempt_error(error) {
        AttemptError::ClientMalformed => Refusal::MalformedRequest.into(),
        AttemptError::ClientTimeout => Refusal::RequestTimeout.into(),
        _ => Failure::ClientGone,
    }
}
