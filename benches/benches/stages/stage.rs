//! What a stage is: one definition, timed by criterion and counted under callgrind.

use std::cell::LazyCell;

use tokio::runtime::Runtime;

use crate::house::House;

/// Built once somebody needs it.
pub type Shared = LazyCell<House>;

/// A stage that is prepared, and done as often as is wanted.
pub trait Turns {
    /// Makes what so many turns will use up. Not measured.
    fn ready(&mut self, _turns: u64) {}
    /// Does the stage's work so many times.
    fn take(&mut self, turns: u64);
}

impl<F: FnMut(u64)> Turns for F {
    fn take(&mut self, turns: u64) {
        self(turns);
    }
}

/// Prepared turns, which may borrow the house.
pub type Prepared<'h> = Box<dyn Turns + 'h>;

/// Work that can be measured by itself.
pub struct Stage {
    /// `group/name`, or `group/name/size`.
    pub name: String,
    /// What is done in one turn beside the stage's own work: another stage, whose cost does not count.
    pub beyond: Option<&'static str>,
    /// Pieces of work in one turn; counted figures are of one of them.
    pub pieces: u64,
    /// Turns take milliseconds: a few samples have to do.
    pub slow: bool,
    /// Why it cannot be counted, where it cannot.
    pub uncounted: Option<&'static str>,
    prepare: Box<dyn for<'h> Fn(&'h Shared) -> Prepared<'h>>,
}

impl Stage {
    /// A stage that `prepare` makes ready.
    pub fn new(name: impl Into<String>, prepare: impl for<'h> Fn(&'h Shared) -> Prepared<'h> + 'static) -> Stage {
        let prepare = Box::new(prepare);
        Stage { name: name.into(), beyond: None, pieces: 1, slow: false, uncounted: None, prepare }
    }

    /// The stage, less the cost of the stage of this name.
    pub fn beyond(self, other: &'static str) -> Stage {
        Stage { beyond: Some(other), ..self }
    }

    /// The stage, doing so many pieces of work in a turn.
    pub fn pieces(self, pieces: u64) -> Stage {
        Stage { pieces, ..self }
    }

    /// The stage, with turns that take milliseconds.
    pub fn slow(self) -> Stage {
        Stage { slow: true, ..self }
    }

    /// The stage, which is timed only, and why.
    pub fn uncounted(self, why: &'static str) -> Stage {
        Stage { uncounted: Some(why), ..self }
    }

    /// The stage, with its turns ready to be taken.
    pub fn prepare<'h>(&self, house: &'h Shared) -> Prepared<'h> {
        (self.prepare)(house)
    }
}

/// Turns of work that never waits.
pub fn turns<'h>(mut turn: impl FnMut() + 'h) -> Prepared<'h> {
    Box::new(move |turns: u64| {
        for _ in 0..turns {
            turn();
        }
    })
}

/// Turns of work that may wait, on the calling thread.
pub fn async_turns<'h>(runtime: &'h Runtime, mut turn: impl AsyncFnMut() + 'h) -> Prepared<'h> {
    Box::new(move |turns: u64| {
        runtime.block_on(async {
            for _ in 0..turns {
                turn().await;
            }
        });
    })
}

/// Things asked for in turn, so that not one alone is warm.
pub struct Cycle<T> {
    made: Vec<T>,
    at: usize,
}

impl<T> Cycle<T> {
    /// How many.
    const LENGTH: usize = 1_024;

    /// What `make` gives for some of the numbers below `count`: by a stride that is prime to every count, so that all of
    /// a few have their turn, and the others come in no order.
    pub fn of(count: usize, make: impl FnMut(usize) -> T) -> Self {
        Cycle { made: (0..Self::LENGTH).map(|n| n * 7_919 % count).map(make).collect(), at: 0 }
    }

    /// All of them.
    pub fn all(&self) -> &[T] {
        &self.made
    }

    /// The next in turn.
    pub fn next(&mut self) -> &T {
        self.at = (self.at + 1) % Self::LENGTH;
        &self.made[self.at]
    }
}
