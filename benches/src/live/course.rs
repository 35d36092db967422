//! What the view remembers of a run, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Moment;
use crate::record::{Digits, SHOWN_TENANTS, Tally};
use crate::report::figures;
use crate::result::Mark;

/// Seconds that the small graphs can go back.
const HISTORY: usize = 600;
/// Tenants, breakers and marks remembered.
const MOST_TENANTS: usize = SHOWN_TENANTS + 1;
const MOST_BREAKERS: usize = 64;
const MOST_MARKS: usize = 64;

/// A second of the small graphs.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Requests that were due.
    pub offered: u64,
    /// Of them, answered.
    pub answered: u64,
    /// 99th percentile of the response time, µs; 0 where nothing was answered.
    pub p99_us: u64,
}

/// The run until now.
pub struct Course {
    /// What it is called.
    pub name: String,
    /// Of the schedule.
    pub length: Duration,
    /// Since the first moment.
    pub elapsed: Duration,
    /// Requests a second that the schedule wants.
    pub planned_rate: f64,
    /// The last second.
    pub last: Tally,
    /// All seconds together.
    pub whole: Tally,
    /// By tenant, all seconds together.
    pub tenants: BTreeMap<String, Tally>,
    /// Seconds passed, the newest last.
    pub history: VecDeque<Past>,
    /// As they were told last.
    pub breakers: Vec<(String, f64)>,
    /// The newest last.
    pub marks: Vec<Mark>,
    /// Marks told, of which `marks` may have forgotten the first.
    pub marks_told: usize,
}

impl Course {
    /// Before the first second.
    pub fn new(name: &str, length: Duration) -> Self {
        Course {
            name: name.to_owned(),
            length,
            elapsed: Duration::ZERO,
            planned_rate: 0.0,
            last: Tally::new(Digits::Two),
            whole: Tally::new(Digits::Three),
            tenants: BTreeMap::new(),
            history: VecDeque::new(),
            breakers: Vec::new(),
            marks: Vec::new(),
            marks_told: 0,
        }
    }

    /// Takes in a second.
    pub fn add(&mut self, moment: &Moment<'_>) {
        let all = &moment.second.all;
        self.elapsed = moment.elapsed;
        self.planned_rate = moment.planned_rate;
        self.last = all.clone();
        self.whole.merge(all);
        for (name, tally) in &moment.second.tenants {
            if self.tenants.len() < MOST_TENANTS || self.tenants.contains_key(name) {
                self.tenants.entry(name.clone()).or_insert_with(|| Tally::new(Digits::Two)).merge(tally);
            }
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let past = Past { offered: all.intended, answered: figures::answers(all), p99_us: all.response.at(0.99) };
        self.history.push_back(past);
        self.breakers = moment.breakers.iter().take(MOST_BREAKERS).cloned().collect();
        let newest = moment.marks.len().saturating_sub(MOST_MARKS);
        self.marks = moment.marks[newest..].to_vec();
        self.marks_told = moment.marks.len();
    }

    /// Until the schedule's end.
    pub fn left(&self) -> Duration {
        self.length.saturating_sub(self.elapsed)
    }
}
