//! A request that is sent again is not done again: which key it carries, whether it is the same request, and what
//! becomes of it.
//!
//! A key belongs to one tenant and one route. Whoever keeps claims asks [`judge`] what a request with a key is: new, one
//! whose answer is there, or one that must not go on. Safe methods (RFC 9110 §9.2.1) do nothing twice, so nobody asks
//! about them.

mod canonical;
mod claim;
mod extract;
mod field;
mod fingerprint;
mod key;

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderName;

pub use claim::{ClaimState, Entry, Keep, Verdict, judge, storable};
pub use extract::extract;
pub use fingerprint::{Fingerprint, FingerprintMode, Fingerprinted, fingerprint};
pub use key::{KEY_BYTES, Key, KeyFault};

use crate::pointer::Pointer;

/// How long an answer is kept for the same request, from when it was given, where a route does not say: the client of a
/// route that forwards asks again soon.
pub const FORWARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// As [`FORWARD_TTL`], for a route that enqueues: as long as its events can be asked for.
pub const ENQUEUE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a route does about requests that come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Where a request has its key.
    pub source: KeySource,
    /// Whether a request without a key is refused.
    pub required: bool,
    /// How long an answer is kept, from when it was given; 1 minute to 30 days.
    pub ttl: Duration,
    /// Which bodies are the same.
    pub fingerprint: FingerprintMode,
}

/// Where a request has its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A field that is read as [`Key::from_field`] does: `Idempotency-Key`.
    Field(HeaderName),
    /// Another field, taken as it stands.
    PlainField(HeaderName),
    /// A string or a whole number at this place in a JSON body.
    Body(Pointer),
    /// `source` and `id` of a CloudEvent (CloudEvents 1.0.2), in fields or in a JSON body.
    CloudEvent,
}
