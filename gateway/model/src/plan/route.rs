//! What is served, to whom, and what becomes of it.

use std::sync::Arc;

use super::{Sink, Upstream};
use crate::idempotency::Idempotency;

/// What one route does.
#[derive(Debug, Clone)]
pub struct Route {
    /// Label in logs and metrics.
    pub name: Arc<str>,
    /// Lower-case host without port; none serves every host.
    pub host: Option<String>,
    /// Path template: segments, `{name}` for one segment, a trailing `{name...}` for the rest.
    pub path: String,
    /// Methods served.
    pub methods: Vec<http::Method>,
    /// Who may come in.
    pub auth: Auth,
    /// Bound to this tenant: any other tenant's token is refused.
    pub tenant: Option<Arc<str>>,
    /// Slot of the tenant's plugin that decides, if any.
    pub plugin: Option<Arc<str>>,
    /// What happens without a plugin, and what a plugin may choose from.
    pub action: Action,
    /// Largest body where it is needed whole: by a plugin, the ledger or an idempotency key.
    pub body_limit: usize,
    /// What a body must be, a client's and one that a plugin makes of it.
    pub body_format: BodyFormat,
    /// A POST may be sent again after the connection broke before any answer.
    pub retry_unsafe: bool,
    /// What is done about requests that come again, if anything. The route has a tenant then, and not only safe methods.
    pub idempotency: Option<Idempotency>,
}

/// What a body must be, where there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// Any bytes.
    #[default]
    Any,
    /// One JSON text in UTF-8 (RFC 8259).
    Json,
}

impl BodyFormat {
    /// Whether a body is what it must be. An empty one is none, so nothing is asked of it.
    pub fn admits(self, body: &[u8]) -> bool {
        match self {
            BodyFormat::Any => true,
            // serde_json skips what it does not keep without a look at its encoding.
            BodyFormat::Json => {
                let text = std::str::from_utf8(body);
                body.is_empty() || text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
            }
        }
    }
}

/// Who may come in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anyone; the request has no tenant unless the route is bound to one.
    Public,
    /// A bearer token.
    Jwt {
        /// Positions in `Plan::issuers`.
        issuers: Vec<usize>,
        /// All of them are needed.
        scopes: Vec<Arc<str>>,
    },
}

/// A route's journeys: at least one of the two is there.
#[derive(Debug, Clone, Default)]
pub struct Action {
    /// Forward to one of these; the first is the default.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Enqueue for these, all of them by default.
    pub enqueue: Option<Enqueue>,
    /// What becomes of a request that cannot be forwarded now. [`Otherwise::Enqueue`] only where there are both journeys.
    pub otherwise: Otherwise,
    /// The client may choose to have its request enqueued, or to wait only so long, by `Prefer: respond-async` and `wait`
    /// (RFC 7240 §4.1, §4.3). Only where there are both journeys.
    pub prefer: bool,
}

/// What becomes of a request that cannot be forwarded now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It is enqueued.
    Enqueue,
}

/// The journey to the ledger.
#[derive(Debug, Clone)]
pub struct Enqueue {
    /// Sinks that the event goes to.
    pub sinks: Vec<Arc<Sink>>,
    /// CloudEvents type given to events of this route when the plugin names none.
    pub event_type: Arc<str>,
    /// How urgent the events of this route are.
    pub lane: crate::lane::Lane,
}
