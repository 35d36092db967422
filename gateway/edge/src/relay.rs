//! An answer on its way to the client: hop-by-hop fields dropped, changed by the plugin where it asked, streamed
//! piece by piece with the client's pace.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use sluis_ledger::Claim;
use sluis_model::fields;
use sluis_model::hook::{CheckedResponse, ResponseView};
use sluis_model::refusal::Refusal;

use crate::admit::Admitted;
use crate::decide::{self, Asked};
use crate::forward::{Failure, Forwarded};
use crate::idempotency::{self, KEPT_BYTES, Settled};
use crate::record::Record;
use crate::reply::{self, CORRELATION_ID};
use crate::serving::Picked;
use crate::state::Context;

/// Whose answer it is.
pub struct Asker<'a> {
    /// The request.
    pub admitted: &'a Admitted<'a>,
    /// Which versions of the plugin have it.
    pub picked: Option<&'a Picked>,
    /// Its idempotency key, under which it was sent.
    pub claim: Option<Claim>,
}

/// Streams the answer to the client, or hands it to `on-response` first. What is to be kept under the request's key is
/// whole before the client sees any of it.
pub async fn relay(
    cx: Context<'_>,
    session: &mut ServerSession,
    asker: Asker<'_>,
    forwarded: Forwarded,
    record: &mut Record,
) -> Result<(), Failure> {
    let Asker { admitted, picked, claim } = asker;
    let claim = settle(admitted, claim, &forwarded).await;
    match (picked, &admitted.tenant) {
        (Some(picked), Some(tenant)) if picked.serves.plugin.hooks().on_response => {
            let asked = Asked { route: admitted.route, tenant, picked };
            through_guest(cx, session, asked, claim, forwarded, record).await
        }
        _ => match claim {
            Some(claim) => keep(session, claim, forwarded, record).await,
            None => stream(session, Bytes::new(), forwarded, record).await,
        },
    }
}

/// The claim, where the answer is to be kept under it.
async fn settle(admitted: &Admitted<'_>, claim: Option<Claim>, forwarded: &Forwarded) -> Option<Claim> {
    let (claim, head) = (claim?, forwarded.head());
    match idempotency::settle(head.status, &head.headers, admitted.route.route.retry_unsafe) {
        Settled::Keep => Some(claim),
        Settled::Release => {
            claim.release().await;
            None
        }
        // It was begun, so dropping it says so.
        Settled::Unknown => None,
    }
}

/// Keeps the answer, then sends it. One that is too large is streamed, and stays unknown.
async fn keep(
    session: &mut ServerSession,
    claim: Claim,
    mut forwarded: Forwarded,
    record: &mut Record,
) -> Result<(), Failure> {
    if forwarded.content_length().is_some_and(|length| length > KEPT_BYTES as u64) {
        return stream(session, Bytes::new(), forwarded, record).await;
    }
    let body = match collect(&mut forwarded, KEPT_BYTES).await? {
        Collected::Whole(body) => body,
        Collected::Beginning(beginning) => return stream(session, beginning, forwarded, record).await,
    };
    let headers = forwarded.take_headers();
    let mut head = client_head(forwarded.head().status, headers, record).map_err(|_| Refusal::BadUpstreamResponse)?;
    head.remove_header(&TRANSFER_ENCODING);
    forwarded.complete();
    idempotency::keep(claim, &head, &body, &record.correlation_id).await;
    record.answered(head.status.as_u16());
    reply::respond(session, head, body, &record.correlation_id).await.map_err(|_| Failure::ClientGone)
}

/// Sends the answer as it comes, after the `beginning` that has been read of its body.
async fn stream(
    session: &mut ServerSession,
    beginning: Bytes,
    mut forwarded: Forwarded,
    record: &mut Record,
) -> Result<(), Failure> {
    let headers = forwarded.take_headers();
    let head = client_head(forwarded.head().status, headers, record).map_err(|_| Refusal::BadUpstreamResponse)?;
    record.answered(head.status.as_u16());
    if record.has_plugin() {
        // As after a plugin's decision, see `serve`: between two calls of guests a write would wake its reader alone.
        tokio::task::yield_now().await;
    }
    let bodiless = session.req_header().method == http::Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    session.write_response_header(Box::new(head)).await.map_err(|_| Failure::ClientGone)?;
    if bodiless {
        if session.is_http2() {
            session.write_response_body(Bytes::new(), true).await.map_err(|_| Failure::ClientGone)?;
        }
        forwarded.complete();
        return Ok(());
    }
    let mut piece = Some(beginning).filter(|beginning| !beginning.is_empty());
    loop {
        let next = match piece.take() {
            Some(beginning) => Some(beginning),
            None => forwarded.next().await?,
        };
        let Some(next) = next else { break };
        let last = forwarded.is_done();
        session.write_response_body(next, last).await.map_err(|_| Failure::ClientGone)?;
        if last {
            forwarded.complete();
            return Ok(());
        }
    }
    session.write_response_body(Bytes::new(), true).await.map_err(|_| Failure::ClientGone)?;
    forwarded.complete();
    Ok(())
}

/// The head that the client gets of an upstream's.
fn client_head(status: StatusCode, mut headers: HeaderMap, record: &Record) -> pingora::Result<ResponseHeader> {
    let mut dropped: Vec<HeaderName> = headers.keys().filter(|name| fields::is_hop_by_hop(name)).cloned().collect();
    if headers.contains_key(CONNECTION) {
        dropped.extend(fields::nominated_by_upstream(&headers));
    }
    for name in dropped {
        headers.remove(name);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers;
    let mut head = ResponseHeader::from(parts);
    head.insert_header(CORRELATION_ID, &*record.correlation_id)?;
    // An HTTP/1.1 client is framed by chunks where the length is not known; pingora reads this field for that.
    let bodiless = matches!(head.status.as_u16(), 204 | 304);
    if !bodiless && !head.headers.contains_key(CONTENT_LENGTH) && record.http1_1 {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    Ok(head)
}

async fn through_guest(
    cx: Context<'_>,
    session: &mut ServerSession,
    asked: Asked<'_>,
    claim: Option<Claim>,
    mut forwarded: Forwarded,
    record: &mut Record,
) -> Result<(), Failure> {
    let Collected::Whole(body) = collect(&mut forwarded, asked.route.route.body_limit).await? else {
        return Err(Refusal::BadUpstreamResponse.into());
    };
    let headers = forwarded.head().headers.clone();
    let mut head = client_head(forwarded.head().status, headers, record).map_err(|_| Refusal::BadUpstreamResponse)?;
    let change = {
        let headers = decide::visible_fields(&forwarded.head().headers);
        let view = ResponseView {
            status: forwarded.head().status.as_u16(),
            headers: &headers,
            body: &body,
            route: &asked.route.route.name,
            tenant: &asked.tenant.tenant.id,
            correlation_id: &record.correlation_id,
        };
        decide::on_response(cx, asked, view).await
    };
    // The upstream did its part, whatever the guest makes of it.
    forwarded.complete();
    let change = change?;
    apply(&mut head, &change).map_err(|_| Refusal::PluginOutputInvalid)?;
    head.remove_header(&TRANSFER_ENCODING);
    let body = change.body.map_or(body, Bytes::from);
    if let Some(claim) = claim {
        idempotency::keep(claim, &head, &body, &record.correlation_id).await;
    }
    record.answered(head.status.as_u16());
    reply::respond(session, head, body, &record.correlation_id).await.map_err(|_| Failure::ClientGone)
}

/// What was read of a body.
enum Collected {
    /// All of it.
    Whole(Bytes),
    /// It is larger than was asked for, and goes on.
    Beginning(Bytes),
}

async fn collect(forwarded: &mut Forwarded, cap: usize) -> Result<Collected, Refusal> {
    let Some(first) = forwarded.next().await? else {
        return Ok(Collected::Whole(Bytes::new()));
    };
    if first.len() <= cap && forwarded.is_done() {
        return Ok(Collected::Whole(first));
    }
    let mut read = BytesMut::from(&first[..]);
    while read.len() <= cap {
        match forwarded.next().await? {
            Some(piece) => read.extend_from_slice(&piece),
            None => return Ok(Collected::Whole(read.freeze())),
        }
    }
    Ok(Collected::Beginning(read.freeze()))
}

fn apply(head: &mut ResponseHeader, change: &CheckedResponse) -> pingora::Result<()> {
    if let Some(status) = change.status {
        head.set_status(status)?;
    }
    for name in change.remove_headers.iter().chain(change.set_headers.iter().map(|(name, _)| name)) {
        head.remove_header(name);
    }
    // Appended, so that a guest can set two cookies.
    for (name, value) in &change.set_headers {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// The answer that a guest gave by `respond`.
pub fn guest_answer(response: CheckedResponse) -> Result<(ResponseHeader, Bytes), Refusal> {
    let build = || {
        let status = response.status.unwrap_or(http::StatusCode::OK);
        let mut head = ResponseHeader::build_no_case(status, Some(response.set_headers.len() + 3))?;
        for (name, value) in &response.set_headers {
            head.append_header(name.clone(), HeaderValue::clone(value))?;
        }
        Ok::<_, Box<pingora::Error>>(head)
    };
    let head = build().map_err(|_| Refusal::PluginOutputInvalid)?;
    Ok((head, response.body.map(Bytes::from).unwrap_or_default()))
}

/// After an answer that came before the whole request: reads on for a moment, so that the client sees the answer
/// instead of a reset (RFC 9112 §9.6). Bounded in time and bytes.
pub async fn linger(session: &mut ServerSession) {
    const TIME: Duration = Duration::from_secs(1);
    const BYTES: usize = 16 * 1024 * 1024;
    if session.is_http2() || session.is_body_done() || crate::body::expects_continue(session) {
        return;
    }
    if session.finish_body().await.is_err() {
        return;
    }
    let drain = async {
        let mut read = 0;
        while read < BYTES {
            match session.read_request_body().await {
                Ok(Some(piece)) => read += piece.len(),
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(TIME, drain).await;
}
