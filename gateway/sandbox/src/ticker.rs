//! The epoch's heartbeat: a thread of the operating system, because a task of the runtime would starve together with
//! the guests that it is there to interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

/// One tick: a guest yields, and its budget is looked at, this often.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// The thread sleeps after so many ticks without a call, until the next call wakes it.
const IDLE_TICKS: u32 = 200;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    asleep: AtomicBool,
    calls: AtomicUsize,
}

/// Ticks while it lives and calls run.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let theirs = shared.clone();
        let handle = std::thread::Builder::new().name("sluis-epoch".into()).spawn(move || {
            let mut idle = 0;
            while !theirs.stop.load(Ordering::SeqCst) {
                let Some(engine) = engine.upgrade() else { break };
                engine.increment_epoch();
                drop(engine);
                idle = if theirs.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                if idle < IDLE_TICKS {
                    std::thread::park_timeout(TICK);
                } else {
                    rest(&theirs);
                    idle = 0;
                }
            }
        })?;
        Ok(Ticker { shared, thread: handle.thread().clone() })
    }

    /// To be held while guest code may run.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        // Either we see the ticker asleep, or it sees our call before it parks.
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

fn rest(shared: &Shared) {
    shared.asleep.store(true, Ordering::SeqCst);
    while shared.calls.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
        std::thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// A call that runs.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
