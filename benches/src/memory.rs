//! What a process holds in memory, as the kernel counts it.

/// Bytes, from `/proc/PID/smaps_rollup`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident, whoever shares it.
    pub rss: u64,
    /// Its own and changed: what the process costs for sure.
    pub private_dirty: u64,
    /// Its own and as on disk, such as compiled code: the kernel may drop and read it again.
    pub private_clean: u64,
    /// Not from a file.
    pub anonymous: u64,
}

impl Memory {
    /// Of a process of the same user.
    pub fn of(pid: u32) -> std::io::Result<Self> {
        std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map(|text| Memory::parse(&text))
    }

    /// What is its own.
    pub fn private(&self) -> u64 {
        self.private_dirty + self.private_clean
    }

    fn parse(text: &str) -> Self {
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
        };
        Memory {
            rss: kib("Rss"),
            private_dirty: kib("Private_Dirty"),
            private_clean: kib("Private_Clean"),
            anonymous: kib("Anonymous"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_their_likes() {
        let text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:                2048 kB\nPss:  9 kB\nPss_Anon: 7 kB\n\
                    Private_Clean:        64 kB\nPrivate_Dirty:       512 kB\nAnonymous:           500 kB\nAnonHugePages: 3 kB\n";
        let memory = Memory::parse(text);
        assert_eq!(
            memory,
            Memory { rss: 2048 << 10, private_dirty: 512 << 10, private_clean: 64 << 10, anonymous: 500 << 10 }
        );
        assert_eq!(memory.private(), 576 << 10);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.rss >= memory.private() && memory.private_dirty > 0, "{memory:?}");
    }
}
