//! How urgent an event is.

/// A lane of a sink's queue. The most urgent one comes first, also where lanes are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What the business stops without; a share of each sink's slots is kept free for it.
    Critical,
    /// Sooner than usual.
    High,
    /// As usual.
    #[default]
    Normal,
    /// What can wait, such as an import.
    Low,
}

impl Lane {
    /// Every lane, in the order of the numbers that a store keeps for them.
    pub const ALL: [Lane; 4] = [Lane::Critical, Lane::High, Lane::Normal, Lane::Low];

    /// The word used in the configuration, the API, logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Lane::Critical => "critical",
            Lane::High => "high",
            Lane::Normal => "normal",
            Lane::Low => "low",
        }
    }

    /// The number that a store keeps for it: its position in [`Lane::ALL`].
    pub fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_numbered_and_ordered_by_urgency() {
        for (position, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(lane.number()), position);
        }
        assert!(Lane::ALL.is_sorted());
        assert_eq!(Lane::ALL.iter().min(), Some(&Lane::Critical));
    }
}
