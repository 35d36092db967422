//! What a plugin is told and what it may answer, in the words of the contract (`wit/`), free of any engine.
//!
//! [`check_decision`] and [`check_response`] stand between what a guest returned and anyone who acts on it.

mod check;
pub mod event;
mod field;
mod owned;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::Arc;

pub(crate) use field::check_outgoing;

pub use check::{CheckedDecision, CheckedEnqueue, CheckedForward, CheckedResponse, check_decision, check_response};
pub use owned::{OwnedRequest, OwnedResponse, borrowed};

/// A request as `on-request` sees it.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Without `?`; empty if none.
    pub query: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// Values of the path template, in order.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Fields that end at the gateway (credentials, hop-by-hop, its own) are not among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The tenant's id.
    pub tenant: &'a str,
    /// The token's `sub`; empty on public routes.
    pub subject: &'a str,
    /// The verified claims as JSON object text; `{}` on public routes.
    pub claims: &'a str,
    /// Correlation id of this request.
    pub correlation_id: &'a str,
    /// The whole body; empty for `on-request-head`.
    pub body: &'a [u8],
}

/// An upstream's answer as `on-response` sees it.
#[derive(Debug, Clone, Copy)]
pub struct ResponseView<'a> {
    /// 200 to 599.
    pub status: u16,
    /// Without hop-by-hop fields.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: &'a [u8],
    /// The route's name.
    pub route: &'a str,
    /// The tenant's id.
    pub tenant: &'a str,
    /// Correlation id of this request.
    pub correlation_id: &'a str,
}

/// What `on-request` returned, as it came out of the guest: not to be acted on before [`check_decision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To an upstream that the route allows.
    Forward(Forward),
    /// To the ledger, for sinks that the route allows.
    Enqueue(EnqueueDecision),
    /// Straight back.
    Respond(ResponseChange),
    /// A problem in the tenant's own words.
    Refuse(crate::refusal::GuestProblem),
}

impl Decision {
    /// What of this decision is not as in `other`, if anything.
    pub fn difference(&self, other: &Decision) -> Option<&'static str> {
        match (self, other) {
            _ if self == other => None,
            (Decision::Forward(own), Decision::Forward(other)) if own.body != other.body => Some("body"),
            (Decision::Forward(own), Decision::Forward(other)) if own.upstream != other.upstream => Some("upstream"),
            (Decision::Forward(own), Decision::Forward(other)) if own.path != other.path => Some("path"),
            (Decision::Forward(_), Decision::Forward(_)) => Some("headers"),
            (Decision::Enqueue(own), Decision::Enqueue(other)) if own.body != other.body => Some("body"),
            (Decision::Enqueue(_), Decision::Enqueue(_)) => Some("event"),
            (Decision::Respond(own), Decision::Respond(other)) if own.status != other.status => Some("status"),
            (Decision::Respond(own), Decision::Respond(other)) if own.body != other.body => Some("body"),
            (Decision::Respond(_), Decision::Respond(_)) => Some("headers"),
            (Decision::Refuse(_), Decision::Refuse(_)) => Some("problem"),
            _ => Some("verb"),
        }
    }
}

/// `forward` of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// One of the route's; its first where none.
    pub upstream: Option<String>,
    /// Replaces path and query where given.
    pub path: Option<String>,
    /// Fields set, replacing any of the same name.
    pub set_headers: Vec<(String, String)>,
    /// Fields removed.
    pub remove_headers: Vec<String>,
    /// Replaces the body where given.
    pub body: Option<Vec<u8>>,
}

/// `enqueue` of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnqueueDecision {
    /// CloudEvents type; the route's where none.
    pub event_type: Option<String>,
    /// Ordering key.
    pub key: Option<String>,
    /// Media type of the body; the request's where none.
    pub content_type: Option<String>,
    /// Replaces the body where given.
    pub body: Option<Vec<u8>>,
    /// Some of the route's; all of them where empty.
    pub sinks: Vec<String>,
}

/// `respond` of the contract, and what `on-response` returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseChange {
    /// 200 to 599. For `on-response`, none leaves it.
    pub status: Option<u16>,
    /// Fields set.
    pub set_headers: Vec<(String, String)>,
    /// Fields removed (`on-response` only).
    pub remove_headers: Vec<String>,
    /// The body; for `on-response`, none leaves it.
    pub body: Option<Vec<u8>>,
}

/// What a call used; counted by the top floor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on the CPU, host side of the call included.
    pub cpu: std::time::Duration,
    /// Linear memory at the end, bytes.
    pub memory: usize,
    /// Host calls.
    pub host_calls: u32,
    /// Log lines dropped past the limit.
    pub log_lines_dropped: u32,
    /// Additions to counters that are not declared.
    pub counts_dropped: u32,
}

/// Why a guest's call gave no decision; blame = guest unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFault {
    /// Trapped; the text is for the log: panic message, file and line where known, escaped and cut.
    Trap(Arc<str>),
    /// Used up a budget; which one.
    Budget(Budget),
    /// No slot in the pool (blame = gateway).
    Capacity,
    /// Returned something invalid; what.
    Output(OutputFault),
}

impl CallFault {
    /// The metric and log label.
    pub fn label(&self) -> &'static str {
        match self {
            CallFault::Trap(_) => "trap",
            CallFault::Budget(budget) => budget.label(),
            CallFault::Capacity => "capacity",
            CallFault::Output(_) => "output",
        }
    }

    /// What happened, for the log.
    pub fn reason(&self) -> &str {
        match self {
            CallFault::Trap(text) => text,
            CallFault::Budget(budget) => budget.label(),
            CallFault::Capacity => "no free slot",
            CallFault::Output(output) => output.label(),
        }
    }
}

/// The budgets of a call; the label is the metric's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Budget {
    Cpu,
    Wall,
    /// The same, while it waited for what it had asked of the host: the fault may be that of storage or of another system.
    HostWait,
    Memory,
    HostCalls,
}

/// What in a guest's output may not be acted on; the label is for metrics and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OutputFault {
    HeaderName,
    HeaderValue,
    HeaderForbidden,
    HeadersTooMany,
    Status,
    Body,
    BodyFormat,
    Path,
    Upstream,
    Sink,
    Key,
    ContentType,
    EventType,
    Problem,
    Reason,
}

impl Budget {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            Budget::Cpu => "cpu",
            Budget::Wall => "wall",
            Budget::HostWait => "host_wait",
            Budget::Memory => "memory",
            Budget::HostCalls => "host_calls",
        }
    }
}

impl OutputFault {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            OutputFault::HeaderName => "header_name",
            OutputFault::HeaderValue => "header_value",
            OutputFault::HeaderForbidden => "header_forbidden",
            OutputFault::HeadersTooMany => "headers_too_many",
            OutputFault::Status => "status",
            OutputFault::Body => "body",
            OutputFault::BodyFormat => "body_format",
            OutputFault::Path => "path",
            OutputFault::Upstream => "upstream",
            OutputFault::Sink => "sink",
            OutputFault::Key => "key",
            OutputFault::ContentType => "content_type",
            OutputFault::EventType => "event_type",
            OutputFault::Problem => "problem",
            OutputFault::Reason => "reason",
        }
    }
}
