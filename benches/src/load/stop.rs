//! The way to end a run from outside.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch::Sender;

/// Ends a run before its time, for Ctrl-C and for a limit that broke. Every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Sender<Option<Instant>>>);

impl Stop {
    /// Not told yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// No request starts from now on. Those on their way get a second for their answers.
    pub fn tell(&self) {
        self.0.send_modify(|told| {
            told.get_or_insert_with(Instant::now);
        });
    }

    /// When it was told, if it was.
    pub fn told(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Ends when it was told.
    pub async fn wait(&self) {
        // Fails only where the sender is gone, which this holds.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}
