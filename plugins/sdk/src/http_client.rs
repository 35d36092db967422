//! Requests to the systems that the tenant's settings name.
//!
//! ```
//! use sluis_plugin::http_client::{self, Request};
//!
//! fn rate() -> Result<Vec<u8>, http_client::Fault> {
//!     let answer = Request::new("GET", "https://rates.example.com/EUR").header("accept", "application/json").send(20)?;
//!     Ok(answer.body)
//! }
//! ```
//!
//! On the host (in tests) the answer is what [`answer_with`] says, and the fault `not-allowed` before.

use alloc::string::String;
use alloc::vec::Vec;

pub use crate::bindings::request::sluis::plugin::http_client::{Answer, Request};

/// Why there is no answer: a word of the contract.
pub type Fault = String;

impl Request {
    /// A request without fields and body. `url` is absolute.
    pub fn new(method: &str, url: &str) -> Request {
        let (headers, body, extra) = (Vec::new(), Vec::new(), Vec::new());
        Request { method: method.into(), url: url.into(), headers, body, extra }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the whole answer, for `timeout` milliseconds at most.
    pub fn send(&self, timeout: u32) -> Result<Answer, Fault> {
        inner::send(self, timeout)
    }
}

impl Answer {
    /// The first value of the field `name`, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }
}

#[cfg(target_family = "wasm")]
use crate::bindings::request::sluis::plugin::http_client as inner;

#[cfg(not(target_family = "wasm"))]
use host as inner;
#[cfg(not(target_family = "wasm"))]
pub use host::answer_with;

#[cfg(not(target_family = "wasm"))]
mod host {
    use alloc::boxed::Box;
    use core::cell::RefCell;

    use super::{Answer, Fault, Request};

    type Answering = Box<dyn FnMut(&Request) -> Result<Answer, Fault>>;

    std::thread_local! {
        static ANSWERS: RefCell<Option<Answering>> = const { RefCell::new(None) };
    }

    /// Sets what requests of this thread are answered.
    pub fn answer_with(f: impl FnMut(&Request) -> Result<Answer, Fault> + 'static) {
        ANSWERS.set(Some(Box::new(f)));
    }

    pub fn send(request: &Request, _timeout: u32) -> Result<Answer, Fault> {
        ANSWERS.with_borrow_mut(|answers| match answers {
            Some(answer) => answer(request),
            None => Err("not-allowed".into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_say_what_is_answered() {
        let ask = || Request::new("GET", "https://example.com").header("accept", "a/b").body("x").send(10);
        assert_eq!(ask().err().as_deref(), Some("not-allowed"));
        answer_with(|request| {
            let headers = alloc::vec![("echo".into(), request.headers[0].1.clone())];
            Ok(Answer { status: 200, headers, body: request.body.clone(), extra: Vec::new() })
        });
        let answer = ask();
        assert!(answer.is_ok_and(|answer| answer.body == b"x" && answer.header("echo") == Some("a/b")));
    }
}
