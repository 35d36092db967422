//! The worker of one sink: takes what is due, as many as the sink may have in flight, and sends an attempt for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluis_model::plan;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::attempt::{self, Attempt};
use super::down;
use crate::ledger::Ledger;
use crate::sink::Sink;

/// Deliveries leased in one transaction.
const LEASE_BATCH: usize = 512;
/// Bytes of bodies that one sink may have in flight; a larger body goes alone.
const BODY_BYTES: usize = 64 << 20;
/// After the ledger could not be read or written.
const PAUSE: Duration = Duration::from_millis(500);

/// A sink with its settings; replaced as a whole when the plan changes.
pub(super) struct Target {
    pub plan: Arc<plan::Sink>,
    pub sink: Sink,
}

/// What one sink has in flight.
#[derive(Default)]
pub(super) struct InFlight {
    attempts: AtomicUsize,
    bytes: AtomicUsize,
    /// Rung when an attempt ends.
    freed: Notify,
}

/// One attempt's place in flight, given back when dropped.
pub(super) struct Slot {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    fn take(self: &Arc<Self>, bytes: usize) -> Slot {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Slot { in_flight: Arc::clone(self), bytes }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.attempts.fetch_sub(1, Ordering::Relaxed);
        self.in_flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.in_flight.freed.notify_one();
    }
}

/// See the module.
pub(super) struct Worker {
    ledger: Arc<Ledger>,
    name: Arc<str>,
    target: watch::Receiver<Arc<Target>>,
    bell: Arc<Notify>,
    shutdown: watch::Receiver<bool>,
    in_flight: Arc<InFlight>,
    attempts: JoinSet<()>,
}

/// What there is to take.
enum Stock {
    /// Perhaps something.
    Unknown,
    /// Nothing before this time, unless the bell rings.
    NothingUntil(Option<u64>),
}

impl Worker {
    pub fn new(
        ledger: Arc<Ledger>,
        name: Arc<str>,
        target: watch::Receiver<Arc<Target>>,
        bell: Arc<Notify>,
        shutdown: watch::Receiver<bool>,
    ) -> Worker {
        let (in_flight, attempts) = (Arc::default(), JoinSet::new());
        Worker { ledger, name, target, bell, shutdown, in_flight, attempts }
    }

    /// Until the shutdown, or until the sink leaves the plan; then waits for the attempts under way.
    pub async fn run(mut self) {
        let clock = self.ledger.clock.clone();
        let mut stock = Stock::Unknown;
        while !*self.shutdown.borrow() {
            // Here as well as below: a busy worker never gets there.
            while self.attempts.try_join_next().is_some() {}
            let target = Arc::clone(&self.target.borrow_and_update());
            let free = self.free(&target);
            if matches!(stock, Stock::Unknown) && free > 0 {
                match self.refill(&target, free).await {
                    Some(found) => stock = found,
                    None if self.ledger.store.shared.inbox.is_poisoned() => break,
                    None => tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = down(&mut self.shutdown) => break,
                    },
                }
                continue;
            }
            let due = async {
                match stock {
                    Stock::NothingUntil(Some(due)) => clock.sleep_until(due).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => stock = Stock::Unknown,
                () = self.bell.notified() => stock = Stock::Unknown,
                () = self.in_flight.freed.notified(), if free == 0 => {}
                Some(_) = self.attempts.join_next(), if !self.attempts.is_empty() => {}
                changed = self.target.changed() => if changed.is_err() { break },
                () = down(&mut self.shutdown) => break,
            }
        }
        while self.attempts.join_next().await.is_some() {}
    }

    /// Attempts that may be begun.
    fn free(&self, target: &Target) -> usize {
        if self.in_flight.bytes.load(Ordering::Relaxed) >= BODY_BYTES {
            return 0;
        }
        let taken = self.in_flight.attempts.load(Ordering::Relaxed);
        target.plan.concurrency.max(1).saturating_sub(taken).min(LEASE_BATCH)
    }

    /// Takes what is due, up to `free`, and begins an attempt for each. None where the ledger did not answer.
    async fn refill(&mut self, target: &Arc<Target>, free: usize) -> Option<Stock> {
        let now = self.ledger.clock.now();
        let bytes = BODY_BYTES.saturating_sub(self.in_flight.bytes.load(Ordering::Relaxed));
        let due = self.ledger.store.due(&self.name, now, free, bytes).await.ok()?;
        for (id, delivery) in due.damaged {
            attempt::bury_damaged(&self.ledger, id, &delivery).await;
        }
        let stock = if due.more { Stock::Unknown } else { Stock::NothingUntil(due.next) };
        if due.deliveries.is_empty() {
            return Some(stock);
        }
        let ids = due.deliveries.iter().map(|(id, _)| *id).collect();
        let leased: HashMap<_, _> = self.ledger.store.lease(ids, now).await.ok()?.into_iter().collect();
        for (id, mut delivery) in due.deliveries {
            // One that somebody else moved in between is not ours to send.
            let Some(attempt) = leased.get(&id) else { continue };
            delivery.attempt = *attempt;
            let slot = self.in_flight.take(delivery.body.len());
            let attempt = Attempt { ledger: Arc::clone(&self.ledger), target: Arc::clone(target), id, delivery, slot };
            self.attempts.spawn(attempt.run());
        }
        Some(stock)
    }
}
