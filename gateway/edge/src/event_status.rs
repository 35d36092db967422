//! The status resource of an event, for the tenant whose it is: as it stands (`GET /v1/events/{id}`), once it has changed
//! (`?wait=30s`), or as a stream of what becomes of it (`Accept: text/event-stream`).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderName, Method};
use pingora::protocols::http::ServerSession;
use sluis_ledger::{EventStatus, ReadError};
use sluis_model::limits::Permit;
use sluis_model::plan::Auth;
use sluis_model::refusal::{Refusal, TokenFault};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::clock::Clock;
use crate::forward::Failure;
use crate::journey::answer;
use crate::record::Record;
use crate::reply::json_head;
use crate::state::{App, Context, Generation, TenantState};

/// Where events can be asked for; no route can be configured below it.
pub const EVENTS_PATH: &str = "/v1/events/";
/// Requests that may wait at once, and of one tenant.
pub const WAITING: usize = 1_000;
/// See [`WAITING`].
pub const TENANT_WAITING: usize = 32;

/// Longest time that a request waits, seconds.
const LONGEST_WAIT: u64 = 60;
/// Longest time that a stream stays open.
const LONGEST_STREAM: Duration = Duration::from_secs(300);
/// A stream says at least so often that it is still there.
const COMMENT: Duration = Duration::from_secs(15);
/// Shortest time between two looks at an event.
const LOOK: Duration = Duration::from_millis(100);
/// How soon whoever waits sees that the gateway leaves.
const LEAVE: Duration = Duration::from_secs(1);

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Answers for an event of the caller's own tenant. Another tenant's is not found.
pub async fn serve(
    cx: Context<'_>,
    session: &mut ServerSession,
    id: &str,
    query: &str,
    record: &mut Record,
) -> Result<(), Failure> {
    let request = session.req_header();
    if request.method != Method::GET {
        return Err(Refusal::MethodNotAllowed("GET".into()).into());
    }
    let headers = &request.headers;
    let tenant = caller(cx.generation, headers).await?;
    let id = Uuid::try_parse(id).map_err(|_| Refusal::EventNotFound)?;
    let wait = wait(query)?;
    let mut watch = Watch::new(cx.app, &tenant.tenant.id, id);
    if is_stream(headers) {
        let after = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
        return stream(&mut watch, cx.app, tenant, session, after, record).await;
    }
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).map(str::to_owned);
    let event = match wait {
        Some(wait) => poll(&mut watch, cx.app, tenant, wait, known.as_deref()).await?,
        None => watch.read().await?,
    };
    let correlation_id = record.correlation_id.clone();
    let tag = tag(&event);
    let mut fields = vec![(ETAG.as_str(), tag.as_str())];
    if !event.state.is_final() {
        fields.push((RETRY_AFTER.as_str(), "1"));
    }
    if known.is_some_and(|known| matches(&known, &tag)) {
        return answer(session, json_head(304, &fields)?, Bytes::new(), &correlation_id, record).await;
    }
    let body = serde_json::to_vec(&event).map_err(|_| Refusal::Internal)?;
    answer(session, json_head(200, &fields)?, body.into(), &correlation_id, record).await
}

/// What a client is told where the ledger does not answer a question.
pub fn unreadable(error: &ReadError) -> Refusal {
    match error {
        ReadError::Busy => Refusal::Overloaded,
        ReadError::Storage | ReadError::Closed => Refusal::QueueStorageFault,
    }
}

/// The event once it is final, or is not any more what the client knows; or as it is when the time is over. Where too
/// many wait already, that is at once.
async fn poll(
    watch: &mut Watch<'_>,
    app: &App,
    tenant: &TenantState,
    wait: Duration,
    known: Option<&str>,
) -> Result<EventStatus, Refusal> {
    let until = Instant::now() + wait;
    let permits = place(app, tenant);
    loop {
        let event = watch.read().await?;
        let is_news = known.is_some_and(|known| !matches(known, &tag(&event)));
        if permits.is_err() || event.state.is_final() || is_news || !watch.changed(until).await {
            return Ok(event);
        }
    }
}

/// Sends each entry of the history as it comes, those after number `after`, until the event is final.
async fn stream(
    watch: &mut Watch<'_>,
    app: &App,
    tenant: &TenantState,
    session: &mut ServerSession,
    after: usize,
    record: &mut Record,
) -> Result<(), Failure> {
    let _place = place(app, tenant)?;
    let until = Instant::now() + LONGEST_STREAM;
    let mut event = watch.read().await?;
    if event.state.is_final() && after >= event.history.len() {
        // The client has all of it; by this it knows not to come back.
        let correlation_id = record.correlation_id.clone();
        return answer(session, json_head(204, &[])?, Bytes::new(), &correlation_id, record).await;
    }
    let mut head = json_head(200, &[])?;
    let build = || {
        head.insert_header(CONTENT_TYPE, EVENT_STREAM)?;
        head.insert_header("x-correlation-id", &*record.correlation_id)?;
        if record.http1_1 {
            head.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
        Ok::<_, Box<pingora::Error>>(head)
    };
    let head = build().map_err(|_| Refusal::Internal)?;
    record.answered(200);
    session.write_response_header(Box::new(head)).await.map_err(|_| Failure::ClientGone)?;
    let mut sent = after;
    loop {
        let news = frames(&event, sent);
        sent = sent.max(event.history.len());
        send(session, news).await?;
        if event.state.is_final() {
            break;
        }
        let mut comment = Instant::now() + COMMENT;
        while !watch.changed(until.min(comment)).await {
            if Instant::now() >= until || watch.is_leaving() {
                return end(session).await;
            }
            if Instant::now() >= comment {
                send(session, ": still here\n\n".to_owned()).await?;
                comment = Instant::now() + COMMENT;
            }
        }
        event = watch.read().await?;
    }
    end(session).await
}

/// The entries after the first `sent` ones as server-sent events.
fn frames(event: &EventStatus, sent: usize) -> String {
    let mut text = String::new();
    for (number, entry) in event.history.iter().enumerate().skip(sent) {
        let data = serde_json::to_string(entry).unwrap_or_default();
        let _ = write!(text, "id: {}\nevent: {}\ndata: {data}\n\n", number + 1, entry.state);
    }
    text
}

async fn send(session: &mut ServerSession, text: String) -> Result<(), Failure> {
    session.write_response_body(text.into(), false).await.map_err(|_| Failure::ClientGone)
}

async fn end(session: &mut ServerSession) -> Result<(), Failure> {
    session.write_response_body(Bytes::new(), true).await.map_err(|_| Failure::ClientGone)
}

/// A place among those who wait.
fn place(app: &App, tenant: &TenantState) -> Result<(Permit, Permit), Refusal> {
    let own = tenant.waiting.try_acquire().ok_or(Refusal::TenantBusy)?;
    Ok((own, app.waiting.try_acquire().ok_or(Refusal::Overloaded)?))
}

/// Somebody who looks at an event again and again, and not too often.
struct Watch<'a> {
    app: &'a App,
    tenant: &'a str,
    id: Uuid,
    commits: watch::Receiver<u64>,
    /// When the next look may be.
    next: Instant,
}

impl<'a> Watch<'a> {
    fn new(app: &'a App, tenant: &'a str, id: Uuid) -> Self {
        Watch { app, tenant, id, commits: app.ledger.commits(), next: Instant::now() }
    }

    async fn read(&mut self) -> Result<EventStatus, Refusal> {
        // Before the question, so that whatever is committed after its answer counts.
        self.commits.mark_unchanged();
        self.next = Instant::now() + LOOK;
        let found = self.app.ledger.status(self.tenant, self.id).await.map_err(|error| unreadable(&error))?;
        found.ok_or(Refusal::EventNotFound)
    }

    /// Whether another look is worth it, before the time is over or the gateway leaves.
    async fn changed(&mut self, until: Instant) -> bool {
        loop {
            if self.is_leaving() {
                return false;
            }
            match timeout_at(until.min(Instant::now() + LEAVE), self.commits.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return false,
                Err(_) if Instant::now() >= until => return false,
                Err(_) => {}
            }
        }
        sleep_until(self.next).await;
        true
    }

    fn is_leaving(&self) -> bool {
        self.app.draining.load(Ordering::Relaxed)
    }
}

/// The tenant behind a token of any issuer that a route trusts.
async fn caller<'g>(generation: &'g Generation, headers: &HeaderMap) -> Result<&'g Arc<TenantState>, Refusal> {
    let mut issuers: Vec<usize> = generation
        .routes
        .iter()
        .filter_map(|route| match &route.route.auth {
            Auth::Jwt { issuers, .. } => Some(issuers.iter().copied()),
            Auth::Public => None,
        })
        .flatten()
        .collect();
    issuers.sort_unstable();
    issuers.dedup();
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let credential = credentials.next().ok_or(Refusal::InvalidToken(TokenFault::Missing))?;
    if credentials.next().is_some() {
        return Err(Refusal::AmbiguousCredentials);
    }
    let identity = generation.tokens.identify(credential.as_bytes(), &issuers, Clock::unix_seconds()).await?;
    let tenant = identity.tenant.clone().ok_or(Refusal::TenantMismatch)?;
    generation.tenants.get(&tenant).ok_or(Refusal::TenantMismatch)
}

/// How long a query asks to wait: `wait=30s` or `wait=30`, at most once; other parameters are not looked at.
fn wait(query: &str) -> Result<Option<Duration>, Refusal> {
    let mut values = query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("wait", value)) => Some(value),
        None if pair == "wait" => Some(""),
        _ => None,
    });
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.strip_suffix('s').unwrap_or(value);
    let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(seconds) if is_number && seconds <= LONGEST_WAIT && values.next().is_none() => {
            Ok(Some(Duration::from_secs(seconds)))
        }
        _ => Err(Refusal::WaitInvalid),
    }
}

/// Whether the client wants to be told as it comes.
fn is_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).map(|part| part.split(';').next().unwrap_or_default());
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

/// What tells one picture of an event from another: every transition is a line of its history.
fn tag(event: &EventStatus) -> String {
    format!("\"{}-{}\"", event.state.label(), event.history.len())
}

/// Whether the client knows this picture (RFC 9110 §13.1.2).
fn matches(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_whole_seconds_up_to_a_minute() {
        for (query, seconds) in [("wait=30s", 30), ("wait=0", 0), ("a=b&wait=60", 60), ("wait=07s&waits=99", 7)] {
            assert_eq!(wait(query), Ok(Some(Duration::from_secs(seconds))), "{query}");
        }
        for none in ["", "waiting=1", "a=wait"] {
            assert_eq!(wait(none), Ok(None), "{none}");
        }
        for bad in ["wait", "wait=", "wait=61", "wait=-1", "wait=+5", "wait=1m", "wait=1.5", "wait=s", "wait=1&wait=1"]
        {
            assert_eq!(wait(bad), Err(Refusal::WaitInvalid), "{bad}");
        }
    }

    #[test]
    fn a_client_knows_a_picture_by_its_tag() {
        for known in ["\"a-1\"", "W/\"a-1\"", "\"x\", \"a-1\"", "*"] {
            assert!(matches(known, "\"a-1\""), "{known}");
        }
        for unknown in ["", "\"a-2\"", "a-1"] {
            assert!(!matches(unknown, "\"a-1\""), "{unknown}");
        }
    }
}
