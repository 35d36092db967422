//! The generator: requests at their moments, whether or not the ones before were answered.

mod client;
mod crew;
mod deadline;
mod destination;
mod engine;
mod error;
mod health;
mod probe;
mod recorder;
pub mod schedule;
mod sender;
mod stop;
mod stream;
mod timer;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

pub use engine::{Prepared, Progress, Run, run, threads};
pub use error::LoadError;
pub use health::own;
pub use schedule::{Schedule, ScheduleError};
pub use stop::Stop;

/// What to send and where.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http` or `https`, host and port; paths come with the requests.
    pub url: http::Uri,
    /// The protocol spoken.
    pub protocol: Protocol,
    /// Keep connections, or open one for each request (HTTP/1.1 only).
    pub keep_alive: bool,
    /// A CA beside those that browsers trust, PEM.
    pub ca: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
}

/// One or the other, for a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113): by ALPN over TLS, with prior knowledge without.
    Http2,
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Threads that send.
    pub threads: usize,
    /// Most connections at once over all threads.
    pub connections: usize,
    /// Most streams at once on a connection (HTTP/2).
    pub streams: usize,
    /// A request without an answer after this long has failed.
    pub timeout: Duration,
    /// Before the first moment that counts: the schedule's first rate, not recorded.
    pub warm_up: Duration,
}

/// What a good answer to a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// 2xx or 3xx.
    Success,
    /// 401: the token is bad on purpose.
    Unauthorised,
}

/// One request, ready to send.
#[derive(Debug)]
pub struct Planned {
    /// Index into [`Source::tenants`].
    pub tenant: usize,
    /// Path, fields and body; authority and framing are the client's.
    pub request: Request<Bytes>,
    /// What it should be answered.
    pub expect: Expect,
    /// What to tell [`Source::answered`]: which order it carries.
    pub order: u64,
}

/// Where requests come from. Called on the sending threads, so it must be cheap: what can be made before is made before.
pub trait Source: Send + Sync + 'static {
    /// Names of the tenants, by index.
    fn tenants(&self) -> &[String];
    /// The request of the moment with this number, counted from 0 over all threads.
    fn plan(&self, number: u64) -> Planned;
    /// The tenant of the moment with this number, for one that was never sent. Where [`Source::plan`] takes note of what
    /// it hands out, this must be its own.
    fn tenant(&self, number: u64) -> usize {
        self.plan(number).tenant
    }
    /// How a request was answered: its order and status, `None` for no answer. For whoever checks what arrived.
    fn answered(&self, order: u64, status: Option<u16>);
}

#[cfg(test)]
mod tests;
