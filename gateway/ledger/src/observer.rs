//! What happens in the ledger, told to whoever counts it. The ledger itself counts nothing for show.

use std::time::Duration;

use sluis_model::retry::{DeadReason, ErrorClass};

/// Told of what happened, on the ledger's own threads and tasks: must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// An event is on stable storage; `bytes` is what it counts against the backlog.
    fn accepted(&self, tenant: &str, bytes: u64) {
        let _ = (tenant, bytes);
    }

    /// A transaction with `batch` changes (accepts, leases, outcomes) was committed; `fsync` is how long the commit
    /// itself took, which is the time to reach stable storage.
    fn committed(&self, batch: usize, fsync: Duration) {
        let _ = (batch, fsync);
    }

    /// An attempt ended: confirmed (`None`) or failed with a class.
    fn attempt(&self, sink: &str, failure: Option<ErrorClass>, took: Duration) {
        let _ = (sink, failure, took);
    }

    /// A delivery was confirmed and recorded, `since_accept` after its event was accepted.
    fn delivered(&self, sink: &str, since_accept: Duration) {
        let _ = (sink, since_accept);
    }

    /// A delivery was given up.
    fn dead(&self, tenant: &str, sink: &str, reason: DeadReason) {
        let _ = (tenant, sink, reason);
    }

    /// `events` were removed at the end of their retention, or earlier (`early`) to make room.
    fn purged(&self, events: usize, early: bool) {
        let _ = (events, early);
    }

    /// Storage failed for good: nothing is accepted any more.
    fn poisoned(&self, reason: &str) {
        let _ = reason;
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
