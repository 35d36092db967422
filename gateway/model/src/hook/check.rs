//! Between what a guest returned and anyone who acts on it: every name, value, path and length is checked, every
//! upstream and sink must be the route's.

use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::{Decision, EnqueueDecision, Forward, OutputFault, ResponseChange, field};
use crate::plan::{Route, Sink, Upstream};
use crate::pointer::is_pointer;
use crate::refusal::GuestProblem;
use crate::target;

/// Path with query, bytes.
const MAX_PATH: usize = 8 * 1024;
/// CloudEvents type, bytes.
const MAX_EVENT_TYPE: usize = 128;
/// Media type with its parameters, bytes.
const MAX_CONTENT_TYPE: usize = 255;
/// Ordering key, bytes.
const MAX_KEY: usize = 255;
/// Kind and title of a problem, bytes each.
const MAX_TITLE: usize = 256;
/// Detail and pointer of a problem, bytes each.
const MAX_DETAIL: usize = 1024;

/// A decision that can be acted on.
#[derive(Debug)]
pub enum CheckedDecision {
    /// To an upstream of the route.
    Forward(CheckedForward),
    /// To the ledger.
    Enqueue(CheckedEnqueue),
    /// Straight back; the status is there.
    Respond(CheckedResponse),
    /// The tenant's own no.
    Refuse(GuestProblem),
}

/// `forward`, checked.
#[derive(Debug)]
pub struct CheckedForward {
    /// One of the route's.
    pub upstream: Arc<Upstream>,
    /// Normalised path and query, where the guest gave one.
    pub target: Option<String>,
    /// Fields to set.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields to remove.
    pub remove_headers: Vec<HeaderName>,
    /// The new body, where the guest gave one.
    pub body: Option<Vec<u8>>,
}

/// `enqueue`, checked.
#[derive(Debug)]
pub struct CheckedEnqueue {
    /// CloudEvents type, where the guest gave one.
    pub event_type: Option<Arc<str>>,
    /// Ordering key.
    pub key: Option<String>,
    /// Media type, where the guest gave one.
    pub content_type: Option<String>,
    /// The new body, where the guest gave one.
    pub body: Option<Vec<u8>>,
    /// At least one, all of the route.
    pub sinks: Vec<Arc<Sink>>,
}

/// `respond` or an `on-response` change, checked.
#[derive(Debug)]
pub struct CheckedResponse {
    /// 200 to 599.
    pub status: Option<StatusCode>,
    /// Fields to set.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields to remove.
    pub remove_headers: Vec<HeaderName>,
    /// The body, where the guest gave one.
    pub body: Option<Vec<u8>>,
}

/// Checks what `on-request` returned against its route.
pub fn check_decision(decision: Decision, route: &Route) -> Result<CheckedDecision, OutputFault> {
    match decision {
        Decision::Forward(forward) => check_forward(forward, route).map(CheckedDecision::Forward),
        Decision::Enqueue(enqueue) => check_enqueue(enqueue, route).map(CheckedDecision::Enqueue),
        Decision::Respond(response) if response.status.is_none() => Err(OutputFault::Status),
        Decision::Respond(response) => check_response(response, route.body_limit).map(CheckedDecision::Respond),
        Decision::Refuse(problem) => check_problem(problem).map(CheckedDecision::Refuse),
    }
}

/// Checks an answer of the guest's own, or what `on-response` wants changed. Where the new status forbids a body, the
/// checked one has an empty body, so that an upstream's does not stay.
pub fn check_response(change: ResponseChange, body_limit: usize) -> Result<CheckedResponse, OutputFault> {
    let status = match change.status {
        None => None,
        Some(code @ 200..=599) => Some(StatusCode::from_u16(code).map_err(|_| OutputFault::Status)?),
        Some(_) => return Err(OutputFault::Status),
    };
    check_body(change.body.as_deref(), body_limit)?;
    let mut body = change.body;
    if status.is_some_and(has_no_body) && !body.get_or_insert_default().is_empty() {
        return Err(OutputFault::Body);
    }
    let (set_headers, remove_headers) = field::check_response(&change.set_headers, &change.remove_headers)?;
    Ok(CheckedResponse { status, set_headers, remove_headers, body })
}

/// RFC 9110 §15.3.5, §15.3.6, §15.4.5.
fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

fn check_forward(forward: Forward, route: &Route) -> Result<CheckedForward, OutputFault> {
    let upstreams = &route.action.upstreams;
    let upstream = match &forward.upstream {
        None => upstreams.first(),
        Some(name) => upstreams.iter().find(|upstream| *upstream.name == **name),
    };
    let upstream = upstream.ok_or(OutputFault::Upstream)?.clone();
    let target = forward.path.map(|path| check_path(&path)).transpose()?;
    check_format(forward.body.as_deref(), route)?;
    let (set_headers, remove_headers) = field::check_request(&forward.set_headers, &forward.remove_headers)?;
    Ok(CheckedForward { upstream, target, set_headers, remove_headers, body: forward.body })
}

fn check_enqueue(enqueue: EnqueueDecision, route: &Route) -> Result<CheckedEnqueue, OutputFault> {
    let action = route.action.enqueue.as_ref().ok_or(OutputFault::Sink)?;
    let sinks = check_sinks(&enqueue.sinks, &action.sinks)?;
    let event_type = match enqueue.event_type {
        None => None,
        Some(given) if is_visible(&given, MAX_EVENT_TYPE) => Some(given.into()),
        Some(_) => return Err(OutputFault::EventType),
    };
    if !enqueue.key.as_deref().is_none_or(|key| is_visible(key, MAX_KEY)) {
        return Err(OutputFault::Key);
    }
    if !enqueue.content_type.as_deref().is_none_or(is_media_type) {
        return Err(OutputFault::ContentType);
    }
    check_format(enqueue.body.as_deref(), route)?;
    let EnqueueDecision { key, content_type, body, .. } = enqueue;
    Ok(CheckedEnqueue { event_type, key, content_type, body, sinks })
}

/// The named ones, each once; all where none is named.
fn check_sinks(named: &[String], sinks: &[Arc<Sink>]) -> Result<Vec<Arc<Sink>>, OutputFault> {
    if named.is_empty() {
        return Ok(sinks.to_vec());
    }
    // More names than sinks are a name twice; so the search below is bounded by the plan.
    if named.len() > sinks.len() {
        return Err(OutputFault::Sink);
    }
    let mut chosen: Vec<Arc<Sink>> = Vec::with_capacity(named.len());
    for name in named {
        let sink = sinks.iter().find(|sink| *sink.name == **name).ok_or(OutputFault::Sink)?;
        if chosen.iter().any(|earlier| earlier.name == sink.name) {
            return Err(OutputFault::Sink);
        }
        chosen.push(sink.clone());
    }
    Ok(chosen)
}

fn check_path(path: &str) -> Result<String, OutputFault> {
    if path.len() > MAX_PATH {
        return Err(OutputFault::Path);
    }
    let target = target::normalise_without_dots(path.as_bytes()).ok_or(OutputFault::Path)?;
    // Harmless behind a slash, but whoever puts URLs together from strings could take it for the end of userinfo.
    if target.path.contains('@') {
        return Err(OutputFault::Path);
    }
    Ok(if target.query.is_empty() { target.path.into_owned() } else { format!("{}?{}", target.path, target.query) })
}

pub(super) fn check_body(body: Option<&[u8]>, limit: usize) -> Result<(), OutputFault> {
    if body.is_some_and(|body| body.len() > limit) { Err(OutputFault::Body) } else { Ok(()) }
}

/// A request's new body: within its length, and what the route says that a body must be.
fn check_format(body: Option<&[u8]>, route: &Route) -> Result<(), OutputFault> {
    check_body(body, route.body_limit)?;
    if body.is_none_or(|body| route.body_format.admits(body)) { Ok(()) } else { Err(OutputFault::BodyFormat) }
}

fn check_problem(problem: GuestProblem) -> Result<GuestProblem, OutputFault> {
    let text_holds = |text: &str, max: usize| text.len() <= max && !text.chars().any(char::is_control);
    if !(400..=599).contains(&problem.status) {
        return Err(OutputFault::Status);
    }
    let holds = is_problem_type(&problem.kind)
        && text_holds(&problem.title, MAX_TITLE)
        && text_holds(&problem.detail, MAX_DETAIL)
        && problem.pointer.as_deref().is_none_or(|p| text_holds(p, MAX_DETAIL) && is_pointer(p));
    if holds { Ok(problem) } else { Err(OutputFault::Problem) }
}

/// The characters of a URI reference (RFC 3986 §2); what it leads to is the tenant's own affair. Empty stands for none.
fn is_problem_type(text: &str) -> bool {
    text.len() <= MAX_TITLE
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b))
}

fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `type/subtype`, with parameters where there are any (RFC 9110 §8.3.1).
pub(super) fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    // A quoted value may hold any visible character but a quote, a backslash or a semicolon: no media type needs those.
    let is_quoted = |text: &str| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.is_some_and(|inner| inner.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\'))
    };
    let mut parts = text.split(';');
    let essence_holds = parts
        .next()
        .and_then(|essence| essence.trim_ascii_end().split_once('/'))
        .is_some_and(|(main, sub)| is_token(main) && is_token(sub));
    let parameter_holds = |part: &str| {
        let split = part.trim_matches(' ').split_once('=');
        split.is_some_and(|(name, value)| is_token(name) && (is_token(value) || is_quoted(value)))
    };
    text.len() <= MAX_CONTENT_TYPE && !text.ends_with([' ', '\t']) && essence_holds && parts.all(parameter_holds)
}
