//! The way to end a run from outside.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch::Sender;

/// Ends a run before its time, for Ctrl-C and for a limit that broke. Every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    told: Arc<Sender<Option<Instant>>>,
    /// Ends this one, too.
    outer: Option<Arc<Stop>>,
}

impl Stop {
    /// Not told yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// One for a part of what this one ends: it is told with this one, and this one not with it.
    pub fn inner(&self) -> Stop {
        Stop { outer: Some(Arc::new(self.clone())), ..Stop::default() }
    }

    /// No request starts from now on. Those on their way get a second for their answers.
    pub fn tell(&self) {
        self.told.send_modify(|told| {
            told.get_or_insert_with(Instant::now);
        });
    }

    /// When it was told, if it was.
    pub fn told(&self) -> Option<Instant> {
        let outer = self.outer.as_ref().and_then(|outer| outer.told());
        self.told.borrow().into_iter().chain(outer).min()
    }

    /// Ends when it was told.
    pub async fn wait(&self) {
        let mut told = self.told.subscribe();
        // Fails only where the sender is gone, which this holds.
        let own = told.wait_for(Option::is_some);
        match &self.outer {
            None => drop(own.await),
            Some(outer) => tokio::select! {
                _ = own => {}
                () = Box::pin(outer.wait()) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stop;

    #[tokio::test]
    async fn an_inner_stop_is_told_with_its_outer_one_and_alone() {
        let outer = Stop::new();
        let (one, other) = (outer.inner(), outer.inner());
        one.tell();
        one.wait().await;
        assert!(one.told().is_some() && other.told().is_none() && outer.told().is_none());
        outer.tell();
        other.wait().await;
        assert!(other.told() == outer.told() && one.told() < other.told());
    }
}
