//! The writer: the one thread that changes the database. It takes what waits and makes it one transaction, which is
//! settled ([`Stable`]) while the next one is written.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};

use super::changes::Changes;
use super::checkpoint::Checkpoints;
use super::files::Home;
use super::inbox::{Allowance, Batch};
use super::questions::Wishes;
use super::stable::{Answers, Stable, Written};
use super::tally::Tally;
use super::{Settings, Shared};
use crate::error::{AcceptError, WorkError};

/// Lives as long as the inbox is open or something waits in it. Of the two connections one writes, and the other moves
/// the log beside it; both are closed when this returns.
pub(crate) fn run(
    home: &Home,
    (conn, mover): (Connection, Connection),
    log: File,
    shared: &Arc<Shared>,
    tally: Tally,
    settings: &Settings,
) {
    let stable = Stable::new(log, Arc::clone(shared));
    let _end = EndGuard { shared };
    std::thread::scope(|threads| {
        let (beside, written) = sync_channel(1);
        let settling = std::thread::Builder::new().name("ledger-sync".to_owned());
        let stable = &stable;
        let spawned = settling.spawn_scoped(threads, move || {
            let _end = EndGuard { shared };
            stable.run(&written);
        });
        if let Err(error) = spawned {
            return stable.poison(&error);
        }
        let changes = match Changes::prepare(&conn, tally) {
            Ok(changes) => changes,
            Err(error) => return stable.poison(&error),
        };
        let files = (&conn, mover, home.main());
        let checkpoints = match Checkpoints::start(threads, files, settings.checkpoint_pages, (shared, stable)) {
            Ok(checkpoints) => checkpoints,
            Err(error) => return stable.poison(&error),
        };
        let reserved = home.keep_reserve();
        let mut writer = Writer { conn: &conn, home, shared, stable, beside, changes, reserved, checkpoints };
        if let Err(failure) = writer.run(settings) {
            stable.poison(&failure);
        }
    });
    if shared.inbox.is_poisoned() {
        return;
    }
    // Moves everything into the main file; if it cannot, the log keeps it and the next start reads it.
    if let Err(error) = conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE) {
        tracing::warn!(%error, "the ledger's log was not emptied at the end");
    }
}

/// Refuses all that waits and all that comes once one of the threads is gone, also if it panics.
pub(super) struct EndGuard<'a> {
    pub shared: &'a Shared,
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.shared.inbox.end(self.shared.inbox.is_poisoned() || std::thread::panicking());
        // Whoever waits for a transaction to be kept looks again.
        self.shared.commits.send_modify(|_| {});
    }
}

struct Writer<'c> {
    conn: &'c Connection,
    home: &'c Home,
    shared: &'c Arc<Shared>,
    stable: &'c Stable,
    /// Where a transaction is settled while the next one is written.
    beside: SyncSender<Written>,
    changes: Changes<'c>,
    /// The reserve for a full disk is in place.
    reserved: bool,
    checkpoints: Checkpoints<'c>,
}

/// What storage does not recover from.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error("the log could not be synchronised: {0}")]
    Log(#[from] std::io::Error),
    #[error("the main file could not be synchronised: {0}")]
    Main(std::io::Error),
}

/// What may go away by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    DiskFull,
    /// Somebody else writes: an operator with the database's own tools.
    Locked,
}

impl Obstacle {
    fn of(error: &rusqlite::Error) -> Option<Obstacle> {
        match error.sqlite_error_code()? {
            ErrorCode::DiskFull => Some(Obstacle::DiskFull),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Obstacle::Locked),
            _ => None,
        }
    }
}

impl Writer<'_> {
    fn run(&mut self, settings: &Settings) -> Result<(), Failure> {
        while let Some((batch, allowance)) = self.shared.inbox.take(settings.max_batch, self.stable.gather()) {
            self.write(batch, allowance)?;
            self.checkpoints.look()?;
        }
        self.shared.inbox.wait_settled();
        Ok(())
    }

    /// One batch, and what comes while the one before it is settled. An error is one that storage does not recover from.
    /// Where something is in the way, the wishes are refused, and the workers' changes are tried once more by themselves,
    /// if need be in the space of the reserve.
    fn write(&mut self, mut batch: Batch, mut allowance: Option<Allowance>) -> Result<(), Failure> {
        if !batch.wishes.is_empty() && !self.reserved {
            self.reserved = self.home.keep_reserve();
        }
        if !self.reserved {
            self.refuse(std::mem::take(&mut batch.wishes), Obstacle::DiskFull);
            allowance = None;
        }
        while !batch.is_empty() {
            let Some((obstacle, unwritten)) = self.transaction(batch, allowance.take())? else { break };
            let Batch { wishes, works } = unwritten;
            match obstacle {
                _ if !wishes.is_empty() => self.refuse(wishes, obstacle),
                Obstacle::DiskFull if self.home.spend_reserve() => self.reserved = false,
                _ => {
                    works.into_iter().for_each(|work| work.fail(WorkError::Busy));
                    break;
                }
            }
            batch = Batch { works, ..Batch::default() };
        }
        Ok(())
    }

    fn refuse(&self, wishes: Wishes, obstacle: Obstacle) {
        let error = match obstacle {
            Obstacle::DiskFull => AcceptError::Full,
            Obstacle::Locked => AcceptError::Storage,
        };
        if !wishes.is_empty() && obstacle == Obstacle::DiskFull {
            self.shared.disk_full.store(true, Ordering::Relaxed);
        }
        wishes.refuse(error);
    }

    /// Writes a batch, and with an allowance what else comes meanwhile. One transaction at most is on its way: the one
    /// before this is settled when this is committed. Answers what was in the way, and what is unwritten for it: nothing
    /// of the transaction remains then, and the next may do better.
    fn transaction(
        &mut self,
        mut batch: Batch,
        allowance: Option<Allowance>,
    ) -> Result<Option<(Obstacle, Batch)>, Failure> {
        match self.fill_and_commit(&mut batch, allowance) {
            Ok((answers, took)) => {
                if !batch.wishes.is_empty() {
                    self.shared.disk_full.store(false, Ordering::Relaxed);
                }
                let Batch { wishes, works } = batch;
                let (number, published) = (self.shared.written.load(Ordering::Relaxed), self.changes.news(self.conn));
                self.settle(Written { number, wishes, works, answers, published, took })?;
                Ok(None)
            }
            Err(error) => {
                let Some(obstacle) = Obstacle::of(&error) else { return Err(error.into()) };
                // A full disk may have ended the transaction already.
                if !self.conn.is_autocommit() {
                    self.changes.rollback()?;
                }
                self.changes.forget();
                self.shared.inbox.wait_settled();
                if !self.shared.inbox.is_poisoned() {
                    self.shared.settled(self.shared.written.load(Ordering::Relaxed));
                }
                Ok(Some((obstacle, batch)))
            }
        }
    }

    fn fill_and_commit(
        &mut self,
        batch: &mut Batch,
        allowance: Option<Allowance>,
    ) -> rusqlite::Result<(Answers, Duration)> {
        self.changes.begin()?;
        let mut answers = Answers::default();
        self.apply(batch, &mut answers)?;
        if let Some(mut allowance) = allowance {
            loop {
                let (mut more, last) = self.shared.inbox.take_more(&mut allowance);
                let applied = self.apply(&mut more, &mut answers);
                batch.append(more);
                applied?;
                if last {
                    break;
                }
            }
        }
        self.changes.write_sums()?;
        self.shared.inbox.wait_settled();
        let started = Instant::now();
        // Before anyone can read what is in it.
        self.shared.written.fetch_add(1, Ordering::Release);
        self.changes.commit()?;
        Ok((answers, started.elapsed()))
    }

    fn apply(&mut self, batch: &mut Batch, answers: &mut Answers) -> rusqlite::Result<()> {
        let Batch { wishes, works } = batch;
        wishes.retain_awaited();
        for work in works {
            answers.replies.push(self.changes.work(work)?);
        }
        wishes.edits.iter_mut().try_for_each(|edit| edit.apply(&mut self.changes))?;
        for accept in &wishes.accepts {
            answers.accepts.push(self.changes.accept(accept)?);
        }
        Ok(())
    }

    /// Beside the next transaction where something waits for it, here where nothing does.
    fn settle(&self, written: Written) -> Result<(), Failure> {
        if self.shared.inbox.is_poisoned() {
            written.refuse();
            return Ok(());
        }
        if !self.shared.inbox.settle_beside() {
            return Ok(self.stable.settle(written)?);
        }
        // There is room: the one before it is settled. Nobody takes it where that thread is gone.
        if let Err(refused) = self.beside.send(written) {
            refused.0.refuse();
            self.shared.inbox.settled();
        }
        Ok(())
    }
}
