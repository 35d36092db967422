//! Retries past a sink's budget: a tenant's go one after the other, the slower the more tenants wait, so that what one
//! tenant's events meet does not put off another's. Pure; times are milliseconds since the epoch.

use std::collections::HashMap;
use std::sync::Arc;

/// Tenants that have nothing put off any more are looked for this often, in milliseconds.
const SWEEP: u64 = 1_000;

/// When each tenant's last one goes. Holds tenants that have something put off, and for a second those that had.
#[derive(Debug, Default)]
pub struct RetryQueue {
    last: HashMap<Arc<str>, u64>,
    swept_at: u64,
}

impl RetryQueue {
    /// Puts a retry off: not before `not_before`, `gap` after the one before it for each tenant that waits, and at `latest`
    /// at the latest, however many there are. Answers when it goes.
    pub fn put_off(&mut self, tenant: &Arc<str>, gap: u64, not_before: u64, latest: u64, now: u64) -> u64 {
        // Also after the clock was set back.
        if now.abs_diff(self.swept_at) >= SWEEP {
            self.last.retain(|_, last| *last > now);
            self.swept_at = now;
        }
        let others = self.last.len() - usize::from(self.last.contains_key(tenant));
        let last = self.last.entry(Arc::clone(tenant)).or_default();
        let turn = last.saturating_add(gap.saturating_mul(others as u64 + 1));
        let at = turn.max(not_before).min(latest);
        *last = at.max(*last);
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_flood_of_one_tenant_puts_off_no_other_tenant() {
        let (flood, other): (Arc<str>, Arc<str>) = ("flood".into(), "other".into());
        let mut queue = RetryQueue::default();
        let times: Vec<u64> = (0..100_000).map(|_| queue.put_off(&flood, 100, NOW + 40, NOW + HOUR, NOW)).collect();
        assert_eq!(times[..3], [NOW + 40, NOW + 140, NOW + 240]);
        assert_eq!(times.last(), Some(&(NOW + HOUR)), "nor itself for ever");
        assert_eq!(queue.put_off(&other, 100, NOW + 40, NOW + HOUR, NOW), NOW + 40);
        assert_eq!(queue.put_off(&other, 100, NOW + 40, NOW + HOUR, NOW), NOW + 240, "each its turn");
    }

    #[test]
    fn tenants_that_have_nothing_put_off_are_forgotten() {
        let mut queue = RetryQueue::default();
        for tenant in 0..1_000 {
            queue.put_off(&format!("tenant-{tenant}").into(), 100, NOW + 10, NOW + HOUR, NOW);
        }
        let alone = NOW + HOUR;
        assert_eq!(queue.put_off(&"late".into(), 100, alone + 10, alone + HOUR, alone), alone + 10);
        assert_eq!(queue.last.len(), 1);
    }

    proptest! {
        /// Where nothing is cut at the latest time: the k-th tenant that came has a k-th of the floor at most, beside its
        /// first, and a tenant's go in their order.
        #[test]
        fn who_comes_later_shares_the_floor(tenants in proptest::collection::vec(0usize..6, 1..200)) {
            let mut queue = RetryQueue::default();
            let mut of: Vec<(usize, Vec<u64>)> = Vec::new();
            for tenant in tenants {
                let at = queue.put_off(&tenant.to_string().into(), 100, NOW, u64::MAX, NOW);
                match of.iter_mut().find(|(who, _)| *who == tenant) {
                    Some((_, times)) => times.push(at),
                    None => of.push((tenant, vec![at])),
                }
            }
            for (k, (_, times)) in of.iter().enumerate() {
                prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 100 * (k as u64 + 1)), "{:?}", times);
            }
        }

        #[test]
        fn absurd_times_do_no_harm(times in proptest::collection::vec(any::<[u64; 4]>(), 1..20)) {
            let mut queue = RetryQueue::default();
            for [gap, not_before, latest, now] in times {
                prop_assert!(queue.put_off(&"acme".into(), gap, not_before, latest, now) <= latest);
            }
        }
    }
}
