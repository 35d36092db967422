//! What a worker has leased ahead of its free slots: while some deliveries are under way, the next ones are looked up and
//! leased, so that a sink's pace does not depend on how long a commit takes.

use std::collections::VecDeque;
use std::sync::Arc;

use sluis_model::event::Input;
use sluis_model::lane::Lane;
use sluis_model::schedule::Slots;
use tokio::task::JoinSet;

use super::attempt;
use crate::ledger::Ledger;
use crate::sink::Delivery;
use crate::store::{DeliveryId, Move};

/// A delivery that is leased, and whose attempt has not begun.
pub(super) struct Leased {
    pub id: DeliveryId,
    pub delivery: Delivery,
}

/// See the module. Critical deliveries stand in a line of their own: slots are kept for them.
#[derive(Default)]
pub(super) struct Ahead {
    critical: VecDeque<Leased>,
    others: VecDeque<Leased>,
    bytes: usize,
}

impl Ahead {
    /// Of the critical lane, and of the others.
    pub fn counts(&self) -> (usize, usize) {
        (self.critical.len(), self.others.len())
    }

    /// Bytes of bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn put(&mut self, leased: Leased) {
        self.bytes += leased.delivery.body.len();
        let critical = leased.delivery.lane == Lane::Critical;
        if critical { self.critical.push_back(leased) } else { self.others.push_back(leased) }
    }

    /// How many could begin in these slots.
    pub fn fitting(&self, slots: Slots) -> usize {
        (self.critical.len() + self.others.len().min(slots.common())).min(slots.free())
    }

    /// The next to begin; critical ones first.
    pub fn next(&mut self) -> Option<Leased> {
        let leased = self.critical.pop_front().or_else(|| self.others.pop_front())?;
        self.bytes -= leased.delivery.body.len();
        Some(leased)
    }

    /// Gives everything back: nothing was begun, and no attempt was spent.
    pub async fn give_back(&mut self, ledger: &Arc<Ledger>) {
        let mut returns = JoinSet::new();
        while let Some(Leased { id, .. }) = self.next() {
            let ledger = Arc::clone(ledger);
            returns.spawn(async move {
                let back = Move::by("worker", id, Input::Return, ledger.clock.now());
                let back = Move { reason: "not begun: the sink may not be asked".to_owned(), ..back };
                // One that could not be given back is still leased, and comes back at the next start.
                let _ = attempt::record(&ledger, back).await;
            });
        }
        while returns.join_next().await.is_some() {}
    }
}
