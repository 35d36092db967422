//! The front door to identity: `Authorization` → who it is, from a cache of verified tokens where possible.
//!
//! A cached token costs one SHA-256 and one look-up; a new one its signature. The cache holds digests and identities, never
//! a token. It is no authority on time or trust: every hit checks `exp` and `nbf` again, that the issuer's settings and
//! keys are still the ones the token was verified with, and that the route trusts that issuer.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sluis_model::identity::{Candidate, Identity, MAX_TOKEN_BYTES, Unverified};
use sluis_model::refusal::{Refusal, TokenFault};
use tokio::time::Instant;

use crate::jwks::{Trusted, Waited};

/// Longest wait of a request for keys that are being fetched.
const KEY_WAIT: Duration = Duration::from_millis(250);
/// Cached tokens when nothing else is said.
pub const DEFAULT_CAPACITY: usize = 32_768;
/// Bytes of claims that count as one token; a longer token takes the place of several.
const UNIT: usize = 1_024;

type Digest = [u8; 32];

#[derive(Clone)]
struct Entry {
    identity: Arc<Identity>,
    policy: u64,
    generation: u64,
}

#[derive(Clone)]
struct ByUnits;

impl Weighter<Digest, Entry> for ByUnits {
    fn weight(&self, _: &Digest, entry: &Entry) -> u64 {
        1 + (entry.identity.claims.len() / UNIT) as u64
    }
}

/// Verified tokens, of all plans. Lives as long as the process.
pub struct TokenCache {
    entries: Cache<Digest, Entry, ByUnits>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What the cache did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCacheCounts {
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests whose token had to be verified, or refused.
    pub misses: u64,
    /// Tokens in the cache now.
    pub entries: usize,
}

impl TokenCache {
    /// Room for `capacity` tokens of at most 1 KiB of claims; larger ones take the room of several.
    pub fn new(capacity: usize) -> Self {
        TokenCache {
            entries: Cache::with_weighter(capacity, capacity as u64, ByUnits),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Counters for metrics.
    pub fn counts(&self) -> TokenCacheCounts {
        TokenCacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries: self.entries.len(),
        }
    }
}

/// The issuers of one plan over the cache of the process. Positions are the plan's.
pub struct Tokens {
    cache: Arc<TokenCache>,
    issuers: Vec<Arc<Trusted>>,
    key_wait: Duration,
}

impl Tokens {
    /// For one plan; `issuers` come from [`crate::jwks::Jwks::reconcile`].
    pub fn new(cache: Arc<TokenCache>, issuers: Vec<Arc<Trusted>>) -> Self {
        Tokens { cache, issuers, key_wait: KEY_WAIT }
    }

    /// Who sends this. `authorization` is the value of the request's only `Authorization` field, `allowed_issuers` are
    /// the route's, as positions in the plan, `now` is in seconds since the epoch.
    ///
    /// Waits at most 250 ms, and only while the issuer's keys are being fetched. Refuses with
    /// [`Refusal::InvalidToken`] or, where the issuer's keys are not to be had, [`Refusal::JwksUnavailable`].
    pub async fn identify(
        &self,
        authorization: &[u8],
        allowed_issuers: &[usize],
        now: u64,
    ) -> Result<Arc<Identity>, Refusal> {
        let token = bearer(authorization).ok_or(Refusal::InvalidToken(TokenFault::Missing))?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::InvalidToken(TokenFault::TooLarge));
        }
        let digest = sha256(token);
        if let Some(identity) = self.cached(&digest, allowed_issuers, now) {
            return Ok(identity);
        }
        self.cache.misses.fetch_add(1, Ordering::Relaxed);
        self.verify(token, digest, allowed_issuers, now).await
    }

    /// The cache alone: `None` says nothing about the token. Does not wait, does not allocate.
    pub fn lookup(&self, token: &[u8], allowed_issuers: &[usize], now: u64) -> Option<Arc<Identity>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        self.cached(&sha256(token), allowed_issuers, now)
    }

    fn cached(&self, digest: &Digest, allowed_issuers: &[usize], now: u64) -> Option<Arc<Identity>> {
        let entry = self.cache.entries.get(digest)?;
        let position = entry.identity.issuer;
        let issuer = self.issuers.get(position).filter(|_| allowed_issuers.contains(&position))?;
        let same_trust = issuer.policy == entry.policy && issuer.keys.generation() == entry.generation;
        if !same_trust || !entry.identity.is_current(now, issuer.issuer.leeway.as_secs()) {
            return None;
        }
        self.cache.hits.fetch_add(1, Ordering::Relaxed);
        Some(entry.identity)
    }

    async fn verify(
        &self,
        token: &[u8],
        digest: Digest,
        allowed_issuers: &[usize],
        now: u64,
    ) -> Result<Arc<Identity>, Refusal> {
        let unverified = Unverified::parse(token).map_err(Refusal::InvalidToken)?;
        let named = unverified.issuer().map_err(Refusal::InvalidToken)?;
        let (position, trusted) = allowed_issuers
            .iter()
            .filter_map(|position| Some((*position, self.issuers.get(*position)?)))
            .find(|(_, trusted)| *trusted.issuer.issuer == *named)
            .ok_or(Refusal::InvalidToken(TokenFault::Issuer))?;
        let candidate = unverified.check(position, &trusted.issuer, now).map_err(Refusal::InvalidToken)?;
        let (identity, generation) = self.verify_signature(&candidate, trusted).await?;
        let entry = Entry { identity: Arc::clone(&identity), policy: trusted.policy, generation };
        self.cache.entries.insert(digest, entry);
        Ok(identity)
    }

    /// Verifies with the keys at hand; where they are missing, or lack the `kid`, waits a moment for newer ones.
    ///
    /// Ends: each round needs another finished fetch, requests bring about one per cooldown, and time is short.
    async fn verify_signature(
        &self,
        candidate: &Candidate<'_>,
        trusted: &Trusted,
    ) -> Result<(Arc<Identity>, u64), Refusal> {
        let deadline = Instant::now() + self.key_wait;
        loop {
            let seen = trusted.keys.completed();
            let waited = match trusted.keys.current() {
                Some(snapshot) => match candidate.verify(&snapshot.keys) {
                    Ok(identity) => return Ok((identity, snapshot.generation)),
                    Err(TokenFault::UnknownKey) => trusted.keys.wait_for_unknown_kid(seen, deadline).await,
                    Err(fault) => return Err(Refusal::InvalidToken(fault)),
                },
                None => trusted.keys.wait(seen, deadline).await,
            };
            if waited == Waited::Completed {
                continue;
            }
            if trusted.keys.generation() == 0 {
                return Err(Refusal::JwksUnavailable);
            }
            tracing::debug!(issuer = %trusted.issuer.name, kid = %candidate.kid_excerpt(), "no key has this kid");
            return Err(Refusal::InvalidToken(TokenFault::UnknownKey));
        }
    }
}

/// The token of a `Bearer` credential (RFC 6750 §2.1); the scheme's case does not matter (RFC 9110 §11.1).
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(6)?;
    let token = token.strip_prefix(b" ")?.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

fn sha256(token: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token).as_ref());
    bytes
}
