//! Why a run could not start, or broke.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a run could not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target's URL is not one to send to.
    #[error("target `{url}` {what}; write it as in http://127.0.0.1:8080")]
    Url {
        /// As it was given.
        url: http::Uri,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The host's name has no address.
    #[error("cannot resolve `{host}`: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// Nobody takes connections there.
    #[error("nothing listens on {address}: {why}")]
    Unreachable {
        /// The last that was tried.
        address: SocketAddr,
        /// What the kernel says.
        why: io::Error,
    },
    /// TLS does not come about.
    #[error("TLS with {address} failed: {why}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// What the handshake says.
        why: String,
    },
    /// Another HTTP version than asked for.
    #[error("{address} does not speak {wanted}: {what}")]
    Version {
        /// Where.
        address: SocketAddr,
        /// What was asked for.
        wanted: &'static str,
        /// What there was instead.
        what: String,
    },
    /// A CA that cannot be read.
    #[error("CA {}: {why}", file.display())]
    Ca {
        /// Which.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// A bound that cannot be.
    #[error("{0}")]
    Bounds(String),
    /// More connections than descriptors.
    #[error(
        "{connections} connections need {needed} descriptors, and this process may have {limit}; ask for fewer connections, \
         or raise the limit (`ulimit -n {needed}`)"
    )]
    Descriptors {
        /// Asked for.
        connections: usize,
        /// With what else the process needs.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// This machine gave no thread, timer or poll.
    #[error("cannot start the generator: {0}")]
    Local(#[from] io::Error),
    /// A sending thread ended by a panic.
    #[error("a sending thread panicked; this is a defect of the program")]
    Panicked,
}

impl LoadError {
    /// Whether the target is not there, or speaks another protocol than asked for.
    pub fn is_unreachable(&self) -> bool {
        use LoadError::{Resolve, Tls, Unreachable, Version};
        matches!(self, Resolve { .. } | Unreachable { .. } | Tls { .. } | Version { .. })
    }
}
