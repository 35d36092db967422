//! What a sending thread saw, for itself; merged at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::{Digits, Exchange, OTHERS, Recording, SHOWN_TENANTS, Second, Tally};

/// Beyond so many tenants, each one's histograms have two digits, to fit into memory and caches.
const EXACT_TENANTS: usize = 100;

/// Tallies by place; those without anything take no memory.
pub type Cells = Vec<Option<Box<Tally>>>;

/// Counts on one thread.
pub struct Recorder {
    all: Tally,
    tenants: Cells,
    digits: Digits,
    /// By second, then by tenant: those with a name, and one for all others.
    seconds: Vec<Cells>,
    /// Seconds that were packed.
    packed: usize,
    /// What ended since it was last taken.
    live: Cells,
    last_end: Duration,
}

impl Recorder {
    pub fn new(tenants: usize) -> Self {
        let digits = if tenants > EXACT_TENANTS { Digits::Two } else { Digits::Three };
        Recorder {
            all: Tally::new(Digits::Three),
            tenants: cells(tenants),
            digits,
            seconds: Vec::new(),
            packed: 0,
            live: shown(),
            last_end: Duration::ZERO,
        }
    }

    /// Counts a request that was sent.
    pub fn record(&mut self, exchange: &Exchange) {
        // One that was given up ended by the time limit, which says nothing about when answers came.
        if exchange.status.is_some() {
            self.last_end = self.last_end.max(exchange.ended);
        }
        self.each(exchange.tenant, exchange.intended, |tally| tally.record(exchange));
    }

    /// Counts moments of a tenant that passed without a request.
    pub fn record_unsent(&mut self, tenant: usize, intended: Duration, moments: u64) {
        self.each(tenant, intended, |tally| tally.record_all_unsent(moments));
    }

    fn each(&mut self, tenant: usize, intended: Duration, count: impl Fn(&mut Tally)) {
        count(&mut self.all);
        if let Some(cell) = self.tenants.get_mut(tenant) {
            count(cell.get_or_insert_with(|| Box::new(Tally::new(self.digits))));
        }
        let second = intended.as_secs() as usize;
        if self.seconds.len() <= second {
            self.seconds.resize_with(second + 1, shown);
        }
        let place = tenant.min(SHOWN_TENANTS);
        for cells in [&mut self.seconds[second], &mut self.live] {
            count(cells[place].get_or_insert_with(|| Box::new(Tally::new(Digits::Two))));
        }
    }

    /// What ended since the last call.
    pub fn take_live(&mut self) -> Cells {
        std::mem::replace(&mut self.live, shown())
    }

    /// Puts back what nobody could take.
    pub fn put_back(&mut self, live: &Cells) {
        merge(&mut self.live, live, Digits::Two);
    }

    /// Packs the seconds before this one: little will come to them any more.
    pub fn pack(&mut self, before: usize) {
        let before = before.min(self.seconds.len());
        for second in self.seconds.iter_mut().take(before).skip(self.packed) {
            second.iter_mut().flatten().for_each(|tally| tally.pack());
        }
        self.packed = before.max(self.packed);
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: &Recorder) {
        self.all.merge(&other.all);
        merge(&mut self.tenants, &other.tenants, self.digits);
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), shown);
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            merge(mine, theirs, Digits::Two);
            mine.iter_mut().flatten().for_each(|tally| tally.pack());
        }
        self.last_end = self.last_end.max(other.last_end);
    }

    /// All of it under the tenants' names, with an entry for every second until `lasted`.
    pub fn recording(mut self, names: &[String], lasted: Duration) -> Recording {
        self.pack(usize::MAX);
        let until = lasted.as_secs_f64().ceil() as usize;
        if self.seconds.len() < until {
            self.seconds.resize_with(until, shown);
        }
        let mut tenants = BTreeMap::new();
        for (name, tally) in names.iter().zip(self.tenants) {
            let tally = tally.map_or_else(|| Tally::new(self.digits), |tally| *tally);
            // Two of one name are one.
            tenants.entry(name.clone()).and_modify(|same: &mut Tally| same.merge(&tally)).or_insert(tally);
        }
        Recording {
            seconds_measured: self.last_end.max(lasted).as_secs_f64(),
            all: self.all,
            tenants,
            seconds: self.seconds.into_iter().map(|cells| second(cells, names)).collect(),
        }
    }
}

/// For a time line: the tenants that have a name there, and the others.
pub fn shown() -> Cells {
    cells(SHOWN_TENANTS + 1)
}

fn cells(count: usize) -> Cells {
    std::iter::repeat_with(|| None).take(count).collect()
}

/// Adds tallies to those at the same places.
pub fn merge(mine: &mut Cells, theirs: &Cells, digits: Digits) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        if let Some(theirs) = theirs {
            mine.get_or_insert_with(|| Box::new(Tally::new(digits))).merge(theirs);
        }
    }
}

/// A second with its tenants' names.
pub fn second(cells: Cells, names: &[String]) -> Second {
    let mut second = Second { all: Tally::new(Digits::Two), tenants: BTreeMap::new() };
    for (place, tally) in cells.into_iter().enumerate() {
        let Some(tally) = tally else { continue };
        second.all.merge(&tally);
        let name = if place < SHOWN_TENANTS { names.get(place).map_or(OTHERS, String::as_str) } else { OTHERS };
        second.tenants.entry(name.to_owned()).and_modify(|same| same.merge(&tally)).or_insert(*tally);
    }
    second.all.pack();
    second.tenants.values_mut().for_each(Tally::pack);
    second
}
