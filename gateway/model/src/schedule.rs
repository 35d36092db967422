//! The fair queue of one sink: whose waiting deliveries get its next free slots. Pure, and in memory only: it knows how
//! many deliveries wait, not which. Times are milliseconds since the epoch.
//!
//! - Lanes take turns of 8, 4, 2 and 1 slots, the most urgent first.
//! - The tenants of a lane take turns of one slot, whatever the number of their deliveries. What comes first within a
//!   tenant is the caller's business.
//! - A quarter of the sink's slots is kept free for critical deliveries.
//! - A lane that waits and was not offered anything for a minute comes first, wherever the turns are. The minute counts
//!   from the first pick that finds it waiting.
//!
//! It also remembers since when something of a tenant may be due, so that whoever looks it up need not pass what is older
//! and others'.
//!
//! Memory is bounded by the pairs of lane and tenant that have something waiting; whatever is done to one pair takes
//! time that is logarithmic in their number.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::lane::Lane;

const LANES: usize = Lane::ALL.len();

/// Slots that a turn of each lane has.
const WEIGHTS: [usize; LANES] = [8, 4, 2, 1];

/// Critical deliveries have one in so many slots for themselves.
const RESERVED_ONE_IN: usize = 4;

/// A lane that was not offered anything for so long comes first, milliseconds.
pub const STARVATION: u64 = 60_000;

/// The free slots of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// All of them.
    free: usize,
    /// Those that anyone may have; the others are for critical deliveries.
    common: usize,
}

impl Slots {
    /// What is left of `concurrency` while so many deliveries of the critical lane and of the others are in flight. A
    /// quarter of them is reserved, none where there are fewer than four.
    pub fn new(concurrency: usize, critical: usize, others: usize) -> Self {
        let free = concurrency.saturating_sub(critical.saturating_add(others));
        let unreserved = concurrency - concurrency / RESERVED_ONE_IN;
        Slots { free, common: unreserved.saturating_sub(others).min(free) }
    }

    /// All of them, whoever may have them.
    pub fn free(self) -> usize {
        self.free
    }

    /// Those that anyone may have.
    pub fn common(self) -> usize {
        self.common
    }

    fn of(self, lane: Lane) -> usize {
        if lane == Lane::Critical { self.free } else { self.common }
    }

    fn take(&mut self, lane: Lane, count: usize) {
        self.free -= count;
        if lane != Lane::Critical {
            self.common -= count;
        }
        self.common = self.common.min(self.free);
    }
}

/// What waits for one sink, and whose turn it is.
#[derive(Debug)]
pub struct Schedule {
    queues: [Queue; LANES],
    /// Position of the lane whose turn it is.
    turn: usize,
    /// Number of the next place at the end of a rotation.
    place: u64,
    /// How often more began to wait.
    arrivals: u64,
    /// Who is skipped, and until when.
    skipped: BTreeSet<(u64, Lane, Arc<str>)>,
}

/// One lane.
#[derive(Debug)]
struct Queue {
    tenants: HashMap<Arc<str>, Waiting>,
    /// The tenants that are not skipped, by their places: the first is next.
    rotation: BTreeMap<u64, Arc<str>>,
    /// Deliveries of the tenants in `rotation`.
    eligible: u64,
    /// Slots left of the lane's turn.
    left: usize,
    /// When it was offered a slot last, or seen waiting first; none where nothing is eligible.
    since: Option<u64>,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// The lane.
    pub lane: Lane,
    /// The tenant.
    pub tenant: Arc<str>,
    /// How many deliveries it may have taken.
    pub slots: usize,
    /// Nothing of it is due before.
    pub from: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// At least one.
    count: u64,
    /// None of what waited at the last look is due before.
    earliest: u64,
    /// The earliest due time of what came since.
    since: u64,
    /// Which of the schedule's arrivals was the last one here.
    arrived: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the rotation.
    At(u64),
    /// Skipped until then.
    Skipped(u64),
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule { queues: WEIGHTS.map(Queue::new), turn: 0, place: 0, arrivals: 0, skipped: BTreeSet::new() }
    }
}

impl Queue {
    fn new(left: usize) -> Self {
        Queue { tenants: HashMap::new(), rotation: BTreeMap::new(), eligible: 0, left, since: None }
    }
}

impl Schedule {
    /// Counts deliveries that began to wait, the first of them due at `due`. A tenant that is skipped is not any more: they
    /// may be due at once.
    pub fn came(&mut self, lane: Lane, tenant: &Arc<str>, count: u64, due: u64) {
        if count == 0 {
            return;
        }
        self.arrivals += 1;
        let after = match self.waiting(lane, tenant) {
            Some(before) => Waiting {
                count: before.count.saturating_add(count),
                since: before.since.min(due),
                arrived: self.arrivals,
                place: if let Place::At(_) = before.place { before.place } else { self.last_place() },
                ..before
            },
            None => {
                let (earliest, arrived, place) = (u64::MAX, self.arrivals, self.last_place());
                Waiting { count, earliest, since: due, arrived, place }
            }
        };
        self.put(lane, tenant, Some(after));
    }

    /// Counts deliveries that no longer wait: leased, held, blocked or at an end.
    pub fn went(&mut self, lane: Lane, tenant: &Arc<str>, count: u64) {
        if let Some(before) = self.waiting(lane, tenant) {
            let count = before.count.saturating_sub(count);
            self.put(lane, tenant, (count > 0).then_some(Waiting { count, ..before }));
        }
    }

    /// How many deliveries wait, by lane and tenant.
    pub fn waiting_counts(&self) -> BTreeMap<(Lane, Arc<str>), u64> {
        let of = |(lane, queue): (Lane, &Queue)| {
            queue
                .tenants
                .iter()
                .map(move |(tenant, waiting)| ((lane, tenant.clone()), waiting.count))
                .collect::<Vec<_>>()
        };
        Lane::ALL.into_iter().zip(&self.queues).flat_map(of).collect()
    }

    /// How often more began to wait: what a caller notes at a pick, for [`Schedule::not_due`].
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Whether anything can be picked, given slots for it.
    pub fn has_eligible(&self) -> bool {
        self.queues.iter().any(|queue| queue.eligible > 0)
    }

    /// Whether a critical delivery can be picked now, or something whose time has come.
    pub fn is_urgent(&self, now: u64) -> bool {
        self.queues[Lane::Critical as usize].eligible > 0 || self.next_due().is_some_and(|until| until <= now)
    }

    /// Which tenants get how many of the free slots: as many in all as there are, or as eligible deliveries wait. The
    /// caller takes that many deliveries of each, the oldest due time first, and reports them by [`Schedule::went`]; where
    /// it finds fewer that are due, it says so by [`Schedule::not_due`] and picks again. One look at a time: what it saw is
    /// reported before the next pick.
    pub fn pick(&mut self, slots: Slots, now: u64) -> Vec<Pick> {
        self.stop_skipping(now);
        let shares = self.shares(slots, now);
        let mut picked = Vec::new();
        for (lane, share) in Lane::ALL.into_iter().zip(shares) {
            self.deal(lane, share, &mut picked);
        }
        picked
    }

    /// Nothing of what waited here at the pick, and was not taken since, is due before `due`.
    pub fn looked(&mut self, lane: Lane, tenant: &Arc<str>, due: u64) {
        if let Some(waiting) = self.waiting(lane, tenant) {
            self.put(lane, tenant, Some(Waiting { earliest: waiting.earliest.max(due), ..waiting }));
        }
    }

    /// The same, where `due` is yet to come: the tenant is skipped in this lane until then, or until more begins to wait,
    /// as it may have done already after `seen` arrivals.
    pub fn not_due(&mut self, lane: Lane, tenant: &Arc<str>, due: u64, seen: u64) {
        self.looked(lane, tenant, due);
        if let Some(waiting) = self.waiting(lane, tenant).filter(|waiting| waiting.arrived <= seen) {
            self.put(lane, tenant, Some(Waiting { place: Place::Skipped(due), ..waiting }));
        }
    }

    /// When something of a tenant may be due at the earliest, for a look at it: what comes from now on is not in this.
    pub fn look(&mut self, lane: Lane, tenant: &Arc<str>) -> u64 {
        let Some(waiting) = self.waiting(lane, tenant) else { return 0 };
        let from = waiting.earliest.min(waiting.since);
        self.put(lane, tenant, Some(Waiting { earliest: from, since: u64::MAX, ..waiting }));
        from
    }

    /// When the first of those that are skipped is due: the time to pick again, for who finds nothing to pick now.
    pub fn next_due(&self) -> Option<u64> {
        self.skipped.first().map(|(until, ..)| *until)
    }

    /// How many slots each lane gets.
    fn shares(&mut self, mut slots: Slots, now: u64) -> [usize; LANES] {
        let mut shares = [0; LANES];
        for lane in self.starving(now) {
            let open = self.open(lane, slots, &shares).min(1);
            self.grant(lane, open, &mut slots, &mut shares);
        }
        while Lane::ALL.into_iter().any(|lane| self.open(lane, slots, &shares) > 0) {
            let lane = Lane::ALL[self.turn];
            let open = self.open(lane, slots, &shares).min(self.queues[self.turn].left);
            self.grant(lane, open, &mut slots, &mut shares);
            let queue = &mut self.queues[self.turn];
            if queue.left == 0 || queue.eligible <= shares[self.turn] as u64 {
                queue.left = WEIGHTS[self.turn];
            } else if slots.free == 0 {
                // In the middle of its turn, which goes on with the next pick.
                break;
            }
            self.turn = (self.turn + 1) % LANES;
        }
        for (queue, share) in self.queues.iter_mut().zip(shares) {
            if share > 0 {
                queue.since = Some(now);
            }
        }
        shares
    }

    /// The lanes that wait for too long, the longest first.
    fn starving(&mut self, now: u64) -> Vec<Lane> {
        let mut starving = Vec::new();
        for (lane, queue) in Lane::ALL.into_iter().zip(&mut self.queues).filter(|(_, queue)| queue.eligible > 0) {
            // Never in the future: a clock that was set back must not make anyone wait longer.
            let since = queue.since.map_or(now, |since| since.min(now));
            queue.since = Some(since);
            if now - since >= STARVATION {
                starving.push((since, lane));
            }
        }
        starving.sort_unstable();
        starving.into_iter().map(|(_, lane)| lane).collect()
    }

    /// How many more slots a lane could use.
    fn open(&self, lane: Lane, slots: Slots, shares: &[usize; LANES]) -> usize {
        let eligible = usize::try_from(self.queues[lane as usize].eligible).unwrap_or(usize::MAX);
        slots.of(lane).min(eligible.saturating_sub(shares[lane as usize]))
    }

    fn grant(&mut self, lane: Lane, count: usize, slots: &mut Slots, shares: &mut [usize; LANES]) {
        slots.take(lane, count);
        shares[lane as usize] += count;
        let left = &mut self.queues[lane as usize].left;
        *left = left.saturating_sub(count);
    }

    /// Deals a lane's share, at most its eligible deliveries, to its tenants, one slot at a time.
    fn deal(&mut self, lane: Lane, share: usize, picked: &mut Vec<Pick>) {
        let queue = &self.queues[lane as usize];
        let next = queue.rotation.values().take(share);
        let mut turns: VecDeque<(Arc<str>, usize)> = next.map(|tenant| (tenant.clone(), 0)).collect();
        let mut served = Vec::new();
        for _ in 0..share {
            let Some((tenant, slots)) = turns.pop_front().map(|(tenant, slots)| (tenant, slots + 1)) else { break };
            let more = queue.tenants.get(&tenant).is_some_and(|waiting| waiting.count > slots as u64);
            match more {
                true => turns.push_back((tenant, slots)),
                false => served.push((tenant, slots)),
            }
        }
        // Who has more waiting stands before who has not, each in the order of the next turns.
        for (tenant, slots) in turns.into_iter().chain(served) {
            let place = self.last_place();
            if let Some(waiting) = self.waiting(lane, &tenant) {
                self.put(lane, &tenant, Some(Waiting { place, ..waiting }));
            }
            let from = self.look(lane, &tenant);
            picked.push(Pick { lane, tenant, slots, from });
        }
    }

    fn stop_skipping(&mut self, now: u64) {
        while self.next_due().is_some_and(|until| until <= now) {
            let Some((_, lane, tenant)) = self.skipped.pop_first() else { return };
            let place = self.last_place();
            if let Some(waiting) = self.waiting(lane, &tenant) {
                self.put(lane, &tenant, Some(Waiting { place, ..waiting }));
            }
        }
    }

    fn waiting(&self, lane: Lane, tenant: &str) -> Option<Waiting> {
        self.queues[lane as usize].tenants.get(tenant).copied()
    }

    fn last_place(&mut self) -> Place {
        self.place += 1;
        Place::At(self.place)
    }

    /// Puts `after` in the place of what is known of a tenant, and keeps the rotation and the list of the skipped in
    /// step with it.
    fn put(&mut self, lane: Lane, tenant: &Arc<str>, after: Option<Waiting>) {
        let queue = &mut self.queues[lane as usize];
        let before = match after {
            Some(waiting) => queue.tenants.insert(tenant.clone(), waiting),
            None => queue.tenants.remove(tenant),
        };
        match before {
            Some(Waiting { count, place: Place::At(place), .. }) => {
                queue.rotation.remove(&place);
                queue.eligible = queue.eligible.saturating_sub(count);
            }
            Some(Waiting { place: Place::Skipped(until), .. }) => {
                self.skipped.remove(&(until, lane, tenant.clone()));
            }
            None => {}
        }
        match after {
            Some(Waiting { count, place: Place::At(place), .. }) => {
                queue.rotation.insert(place, tenant.clone());
                queue.eligible = queue.eligible.saturating_add(count);
            }
            Some(Waiting { place: Place::Skipped(until), .. }) => {
                self.skipped.insert((until, lane, tenant.clone()));
            }
            None => {}
        }
        if queue.eligible == 0 {
            queue.since = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
