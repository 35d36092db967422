//! The book of a run's orders: which were sent, which were accepted, which arrived and when. What the sender was told is
//! written by the generator's threads, what arrived by the sink; held against each other they are a [`Delivery`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::result::Delivery;

/// Orders in one piece of the book.
const PIECE: usize = 1 << 16;
/// Pieces at most: 16.7 million orders, 256 MiB.
const PIECES: usize = 256;
/// Orders that a book can hold.
pub const LIMIT: u64 = (PIECE * PIECES) as u64;

/// The order was sent.
const SENT: u32 = 1 << 31;
/// The sender was told that it was accepted.
const ACCEPTED: u32 = 1 << 30;
/// How far back in numbers the last order of its key is that had been accepted when it was sent; 0 for none.
const BACK: u32 = ACCEPTED - 1;

/// One order, 16 bytes.
#[derive(Default)]
struct Cell {
    /// [`SENT`], [`ACCEPTED`], [`BACK`].
    sender: AtomicU32,
    /// Which arrival it was, from 1; 0 for none yet.
    arrival: AtomicU32,
    /// When its acceptance was told and when it arrived, ms from the beginning and 1.
    accepted_at: AtomicU32,
    arrived_at: AtomicU32,
}

/// See the module. Orders have numbers, and keys whose orders must arrive in the order of their acceptance.
pub struct Orders {
    began: Instant,
    pieces: Vec<OnceLock<Box<[Cell]>>>,
    /// By key: the highest number and 1 that was accepted.
    accepted: Box<[AtomicU64]>,
    /// Arrivals, the first and the others of an order.
    sequence: AtomicU32,
    duplicated: AtomicU64,
    /// Arrivals with a number that nobody sent.
    invented: AtomicU64,
    /// Sent, but past [`LIMIT`]: nothing is known of them.
    untracked: AtomicU64,
}

impl Orders {
    /// An empty book with so many keys.
    pub fn new(keys: usize) -> Self {
        Orders {
            began: Instant::now(),
            pieces: (0..PIECES).map(|_| OnceLock::new()).collect(),
            accepted: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            sequence: AtomicU32::new(0),
            duplicated: AtomicU64::new(0),
            invented: AtomicU64::new(0),
            untracked: AtomicU64::new(0),
        }
    }

    /// Another one with as many keys, and nothing in it.
    pub fn emptied(&self) -> Orders {
        Orders::new(self.accepted.len())
    }

    /// The moment that its times count from.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Sent more than [`LIMIT`], so that a verdict on delivery would be one on a part.
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }

    /// Distinct orders that arrived.
    pub fn arrived_count(&self) -> u64 {
        u64::from(self.sequence.load(Ordering::Relaxed)).saturating_sub(self.duplicated.load(Ordering::Relaxed))
    }

    /// An order is about to be sent by the request that is its own.
    pub fn sent(&self, number: u64, key: usize) {
        let Some(cell) = self.cell_or_new(number) else {
            self.untracked.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let before = self.accepted.get(key).map_or(0, |accepted| accepted.load(Ordering::Acquire));
        // One more than the number, and 0 for none. A later number of the key may have been accepted already.
        let back = if before == 0 { 0 } else { (number + 1).saturating_sub(before) };
        let sent = SENT | u32::try_from(back).unwrap_or(0) & BACK;
        // Where a repetition was sooner, the order may have arrived before those that are accepted by now.
        let first = |sender: u32| (sender & SENT == 0).then_some(sender | sent);
        let _ = cell.sender.fetch_update(Ordering::AcqRel, Ordering::Acquire, first);
    }

    /// An order is about to be sent by a repetition. That may be sooner than its own request: each thread keeps its own
    /// time. Nothing is known then of what it has to arrive behind.
    pub fn repeated(&self, number: u64) {
        if let Some(cell) = self.cell_or_new(number) {
            cell.sender.fetch_or(SENT, Ordering::AcqRel);
        }
    }

    /// The sender was told that an order is accepted.
    pub fn accepted(&self, number: u64, key: usize) {
        let Some(cell) = self.cell(number) else { return };
        if cell.sender.fetch_or(ACCEPTED, Ordering::AcqRel) & ACCEPTED == 0 {
            cell.accepted_at.store(self.now(), Ordering::Relaxed);
            if let Some(accepted) = self.accepted.get(key) {
                accepted.fetch_max(number + 1, Ordering::AcqRel);
            }
        }
    }

    /// The sink got an order, and has it from here on.
    pub fn arrived(&self, number: u64) {
        let sent = |cell: &&Cell| cell.sender.load(Ordering::Acquire) & SENT != 0;
        let Some(cell) = self.cell(number).filter(sent) else {
            self.invented.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let arrival = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        if cell.arrival.compare_exchange(0, arrival, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            cell.arrived_at.store(self.now(), Ordering::Relaxed);
        } else {
            self.duplicated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was accepted, held against what arrived until now.
    pub fn delivery(&self) -> Delivery {
        let mut delivery = Delivery {
            duplicated: self.duplicated.load(Ordering::Relaxed),
            invented: self.invented.load(Ordering::Relaxed),
            ..Delivery::NONE
        };
        for (number, cell) in self.cells() {
            let sender = cell.sender.load(Ordering::Acquire);
            let arrival = cell.arrival.load(Ordering::Acquire);
            match (sender & ACCEPTED != 0, arrival != 0) {
                (true, true) => delivery.arrived += 1,
                (true, false) => delivery.lost += 1,
                (false, true) => delivery.unacknowledged += 1,
                (false, false) => {}
            }
            delivery.accepted += u64::from(sender & ACCEPTED != 0);
            let before = number.checked_sub(u64::from(sender & BACK)).filter(|before| *before != number);
            let before = before.and_then(|before| self.cell(before)).map(|cell| cell.arrival.load(Ordering::Acquire));
            // One before it that never arrived is lost, which is counted as that.
            delivery.out_of_order += u64::from(arrival != 0 && before.is_some_and(|before| before > arrival));
        }
        delivery
    }

    /// Accepted, and not there yet.
    pub fn outstanding(&self) -> u64 {
        let waits = |cell: &Cell| {
            cell.sender.load(Ordering::Acquire) & ACCEPTED != 0 && cell.arrival.load(Ordering::Acquire) == 0
        };
        self.cells().filter(|(_, cell)| waits(cell)).count() as u64
    }

    /// Of every order that was accepted: its number, when that was told, and when it arrived, from the beginning.
    pub fn times(&self) -> impl Iterator<Item = (u64, Duration, Option<Duration>)> {
        let at =
            |at: &AtomicU32| at.load(Ordering::Relaxed).checked_sub(1).map(|ms| Duration::from_millis(u64::from(ms)));
        self.cells().filter_map(move |(number, cell)| {
            at(&cell.accepted_at).map(|accepted| (number, accepted, at(&cell.arrived_at)))
        })
    }

    fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX - 1).saturating_add(1)
    }

    fn cells(&self) -> impl Iterator<Item = (u64, &Cell)> {
        let pieces = self.pieces.iter().enumerate();
        pieces
            .filter_map(|(n, piece)| Some((n, piece.get()?)))
            .flat_map(|(n, piece)| piece.iter().enumerate().map(move |(at, cell)| ((n * PIECE + at) as u64, cell)))
    }

    fn cell(&self, number: u64) -> Option<&Cell> {
        let number = usize::try_from(number).ok()?;
        self.pieces.get(number / PIECE)?.get()?.get(number % PIECE)
    }

    fn cell_or_new(&self, number: u64) -> Option<&Cell> {
        let number = usize::try_from(number).ok()?;
        let piece = self.pieces.get(number / PIECE)?;
        piece.get_or_init(|| (0..PIECE).map(|_| Cell::default()).collect()).get(number % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_mishap_is_counted_as_itself() {
        let orders = Orders::new(1);
        for number in 0..5 {
            orders.sent(number, 0);
            if number != 3 {
                orders.accepted(number, 0);
            }
        }
        // 0 is lost, 2 comes before 1, 1 comes twice, 3 was never told to be accepted, 9 was never sent.
        for number in [2, 1, 1, 3, 4, 9] {
            orders.arrived(number);
        }
        assert_eq!(orders.outstanding(), 1);
        assert_eq!(
            orders.delivery(),
            Delivery {
                accepted: 4,
                arrived: 3,
                lost: 1,
                duplicated: 1,
                out_of_order: 1,
                unacknowledged: 1,
                invented: 1,
                ..Delivery::NONE
            }
        );
    }

    #[test]
    fn orders_that_were_under_way_together_may_arrive_either_way() {
        let orders = Orders::new(1);
        (0..2).for_each(|number| orders.sent(number, 0));
        (0..2).for_each(|number| orders.accepted(number, 0));
        [1, 0].into_iter().for_each(|number| orders.arrived(number));
        assert_eq!(orders.delivery().out_of_order, 0);
    }

    #[test]
    fn a_repetition_may_be_sent_sooner_than_what_it_repeats() {
        let orders = Orders::new(1);
        orders.repeated(7);
        orders.arrived(7);
        orders.accepted(7, 0);
        // The thread that is behind sends 3, and then 7, which has arrived.
        orders.sent(3, 0);
        orders.accepted(3, 0);
        orders.sent(7, 0);
        orders.accepted(7, 0);
        orders.arrived(3);
        assert_eq!(orders.outstanding(), 0);
        assert_eq!(orders.delivery(), Delivery { accepted: 2, arrived: 2, ..Delivery::NONE });
    }

    #[test]
    fn what_its_own_request_has_to_arrive_behind_is_not_forgotten_for_a_repetition() {
        let orders = Orders::new(1);
        orders.sent(0, 0);
        orders.accepted(0, 0);
        orders.sent(1, 0);
        orders.repeated(1);
        [1, 0].into_iter().for_each(|number| orders.arrived(number));
        assert_eq!(orders.delivery().out_of_order, 1);
    }

    #[test]
    fn past_its_limit_a_book_says_so() {
        let orders = Orders::new(1);
        orders.sent(LIMIT, 0);
        orders.sent(u64::MAX, 0);
        orders.accepted(LIMIT, 0);
        assert_eq!((orders.untracked(), orders.delivery().accepted), (2, 0));
    }

    /// One step of a history: an order of a key is sent, by its own request or by a repetition that is sooner; one that
    /// was sent is sent again; it is told to be accepted, or arrives.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Send(usize),
        Overtake(usize),
        SendAgain(usize),
        Accept(usize),
        Arrive(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..3usize).prop_map(Step::Send),
            1 => (0..3usize).prop_map(Step::Overtake),
            1 => (0..100usize).prop_map(Step::SendAgain),
            3 => (0..100usize).prop_map(Step::Accept),
            4 => (0..100usize).prop_map(Step::Arrive),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Against the same counted with maps and lists, whatever the history.
        #[test]
        fn a_history_is_counted_as_a_simple_model_counts_it(steps in steps()) {
            let orders = Orders::new(3);
            let mut keys = Vec::new();
            let mut accepted: Vec<usize> = Vec::new();
            // By order: the orders of its key that had been accepted when it was sent.
            let mut before: Vec<Option<usize>> = Vec::new();
            let mut arrivals: Vec<usize> = Vec::new();
            for step in steps {
                match step {
                    Step::Send(key) => {
                        let number = keys.len();
                        before.push(accepted.iter().copied().filter(|other| keys[*other] == key).max());
                        keys.push(key);
                        orders.sent(number as u64, key);
                    }
                    Step::Overtake(key) => {
                        before.push(None);
                        orders.repeated(keys.len() as u64);
                        keys.push(key);
                    }
                    Step::SendAgain(number) if number < keys.len() => {
                        orders.sent(number as u64, keys[number]);
                        orders.repeated(number as u64);
                    }
                    Step::Accept(number) if number < keys.len() => {
                        accepted.push(number);
                        orders.accepted(number as u64, keys[number]);
                    }
                    Step::Arrive(number) if number < keys.len() => {
                        arrivals.push(number);
                        orders.arrived(number as u64);
                    }
                    Step::SendAgain(_) | Step::Accept(_) | Step::Arrive(_) => {}
                }
            }
            let mut first = HashMap::new();
            for (at, number) in arrivals.iter().enumerate() {
                first.entry(*number).or_insert(at);
            }
            accepted.sort_unstable();
            accepted.dedup();
            let late = |number: &usize| before[*number].and_then(|b| first.get(&b)).is_some_and(|b| *b > first[number]);
            let model = Delivery {
                accepted: accepted.len() as u64,
                arrived: accepted.iter().filter(|n| first.contains_key(n)).count() as u64,
                lost: accepted.iter().filter(|n| !first.contains_key(n)).count() as u64,
                duplicated: (arrivals.len() - first.len()) as u64,
                out_of_order: first.keys().filter(|n| late(n)).count() as u64,
                unacknowledged: first.keys().filter(|n| !accepted.contains(n)).count() as u64,
                ..Delivery::NONE
            };
            prop_assert_eq!(orders.outstanding(), model.lost);
            prop_assert_eq!(orders.delivery(), model);
        }
    }
}
