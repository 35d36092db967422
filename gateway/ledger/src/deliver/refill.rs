//! Looks up and leases what a sink's next free slots are for.

use std::collections::HashMap;
use std::sync::Arc;

use sluis_model::schedule::Slots;

use super::ahead::Leased;
use super::attempt;
use super::worker::Target;
use crate::ledger::Ledger;
use crate::store::Look;

/// What there is to take.
pub(super) enum Stock {
    /// Perhaps something.
    Unknown,
    /// Nothing before this time, unless the bell rings.
    NothingUntil(Option<u64>),
    /// The same, but that room which is left by others may be room for what waits.
    NothingForThisRoom(Option<u64>),
}

impl Stock {
    /// When there may be something again.
    pub fn until(&self) -> Option<u64> {
        match self {
            Stock::Unknown => None,
            Stock::NothingUntil(until) | Stock::NothingForThisRoom(until) => *until,
        }
    }
}

/// What a look brought.
pub(super) struct Refilled {
    pub leased: Vec<Leased>,
    pub stock: Stock,
}

/// Leases what is due of a sink's deliveries, as many as there are slots, and about so many bytes of bodies; whose turn it
/// is, the sink's schedule says. None where the ledger did not answer.
pub(super) async fn refill(
    ledger: Arc<Ledger>,
    target: Arc<Target>,
    slots: Slots,
    max_bytes: usize,
) -> Option<Refilled> {
    let (now, sink) = (ledger.clock.now(), &target.plan.name);
    let room = &ledger.store.shared.room;
    let (picked, seen, next, waits) = {
        let mut schedule = room.schedule(sink);
        (schedule.pick(slots, now), schedule.arrivals(), schedule.next_due(), schedule.has_eligible())
    };
    if picked.is_empty() {
        let stock = if waits { Stock::NothingForThisRoom(next) } else { Stock::NothingUntil(next) };
        return Some(Refilled { leased: Vec::new(), stock });
    }
    let due = ledger.store.due(sink, now, picked, max_bytes).await.ok()?;
    let any_damaged = !due.damaged.is_empty();
    for damaged in due.damaged {
        attempt::bury_damaged(&ledger, &target, damaged).await;
    }
    let mut leased = Vec::with_capacity(due.deliveries.len());
    if !due.deliveries.is_empty() {
        let ids = due.deliveries.iter().map(|(id, _)| *id).collect();
        let taken: HashMap<_, _> = ledger.store.lease(ids, now).await.ok()?.into_iter().collect();
        for (id, mut delivery) in due.deliveries {
            // One that somebody else moved in between is not ours to send.
            let Some(attempt) = taken.get(&id) else { continue };
            delivery.attempt = *attempt;
            leased.push(Leased { id, delivery });
        }
    }
    // Not before the lease: what could not be leased is due as it was.
    let mut schedule = room.schedule(sink);
    for (lane, tenant, look) in due.looks {
        match look {
            Look::Short(next) => schedule.not_due(lane, &tenant, next.unwrap_or(u64::MAX), seen),
            // One that is damaged may not have been buried.
            Look::Full(_) if any_damaged => {}
            Look::Full(last) => schedule.looked(lane, &tenant, last),
        }
    }
    drop(schedule);
    Some(Refilled { leased, stock: Stock::Unknown })
}
