//! What the lower floors and the key sources report, counted and logged.

use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::Observer;
use sluis_model::identity::SkippedKey;
use sluis_model::retry::{DeadReason, ErrorClass};

use crate::jwks::{FetchOutcome, JwksObserver};
use crate::metrics::Metrics;

/// Counts the facts of ledger and key fetching.
pub struct Observed {
    metrics: Arc<Metrics>,
}

impl Observed {
    /// Counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Observed { metrics })
    }

    fn fetch(&self, issuer: &str, result: &str) {
        self.metrics.jwks_fetches.with_label_values(&[issuer, result]).inc();
    }
}

impl Observer for Observed {
    fn committed(&self, batch: usize, fsync: Duration) {
        self.metrics.ledger_batch.observe(batch as f64);
        self.metrics.ledger_commit.observe(fsync.as_secs_f64());
    }

    fn attempt(&self, sink: &str, failure: Option<ErrorClass>, _took: Duration) {
        let outcome = failure.map_or("delivered", ErrorClass::label);
        self.metrics.delivery_attempts.with_label_values(&[sink, outcome]).inc();
    }

    fn dead(&self, tenant: &str, sink: &str, reason: DeadReason) {
        self.metrics.delivery_attempts.with_label_values(&[sink, "dead"]).inc();
        tracing::warn!(tenant, sink, reason = reason.label(), "delivery given up");
    }

    fn purged(&self, events: usize, early: bool) {
        tracing::debug!(events, early, "events removed at the end of their retention");
    }

    fn poisoned(&self, reason: &str) {
        tracing::error!(reason, "the ledger's storage failed: nothing is accepted until a restart");
    }
}

impl JwksObserver for Observed {
    fn fetched(&self, issuer: &str, outcome: FetchOutcome) {
        match outcome {
            FetchOutcome::Changed => {
                self.fetch(issuer, "changed");
                tracing::info!(issuer, "new keys");
            }
            FetchOutcome::Unchanged => self.fetch(issuer, "unchanged"),
            FetchOutcome::Failed(fault) => {
                self.fetch(issuer, "failed");
                tracing::warn!(issuer, %fault, "keys not fetched; the last good ones stay");
            }
        }
    }

    fn key_skipped(&self, issuer: &str, key: &SkippedKey) {
        tracing::warn!(issuer, kid = ?key.kid, reason = key.fault.label(), "key not used");
    }

    fn unknown_kid_suppressed(&self, issuer: &str) {
        self.metrics.jwks_suppressed.with_label_values(&[issuer]).inc();
    }

    fn keys_expired(&self, issuer: &str) {
        tracing::error!(issuer, "keys are too old to trust: tokens of this issuer are answered with 503");
    }

    fn store_failed(&self, issuer: &str, error: &str) {
        tracing::warn!(issuer, error, "keys not kept on disk");
    }

    fn clock_jumped(&self, seconds: i64) {
        tracing::error!(seconds, "the wall clock jumped");
    }
}
