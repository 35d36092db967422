//! The log's way into the main file. A thread of its own moves most of it while transactions go on; what is left then is
//! moved by the writer, so that the log begins anew, and only for that does everybody wait.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};

use super::Shared;
use super::connection::BUSY_WAIT;
use super::stable::Stable;
use super::writer::EndGuard;

/// Longest wait for readers when the log begins anew; everybody waits behind it.
const READERS_WAIT: Duration = Duration::from_millis(50);
/// What is written while the log is moved is moved as well, until as little is left as the writer moves in a moment;
/// where a disk cannot keep up, or a reader is in the way, not for ever.
const LEFT_PAGES: i32 = 64;
const TURNS: usize = 3;
/// Over how many times its usual length the log may grow while it is moved, before the writer waits.
const SLACK: i32 = 3;

/// The writer's end.
pub(super) struct Checkpoints<'c> {
    conn: &'c Connection,
    ask: SyncSender<()>,
    moved: Receiver<()>,
    /// The thread has been asked, and has not said yet that it is done.
    moving: bool,
    /// Length of the log that makes it move.
    pages: i32,
    /// The same for now: more where somebody was in the way.
    at: i32,
}

impl<'c> Checkpoints<'c> {
    /// Starts the thread, with a connection of its own; it ends with what this answers. An error of the disk poisons the
    /// store right there: what could not be written to the main file may look as if it had been.
    pub fn start<'s>(
        threads: &'s Scope<'s, '_>,
        (conn, mover): (&'c Connection, Connection),
        pages: i32,
        (shared, stable): (&'s Arc<Shared>, &'s Stable),
    ) -> std::io::Result<Checkpoints<'c>> {
        let (ask, asked) = sync_channel(1);
        let (done, moved) = sync_channel(1);
        let thread = std::thread::Builder::new().name("ledger-checkpoint".to_owned());
        let _: ScopedJoinHandle<'_, ()> = thread.spawn_scoped(threads, move || {
            let _end = EndGuard { shared };
            while asked.recv().is_ok() {
                if let Err(error) = move_most(&mover) {
                    return stable.poison(&error);
                }
                if done.send(()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Checkpoints { conn, ask, moved, moving: false, pages, at: pages })
    }

    /// To be called between two transactions.
    pub fn look(&mut self) -> rusqlite::Result<()> {
        let (log, _) = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
        if !self.moving {
            self.moving = log >= self.at && self.ask.try_send(()).is_ok();
            return Ok(());
        }
        let is_long = log >= self.at.saturating_add(self.pages.saturating_mul(SLACK));
        let moved = if is_long { self.moved.recv().map_err(Into::into) } else { self.moved.try_recv() };
        match moved {
            Ok(()) => self.moving = false,
            // Where the thread is gone, the store is poisoned.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
        }
        self.begin_anew(log)
    }

    /// Our readers are short, so waiting for them is too. One that is not, such as a backup, is left alone until the log
    /// has grown by as much again.
    fn begin_anew(&mut self, log: i32) -> rusqlite::Result<()> {
        self.conn.busy_timeout(READERS_WAIT)?;
        let moved = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::RESTART);
        self.conn.busy_timeout(BUSY_WAIT)?;
        self.at = if moved.is_ok() { self.pages } else { log.saturating_add(self.pages) };
        unless_in_the_way(moved)
    }
}

fn move_most(conn: &Connection) -> rusqlite::Result<()> {
    for _ in 0..TURNS {
        match conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
            Ok((log, moved)) if log - moved > LEFT_PAGES => {}
            moved => return unless_in_the_way(moved),
        }
    }
    Ok(())
}

/// A full disk leaves the log as it is, which is as durable; somebody who reads it or moves it himself goes away.
fn unless_in_the_way<T>(moved: rusqlite::Result<T>) -> rusqlite::Result<()> {
    match moved.map_err(|error| (error.sqlite_error_code(), error)) {
        Ok(_) | Err((Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull), _)) => Ok(()),
        Err((_, error)) => Err(error),
    }
}
