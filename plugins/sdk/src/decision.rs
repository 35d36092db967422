use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::{Decision, Enqueue, Forward, Problem, Respond};

pub(crate) const JSON: &str = "application/json";

/// `value` as JSON text.
///
/// Panics where a type cannot be JSON at all (a map with keys that are not text), which is the plugin's mistake.
pub(crate) fn serialised(value: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes,
        Err(error) => panic!("cannot be written as JSON: {error}"),
    }
}

impl Decision {
    /// Send the request on; unchanged but for what is said next.
    #[allow(clippy::self_named_constructors)]
    pub fn forward() -> Forward {
        Forward {
            upstream: None,
            path: None,
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            body: None,
            extra: Vec::new(),
        }
    }

    /// Keep the request durably and deliver it later; the client gets 202.
    pub fn enqueue() -> Enqueue {
        Enqueue { event_type: None, key: None, content_type: None, body: None, sinks: Vec::new(), extra: Vec::new() }
    }

    /// Answer at once with `status`, 200 to 599.
    pub fn respond(status: u16) -> Respond {
        Respond { status, headers: Vec::new(), body: Vec::new(), extra: Vec::new() }
    }

    /// Refuse with `status`, 400 to 599; `kind` is a URI reference that names the kind of problem.
    pub fn refuse(status: u16, kind: impl Into<String>, title: impl Into<String>) -> Problem {
        let (kind, title) = (kind.into(), title.into());
        Problem { status, kind, title, detail: String::new(), pointer: None, extra: Vec::new() }
    }
}

impl Forward {
    /// To this upstream of the route instead of its first.
    pub fn upstream(mut self, name: impl Into<String>) -> Self {
        self.upstream = Some(name.into());
        self
    }

    /// New path, with query where wanted: `/b1s/v2/Orders`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Sets the header `name` to `value`, replacing all of its name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_headers.push((name.into(), value.into()));
        self
    }

    /// Removes the header `name`.
    pub fn remove_header(mut self, name: impl Into<String>) -> Self {
        self.remove_headers.push(name.into());
        self
    }

    /// New body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// New body: `value` as JSON, with its media type.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.header("content-type", JSON).body(serialised(value))
    }
}

impl Enqueue {
    /// CloudEvents type instead of the route's.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Events of one key are delivered in order.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a sink; where none is named, all of the route's get the event.
    pub fn sink(mut self, name: impl Into<String>) -> Self {
        self.sinks.push(name.into());
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

impl Respond {
    /// Adds the header `name`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body: `value` as JSON, with its media type.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.header("content-type", JSON).body(serialised(value))
    }
}

impl Problem {
    /// What is wrong with this request.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// JSON pointer (RFC 6901) to what is wrong in the body; empty for the whole of it.
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

impl From<Forward> for Decision {
    fn from(forward: Forward) -> Self {
        Self::Forward(forward)
    }
}

impl From<Enqueue> for Decision {
    fn from(enqueue: Enqueue) -> Self {
        Self::Enqueue(enqueue)
    }
}

impl From<Respond> for Decision {
    fn from(respond: Respond) -> Self {
        Self::Respond(respond)
    }
}

impl From<Problem> for Decision {
    fn from(problem: Problem) -> Self {
        Self::Refuse(problem)
    }
}

/// Lets a hook use `?` on whatever becomes a [`Problem`].
impl<D: Into<Decision>> From<Result<D, Problem>> for Decision {
    fn from(result: Result<D, Problem>) -> Self {
        match result {
            Ok(decision) => decision.into(),
            Err(problem) => Self::Refuse(problem),
        }
    }
}
