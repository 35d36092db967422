//! Memory and tables of one call, summed: wasmtime's own limiter looks at each memory alone.

use wasmtime::ResourceLimiter;

use crate::engine::{CORE_INSTANCES, MEMORIES, TABLES};

/// Table elements of one call, all tables together.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// What a call's instances hold.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    slot: usize,
    memory: usize,
    table_elements: usize,
    refused: bool,
}

impl Meter {
    /// `limit` is for all memories of the call together, `slot` what the pool has for one; bytes.
    pub(crate) fn new(limit: usize, slot: usize) -> Meter {
        Meter { limit, slot, memory: 0, table_elements: 0, refused: false }
    }

    /// Linear memory, bytes, all memories together.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Whether memory was asked for and refused: a trap after that is usually its consequence.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

/// The new sum, if it may be. A growth past its own maximum would fail after it was granted here, and must not count.
fn grown(sum: usize, current: usize, desired: usize, maximum: Option<usize>, limit: usize) -> Option<usize> {
    let sum = sum.saturating_sub(current).saturating_add(desired);
    (sum <= limit && maximum.is_none_or(|maximum| desired <= maximum)).then_some(sum)
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let maximum = maximum.unwrap_or(usize::MAX).min(self.slot);
        let sum = grown(self.memory, current, desired, Some(maximum), self.limit);
        self.memory = sum.unwrap_or(self.memory);
        self.refused |= sum.is_none();
        Ok(sum.is_some())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = grown(self.table_elements, current, desired, maximum, TABLE_ELEMENTS);
        self.table_elements = sum.unwrap_or(self.table_elements);
        Ok(sum.is_some())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a178_memories_are_summed() {
        let mut meter = Meter::new(100, 90);
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(!meter.memory_growing(60, 61, None).unwrap());
        assert_eq!(meter.memory(), 100);
        assert!(meter.refused());
        assert!(!meter.memory_growing(usize::MAX, usize::MAX, None).unwrap());
    }

    #[test]
    fn a176_what_would_fail_anyway_does_not_count() {
        let mut meter = Meter::new(100, 50);
        assert!(!meter.memory_growing(0, 51, None).unwrap());
        assert!(!meter.memory_growing(0, 41, Some(40)).unwrap());
        assert!(!meter.table_growing(0, 41, Some(40)).unwrap());
        assert_eq!((meter.memory(), meter.table_elements), (0, 0));
        assert!(meter.memory_growing(0, 40, Some(40)).unwrap());
    }

    #[test]
    fn a177_table_elements_are_summed() {
        let mut meter = Meter::new(0, 0);
        assert!(meter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!meter.table_growing(0, 1, None).unwrap());
        assert!(!meter.table_growing(TABLE_ELEMENTS, usize::MAX, None).unwrap());
    }
}
