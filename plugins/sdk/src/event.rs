//! Events on their way to sinks: shaped before each attempt, and what the sink answers judged.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

pub use crate::bindings::event::exports::sluis::plugin::on_event::{Answer, Event, Preparation, Shaped, Verdict};
use crate::decision::{JSON, serialised};

/// The hook `on-event`, for [`plugin!`](crate::plugin!).
pub trait OnEvent {
    /// What becomes of the attempt that is about to be made.
    fn shape(event: Event) -> Preparation;

    /// What the sink's answer means; none leaves that to the gateway.
    fn judge(_event: Event, _answer: Answer) -> Option<Verdict> {
        None
    }
}

impl Event {
    /// An event for tests: the first attempt for the sink `erp`, of tenant and route `test`.
    #[cfg(not(target_family = "wasm"))]
    pub fn sample(body: &[u8]) -> Self {
        Self {
            id: "0190b8d7-1c5e-7000-8000-000000000000".into(),
            event_type: "test.event".into(),
            key: None,
            sink: "erp".into(),
            route: "test".into(),
            tenant: "test".into(),
            correlation_id: "test-1".into(),
            accepted_at: 0,
            attempt: 1,
            content_type: JSON.into(),
            body: body.into(),
            extra: Vec::new(),
        }
    }
}

impl Preparation {
    /// Send it; unchanged but for what is said next.
    #[allow(clippy::self_named_constructors)]
    pub fn send() -> Shaped {
        Shaped { content_type: None, set_headers: Vec::new(), body: None, extra: Vec::new() }
    }
}

impl Shaped {
    /// Sets the header `name` to `value`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_headers.push((name.into(), value.into()));
        self
    }

    /// New body and its media type.
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self.body = Some(body.into());
        self
    }

    /// New body: `value` as JSON, with its media type.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.body(JSON, serialised(value))
    }
}

impl From<Shaped> for Preparation {
    fn from(shaped: Shaped) -> Self {
        Preparation::Send(shaped)
    }
}
