//! What is asked of the writer, each question with the place for its answer: accepts and edits, which may be refused where
//! there is no room, and the workers' changes.

use std::borrow::Cow;

use sluis_model::event::{Input, NewEvent};
use sluis_model::kv::{Edited, KvFault};
use tokio::sync::oneshot;

use super::DeliveryId;
use super::changes::Changes;
use super::claims::{ClaimChange, ClaimEdit};
use super::kv::KvEdit;
use super::operate::OperateEdit;
use super::registry::{Changed, RegistryEdit};
use crate::backlog::Reservation;
use crate::claims::{ClaimFault, NewClaim};
use crate::error::{AcceptError, OperateError, RegistryError, WorkError};
use crate::operate::Operated;

/// An event that waits to be committed.
pub(crate) struct Accept {
    pub event: NewEvent,
    /// Its idempotency key, settled in the same transaction.
    pub claim: Option<NewClaim>,
    /// What it counts against the quotas.
    pub bytes: u64,
    pub digest: [u8; 32],
    pub reservation: Reservation,
    pub done: oneshot::Sender<Result<(), AcceptError>>,
}

impl Accept {
    /// Answers. The bytes are given back before a refusal is told, so that whoever hears of it may try again.
    pub fn finish(self, result: Result<(), AcceptError>) {
        match result {
            Ok(()) => self.reservation.keep(),
            Err(_) => drop(self.reservation),
        }
        // Whoever does not wait any more does not need the answer.
        let _ = self.done.send(result);
    }
}

/// A question with the place for its answer, which is given once that is on stable storage.
pub(crate) struct Asked<Q, A> {
    question: Q,
    answer: Option<A>,
    done: oneshot::Sender<A>,
}

impl<Q, A> Asked<Q, A> {
    pub fn new(question: Q) -> (Asked<Q, A>, oneshot::Receiver<A>) {
        let (done, answered) = oneshot::channel();
        (Asked { question, answer: None, done }, answered)
    }

    fn finish(self) {
        // Whoever does not wait any more does not need the answer.
        let _ = self.answer.map(|answer| self.done.send(answer));
    }

    fn refuse(mut self, answer: A) {
        self.answer = Some(answer);
        self.finish();
    }
}

/// A change of what is kept beside the events.
pub(crate) enum Edit {
    Claim(Box<Asked<ClaimEdit, Result<(), ClaimFault>>>),
    Kv(Asked<KvEdit, Result<Edited, KvFault>>),
    Registry(Box<Asked<RegistryEdit, Result<Changed, RegistryError>>>),
    /// With the room for an event that may come of it.
    Operate(Box<Asked<OperateEdit, Result<Operated, OperateError>>>, Option<Reservation>),
}

impl Edit {
    /// As part of the running transaction.
    pub fn apply(&mut self, changes: &mut Changes<'_>) -> rusqlite::Result<()> {
        match self {
            Edit::Claim(asked) => asked.answer = Some(changes.claims.edit(&asked.question)?),
            Edit::Kv(asked) => asked.answer = Some(changes.kv.edit(&asked.question)?),
            Edit::Registry(asked) => asked.answer = Some(changes.registry.edit(&asked.question)?),
            Edit::Operate(asked, _) => asked.answer = Some(changes.operate(&asked.question)?),
        }
        Ok(())
    }

    /// The transaction was committed.
    pub fn finish(self) {
        match self {
            Edit::Claim(asked) => asked.finish(),
            Edit::Kv(asked) => asked.finish(),
            Edit::Registry(asked) => asked.finish(),
            Edit::Operate(asked, room) => {
                if let (Some(room), Some(Ok(_))) = (room, &asked.answer) {
                    room.keep();
                }
                asked.finish();
            }
        }
    }

    /// Nothing of it was kept.
    pub fn refuse(self) {
        match self {
            Edit::Claim(asked) => asked.refuse(Err(ClaimFault::Unavailable)),
            Edit::Kv(asked) => asked.refuse(Err(KvFault::Unavailable)),
            Edit::Registry(asked) => asked.refuse(Err(RegistryError::Unavailable)),
            Edit::Operate(asked, _) => asked.refuse(Err(OperateError::Unavailable)),
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            // Only what begins can be left: what became of a request is worth knowing whoever waits for it.
            Edit::Claim(asked) => {
                !asked.done.is_closed() || !matches!(asked.question.change, ClaimChange::Begin { .. })
            }
            Edit::Kv(asked) => !asked.done.is_closed(),
            Edit::Registry(asked) => !asked.done.is_closed(),
            Edit::Operate(asked, _) => !asked.done.is_closed(),
        }
    }
}

/// A change of one delivery.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub id: DeliveryId,
    pub input: Input,
    pub at: u64,
    /// Next due time, for inputs that lead to a waiting state.
    pub due: Option<u64>,
    pub actor: Cow<'static, str>,
    pub reason: String,
    pub took_ms: Option<u64>,
    pub failure: Option<FailureRow>,
    /// A delivery that is given up keeps its place at the front of its key's line.
    pub parks: bool,
}

impl Move {
    /// The bare arrow.
    pub fn by(actor: &'static str, id: DeliveryId, input: Input, at: u64) -> Move {
        let (actor, reason) = (Cow::Borrowed(actor), String::new());
        Move { id, input, at, due: None, actor, reason, took_ms: None, failure: None, parks: false }
    }
}

/// What is kept of a failed attempt.
#[derive(Debug, Clone)]
pub(crate) struct FailureRow {
    pub attempt: u32,
    pub class: &'static str,
    pub kind: String,
    pub status: Option<u16>,
    pub message: String,
    pub excerpt: Vec<u8>,
}

/// A change that the writer makes for a worker.
#[derive(Debug)]
pub(crate) enum Work {
    /// Takes deliveries for one attempt each; those that cannot be taken any more are left out of the answer.
    Lease { ids: Vec<DeliveryId>, at: u64, done: oneshot::Sender<Result<Vec<(DeliveryId, u32)>, WorkError>> },
    /// Records what became of a delivery.
    Record { change: Box<Move>, done: oneshot::Sender<Result<(), WorkError>> },
    /// Holds or releases a whole sink.
    Hold { sink: String, at: u64, actor: String, reason: String, done: oneshot::Sender<Result<(), WorkError>> },
    /// The opposite.
    Release { sink: String, at: u64, actor: String, done: oneshot::Sender<Result<(), WorkError>> },
    /// Removes events that are final.
    Purge { events: Vec<i64>, at: u64, done: oneshot::Sender<Result<usize, WorkError>> },
    /// Gives a few free pages back to the file system.
    Shrink { done: oneshot::Sender<Result<(), WorkError>> },
    /// Removes what tenants keep under these keys, where it has expired.
    ForgetKv { keys: Vec<(String, String)>, at: u64, done: oneshot::Sender<Result<usize, WorkError>> },
    /// Removes a few of a tenant's claims that have expired.
    ForgetClaims { tenant: String, at: u64, done: oneshot::Sender<Result<usize, WorkError>> },
}

impl Work {
    pub fn fail(self, error: WorkError) {
        // Whoever does not wait any more does not need the answer.
        match self {
            Work::Lease { done, .. } => done.send(Err(error)).is_ok(),
            Work::Record { done, .. }
            | Work::Hold { done, .. }
            | Work::Release { done, .. }
            | Work::Shrink { done, .. } => done.send(Err(error)).is_ok(),
            Work::Purge { done, .. } | Work::ForgetKv { done, .. } | Work::ForgetClaims { done, .. } => {
                done.send(Err(error)).is_ok()
            }
        };
    }

    /// Changes in it, for the count of a batch.
    pub fn changes(&self) -> usize {
        match self {
            Work::Lease { ids, .. } => ids.len(),
            Work::Purge { events, .. } => events.len(),
            Work::ForgetKv { keys, .. } => keys.len(),
            Work::Record { .. }
            | Work::Hold { .. }
            | Work::Release { .. }
            | Work::Shrink { .. }
            | Work::ForgetClaims { .. } => 1,
        }
    }
}

/// What may be refused where there is no room: nobody was promised anything yet.
#[derive(Default)]
pub(crate) struct Wishes {
    pub accepts: Vec<Accept>,
    pub edits: Vec<Edit>,
}

impl Wishes {
    pub fn len(&self) -> usize {
        self.accepts.len() + self.edits.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops those whose callers stopped waiting: they were told nothing, so nothing need be kept.
    pub fn retain_awaited(&mut self) {
        self.accepts.retain(|accept| !accept.done.is_closed());
        self.edits.retain(Edit::is_awaited);
    }

    pub fn refuse(self, error: AcceptError) {
        self.accepts.into_iter().for_each(|accept| accept.finish(Err(error)));
        self.edits.into_iter().for_each(Edit::refuse);
    }
}
