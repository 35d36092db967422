//! Who is refused first where a store fills up: whatever is least urgent, so that there is still room for what matters.

use crate::lane::Lane;

/// How full a store is when it refuses lanes, in percent of what it may hold; at 100 not before it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shedding {
    /// Past this, lane low is refused.
    pub low: u8,
    /// Past this, lane normal is refused as well. High and critical ones are taken until the store is full.
    pub normal: u8,
}

impl Shedding {
    /// The least urgent lane that is taken where `used` of `whole` bytes are.
    pub fn least(&self, used: u64, whole: u64) -> Lane {
        let past = |percent: u8| u128::from(used) * 100 > u128::from(whole) * u128::from(percent);
        match () {
            () if past(self.normal) => Lane::High,
            () if past(self.low) => Lane::Normal,
            () => Lane::Low,
        }
    }
}

/// A file system, whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that are used.
    pub used: u64,
    /// Bytes that are left for such as we are.
    pub free: u64,
}

impl Disk {
    /// The least urgent lane that is taken while the disk is this full; none where less than `min_free` bytes are left.
    pub fn least(&self, shedding: &Shedding, min_free: u64) -> Option<Lane> {
        let whole = self.used.saturating_add(self.free);
        (self.free >= min_free).then(|| shedding.least(self.used, whole))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Shedding = Shedding { low: 85, normal: 95 };

    #[test]
    fn the_least_urgent_are_refused_first() {
        let least = |used| USUAL.least(used, 1000);
        assert_eq!([0, 850, 851, 950, 951, 1000].map(least), {
            use Lane::{High, Low, Normal};
            [Low, Low, Normal, Normal, High, High]
        });
        assert_eq!(USUAL.least(0, 0), Lane::Low);
    }

    #[test]
    fn a_disk_without_its_last_bytes_takes_nothing() {
        let disk = |used, free| Disk { used, free }.least(&USUAL, 64);
        assert_eq!(disk(0, 1000), Some(Lane::Low));
        assert_eq!(disk(900, 100), Some(Lane::Normal));
        assert_eq!(disk(9_900, 100), Some(Lane::High));
        assert_eq!(disk(10, 63), None);
        assert_eq!(disk(u64::MAX, 64), Some(Lane::High));
    }

    proptest! {
        #[test]
        fn the_fuller_the_more_urgent(
            low in 1u8..=100, more in 0u8..=99, used: u64, less: u64, whole: u64,
        ) {
            let shedding = Shedding { low, normal: low.saturating_add(more).min(100) };
            let (fuller, emptier) = (shedding.least(used, whole), shedding.least(used.min(less), whole));
            prop_assert!(fuller <= emptier);
            prop_assert!(fuller >= Lane::High, "the urgent ones are taken until nothing is");
        }
    }
}
