//! The systems that events are delivered to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// A system that events are delivered to.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Label, and what a plugin's `enqueue` names.
    pub name: Arc<str>,
    /// How it is reached.
    pub kind: SinkKind,
    /// Slot of the tenants' plugins that shape its events and judge its answers, if any.
    pub plugin: Option<Arc<str>>,
    /// When to try again, and when to give up.
    pub retry: crate::retry::RetrySettings,
    /// Deliveries in flight.
    pub concurrency: usize,
    /// What the deliveries of one key owe each other.
    pub order: Order,
    /// A newer event takes the place of the undelivered older ones of its key.
    pub compact_by_key: bool,
    /// What it is asked at most.
    pub pacing: crate::pacing::PacingSettings,
    /// When to stop asking.
    pub breaker: crate::breaker::BreakerSettings,
    /// When not to ask at all.
    pub maintenance: crate::maintenance::Calendar,
}

/// What the deliveries of one ordering key owe each other, within a tenant and a sink. In order, one of a key is in
/// flight at a time, and the rest is blocked behind it; keys do not wait for each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    #[default]
    None,
    /// The first is tried until it is too old, permanent errors included; then the next has its turn.
    Block,
    /// A dead one lets the next go.
    DlqAndContinue,
    /// The next ones stay blocked behind a dead one until an operator replays or discards it.
    ParkKey,
}

impl Sink {
    /// The sink as an event has it.
    pub fn of_event(&self) -> crate::event::EventSink {
        let in_order = self.order != Order::None || self.compact_by_key;
        crate::event::EventSink { name: self.name.clone(), in_order, compacts: self.compact_by_key }
    }
}

/// The kinds of sink, a closed set.
#[derive(Debug, Clone)]
pub enum SinkKind {
    /// An HTTP endpoint; 2xx is the confirmation.
    Http(HttpSink),
}

/// An HTTP sink.
#[derive(Debug, Clone)]
pub struct HttpSink {
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// Usually POST.
    pub method: http::Method,
    /// Whole attempt.
    pub timeout: Duration,
    /// Fields set on every attempt; secret values.
    pub headers: Vec<(String, Secret)>,
    /// PEM of additional trust anchors.
    pub ca: Option<PathBuf>,
    /// How it gets its events.
    pub format: EventFormat,
}

/// How an HTTP sink gets a CloudEvent (HTTP protocol binding §3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// The data as it is, the attributes as fields beside it.
    #[default]
    Binary,
    /// Both as one JSON object.
    Structured,
}
