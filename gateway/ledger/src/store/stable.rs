//! The second half of a commit: what was written goes to stable storage, and only then does anyone hear of it. While it
//! is on its way, on a thread of its own, the next transaction is written.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Shared;
use super::changes::Reply;
use super::inbox::Gather;
use super::news::Published;
use super::questions::{Edit, Wishes, Work};
use crate::error::{AcceptError, WorkError};

/// A transaction that is committed, and may still be lost.
pub(crate) struct Written {
    /// Its number.
    pub number: u64,
    pub wishes: Wishes,
    pub works: Vec<Work>,
    pub answers: Answers,
    pub published: Published,
    /// How long its commit took so far.
    pub took: Duration,
}

/// What is answered, in the order of the questions.
#[derive(Default)]
pub(crate) struct Answers {
    pub accepts: Vec<Result<(), AcceptError>>,
    pub replies: Vec<Reply>,
}

impl Written {
    /// Storage failed: nobody can say what will be there after a restart.
    pub fn refuse(self) {
        self.wishes.refuse(AcceptError::Storage);
        self.works.into_iter().for_each(|work| work.fail(WorkError::Storage));
    }
}

/// The log, and who is told.
pub(crate) struct Stable {
    log: File,
    shared: Arc<Shared>,
    /// What the last commit teaches for the next one, as [`Gather`] wants it: changes, and microseconds.
    batch: AtomicU64,
    took: AtomicU64,
}

impl Stable {
    pub fn new(log: File, shared: Arc<Shared>) -> Stable {
        Stable { log, shared, batch: AtomicU64::new(0), took: AtomicU64::new(0) }
    }

    /// Settles what is written, one after the other, until nobody writes any more or storage fails.
    pub fn run(&self, written: &Receiver<Written>) {
        while let Ok(next) = written.recv() {
            let settled = self.settle(next);
            if let Err(error) = &settled {
                self.poison(error);
            }
            self.shared.inbox.settled();
            if settled.is_err() {
                return;
            }
        }
    }

    /// Synchronises the log, and answers. An error is for good: what was not synchronised may be lost although a later
    /// attempt says otherwise.
    pub fn settle(&self, written: Written) -> io::Result<()> {
        let started = Instant::now();
        if let Err(error) = self.log.sync_data() {
            written.refuse();
            return Err(error);
        }
        self.answer(written, started.elapsed());
        Ok(())
    }

    /// Nothing more is accepted.
    pub fn poison(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "the ledger's storage failed; nothing is accepted until a restart");
        self.shared.inbox.end(true);
        // Whoever waits for a transaction to be kept looks again.
        self.shared.commits.send_modify(|_| {});
        self.shared.observer.poisoned(&error.to_string());
    }

    /// How the next transaction waits for company.
    pub fn gather(&self) -> Gather {
        let batch = self.batch.load(Ordering::Relaxed);
        let took = Duration::from_micros(self.took.load(Ordering::Relaxed));
        Gather::after(usize::try_from(batch).unwrap_or(usize::MAX), took)
    }

    /// Everything is on stable storage: numbers first, so that whoever is answered sees them, then the answers, then
    /// the bells of the workers and of those who look on.
    fn answer(&self, written: Written, synchronised: Duration) {
        let Written { number, wishes, works, answers, published, took } = written;
        let took = took + synchronised;
        let woken = published.publish(&self.shared.room);
        self.batch.store((wishes.len() + works.len()) as u64, Ordering::Relaxed);
        self.took.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let batch = wishes.len() + works.iter().map(Work::changes).sum::<usize>();
        self.shared.observer.committed(batch, took);
        for (work, reply) in works.into_iter().zip(answers.replies) {
            reply.send(work);
        }
        wishes.edits.into_iter().for_each(Edit::finish);
        for (accept, result) in wishes.accepts.into_iter().zip(answers.accepts) {
            if result.is_ok() {
                self.shared.observer.accepted(&accept.event.tenant, accept.bytes);
            }
            accept.finish(result);
        }
        woken.iter().for_each(|sink| self.shared.ring(sink));
        self.shared.settled(number);
    }
}
