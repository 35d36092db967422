//! Pass lines over the last seconds of a run that goes on: `--abort-on error>20%`.

use std::collections::{BTreeMap, VecDeque};

use super::{Observed, Slo};
use crate::record::{Digits, OTHERS, SHOWN_TENANTS, Second, Tally};

/// Longest window, seconds.
pub const MAX_WINDOW: usize = 600;

/// Lines of which each ends the run once it is true over the last seconds.
#[derive(Debug)]
pub struct Watch {
    lines: Slo,
    window: usize,
    seconds: VecDeque<Second>,
}

/// Lines that cannot be watched.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WatchError {
    /// Only known afterwards.
    #[error("{0} is known only once the run is over; it belongs in --slo")]
    NotLive(String),
    /// No window.
    #[error("a window of {0} s; 1 to {MAX_WINDOW} are possible")]
    Window(usize),
}

impl Watch {
    /// Over a sliding window of so many whole seconds.
    ///
    /// # Errors
    /// When a line asks for what is known only afterwards, or the window is none.
    pub fn new(lines: Slo, window: usize) -> Result<Self, WatchError> {
        if let Some(line) = lines.lines.iter().find(|line| !line.measure.is_live()) {
            return Err(WatchError::NotLive(line.measure.to_string()));
        }
        if !(1..=MAX_WINDOW).contains(&window) {
            return Err(WatchError::Window(window));
        }
        Ok(Watch { lines, window, seconds: VecDeque::new() })
    }

    /// Takes the next second. Says which line is true, and of what, once the window is full; a line of which nothing was
    /// seen is not.
    pub fn second(&mut self, second: Second) -> Option<String> {
        self.seconds.push_back(second);
        if self.seconds.len() < self.window {
            return None;
        }
        let (all, tenants) = merged(self.seconds.iter());
        self.seconds.pop_front();
        let observed = Observed { all: &all, tenants: &tenants, seconds: self.window as f64, delivery: None };
        let verdict = self.lines.judge(observed);
        let line = verdict.lines.into_iter().find(|line| line.holds)?;
        Some(format!("{}: {} over the last {} s", line.wanted, line.seen, self.window))
    }
}

/// Several seconds as one.
pub(crate) fn merged<'a>(seconds: impl Iterator<Item = &'a Second>) -> (Tally, BTreeMap<String, Tally>) {
    let mut all = Tally::new(Digits::Two);
    let mut tenants: BTreeMap<String, Tally> = BTreeMap::new();
    for second in seconds {
        all.merge(&second.all);
        for (name, tally) in &second.tenants {
            // No more names than a second may have, whatever a file says.
            let name = if tenants.len() > SHOWN_TENANTS && !tenants.contains_key(name) { OTHERS } else { name };
            tenants.entry(name.to_owned()).or_insert_with(|| Tally::new(Digits::Two)).merge(tally);
        }
    }
    (all, tenants)
}
