//! One attempt: send, judge, record. Nothing of the ledger is locked while the sink takes its time, or the plugin that
//! may have a say in it (see [`super::hook`]).

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use sluis_model::breaker::{Outcome, Pass};
use sluis_model::event::Input;
use sluis_model::plan::Order;
use sluis_model::retry::{DeadReason, ErrorClass, FailedAttempt, Next};
use uuid::Uuid;

use super::hook::{Plugin, plain};
use super::worker::{Slot, Target};
use crate::error::WorkError;
use crate::ledger::Ledger;
use crate::sink::{Delivery, Failure, SendOutcome};
use crate::store::{Damaged, DeliveryId, FailureRow, Move};

const WORKER: &str = "worker";
/// Between two tries to record an outcome where something is in the way, such as a full disk.
const RECORD_PAUSE: Duration = Duration::from_millis(250);

/// A delivery that is leased and about to be sent.
pub(super) struct Attempt {
    pub ledger: Arc<Ledger>,
    pub target: Arc<Target>,
    pub id: DeliveryId,
    pub delivery: Delivery,
    /// Leave of the sink's breaker.
    pub pass: Pass,
    pub slot: Slot,
}

impl Attempt {
    pub async fn run(self) {
        let Attempt { ledger, target, id, delivery, pass, slot } = self;
        let started = Instant::now();
        let (outcome, said) = send(&ledger, &target, &delivery).await;
        let took = started.elapsed();
        // Recording takes no part of the sink's concurrency.
        drop(slot);
        let class = match &outcome {
            SendOutcome::Confirmed(_) => None,
            SendOutcome::Failed(failure) => Some(failure.class),
        };
        ledger.observer.attempt(&delivery.sink, class, took);
        let now = ledger.clock.now();
        if let Some(transition) = target.gate.learn(pass, said, now) {
            tracing::info!(sink = %delivery.sink, state = transition.label(), "the sink's breaker changed");
            ledger.store.shared.ring(&delivery.sink);
        }
        let (change, dead) = judge(&target, id, &delivery, (outcome, said), now, took);
        let delivered = change.input == Input::Confirm;
        if record(&ledger, change).await.is_err() {
            return;
        }
        if delivered {
            let age = Duration::from_millis(now.saturating_sub(delivery.accepted_at));
            ledger.observer.delivered(&delivery.sink, age);
        }
        if let Some(reason) = dead {
            ledger.observer.dead(&delivery.tenant, &delivery.sink, reason);
        }
    }
}

/// A panic in there is a failed attempt, not one without an end.
async fn send(ledger: &Ledger, target: &Target, delivery: &Delivery) -> (SendOutcome, Outcome) {
    let mut exchange = pin!(async {
        match Plugin::of(ledger, target) {
            Some(plugin) => plugin.send(&target.sink, delivery).await,
            None => plain(&target.sink, delivery).await,
        }
    });
    // After a panic it is only dropped, and what it borrows is only read.
    let polled = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| exchange.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    });
    polled.await.unwrap_or_else(|| {
        tracing::error!(event = %delivery.event_id, sink = %delivery.sink, "an attempt broke off");
        let failure = Failure {
            class: ErrorClass::Ambiguous,
            kind: "internal",
            status: None,
            message: "the attempt broke off inside the gateway".to_owned(),
            excerpt: Vec::new(),
            retry_after: None,
        };
        (SendOutcome::Failed(failure), Outcome::Ignored)
    })
}

/// What follows from an outcome and what that says of the sink, and why the delivery is given up where it is.
fn judge(
    target: &Target,
    id: DeliveryId,
    delivery: &Delivery,
    (outcome, said): (SendOutcome, Outcome),
    now: u64,
    took: Duration,
) -> (Move, Option<DeadReason>) {
    let took_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    // Only who stands in the line of a key has anyone behind it.
    let order = if delivery.key.is_some() { target.plan.order } else { Order::None };
    let mut change = Move::by(WORKER, id, Input::Confirm, now);
    (change.took_ms, change.parks) = (took_ms, order == Order::ParkKey);
    let failure = match outcome {
        SendOutcome::Confirmed(note) => {
            change.reason = note;
            return (change, None);
        }
        SendOutcome::Failed(failure) => failure,
    };
    let next = target.plan.retry.next(FailedAttempt {
        class: failure.class,
        attempt: delivery.attempt,
        accepted_at: delivery.since,
        now,
        retry_after: failure.retry_after,
        jitter: jitter(),
        block: order == Order::Block,
    });
    let what = match failure.status {
        Some(status) => format!("{} {status}", failure.kind),
        None => failure.kind.to_owned(),
    };
    change.failure = Some(FailureRow {
        attempt: delivery.attempt,
        class: failure.class.label(),
        kind: failure.kind.to_owned(),
        status: failure.status,
        message: failure.message,
        excerpt: failure.excerpt,
    });
    match next {
        Next::Retry(due) => {
            // The budget is the sink's: what failed before it was asked spends none of it.
            let due = match said {
                Outcome::Ignored => due,
                Outcome::Success | Outcome::Failure => {
                    let latest = target.plan.retry.latest(delivery.since, now, jitter());
                    target.gate.retry_at(&delivery.tenant, due, latest, now)
                }
            };
            (change.input, change.due, change.reason) = (Input::Retry, Some(due), what);
            (change, None)
        }
        Next::Dead(reason) => {
            (change.input, change.reason) = (Input::GiveUp, format!("{}: {what}", reason.label()));
            (change, Some(reason))
        }
    }
}

/// Uniform in [0, 1).
fn jitter() -> f64 {
    // The low 53 bits of a version 4 UUID are random, and as many as a double holds.
    let bits = Uuid::new_v4().as_u128() as u64 & ((1 << 53) - 1);
    bits as f64 / (1u64 << 53) as f64
}

/// Until it is recorded: the sink's answer is not asked for twice because our disk is full.
pub(super) async fn record(ledger: &Ledger, change: Move) -> Result<(), WorkError> {
    loop {
        match ledger.store.record(change.clone()).await {
            Err(WorkError::Busy) => tokio::time::sleep(RECORD_PAUSE).await,
            Err(WorkError::Refused) => {
                tracing::warn!(delivery = ?change.id, input = ?change.input, "the delivery had moved meanwhile");
                return Err(WorkError::Refused);
            }
            other => return other,
        }
    }
}

/// A delivery whose bytes are not those that were accepted is never sent.
pub(super) async fn bury_damaged(ledger: &Ledger, target: &Target, damaged: Damaged) {
    let Damaged { id, event_id, tenant } = damaged;
    let sink = &target.plan.name;
    tracing::error!(event = ?event_id, delivery = ?id, %sink, "stored bytes are not those that were accepted");
    let reason = DeadReason::Poison;
    let give_up = Move::by(WORKER, id, Input::GiveUp, ledger.clock.now());
    let parks = target.plan.order == Order::ParkKey;
    let change = Move { reason: format!("{}: stored bytes are damaged", reason.label()), parks, ..give_up };
    if record(ledger, change).await.is_ok() {
        ledger.observer.dead(&tenant, sink, reason);
    }
}
