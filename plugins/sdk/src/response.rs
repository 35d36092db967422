use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::decision::{JSON, serialised};
use crate::{Response, ResponseChange};

impl Response {
    /// An answer for tests, of route, tenant and correlation id `test`, `test` and `test-1`, without headers.
    #[cfg(not(target_family = "wasm"))]
    pub fn sample(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            route: "test".into(),
            tenant: "test".into(),
            correlation_id: "test-1".into(),
            extra: Vec::new(),
        }
    }

    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::request::first(&self.headers, name)
    }

    /// Whether the upstream did what was asked: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl ResponseChange {
    /// Leaves the answer as it is.
    pub fn none() -> Self {
        Self { status: None, set_headers: Vec::new(), remove_headers: Vec::new(), body: None, extra: Vec::new() }
    }

    /// New status, 200 to 599.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
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
        self.json_as(JSON, value)
    }

    /// New body: `value` as JSON of another media type, such as `application/problem+json`.
    pub fn json_as(self, media_type: &str, value: &impl Serialize) -> Self {
        self.header("content-type", media_type).body(serialised(value))
    }
}
