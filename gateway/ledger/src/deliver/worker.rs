//! The worker of one sink: takes what is due, as many as the sink may have in flight, and sends an attempt for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluis_model::breaker::Pass;
use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::schedule::Slots;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::attempt::{self, Attempt};
use super::down;
use super::gate::{Gate, Opening};
use crate::ledger::Ledger;
use crate::sink::{Delivery, Sink};
use crate::store::DeliveryId;

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
    pub gate: Arc<Gate>,
}

/// What one sink has in flight.
#[derive(Default)]
pub(super) struct InFlight {
    critical: AtomicUsize,
    others: AtomicUsize,
    bytes: AtomicUsize,
    /// Rung when an attempt ends.
    freed: Notify,
}

/// One attempt's place in flight, given back when dropped.
pub(super) struct Slot {
    in_flight: Arc<InFlight>,
    lane: Lane,
    bytes: usize,
}

impl InFlight {
    fn of(&self, lane: Lane) -> &AtomicUsize {
        if lane == Lane::Critical { &self.critical } else { &self.others }
    }

    fn take(self: &Arc<Self>, lane: Lane, bytes: usize) -> Slot {
        self.of(lane).fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Slot { in_flight: Arc::clone(self), lane, bytes }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.of(self.lane).fetch_sub(1, Ordering::Relaxed);
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
    /// The same, but that a place which an attempt leaves may be one for what waits.
    NothingForTheseSlots(Option<u64>),
}

impl Stock {
    /// When there may be something again.
    fn until(&self) -> Option<u64> {
        match self {
            Stock::Unknown => None,
            Stock::NothingUntil(until) | Stock::NothingForTheseSlots(until) => *until,
        }
    }
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
        let mut target = Arc::clone(&self.target.borrow_and_update());
        while !*self.shutdown.borrow() {
            // Here as well as below: a busy worker never gets there.
            while self.attempts.try_join_next().is_some() {}
            let latest = Arc::clone(&self.target.borrow_and_update());
            if !Arc::ptr_eq(&latest, &target) {
                // What stood in the way of the old one need not stand in its way.
                (target, stock) = (latest, Stock::Unknown);
            }
            let slots = self.slots(&target);
            let free = slots.free();
            if matches!(stock, Stock::Unknown) && free > 0 {
                match self.refill(&target, slots).await {
                    Some(found) => stock = found,
                    None if self.ledger.store.shared.inbox.is_poisoned() => break,
                    None => tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = down(&mut self.shutdown) => break,
                    },
                }
                continue;
            }
            let full = free == 0 || matches!(stock, Stock::NothingForTheseSlots(_));
            // A sink that recovers may have more in flight after a while.
            let widens = if full { target.gate.widens_at(target.plan.concurrency, clock.now()) } else { None };
            let due = stock.until().into_iter().chain(widens).min();
            let due = async {
                match due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => stock = Stock::Unknown,
                () = self.bell.notified() => stock = Stock::Unknown,
                () = self.in_flight.freed.notified(), if full => stock = Stock::Unknown,
                Some(_) = self.attempts.join_next(), if !self.attempts.is_empty() => {}
                changed = self.target.changed() => if changed.is_err() { break },
                () = down(&mut self.shutdown) => break,
            }
        }
        while self.attempts.join_next().await.is_some() {}
    }

    /// Attempts that may be begun, as far as room for them goes.
    fn slots(&self, target: &Target) -> Slots {
        if self.in_flight.bytes.load(Ordering::Relaxed) >= BODY_BYTES {
            return Slots::new(0, 0, 0);
        }
        let concurrency = target.gate.concurrency(target.plan.concurrency.max(1), self.ledger.clock.now());
        let critical = self.in_flight.critical.load(Ordering::Relaxed);
        let others = self.in_flight.others.load(Ordering::Relaxed);
        Slots::new(concurrency, critical, others).at_most(LEASE_BATCH)
    }

    /// Takes what is due, as far as the sink may be asked, and begins an attempt for each. None where the ledger did not
    /// answer.
    async fn refill(&mut self, target: &Arc<Target>, slots: Slots) -> Option<Stock> {
        let now = self.ledger.clock.now();
        // First, so that a hold ends also where nothing is left that it would hold.
        self.tell_holds(target, now).await;
        let room = &self.ledger.store.shared.room;
        if !room.schedule(&self.name).has_eligible(now) {
            let due = room.schedule(&self.name).next_due();
            return Some(Stock::NothingUntil(due.into_iter().chain(target.gate.maintained_until(now)).min()));
        }
        let mut passes = match target.gate.ask(&self.ledger, &self.name, slots.free(), now) {
            Opening::For(passes) => passes,
            Opening::Shut(until) => return Some(Stock::NothingUntil(until)),
        };
        let (picked, seen, next) = {
            let mut schedule = room.schedule(&self.name);
            (schedule.pick(slots.at_most(passes.len()), now), schedule.arrivals(), schedule.next_due())
        };
        if picked.is_empty() {
            target.gate.give_back(passes.len());
            return Some(Stock::NothingForTheseSlots(next));
        }
        let bytes = BODY_BYTES.saturating_sub(self.in_flight.bytes.load(Ordering::Relaxed));
        let due = self.ledger.store.due(&self.name, now, picked, bytes).await.ok()?;
        for (id, delivery) in due.damaged {
            attempt::bury_damaged(&self.ledger, target, id, &delivery).await;
        }
        if !due.deliveries.is_empty() {
            let ids = due.deliveries.iter().map(|(id, _)| *id).collect();
            let leased: HashMap<_, _> = self.ledger.store.lease(ids, now).await.ok()?.into_iter().collect();
            for (id, mut delivery) in due.deliveries {
                // One that somebody else moved in between is not ours to send.
                let Some(attempt) = leased.get(&id) else { continue };
                delivery.attempt = *attempt;
                target.gate.begins(delivery.attempt, now);
                let pass = passes.pop();
                self.begin(target, id, delivery, pass);
            }
        }
        // Not before the lease: what could not be leased is due as it was.
        for (lane, tenant, next) in due.short {
            let until = next.unwrap_or(u64::MAX);
            self.ledger.store.shared.room.schedule(&self.name).not_due(lane, &tenant, until, seen);
        }
        target.gate.give_back(passes.len());
        Some(Stock::Unknown)
    }

    fn begin(&mut self, target: &Arc<Target>, id: DeliveryId, delivery: Delivery, pass: Option<Pass>) {
        let slot = self.in_flight.take(delivery.lane, delivery.body.len());
        let (ledger, target) = (Arc::clone(&self.ledger), Arc::clone(target));
        self.attempts.spawn(Attempt { ledger, target, id, delivery, pass, slot }.run());
    }

    /// Writes down who holds the sink by itself, so that the status of its events can say so.
    async fn tell_holds(&self, target: &Target, now: u64) {
        let store = &self.ledger.store;
        for (actor, reason) in target.gate.holders(now) {
            let told = store.shared.room.is_held_by(&self.name, actor);
            let written = match reason {
                Some(reason) if !told => store.hold(&self.name, now, actor, reason).await,
                None if told => store.release(&self.name, now, actor).await,
                _ => continue,
            };
            if written.is_err() {
                tracing::warn!(sink = %self.name, actor, "a hold or its end was not recorded");
            }
        }
    }
}
