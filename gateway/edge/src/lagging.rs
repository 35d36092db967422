//! Plugins that serve less than their rollouts say, because not all of it could be loaded: when each is tried again.

use std::collections::HashMap;

use parking_lot::Mutex;
use sluis_ledger::PluginId;

/// Tries after the one that failed first: a little more than an hour of them.
const TRIES: u32 = 12;
/// Time before the first of them, monotonic nanoseconds; before each further one it is twice as long.
const PAUSE: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lagging(Mutex<HashMap<PluginId, Try>>);

/// The next one of a plugin.
#[derive(Debug, Clone, Copy)]
struct Try {
    number: u32,
    /// Monotonic nanoseconds.
    due: u64,
}

impl Lagging {
    /// The try with this number did not do, where 0 is an order's own. Whether there will be another one.
    pub fn failed(&self, id: PluginId, number: u32, now: u64) -> bool {
        let mut waiting = self.0.lock();
        if number >= TRIES {
            waiting.remove(&id);
            return false;
        }
        waiting.insert(id, Try { number: number + 1, due: now.saturating_add(PAUSE << number) });
        true
    }

    /// The plugin serves what its rollout says.
    pub fn caught_up(&self, id: &PluginId) {
        self.0.lock().remove(id);
    }

    /// The plugin that has waited longest of those whose time has come, and the number of its try.
    pub fn due(&self, now: u64) -> Option<(PluginId, u32)> {
        let waiting = self.0.lock();
        let due = waiting.iter().filter(|(_, next)| next.due <= now);
        due.min_by_key(|(_, next)| next.due).map(|(id, next)| (id.clone(), next.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> PluginId {
        PluginId { tenant: "acme".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn tries_become_rarer_and_have_an_end() {
        let lagging = Lagging::default();
        let mut now = 0;
        assert!(lagging.failed(plugin("orders"), 0, now));
        for number in 1..=TRIES {
            let pause = PAUSE << (number - 1);
            assert_eq!(lagging.due(now + pause - 1), None, "try {number}");
            now += pause;
            assert_eq!(lagging.due(now), Some((plugin("orders"), number)));
            assert_eq!(lagging.failed(plugin("orders"), number, now), number < TRIES);
        }
        assert_eq!(lagging.due(u64::MAX), None);
        assert!((3_600..4_200).contains(&(now / 1_000_000_000)), "{now}");
    }

    #[test]
    fn whoever_waits_longest_is_next_and_what_has_caught_up_waits_no_more() {
        let lagging = Lagging::default();
        lagging.failed(plugin("late"), 0, 2);
        lagging.failed(plugin("early"), 0, 1);
        assert_eq!(lagging.due(PAUSE + 2), Some((plugin("early"), 1)));
        lagging.caught_up(&plugin("early"));
        assert_eq!(lagging.due(PAUSE + 2), Some((plugin("late"), 1)));
        // An order that failed begins anew.
        lagging.failed(plugin("late"), 1, PAUSE + 2);
        lagging.failed(plugin("late"), 0, PAUSE + 2);
        assert_eq!(lagging.due(2 * PAUSE + 2), Some((plugin("late"), 1)));
    }
}
