//! Several loads at once, and what all of them saw as one.

use std::collections::BTreeMap;

use crate::load::Run;
use crate::record::{Digits, Recording, Second, Tally};
use crate::result::Generator;

/// What one load saw, and when it began, in whole seconds from the first moment.
pub(super) type Seen = (u64, Run);

/// All recordings as one, by the seconds of the whole.
pub(super) fn recording(streams: &[Seen]) -> Recording {
    let empty = || Second { all: Tally::new(Digits::Two), tenants: BTreeMap::new() };
    let mut whole = Recording {
        seconds_measured: 0.0,
        all: Tally::new(Digits::Three),
        tenants: BTreeMap::new(),
        seconds: Vec::new(),
    };
    for (from, Run { recording, .. }) in streams {
        whole.seconds_measured = whole.seconds_measured.max(*from as f64 + recording.seconds_measured);
        whole.all.merge(&recording.all);
        merge_tenants(&mut whole.tenants, &recording.tenants, Digits::Three);
        for (n, second) in recording.seconds.iter().enumerate() {
            let n = n + *from as usize;
            if whole.seconds.len() <= n {
                whole.seconds.resize_with(n + 1, empty);
            }
            merge_second(&mut whole.seconds[n], second);
        }
    }
    whole
}

/// Adds a second of another load.
pub(super) fn merge_second(into: &mut Second, second: &Second) {
    into.all.merge(&second.all);
    merge_tenants(&mut into.tenants, &second.tenants, Digits::Two);
}

fn merge_tenants(into: &mut BTreeMap<String, Tally>, tenants: &BTreeMap<String, Tally>, digits: Digits) {
    for (name, tally) in tenants {
        into.entry(name.clone()).or_insert_with(|| Tally::new(digits)).merge(tally);
    }
}

/// The health of all generators, which are one process: the worst of each.
pub(super) fn generator(streams: &[Seen]) -> Option<Generator> {
    let mut all = streams.iter().map(|(_, run)| &run.generator);
    let mut whole = all.next()?.clone();
    for other in all {
        whole.threads += other.threads;
        whole.busiest_thread = whole.busiest_thread.max(other.busiest_thread);
        whole.cpu_seconds = whole.cpu_seconds.max(other.cpu_seconds);
        whole.lag_p99_us = whole.lag_p99_us.max(other.lag_p99_us);
        whole.lag_max_us = whole.lag_max_us.max(other.lag_max_us);
        whole.descriptors.0 = whole.descriptors.0.max(other.descriptors.0);
        if other.clock_step_seconds.abs() > whole.clock_step_seconds.abs() {
            whole.clock_step_seconds = other.clock_step_seconds;
        }
        for (into, from) in [(&mut whole.invalid, &other.invalid), (&mut whole.warnings, &other.warnings)] {
            into.extend(from.iter().filter(|text| !into.contains(text)).cloned().collect::<Vec<_>>());
        }
    }
    Some(whole)
}
