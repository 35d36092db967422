//! Several agents' figures as one: counts added, histograms merged without loss.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::Done;
use crate::load::Progress;
use crate::record::{Digits, Recording, Second, Tally};
use crate::result::Generator;

/// A second is told at the latest when one agent is so many ahead of the slowest.
const BEHIND: u64 = 3;

/// Recordings of shares of one run.
pub fn recording(parts: &[(String, Done)]) -> Recording {
    let mut whole = Recording {
        seconds_measured: 0.0,
        all: Tally::new(Digits::Three),
        tenants: BTreeMap::new(),
        seconds: Vec::new(),
    };
    for (_, part) in parts {
        let part = &part.recording;
        whole.seconds_measured = whole.seconds_measured.max(part.seconds_measured);
        whole.all.merge(&part.all);
        tenants(&mut whole.tenants, &part.tenants, Digits::Three);
        for (index, second) in part.seconds.iter().enumerate() {
            if whole.seconds.len() <= index {
                whole.seconds.push(empty());
            }
            add(&mut whole.seconds[index], second);
        }
    }
    whole
}

/// What is wrong with one generator is wrong with the whole; the worst of each stands for all.
pub fn generator(parts: &[(String, Done)]) -> Generator {
    let mut whole = Generator::default();
    for (agent, Done { generator: part, .. }) in parts {
        whole.threads += part.threads;
        whole.busiest_thread = whole.busiest_thread.max(part.busiest_thread);
        whole.cpu_seconds += part.cpu_seconds;
        whole.lag_p99_us = whole.lag_p99_us.max(part.lag_p99_us);
        whole.lag_max_us = whole.lag_max_us.max(part.lag_max_us);
        whole.descriptors = whole.descriptors.max(part.descriptors);
        if part.clock_step_seconds.abs() > whole.clock_step_seconds.abs() {
            whole.clock_step_seconds = part.clock_step_seconds;
        }
        let named = |text: &String| format!("agent {agent}: {text}");
        whole.invalid.extend(part.invalid.iter().map(named));
        whole.warnings.extend(part.warnings.iter().map(named));
    }
    whole
}

/// Seconds as they come from several agents, told when all have told theirs or some are too far behind.
#[derive(Default)]
pub struct Seconds {
    waiting: BTreeMap<u64, (usize, usize, Second)>,
    told: u64,
}

impl Seconds {
    /// Takes one agent's second, and gives those that are whole. `agents` are under way.
    pub fn add(&mut self, elapsed: Duration, second: &Second, under_way: usize, agents: usize) -> Vec<Progress> {
        // Told a little after its end; late ones go with the next that is told.
        let number = elapsed.as_secs().max(self.told + 1);
        let (count, on_their_way, sum) = self.waiting.entry(number).or_insert_with(|| (0, 0, empty()));
        *count += 1;
        *on_their_way += under_way;
        add(sum, second);
        let newest = self.waiting.keys().next_back().copied().unwrap_or(number);
        let mut whole = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.get().0 < agents && entry.key() + BEHIND > newest {
                break;
            }
            let (number, (_, under_way, second)) = entry.remove_entry();
            self.told = number;
            whole.push(Progress { elapsed: Duration::from_secs(number), second, under_way });
        }
        whole
    }
}

fn empty() -> Second {
    Second { all: Tally::new(Digits::Two), tenants: BTreeMap::new() }
}

fn add(to: &mut Second, second: &Second) {
    to.all.merge(&second.all);
    tenants(&mut to.tenants, &second.tenants, Digits::Two);
}

fn tenants(to: &mut BTreeMap<String, Tally>, from: &BTreeMap<String, Tally>, digits: Digits) {
    for (name, tally) in from {
        to.entry(name.clone()).or_insert_with(|| Tally::new(digits)).merge(tally);
    }
}
