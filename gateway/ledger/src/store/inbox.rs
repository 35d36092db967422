//! What waits for the writer: accepts and edits in bounded queues, and the workers' changes,
//! whose number is bounded by the deliveries in flight.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::questions::{Accept, Edit, Wishes, Work};
use crate::error::{AcceptError, WorkError};

/// Bytes of events in one transaction, so that none holds the others up for long; a larger event goes alone.
const BATCH_BYTES: u64 = 16 << 20;
/// Edits in one transaction, of 64 KiB each at most.
const BATCH_EDITS: usize = 128;

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
