//! The writer: the one thread that changes the database. It takes what waits, makes it one transaction, and answers
//! everyone once that is on stable storage.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};

use super::changes::{Changes, Reply};
use super::files::Home;
use super::inbox::{Batch, Edit, Gather, Wishes, Work};
use super::tally::Tally;
use super::{BUSY_WAIT, Settings, Shared};
use crate::error::{AcceptError, WorkError};

/// Longest wait for readers when the log is moved; everybody waits behind it.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(50);

/// Lives as long as the inbox is open or something waits in it.
pub(crate) fn run(conn: Connection, home: Home, shared: &Arc<Shared>, tally: Tally, settings: &Settings) {
    let end = EndGuard { shared };
    let changes = match Changes::prepare(&conn, tally) {
        Ok(changes) => changes,
        Err(error) => return end.poison(&error),
    };
    let reserved = home.keep_reserve();
    let gather = Gather::default();
    let checkpoint_at = settings.checkpoint_pages;
    let mut writer = Writer { conn: &conn, home: &home, shared, changes, reserved, gather, checkpoint_at };
    while let Some(batch) = shared.inbox.take(settings.max_batch, writer.gather) {
        let written = writer.write(batch).and_then(|()| writer.checkpoint(settings.checkpoint_pages));
        if let Err(error) = written {
            return end.poison(&error);
        }
    }
    // Moves everything into the main file; if it cannot, the log keeps it and the next start reads it.
    if let Err(error) = conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE) {
        tracing::warn!(%error, "the ledger's log was not emptied at the end");
    }
}

/// Refuses all that waits and all that comes once the writer is gone, also if it panics.
struct EndGuard<'a> {
    shared: &'a Shared,
}

impl EndGuard<'_> {
    fn poison(self, error: &rusqlite::Error) {
        tracing::error!(%error, "the ledger's storage failed; nothing is accepted until a restart");
        self.shared.inbox.end(true);
        self.shared.observer.poisoned(&error.to_string());
    }
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.shared.inbox.end(self.shared.inbox.is_poisoned() || std::thread::panicking());
    }
}

struct Writer<'c> {
    conn: &'c Connection,
    home: &'c Home,
    shared: &'c Arc<Shared>,
    changes: Changes<'c>,
    /// The reserve for a full disk is in place.
    reserved: bool,
    /// How the next transaction waits for company.
    gather: Gather,
    /// Length of the log at which it is moved into the main file.
    checkpoint_at: i32,
}

/// How a transaction ended that did not fail for good.
enum Ended {
    /// On stable storage.
    Committed(Committed),
    /// Nothing of it remains, and the next may do better.
    Unwritten(Obstacle),
}

/// The answers to a batch, in its order.
struct Committed {
    accepts: Vec<Result<(), AcceptError>>,
    works: Vec<Reply>,
    took: Duration,
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
    /// One batch. An error is one that storage does not recover from. Where something is in the way, the wishes are
    /// refused, and the workers' changes are tried once more by themselves, if need be in the space of the reserve.
    fn write(&mut self, batch: Batch) -> rusqlite::Result<()> {
        let Batch { mut wishes, mut works } = batch;
        if !wishes.is_empty() && !self.reserved {
            self.reserved = self.home.keep_reserve();
            if !self.reserved {
                self.refuse(std::mem::take(&mut wishes), Obstacle::DiskFull);
            }
        }
        if !wishes.is_empty() {
            match self.transaction(&mut wishes, &works)? {
                Ended::Committed(committed) => {
                    self.shared.disk_full.store(false, Ordering::Relaxed);
                    self.answer(wishes, works, committed);
                    return Ok(());
                }
                Ended::Unwritten(obstacle) => self.refuse(wishes, obstacle),
            }
        }
        while !works.is_empty() {
            match self.transaction(&mut Wishes::default(), &works)? {
                Ended::Committed(committed) => {
                    self.answer(Wishes::default(), std::mem::take(&mut works), committed);
                }
                Ended::Unwritten(Obstacle::DiskFull) if self.home.spend_reserve() => self.reserved = false,
                Ended::Unwritten(_) => works.drain(..).for_each(|work| work.fail(WorkError::Busy)),
            }
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

    fn transaction(&mut self, wishes: &mut Wishes, works: &[Work]) -> rusqlite::Result<Ended> {
        let result = self.changes.begin().and_then(|()| {
            wishes.retain_awaited();
            let works: Vec<Reply> = works.iter().map(|work| self.changes.work(work)).collect::<Result<_, _>>()?;
            wishes.edits.iter_mut().try_for_each(|edit| edit.apply(&mut self.changes))?;
            let accepts = wishes.accepts.iter().map(|accept| self.changes.accept(accept)).collect::<Result<_, _>>()?;
            self.changes.write_sums()?;
            let started = Instant::now();
            self.changes.commit()?;
            Ok(Ended::Committed(Committed { accepts, works, took: started.elapsed() }))
        });
        let Err(error) = result else { return result };
        let Some(obstacle) = Obstacle::of(&error) else { return Err(error) };
        // A full disk may have ended the transaction already.
        if !self.conn.is_autocommit() {
            self.changes.rollback()?;
        }
        self.changes.forget();
        Ok(Ended::Unwritten(obstacle))
    }

    /// Everything is on stable storage: numbers first, so that whoever is answered sees them, then the answers, then
    /// the bells of the workers and of those who look on.
    fn answer(&mut self, wishes: Wishes, works: Vec<Work>, committed: Committed) {
        let woken: Vec<Arc<str>> = self.changes.publish(self.conn, &self.shared.room);
        self.gather = Gather::after(wishes.len() + works.len(), committed.took);
        let batch = wishes.len() + works.iter().map(Work::changes).sum::<usize>();
        self.shared.observer.committed(batch, committed.took);
        for (work, reply) in works.into_iter().zip(committed.works) {
            reply.send(work);
        }
        wishes.edits.into_iter().for_each(Edit::finish);
        for (accept, result) in wishes.accepts.into_iter().zip(committed.accepts) {
            if result.is_ok() {
                self.shared.observer.accepted(&accept.event.tenant, accept.bytes);
            }
            accept.finish(result);
        }
        woken.iter().for_each(|sink| self.shared.ring(sink));
        self.shared.commits.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// Moves the log into the main file once it is long. Our readers are short, so waiting for them is too. One that is
    /// not, such as a backup, is left alone until the log has grown by as much again.
    fn checkpoint(&mut self, pages: i32) -> rusqlite::Result<()> {
        let (log, _) = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
        if log < self.checkpoint_at {
            return Ok(());
        }
        self.conn.busy_timeout(CHECKPOINT_WAIT)?;
        let moved = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::RESTART);
        self.conn.busy_timeout(BUSY_WAIT)?;
        self.checkpoint_at = if moved.is_ok() { pages } else { log.saturating_add(pages) };
        match moved.map_err(|error| (error.sqlite_error_code(), error)) {
            // A full disk leaves the log as it is, which is as durable.
            Ok(_) | Err((Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }
}
