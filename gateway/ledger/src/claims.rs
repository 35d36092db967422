//! Idempotency keys as their callers see them: a key is taken before anything is done in its name, and what was answered
//! is told again to whoever repeats the request.
//!
//! A key that is in use is known from memory, so that of many requests at once only one goes on. What is stored outlives
//! the process: for an event the claim, the event and the answer are one transaction; a request that is forwarded has its
//! claim stored before its first byte leaves, and where its end is not recorded, nobody knows what became of it.

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use sluis_model::idempotency::{ClaimState, Entry, Verdict, judge};
use uuid::Uuid;

use crate::error::ReadError;
use crate::ledger::Ledger;
use crate::store::{ClaimChange, ClaimEdit};

/// Where a key holds, within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The route's name.
    pub route: Arc<str>,
    /// The key.
    pub key: Arc<str>,
}

/// What a tenant may have. The oldest finished claims make room for new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimQuota {
    /// Claims.
    pub keys: u64,
    /// Bytes of the answers that are kept for them, and an eighth more for a moment.
    pub bytes: u64,
}

/// A request under a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// Where the key holds.
    pub place: Place,
    /// What the request is, see [`sluis_model::idempotency::fingerprint`].
    pub fingerprint: [u8; 32],
    /// The claim is forgotten so long after its request was answered, in milliseconds.
    pub ttl: u64,
    /// What the tenant may have.
    pub quota: ClaimQuota,
    /// Whether a request of which nobody knows what became may be sent again.
    pub resend: bool,
}

/// An answer as a repetition gets it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// Header fields in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl StoredAnswer {
    /// The fields as they are stored.
    pub(crate) fn head_text(&self) -> String {
        serde_json::to_string(&self.headers).unwrap_or_default()
    }

    pub(crate) fn read(status: u16, head: Option<String>, body: Option<Vec<u8>>) -> StoredAnswer {
        let headers = head.and_then(|head| serde_json::from_str(&head).ok()).unwrap_or_default();
        StoredAnswer { status, headers, body: body.unwrap_or_default().into() }
    }
}

/// A claim as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub entry: Entry,
    pub event: Option<Uuid>,
    pub answer: Option<StoredAnswer>,
}

/// What a key says of a request.
#[derive(Debug)]
pub enum Claimed {
    /// It is the first one: go on, and say what became of it.
    New(Claim),
    /// It was answered before.
    Replay(StoredAnswer),
    /// The same request is under way.
    InProgress,
    /// The key stands for another request, and for this event where it led to one.
    Reused(Option<Uuid>),
    /// Nobody knows what became of the first one.
    Unknown,
}

/// Why a key cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// Somebody has it.
    #[error("the key is taken")]
    Taken,
    /// The tenant has as many as it may, and all are in use; or an answer has no room beside the others.
    #[error("the tenant has too many keys, or too much is kept for them")]
    Full,
    /// Storage does not answer now.
    #[error("storage does not answer now")]
    Unavailable,
}

/// What is stored with an event that is accepted under a key.
#[derive(Debug, Clone)]
pub(crate) struct NewClaim {
    pub place: Place,
    pub fingerprint: [u8; 32],
    pub expires_at: u64,
    pub quota: ClaimQuota,
    pub answer: StoredAnswer,
    /// It is stored already that a request was about to leave.
    pub begun: bool,
}

/// Keys in use, with what for; as many as there are requests in flight.
pub(crate) type InUse = DashMap<(Arc<str>, Place), [u8; 32]>;

/// A key that is taken. Dropped before it was begun, it is free again; dropped after, nobody knows what became of its
/// request.
pub struct Claim {
    ledger: Arc<Ledger>,
    keyed: Keyed,
    stored: Stored,
}

/// What is stored of a claim that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Nothing,
    /// Perhaps something: it was asked for, and nobody waited for the answer.
    Asked,
    Begun,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("place", &self.keyed.place).field("stored", &self.stored).finish_non_exhaustive()
    }
}

impl Claim {
    /// Stores that a request is about to leave under this key: to be waited for before its first byte does.
    ///
    /// # Errors
    /// Where the tenant has too many keys in use, or storage does not answer.
    pub async fn begin(&mut self) -> Result<(), ClaimFault> {
        let Keyed { fingerprint, quota, ttl, .. } = self.keyed;
        let expires_at = self.ledger.clock.now().saturating_add(ttl);
        self.stored = Stored::Asked;
        let begun = self.edit(ClaimChange::Begin { fingerprint, expires_at, quota }).await;
        self.stored = if begun.is_ok() { Stored::Begun } else { Stored::Nothing };
        begun
    }

    /// The request was answered, and a repetition is told the same.
    pub async fn complete(mut self, answer: StoredAnswer) -> Result<(), ClaimFault> {
        if self.stored != Stored::Begun {
            self.begin().await?;
        }
        let expires_at = self.ledger.clock.now().saturating_add(self.keyed.ttl);
        // What cannot be recorded stays unknown.
        self.edit(ClaimChange::Complete { answer, expires_at, quota: self.keyed.quota }).await?;
        self.stored = Stored::Nothing;
        Ok(())
    }

    /// Nothing was done in the key's name that could not be done again.
    pub async fn release(mut self) {
        if self.stored == Stored::Begun && self.edit(ClaimChange::Release).await.is_ok() {
            self.stored = Stored::Nothing;
        }
    }

    /// What goes into the transaction of an event, which is then answered with `answer`.
    pub(crate) fn with_event(&self, answer: StoredAnswer, accepted_at: u64) -> NewClaim {
        let Keyed { place, fingerprint, ttl, quota, .. } = &self.keyed;
        let expires_at = accepted_at.saturating_add(*ttl);
        let (place, fingerprint, quota) = (place.clone(), *fingerprint, *quota);
        NewClaim { place, fingerprint, expires_at, quota, answer, begun: self.stored == Stored::Begun }
    }

    /// The transaction of its event is on stable storage, and the claim with it.
    pub(crate) fn completed(&mut self) {
        self.stored = Stored::Nothing;
    }

    async fn edit(&self, change: ClaimChange) -> Result<(), ClaimFault> {
        self.ledger.store.claim(self.to_edit(change)).await
    }

    /// The same without waiting.
    fn edit_later(&self, change: ClaimChange) {
        self.ledger.store.claim_later(self.to_edit(change));
    }

    fn to_edit(&self, change: ClaimChange) -> ClaimEdit {
        let Keyed { tenant, place, .. } = &self.keyed;
        ClaimEdit { tenant: tenant.to_string(), place: place.clone(), change, at: self.ledger.clock.now() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Keyed { tenant, place, .. } = &self.keyed;
        let change = match self.stored {
            Stored::Nothing => None,
            // Whoever was not told that it is stored has sent nothing.
            Stored::Asked => Some(ClaimChange::Release),
            Stored::Begun => Some(ClaimChange::Unknown),
        };
        if let Some(change) = change {
            // Without anybody waiting for it: should it not be written, whoever asks next sees to it.
            self.edit_later(change);
        }
        self.ledger.in_use.remove(&(Arc::clone(tenant), place.clone()));
    }
}

impl Ledger {
    /// Takes a key for a request, or says what is known of an earlier one.
    ///
    /// # Errors
    /// Where storage does not answer.
    pub async fn claim(self: &Arc<Self>, keyed: Keyed) -> Result<Claimed, ReadError> {
        let slot = self.in_use.entry((Arc::clone(&keyed.tenant), keyed.place.clone()));
        match slot {
            Slot::Occupied(used) if *used.get() == keyed.fingerprint => return Ok(Claimed::InProgress),
            Slot::Occupied(_) => return Ok(Claimed::Reused(None)),
            Slot::Vacant(free) => drop(free.insert(keyed.fingerprint)),
        }
        let claim = Claim { ledger: Arc::clone(self), keyed, stored: Stored::Nothing };
        let mut found = self.store.find_claim(&claim.keyed.tenant, &claim.keyed.place).await?;
        // Nobody else has the key, so one that is stored as being in flight was let go: its end is still to be written, or
        // was refused.
        if let Some(found) = found.as_mut().filter(|found| found.entry.state == ClaimState::InFlight) {
            claim.edit_later(ClaimChange::Unknown);
            found.entry.state = ClaimState::Unknown;
        }
        let verdict = judge(found.as_ref().map(|found| &found.entry), &claim.keyed.fingerprint, self.clock.now());
        Ok(match (verdict, found) {
            (Verdict::New, _) => Claimed::New(claim),
            (Verdict::Unknown, _) if claim.keyed.resend => Claimed::New(claim),
            (Verdict::Replay, Some(Found { answer: Some(answer), .. })) => Claimed::Replay(answer),
            (Verdict::Reused, found) => Claimed::Reused(found.and_then(|found| found.event)),
            // An answer that cannot be read back is as good as none.
            (Verdict::Unknown | Verdict::InProgress | Verdict::Replay, _) => Claimed::Unknown,
        })
    }
}
