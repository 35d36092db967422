//! Where the next block goes in a memory that is used forward only: arithmetic, no memory.

/// The free end of a memory: `next` is the first free address, `end` the first that is not ours (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arena {
    /// First free address.
    pub next: usize,
    /// First address past the memory.
    pub end: usize,
}

/// There is no room below `end`; the memory must reach `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The address that `end` must reach; `None` where no address space is left.
    pub until: Option<usize>,
}

impl Arena {
    /// Takes `size` bytes at a multiple of `align` (a power of two).
    #[inline]
    pub fn take(&mut self, size: usize, align: usize) -> Result<usize, Short> {
        let start = self.next.checked_add(align - 1).ok_or(Short { until: None })? & !(align - 1);
        let until = start.checked_add(size).ok_or(Short { until: None })?;
        if until > self.end {
            return Err(Short { until: Some(until) });
        }
        self.next = until;
        Ok(start)
    }

    /// Whether the block of `size` at `start` is the last one, which can grow, shrink and be given back.
    #[inline]
    pub fn is_last(&self, start: usize, size: usize) -> bool {
        start.checked_add(size) == Some(self.next)
    }

    /// Gives the block back where it is the last; otherwise its room is lost until the instance ends.
    #[inline]
    pub fn give_back(&mut self, start: usize, size: usize) {
        if self.is_last(start, size) {
            self.next = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let mut arena = Arena { next: 1001, end: 2000 };
        assert_eq!(arena.take(3, 1), Ok(1001));
        assert_eq!(arena.take(8, 8), Ok(1008));
        assert_eq!(arena.take(0, 16), Ok(1016 + 8));
        assert_eq!(arena.next, 1024);
    }

    #[test]
    fn a_block_that_does_not_fit_takes_nothing_and_says_how_far() {
        let mut arena = Arena { next: 100, end: 200 };
        assert_eq!(arena.take(101, 1), Err(Short { until: Some(201) }));
        assert_eq!(arena.take(100, 1), Ok(100));
        assert_eq!(arena.take(1, 1), Err(Short { until: Some(201) }));
        assert_eq!(arena.take(usize::MAX, 1), Err(Short { until: None }));
        assert_eq!(arena.next, 200);
    }

    #[test]
    fn only_the_last_block_comes_back() {
        let mut arena = Arena { next: 64, end: 1000 };
        let first = arena.take(10, 1);
        let second = arena.take(20, 1);
        assert_eq!((first, second), (Ok(64), Ok(74)));
        arena.give_back(64, 10);
        assert_eq!(arena.next, 94);
        arena.give_back(74, 20);
        assert_eq!(arena.next, 74);
    }
}
