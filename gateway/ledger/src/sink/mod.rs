//! Sinks: where events go. A closed set, one file each, one promise: [`SendOutcome::Confirmed`] only when the other
//! side has taken the event.

mod answer;
mod http;
mod message;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluis_model::hook::event::CheckedShaped;
use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::retry::{ErrorClass, TransportFault};
use uuid::Uuid;

pub use answer::Answered;

/// Bytes of a sink's answer that are kept with a failure.
pub const EXCERPT_BYTES: usize = 4 << 10;

/// One attempt to deliver one event to one sink.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The same at every attempt: what a sink recognises a repetition by.
    pub event_id: Uuid,
    /// The sink's name.
    pub sink: Arc<str>,
    /// How urgent it is.
    pub lane: Lane,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Whose event it is.
    pub tenant: Arc<str>,
    /// The route that it came by.
    pub route: Arc<str>,
    /// CloudEvents `type`.
    pub event_type: Arc<str>,
    /// Ordering key.
    pub key: Option<String>,
    /// Media type of the body.
    pub content_type: String,
    /// Correlation id of the request.
    pub correlation_id: Arc<str>,
    /// W3C `traceparent` of the request.
    pub traceparent: Option<Arc<str>>,
    /// Milliseconds since the epoch.
    pub accepted_at: u64,
    /// When its age begins: it was accepted, or sent anew. Milliseconds since the epoch.
    pub since: u64,
    /// The event that it sends anew with another body.
    pub causation_id: Option<Uuid>,
    /// Further CloudEvents attributes.
    pub attributes: Vec<(String, String)>,
    /// What the sink gets.
    pub body: Bytes,
}

impl Delivery {
    /// Whether an operator had it sent anew, with the same body or another.
    pub fn is_replay(&self) -> bool {
        self.causation_id.is_some() || self.since > self.accepted_at
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The sink has it, or a plugin says that it needs none of it; the text is kept in the history (`http 201`).
    Confirmed(String),
    /// It has not, or that is not known.
    Failed(Failure),
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What follows from it.
    pub class: ErrorClass,
    /// `http` with a status, a word for what failed below it, or `plugin` where that is who decided.
    pub kind: &'static str,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// One line for people, without any part of the event or of a secret; a plugin's own words where it gave up.
    pub message: String,
    /// The beginning of the sink's answer, at most [`EXCERPT_BYTES`].
    pub excerpt: Vec<u8>,
    /// What the sink or the plugin asked for.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn below_http(fault: TransportFault, message: String) -> Failure {
        Failure {
            class: fault.class(),
            kind: fault.label(),
            status: None,
            message,
            excerpt: Vec::new(),
            retry_after: None,
        }
    }
}

/// Why a sink cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Not an absolute http or https URL.
    #[error("the URL is not an absolute http or https URL")]
    Url,
    /// A configured field cannot be sent; its value is a secret and is not told.
    #[error("the header field {0:?} cannot be sent")]
    Header(String),
    /// The trust anchors cannot be read.
    #[error("the trust anchors in {0} cannot be read: {1}")]
    Ca(std::path::PathBuf, String),
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A sink that is ready for use.
pub enum Sink {
    /// See [`plan::HttpSink`].
    Http(http::Http),
}

impl Sink {
    /// Prepares connections; reads the trust anchors, opens nothing.
    pub fn new(plan: &plan::Sink) -> Result<Sink, SinkError> {
        match &plan.kind {
            plan::SinkKind::Http(settings) => Ok(Sink::Http(http::Http::new(settings, plan.concurrency)?)),
        }
    }

    /// One attempt; ends within the sink's timeout.
    pub async fn send(&self, delivery: &Delivery) -> SendOutcome {
        match self {
            Sink::Http(http) => http.send(delivery).await,
        }
    }

    /// One attempt as a plugin shaped it, and the answer for the plugin to judge; ends within the sink's timeout.
    ///
    /// # Errors
    /// Where there was no answer.
    pub async fn ask(&self, delivery: &Delivery, shaped: CheckedShaped) -> Result<Answered, Failure> {
        match self {
            Sink::Http(http) => http.ask(delivery, shaped).await,
        }
    }
}

/// The chain of causes in one line: addresses and TLS alerts, nothing of the event.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(512));
    text
}
