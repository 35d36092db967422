//! Where a run took place, as the kernel tells.

use std::net::ToSocketAddrs;

use sha2::{Digest, Sha256};

use super::Environment;

impl Environment {
    /// This machine. The gateway's version and configuration are for whoever knows them.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.trim_end_matches("kB").trim().parse::<u64>().ok());
        let kernel =
            format!("{} {}", read("/proc/sys/kernel/ostype").trim(), read("/proc/sys/kernel/osrelease").trim());
        Environment {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: if kernel.trim().is_empty() { std::env::consts::OS.to_owned() } else { kernel },
            memory_mib: kib.unwrap_or(0) >> 10,
            program: program(),
            gateway: None,
            config_digest: None,
            same_machine: false,
        }
    }
}

/// This program's version, with the commit where the build was told it (`SLUIS_COMMIT`).
pub fn program() -> String {
    match option_env!("SLUIS_COMMIT") {
        Some(commit) => format!("{}+{commit}", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Whether a host is this machine. Looks the name up, so it may wait as long as the system does.
pub fn is_here(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    (host, 0).to_socket_addrs().is_ok_and(|mut addresses| addresses.any(crate::load::own))
}

/// SHA-256, hexadecimal, of named parts in their order: equal only where all of them are.
pub fn digest<'a, P: AsRef<[u8]>>(parts: impl IntoIterator<Item = (&'a str, P)>) -> String {
    let mut hash = Sha256::new();
    for (name, part) in parts {
        for bytes in [name.as_bytes(), part.as_ref()] {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
