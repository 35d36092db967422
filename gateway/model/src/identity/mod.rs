//! Token + keys + now → [`Identity`]. Pure: keys are handed in, nothing is fetched, the time is an argument.
//!
//! A token passes three gates, cheapest first, and each gate has its own type so that none can be skipped:
//!
//! 1. [`Unverified::parse`]: size, three segments, strict base64url and JSON, header policy. Now its `iss` can be
//!    read, and nothing else of it is believed.
//! 2. [`Unverified::check`]: `typ` and every claim against one issuer and one moment → [`Candidate`].
//! 3. [`Candidate::verify`]: the signature, by the key that the issuer's [`KeySet`] has under that `kid` and by an
//!    algorithm that the *key* allows → [`Identity`]. There is no other way to get one from a token.

mod claims;
mod header;
mod json;
mod keys;
mod roca;
mod verify;

#[cfg(test)]
mod test_keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use header::excerpt;
pub use keys::{KeyFault, KeySet, KeySetFault, SkippedKey};
pub use verify::{Candidate, MAX_TOKEN_BYTES, Unverified};

/// Who a request comes from, after its token was verified.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Value of the issuer's tenant claim; `None` where the claim is missing or is no plain name, which `admit`
    /// answers with 403. Known to exist in the plan only after `admit` looked it up.
    pub tenant: Option<Arc<str>>,
    /// `sub`.
    pub subject: Arc<str>,
    /// Position of the issuer in the plan.
    pub issuer: usize,
    /// `scope` (RFC 8693 §4.2), or `scp` where an issuer uses that.
    pub scopes: Vec<Box<str>>,
    /// Verified payload, as JSON object text, for the plugin.
    pub claims: Arc<str>,
    /// `exp`, seconds since the epoch; leeway is not included.
    pub expires_at: u64,
    /// `nbf`, seconds since the epoch, 0 where absent.
    pub not_before: u64,
}

impl Identity {
    /// Whether the token carries every one of `required`.
    pub fn has_scopes(&self, required: &[Arc<str>]) -> bool {
        required.iter().all(|scope| self.scopes.iter().any(|held| **held == **scope))
    }

    /// Whether the token may be used at `now` (seconds since the epoch), give or take `leeway` seconds.
    ///
    /// `exp` is the first moment at which a token is no longer good (RFC 7519 §4.1.4), `nbf` the first at which it is.
    pub fn is_current(&self, now: u64, leeway: u64) -> bool {
        now < self.expires_at.saturating_add(leeway) && self.not_before <= now.saturating_add(leeway)
    }
}
