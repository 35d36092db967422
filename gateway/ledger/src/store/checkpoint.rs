//! The log's way into the main file. A thread of its own moves it in small steps while transactions go on; now and then the
//! writer moves what is left then, so that the log begins anew, and only for that does everybody wait.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};

use super::Shared;
use super::connection::BUSY_WAIT;
use super::stable::Stable;
use super::writer::{EndGuard, Failure};

/// Longest wait for readers when the log begins anew; everybody waits behind it.
const READERS_WAIT: Duration = Duration::from_millis(50);
/// What is written while the log is moved is moved as well, until as little is left as the writer moves in a moment;
/// where a disk cannot keep up, or a reader is in the way, not for ever.
const LEFT_PAGES: i32 = 64;
const TURNS: usize = 3;
/// In how many steps the log is moved before it begins anew. All that a step moved is synchronised at once, and commits
/// wait behind it on the same disk: many small ones are felt less than a few large ones. Nor do they write more, as
/// pages that keep changing are few.
const STEPS: i32 = 64;
/// The log begins anew where no more than this part of it is left for the writer to move.
const WRITERS_PART: i32 = 8;

/// The writer's end.
pub(super) struct Checkpoints<'c> {
    conn: &'c Connection,
    ask: SyncSender<()>,
    moved: Receiver<()>,
    /// The thread has been asked, and has not said yet that it is done.
    moving: bool,
    /// By how much the log grows until it begins anew. The writer waits for a move once it has grown by as much again.
    pages: i32,
    /// Its length when it is moved next.
    next: i32,
    /// Its length from which it begins anew when it has been moved.
    anew: i32,
    /// Its length when last seen.
    seen: i32,
}

impl<'c> Checkpoints<'c> {
    /// Starts the thread, with a connection of its own; it ends with what this answers. An error of the disk poisons the
    /// store right there: what could not be written to the main file may look as if it had been.
    pub fn start<'s>(
        threads: &'s Scope<'s, '_>,
        (conn, mover, main): (&'c Connection, Connection, &'s File),
        pages: i32,
        (shared, stable): (&'s Arc<Shared>, &'s Stable),
    ) -> std::io::Result<Checkpoints<'c>> {
        let (ask, asked) = sync_channel(1);
        let (done, moved) = sync_channel(1);
        let thread = std::thread::Builder::new().name("ledger-checkpoint".to_owned());
        let _: ScopedJoinHandle<'_, ()> = thread.spawn_scoped(threads, move || {
            let _end = EndGuard { shared };
            while asked.recv().is_ok() {
                if let Err(error) = move_most(&mover, main) {
                    return stable.poison(&error);
                }
                if done.send(()).is_err() {
                    return;
                }
            }
        })?;
        let mut checkpoints = Checkpoints { conn, ask, moved, moving: false, pages, next: 0, anew: 0, seen: 0 };
        checkpoints.expect(0);
        Ok(checkpoints)
    }

    /// To be called between two transactions.
    pub fn look(&mut self) -> rusqlite::Result<()> {
        let (log, moved) = match self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP) {
            Ok(lengths) => lengths,
            error => return unless_in_the_way(error),
        };
        if log < self.seen {
            // It has begun anew: when we had it, or by itself, as all of it was moved while nobody wrote.
            self.expect(0);
        }
        self.seen = log;
        if !self.moving {
            if log >= self.next {
                self.next = log.saturating_add(self.step());
                self.moving = self.ask.try_send(()).is_ok();
            }
            return Ok(());
        }
        let is_long = log >= self.anew.saturating_add(self.pages);
        let told = if is_long { self.moved.recv().map_err(Into::into) } else { self.moved.try_recv() };
        match told {
            Ok(()) => self.moving = false,
            // Where the thread is gone, the store is poisoned.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
        }
        // Somebody who reads the log keeps it from being moved: then it is tried again, and not done here for all of it.
        let is_moved = log.saturating_sub(moved) <= self.pages / WRITERS_PART;
        if log >= self.anew && (is_moved || is_long) { self.begin_anew(log) } else { Ok(()) }
    }

    /// By how much it grows until it is moved.
    fn step(&self) -> i32 {
        (self.pages / STEPS).max(1)
    }

    /// What is due next with a log of this length.
    fn expect(&mut self, log: i32) {
        self.next = log.saturating_add(self.step());
        self.anew = log.saturating_add(self.pages);
    }

    /// Our readers are short, so waiting for them is too. One that is not, such as a backup, is left alone until the log
    /// has grown by as much again.
    fn begin_anew(&mut self, log: i32) -> rusqlite::Result<()> {
        self.conn.busy_timeout(READERS_WAIT)?;
        let moved = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::RESTART);
        self.conn.busy_timeout(BUSY_WAIT)?;
        self.expect(if moved.is_ok() { 0 } else { log });
        unless_in_the_way(moved)
    }
}

/// The database synchronises its main file only when all of the log is in it, which it hardly ever is while others write:
/// it is done here, so that little is left for the writer.
fn move_most(conn: &Connection, main: &File) -> Result<(), Failure> {
    for _ in 0..TURNS {
        let moved = conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
        let left = moved.as_ref().map_or(0, |(log, moved)| log.saturating_sub(*moved));
        unless_in_the_way(moved)?;
        main.sync_data().map_err(Failure::Main)?;
        if left <= LEFT_PAGES {
            break;
        }
    }
    Ok(())
}

fn unless_in_the_way<T>(moved: rusqlite::Result<T>) -> rusqlite::Result<()> {
    match moved.map_err(|error| (error.sqlite_error_code(), error)) {
        Ok(_) | Err((Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull), _)) => Ok(()),
        Err((_, error)) => Err(error),
    }
}
