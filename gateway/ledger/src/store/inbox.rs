//! What waits for the writer: accepts and edits in bounded queues, and the workers' changes,
//! whose number is bounded by the deliveries in flight.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Bytes of events in one transaction, so that none holds the others up for long; a larger event goes alone.
const BATCH_BYTES: u64 = 16 << 20;
/// Edits in one transaction, of 64 KiB each at most.
const BATCH_EDITS: usize = 128;

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

    fn refuse(self) {
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

/// What one transaction takes.
#[derive(Default)]
pub(crate) struct Batch {
    pub wishes: Wishes,
    pub works: Vec<Work>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.works.is_empty()
    }

    /// Adds what came later.
    pub fn append(&mut self, later: Batch) {
        self.wishes.accepts.extend(later.wishes.accepts);
        self.wishes.edits.extend(later.wishes.edits);
        self.works.extend(later.works);
    }
}

/// What one transaction may still take.
#[derive(Debug)]
pub(crate) struct Allowance {
    accepts: usize,
    edits: usize,
    /// None while nothing was taken: the first event may be as large as it likes.
    bytes: Option<u64>,
}

impl Allowance {
    /// Of a transaction that begins.
    pub fn new(max_accepts: usize) -> Allowance {
        Allowance { accepts: max_accepts, edits: BATCH_EDITS, bytes: None }
    }

    fn takes(&mut self, bytes: u64) -> bool {
        let Some(left) = self.bytes.map_or(Some(BATCH_BYTES.saturating_sub(bytes)), |left| left.checked_sub(bytes))
        else {
            return false;
        };
        if self.accepts == 0 {
            return false;
        }
        (self.accepts, self.bytes) = (self.accepts - 1, Some(left));
        true
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

/// How long a transaction that could begin waits for company. After a large batch most of those who were answered come
/// back within moments; without this wait the first few of them would have a commit to themselves, and all others
/// would wait for two.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gather {
    /// Not at all once this many are there.
    pub enough: usize,
    pub at_most: Duration,
}

impl Gather {
    /// A batch smaller than this says nothing about the next one: a producer that is alone never waits.
    const CROWD: usize = 16;
    /// However slow the disk is.
    const LONGEST: Duration = Duration::from_millis(1);

    /// What the last batch and its commit teach for the next one.
    pub fn after(batch: usize, commit: Duration) -> Gather {
        if batch < Gather::CROWD {
            return Gather::default();
        }
        Gather { enough: batch - batch / 8, at_most: (commit / 4).min(Gather::LONGEST) }
    }
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Phase {
    Open,
    /// Nothing more comes in; what is there is still written.
    Closing,
    /// The writer is gone, by its own will or poisoned.
    Gone,
    Poisoned,
}

struct State {
    accepts: VecDeque<Accept>,
    edits: VecDeque<Edit>,
    works: VecDeque<Work>,
    phase: Phase,
    /// The writer sleeps until this many wait; none where it is awake, or waits for something else.
    wake_at: Option<usize>,
    /// A transaction is on its way to stable storage.
    settling: bool,
}

impl State {
    fn waiting(&self) -> usize {
        self.accepts.len() + self.edits.len() + self.works.len()
    }

    fn drain(&mut self, allowance: &mut Allowance) -> Batch {
        let edits = self.edits.len().min(allowance.edits);
        allowance.edits -= edits;
        let mut wishes = Wishes { accepts: Vec::new(), edits: self.edits.drain(..edits).collect() };
        while let Some(accept) = self.accepts.pop_front_if(|accept| allowance.takes(accept.bytes)) {
            wishes.accepts.push(accept);
        }
        Batch { wishes, works: self.works.drain(..).collect() }
    }
}

/// See the module.
pub(crate) struct Inbox {
    capacity: usize,
    state: Mutex<State>,
    filled: Condvar,
    /// Copies of what the state says, for a look without the lock.
    phase: AtomicU8,
    accepts: AtomicUsize,
}

impl Inbox {
    /// Room for `capacity` accepts, and as many edits.
    pub fn new(capacity: usize) -> Inbox {
        let (accepts, edits, works) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let state = State { accepts, edits, works, phase: Phase::Open, wake_at: None, settling: false };
        let (phase, accepts) = (AtomicU8::new(Phase::Open as u8), AtomicUsize::new(0));
        Inbox { capacity, state: Mutex::new(state), filled: Condvar::new(), phase, accepts }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an accept would be taken now.
    pub fn check(&self) -> Result<(), AcceptError> {
        self.phase().accepts()?;
        if self.accepts.load(Ordering::Relaxed) >= self.capacity { Err(AcceptError::Full) } else { Ok(()) }
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Acquire);
        Phase::ALL.into_iter().find(|known| *known as u8 == phase).unwrap_or(Phase::Gone)
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub fn accept(&self, accept: Accept) -> Result<(), AcceptError> {
        let mut state = self.lock();
        state.phase.accepts()?;
        if state.accepts.len() >= self.capacity {
            return Err(AcceptError::Full);
        }
        state.accepts.push_back(accept);
        self.accepts.store(state.accepts.len(), Ordering::Relaxed);
        self.wake(state);
        Ok(())
    }

    pub fn edit(&self, edit: Edit) {
        let mut state = self.lock();
        if state.phase != Phase::Open || state.edits.len() >= self.capacity {
            drop(state);
            return edit.refuse();
        }
        state.edits.push_back(edit);
        self.wake(state);
    }

    /// Also while closing: outcomes of attempts under way are worth keeping.
    pub fn work(&self, work: Work) {
        let mut state = self.lock();
        match state.phase {
            Phase::Open | Phase::Closing => {
                state.works.push_back(work);
                self.wake(state);
            }
            Phase::Gone => work.fail(WorkError::Closed),
            Phase::Poisoned => work.fail(WorkError::Storage),
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.wake_at.is_some_and(|at| state.waiting() >= at);
        if wakes {
            state.wake_at = None;
        }
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// What the next transaction takes; waits for the first of it, and then for `gather`. None when closed and empty.
    ///
    /// Where nothing is on its way to stable storage, a crowd is parted: one half is written while the other is on its
    /// way, and they go on taking turns. Otherwise there may be more for the transaction by and by
    /// ([`Inbox::take_more`]): its allowance is left.
    pub fn take(&self, max_accepts: usize, gather: Gather) -> Option<(Batch, Option<Allowance>)> {
        let mut state = self.lock();
        while state.waiting() == 0 {
            if state.phase != Phase::Open {
                return None;
            }
            state.wake_at = Some(1);
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.waiting() < gather.enough && state.phase == Phase::Open && !state.settling {
            state.wake_at = Some(gather.enough);
            state = self.filled.wait_timeout(state, gather.at_most).unwrap_or_else(PoisonError::into_inner).0;
        }
        let beside = state.settling;
        let crowd = state.accepts.len();
        let share = if beside || crowd < 2 * Gather::CROWD { max_accepts } else { max_accepts.min(crowd.div_ceil(2)) };
        let mut allowance = Allowance::new(share);
        let batch = self.drain(state, &mut allowance);
        Some((batch, beside.then_some(allowance)))
    }

    /// What else the running transaction takes while the one before it is on its way to stable storage: a crowd, or what
    /// has come when that has arrived. Then, and where the transaction is full, it is the last: true.
    pub fn take_more(&self, allowance: &mut Allowance) -> (Batch, bool) {
        let mut state = self.lock();
        while state.settling {
            if state.waiting() >= Gather::CROWD && allowance.accepts > 0 {
                let batch = self.drain(state, allowance);
                if !batch.is_empty() {
                    return (batch, false);
                }
                // The next event is too large to come along.
                allowance.accepts = 0;
                state = self.lock();
                continue;
            }
            state.wake_at = (allowance.accepts > 0).then_some(Gather::CROWD);
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (self.drain(state, allowance), true)
    }

    fn drain(&self, mut state: MutexGuard<'_, State>, allowance: &mut Allowance) -> Batch {
        state.wake_at = None;
        let batch = state.drain(allowance);
        self.accepts.store(state.accepts.len(), Ordering::Relaxed);
        batch
    }

    /// A transaction is about to be settled by another thread, unless nothing waits: then false, and the writer may as
    /// well do it by itself.
    pub fn settle_beside(&self) -> bool {
        let mut state = self.lock();
        state.settling = state.waiting() > 0;
        state.settling
    }

    /// It is settled, or will never be.
    pub fn settled(&self) {
        self.lock().settling = false;
        self.filled.notify_one();
    }

    /// Waits for that.
    pub fn wait_settled(&self) {
        let mut state = self.lock();
        state.wake_at = None;
        while state.settling {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more accepts; the writer ends when all is written.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            self.enter(&mut state, Phase::Closing);
        }
        state.wake_at = None;
        drop(state);
        self.filled.notify_one();
    }

    /// The writer's last act: everything that waits is refused, and so is all that comes.
    pub fn end(&self, poisoned: bool) {
        let mut state = self.lock();
        self.enter(&mut state, if poisoned { Phase::Poisoned } else { Phase::Gone });
        // Nobody waits for a thread that is gone.
        state.settling = false;
        let (accepts, edits) = (std::mem::take(&mut state.accepts), std::mem::take(&mut state.edits));
        let works = std::mem::take(&mut state.works);
        drop(state);
        self.filled.notify_one();
        let (accept, work) = if poisoned {
            (AcceptError::Storage, WorkError::Storage)
        } else {
            (AcceptError::Closed, WorkError::Closed)
        };
        Wishes { accepts: accepts.into(), edits: edits.into() }.refuse(accept);
        works.into_iter().for_each(|waiting| waiting.fail(work));
    }

    pub fn is_poisoned(&self) -> bool {
        self.phase() == Phase::Poisoned
    }

    pub fn is_open(&self) -> bool {
        self.phase() == Phase::Open
    }
}

impl Phase {
    const ALL: [Phase; 4] = [Phase::Open, Phase::Closing, Phase::Gone, Phase::Poisoned];

    fn accepts(self) -> Result<(), AcceptError> {
        match self {
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Gone => Err(AcceptError::Closed),
            Phase::Poisoned => Err(AcceptError::Storage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_producer_alone_never_waits_for_company_and_a_crowd_waits_a_moment() {
        let slow = Duration::from_millis(40);
        for batch in [0, 1, 15] {
            assert_eq!(Gather::after(batch, slow).enough, 0);
        }
        let gather = Gather::after(1000, slow);
        assert_eq!((gather.enough, gather.at_most), (875, Duration::from_millis(1)));
        assert_eq!(Gather::after(1000, Duration::from_micros(200)).at_most, Duration::from_micros(50));
    }
}
