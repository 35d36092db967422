//! The life of a claim: a request claims its key before anything is done for it, and what was done decides what the next
//! request with that key gets.

use super::Fingerprint;

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimState {
    /// The request that claimed the key is being served.
    InFlight,
    /// Its answer is kept.
    Completed,
    /// It was cut off after something may have been done: doing it again could do it twice.
    Unknown,
}

impl ClaimState {
    /// Every state, in the order of the numbers that a store keeps for them.
    pub const ALL: [ClaimState; 3] = [ClaimState::InFlight, ClaimState::Completed, ClaimState::Unknown];
}

/// A key that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Of the request that claimed it.
    pub fingerprint: Fingerprint,
    /// Where it stands.
    pub state: ClaimState,
    /// Milliseconds since the epoch; from then on it is not there. A claim in flight has no end of its own.
    pub expires_at: u64,
}

/// What a request with a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The first one: it claims the key and goes on.
    New,
    /// The same one is being served.
    InProgress,
    /// The same one was answered: it gets that answer.
    Replay,
    /// Another one has the key.
    Reused,
    /// The same one may have been done.
    Unknown,
}

/// What a request is at `now` (milliseconds since the epoch), by what is there under its key. Only [`Verdict::New`] may
/// go on to do anything.
pub fn judge(entry: Option<&Entry>, fingerprint: &Fingerprint, now: u64) -> Verdict {
    match entry {
        None => Verdict::New,
        Some(entry) if entry.state != ClaimState::InFlight && entry.expires_at <= now => Verdict::New,
        Some(entry) if entry.fingerprint != *fingerprint => Verdict::Reused,
        Some(entry) => match entry.state {
            ClaimState::InFlight => Verdict::InProgress,
            ClaimState::Completed => Verdict::Replay,
            ClaimState::Unknown => Verdict::Unknown,
        },
    }
}

/// What becomes of a claim when its request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// The answer is kept for whoever asks again.
    Store,
    /// The key is free again: asked again, the answer may well be another.
    Release,
}

/// What becomes of a claim whose request is answered with this status. Kept is what would be said again (2xx, 3xx, most
/// of 4xx), not what depends on credentials (401, 403), on the moment (408, 425, 429) or on the health of a server (5xx).
pub fn storable(status: u16) -> Keep {
    match status {
        401 | 403 | 408 | 425 | 429 => Keep::Release,
        200..=499 => Keep::Store,
        _ => Keep::Release,
    }
}
