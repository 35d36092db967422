//! Questions to the database, answered by a few threads with a read-only connection each. A question sees everything
//! that was committed before it was asked.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::reader::Reader;
use super::{Shared, Tuning};
use crate::error::ReadError;

const THREADS: usize = 2;
/// Questions that may wait.
const QUEUE: usize = 1024;

type Question = Box<dyn for<'c> FnOnce(&mut Reader<'c>) + Send>;

/// The threads; they end when this is closed or dropped.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    questions: Mutex<Option<SyncSender<Question>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub fn start(path: &Path, tuning: &Tuning, shared: &Arc<Shared>) -> rusqlite::Result<Readers> {
        let (questions, inbox) = sync_channel::<Question>(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let flags =
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(Duration::from_secs(2))?;
            conn.pragma_update(None, "mmap_size", 0)?;
            conn.pragma_update(None, "cache_size", -i64::from(tuning.cache_kib / 8))?;
            conn.pragma_update(None, "trusted_schema", false)?;
            // Fails here, where it can be said, rather than in the thread.
            Reader::prepare(&conn)?;
            let inbox = Arc::clone(&inbox);
            let thread = std::thread::Builder::new().name("ledger-reader".to_owned());
            match thread.spawn(move || answer(&conn, &inbox)) {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::error!(%error, "a reader thread could not be started"),
            }
        }
        let shared = Arc::clone(shared);
        Ok(Readers { shared, questions: Mutex::new(Some(questions)), threads: Mutex::new(threads) })
    }

    /// Answers what waits, and ends.
    pub fn close(&self) {
        drop(self.questions.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A panic in there has left its question unanswered, which says enough.
            let _ = thread.join();
        }
    }

    /// The answer is given once all that it may rest on is on stable storage: nobody acts on what may still be lost.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl for<'c> FnOnce(&mut Reader<'c>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let answer = self.ask_now(question).await?;
        if self.shared.wait_settled().await { Ok(answer) } else { Err(ReadError::Storage) }
    }

    /// The answer may rest on what is written and not yet on stable storage.
    pub async fn ask_now<T: Send + 'static>(
        &self,
        question: impl for<'c> FnOnce(&mut Reader<'c>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (done, answer) = oneshot::channel();
        let question: Question = Box::new(move |reader| {
            if !done.is_closed() {
                let _ = done.send(question(reader));
            }
        });
        match &*self.questions.lock().unwrap_or_else(PoisonError::into_inner) {
            None => return Err(ReadError::Closed),
            Some(questions) => questions.try_send(question).map_err(|refused| match refused {
                TrySendError::Full(_) => ReadError::Busy,
                TrySendError::Disconnected(_) => ReadError::Closed,
            })?,
        }
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "the ledger could not be read");
                Err(ReadError::Storage)
            }
            Err(_) => Err(ReadError::Closed),
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn answer(conn: &Connection, inbox: &Mutex<Receiver<Question>>) {
    let Ok(mut reader) = Reader::prepare(conn) else { return };
    loop {
        let question = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match question {
            Ok(question) => question(&mut reader),
            Err(_) => return,
        }
    }
}
