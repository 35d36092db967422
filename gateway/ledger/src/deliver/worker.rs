//! The worker of one sink: takes what is due, as many as the sink may have in flight, and sends an attempt for each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::schedule::Slots;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::ahead::{Ahead, Leased};
use super::attempt::Attempt;
use super::down;
use super::gate::{Gate, Opening};
use super::refill::{Refilled, Stock, refill};
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::sink::Sink;

/// Deliveries leased in one transaction.
const LEASE_BATCH: usize = 512;
/// Bytes of bodies that one sink may have in flight; a larger body goes alone.
const BODY_BYTES: usize = 64 << 20;
/// A sink that may not be asked for longer than this, in milliseconds, gets back what was leased for it.
const PATIENCE: u64 = 1_000;
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

    /// Of the critical lane, and of the others.
    fn counts(&self) -> (usize, usize) {
        (self.critical.load(Ordering::Relaxed), self.others.load(Ordering::Relaxed))
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
    ahead: Ahead,
}

/// What came of what was leased ahead.
enum Begun {
    /// Whether any attempts were begun. Where more are leased than there are slots, one more slot may come at this time,
    /// while the sink recovers.
    Open { any: bool, widens: Option<u64> },
    /// The sink may not be asked before this time, or before the bell rings.
    Shut(Option<u64>),
}

/// A look for more that is under way.
type Looking = Pin<Box<dyn Future<Output = Option<Refilled>> + Send>>;

impl Worker {
    pub fn new(
        ledger: Arc<Ledger>,
        name: Arc<str>,
        target: watch::Receiver<Arc<Target>>,
        bell: Arc<Notify>,
        shutdown: watch::Receiver<bool>,
    ) -> Worker {
        let (in_flight, attempts, ahead) = (Arc::default(), JoinSet::new(), Ahead::default());
        Worker { ledger, name, target, bell, shutdown, in_flight, attempts, ahead }
    }

    /// Until the shutdown, or until the sink leaves the plan; then waits for the attempts under way.
    pub async fn run(mut self) {
        let clock = self.ledger.clock.clone();
        let mut stock = Stock::Unknown;
        let mut looking: Option<Looking> = None;
        // The bell rang while somebody was looking, who may have looked too early.
        let mut rung = false;
        let mut target = Arc::clone(&self.target.borrow_and_update());
        while !*self.shutdown.borrow() {
            // Here as well as below: a busy worker never gets there.
            while self.attempts.try_join_next().is_some() {}
            let latest = Arc::clone(&self.target.borrow_and_update());
            if !Arc::ptr_eq(&latest, &target) {
                // What stood in the way of the old one need not stand in its way.
                (target, stock, rung) = (latest, Stock::Unknown, true);
            }
            let begun = self.begin_all(&target).await;
            if let (Begun::Open { any: true, .. }, Stock::NothingForThisRoom(_)) = (&begun, &stock) {
                stock = Stock::Unknown;
            }
            if let (Begun::Open { .. }, None, Stock::Unknown) = (&begun, &looking, &stock) {
                looking = self.look(&target);
                rung = false;
            }
            let until = match begun {
                Begun::Shut(until) => until,
                Begun::Open { widens, .. } => widens.into_iter().chain(stock.until()).min(),
            };
            tokio::select! {
                found = async { looking.as_mut()?.await }, if looking.is_some() => {
                    looking = None;
                    match found {
                        Some(Refilled { leased, stock: found }) => {
                            leased.into_iter().for_each(|leased| self.ahead.put(leased));
                            stock = if rung { Stock::Unknown } else { found };
                        }
                        None if self.ledger.store.shared.inbox.is_poisoned() => break,
                        None => tokio::select! {
                            () = tokio::time::sleep(PAUSE) => {}
                            () = down(&mut self.shutdown) => break,
                        },
                    }
                }
                () = wait(&clock, until), if until.is_some() => stock = Stock::Unknown,
                () = self.bell.notified() => (stock, rung) = (Stock::Unknown, true),
                () = self.in_flight.freed.notified() => {}
                Some(_) = self.attempts.join_next(), if !self.attempts.is_empty() => {}
                changed = self.target.changed() => if changed.is_err() { break },
                () = down(&mut self.shutdown) => break,
            }
        }
        if let Some(Refilled { leased, .. }) = async { looking?.await }.await {
            leased.into_iter().for_each(|leased| self.ahead.put(leased));
        }
        self.ahead.give_back(&self.ledger).await;
        while self.attempts.join_next().await.is_some() {}
    }

    /// Begins an attempt for whatever is leased and has a slot; what waits for long for the sink goes back.
    async fn begin_all(&mut self, target: &Arc<Target>) -> Begun {
        let now = self.ledger.clock.now();
        let shut = target.gate.shut(&self.ledger, &self.name, now);
        self.tell_holds(target, now).await;
        if let Some(until) = shut {
            if until.is_none_or(|until| until > now + PATIENCE) {
                self.ahead.give_back(&self.ledger).await;
            }
            return Begun::Shut(until);
        }
        let wanted = self.ahead.fitting(self.slots(target, now));
        let passes = match wanted {
            0 => Vec::new(),
            _ => match target.gate.ask(wanted, now) {
                Opening::For(passes) => passes,
                Opening::Shut(until) => return Begun::Shut(until),
            },
        };
        let any = !passes.is_empty();
        for pass in passes {
            let Some(Leased { id, delivery }) = self.ahead.next() else { break };
            target.gate.begins(delivery.attempt, now);
            let slot = self.in_flight.take(delivery.lane, delivery.body.len());
            let (ledger, target) = (Arc::clone(&self.ledger), Arc::clone(target));
            self.attempts.spawn(Attempt { ledger, target, id, delivery, pass, slot }.run());
        }
        let waits = self.ahead.counts() != (0, 0);
        Begun::Open { any, widens: if waits { target.gate.widens_at(target.plan.concurrency, now) } else { None } }
    }

    /// Attempts that may be begun, as far as room for them goes.
    fn slots(&self, target: &Target, now: u64) -> Slots {
        if self.in_flight.bytes.load(Ordering::Relaxed) >= BODY_BYTES {
            return Slots::new(0, 0, 0);
        }
        let concurrency = target.gate.concurrency(target.plan.concurrency.max(1), now);
        let (critical, others) = self.in_flight.counts();
        Slots::new(concurrency, critical, others)
    }

    /// Looks for more, once half of what may be leased ahead is used up: as many as may be under way, and one where a
    /// single probe decides.
    fn look(&self, target: &Arc<Target>) -> Option<Looking> {
        let now = self.ledger.clock.now();
        let concurrency = target.gate.concurrency(target.plan.concurrency.max(1), now).min(LEASE_BATCH);
        let most = match self.in_flight.counts() {
            _ if target.gate.is_closed(now) => concurrency,
            (0, 0) => 1,
            // The probe is out.
            _ => return None,
        };
        let (critical, others) = self.ahead.counts();
        // A quarter of this room, too, is for critical ones, and they do not wait for half of it to be free.
        let slots = Slots::new(most, critical, others);
        let urgent = slots.free() > 0 && self.ledger.store.shared.room.schedule(&self.name).is_urgent(now);
        let bytes = BODY_BYTES.saturating_sub(self.in_flight.bytes.load(Ordering::Relaxed) + self.ahead.bytes());
        if bytes == 0 || (slots.free() < most.div_ceil(2) && !urgent) {
            return None;
        }
        Some(Box::pin(refill(Arc::clone(&self.ledger), Arc::clone(target), slots, bytes)))
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

async fn wait(clock: &Clock, until: Option<u64>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}
