//! Load from several machines: agents that send, a coordinator that merges.
//!
//! The coordinator sends each agent the whole job, traces and all, and its share of the moments, by number; asks every
//! agent for its clock and gives all the same first moment in their own time; hears of each second; and gets each
//! recording whole, histograms and all, so that nothing is lost in merging. Agents sign their own tokens; the coordinator
//! serves all their keys.
//!
//! HTTP/1.1 in the clear with a shared secret: whoever holds it can have any load sent from an agent, and whoever listens
//! on the way learns it. It is for a network of one's own.

mod call;
mod coordinate;
mod merge;
mod pieces;
mod serve;
mod wire;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use coordinate::coordinate;
pub use serve::serve;

use crate::session::SessionError;

/// Most agents.
pub const MAX_AGENTS: usize = 64;
/// Shortest and longest secret, bytes.
const SECRET: std::ops::RangeInclusive<usize> = 16..=4_096;

/// What goes wrong with agents.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The run itself cannot be.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The secret is not usable.
    #[error("{}: {why}", .path.display())]
    Secret {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Asked(String),
    /// No listener.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// No runtime.
    #[error("cannot start: {0}")]
    Local(#[from] std::io::Error),
    /// Nobody answers.
    #[error("agent {agent} is not reachable: {why}; is `sluis bench agent --listen` running there?")]
    Unreachable {
        /// Which.
        agent: String,
        /// What the system says.
        why: String,
    },
    /// Another secret.
    #[error("agent {agent} does not accept the secret; both sides need the same --token-file")]
    Refused {
        /// Which.
        agent: String,
    },
    /// Another version.
    #[error("agent {agent} speaks {theirs}, and this program {}; run the same version on all", wire::VERSION)]
    Version {
        /// Which.
        agent: String,
        /// What it speaks.
        theirs: String,
    },
    /// It cannot do it.
    #[error("agent {agent}: {why}")]
    Failed {
        /// Which.
        agent: String,
        /// What it says.
        why: String,
    },
    /// No agent found the target.
    #[error("the target is not reachable: {0}")]
    Target(String),
    /// None came to its end.
    #[error("no agent came to its end: {0}")]
    Lost(String),
}

/// Reads a shared secret; white space around it is none of it.
///
/// # Errors
/// When there is none, or one that is too short or too long.
pub fn secret(path: &Path) -> Result<String, AgentError> {
    let fail = |why: String| AgentError::Secret { path: path.to_owned(), why };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    file.take(*SECRET.end() as u64 + 1).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
    let secret = text.trim();
    if !SECRET.contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let (least, most) = (SECRET.start(), SECRET.end());
        return Err(fail(format!("a secret is {least} to {most} printable characters without spaces")));
    }
    Ok(secret.to_owned())
}
