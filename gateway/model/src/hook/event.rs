//! `on-event` of the contract: an accepted event on its way to a sink, as the tenant's plugin shapes it, and what it makes
//! of the sink's answer.

use std::fmt;
use std::pin::Pin;

use http::header::{HeaderName, HeaderValue};

use super::OutputFault;
use super::check::{check_body, is_media_type};
use super::field;

/// Bytes of a sink's answer that a plugin is told.
pub const ANSWER_BYTES: usize = 64 << 10;
/// Bytes of a reason that is kept.
const MAX_REASON: usize = 256;
/// Longest wait that a plugin can ask for, seconds: as long as a sink itself.
const MAX_RETRY: u32 = 24 * 60 * 60;

/// `event`: what the plugin is told before every attempt.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the contract in `wit/on-event.wit` says it all")]
pub struct EventView<'a> {
    pub id: &'a str,
    pub event_type: &'a str,
    pub key: Option<&'a str>,
    pub sink: &'a str,
    pub route: &'a str,
    pub tenant: &'a str,
    pub correlation_id: &'a str,
    pub accepted_at: u64,
    pub attempt: u32,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// `answer`: what the sink said.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the contract in `wit/on-event.wit` says it all")]
pub struct SinkAnswer<'a> {
    pub status: u16,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// `preparation`: what becomes of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// Send it so.
    Send(Shaped),
    /// The sink needs none of it; why.
    Done(String),
    /// It is a dead letter; why.
    Dead(String),
}

/// `shaped`: how an attempt sends its event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shaped {
    /// The event's where none.
    pub content_type: Option<String>,
    /// Fields set.
    pub set_headers: Vec<(String, String)>,
    /// The event's where none.
    pub body: Option<Vec<u8>>,
}

/// `verdict`: what an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The sink has it; why.
    Done(String),
    /// It has not; seconds until the next attempt, or by the sink's settings.
    Retry(Option<u32>),
    /// It never will; why.
    Dead(String),
}

/// [`Preparation`], checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CheckedPreparation {
    Send(CheckedShaped),
    Done(String),
    Dead(String),
}

/// [`Shaped`], checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedShaped {
    /// The event's where none.
    pub content_type: Option<String>,
    /// Fields to set.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// The event's where none.
    pub body: Option<Vec<u8>>,
}

/// Checks what `shape` returned; a body may have `body_limit` bytes.
///
/// # Errors
/// What of it may not be acted on.
pub fn check_preparation(preparation: Preparation, body_limit: usize) -> Result<CheckedPreparation, OutputFault> {
    match preparation {
        Preparation::Done(reason) => check_reason(reason).map(CheckedPreparation::Done),
        Preparation::Dead(reason) => check_reason(reason).map(CheckedPreparation::Dead),
        Preparation::Send(Shaped { content_type, set_headers, body }) => {
            if !content_type.as_deref().is_none_or(is_media_type) {
                return Err(OutputFault::ContentType);
            }
            check_body(body.as_deref(), body_limit)?;
            let set_headers = field::check_outgoing(&set_headers)?;
            Ok(CheckedPreparation::Send(CheckedShaped { content_type, set_headers, body }))
        }
    }
}

/// Checks what `judge` returned.
///
/// # Errors
/// What of it may not be acted on.
pub fn check_verdict(verdict: Verdict) -> Result<Verdict, OutputFault> {
    match verdict {
        Verdict::Done(reason) => check_reason(reason).map(Verdict::Done),
        Verdict::Dead(reason) => check_reason(reason).map(Verdict::Dead),
        Verdict::Retry(seconds) => Ok(Verdict::Retry(seconds.map(|seconds| seconds.min(MAX_RETRY)))),
    }
}

fn check_reason(reason: String) -> Result<String, OutputFault> {
    let holds = reason.len() <= MAX_REASON && !reason.chars().any(char::is_control);
    if holds { Ok(reason) } else { Err(OutputFault::Reason) }
}

/// The plugin said nothing that could be acted on; the word is a [`super::CallFault`]'s label, or `unavailable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFault(pub &'static str);

/// What is being waited for. None where the tenant has no plugin for it.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, EventFault>> + Send + 'a>>;

/// Asks the plugins that tenants have in the slots of sinks.
pub trait EventHook: fmt::Debug + Send + Sync {
    /// `shape`, by the plugin in `slot`. May be dropped at any await.
    fn shape<'a>(&'a self, slot: &'a str, event: EventView<'a>) -> Asking<'a, CheckedPreparation>;

    /// `judge`, likewise; none also where the plugin leaves it to the gateway.
    fn judge<'a>(&'a self, slot: &'a str, event: EventView<'a>, answer: SinkAnswer<'a>) -> Asking<'a, Verdict>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn send(shaped: Shaped) -> Result<CheckedPreparation, OutputFault> {
        check_preparation(Preparation::Send(shaped), 10)
    }

    #[test]
    fn what_an_attempt_sends_is_bounded_and_says_nothing_of_the_gateways() {
        let headers = |name: &str| vec![(name.to_owned(), "x".to_owned())];
        for name in ["x-api-key", "authorization", "idempotency-key"] {
            assert!(send(Shaped { set_headers: headers(name), ..Shaped::default() }).is_ok(), "{name}");
        }
        for name in ["host", "content-length", "transfer-encoding", "connection"] {
            let fault = send(Shaped { set_headers: headers(name), ..Shaped::default() });
            assert_eq!(fault, Err(OutputFault::HeaderForbidden), "{name}");
        }
        assert_eq!(send(Shaped { body: Some(vec![0; 11]), ..Shaped::default() }), Err(OutputFault::Body));
        let media = Some("text/plain\r\nx: y".to_owned());
        assert_eq!(send(Shaped { content_type: media, ..Shaped::default() }), Err(OutputFault::ContentType));
    }

    #[test]
    fn reasons_are_short_and_plain() {
        let fault = |reason: &str| check_verdict(Verdict::Done(reason.to_owned())).err();
        assert_eq!(fault("there already: order 7"), None);
        for reason in ["two\nlines", &"x".repeat(257), "\u{1b}[31m"] {
            assert_eq!(fault(reason), Some(OutputFault::Reason));
            let dead = Preparation::Dead(reason.to_owned());
            assert_eq!(check_preparation(dead, 10).err(), Some(OutputFault::Reason));
        }
        assert_eq!(check_verdict(Verdict::Retry(Some(u32::MAX))), Ok(Verdict::Retry(Some(MAX_RETRY))));
    }
}
