//! Why a scenario could not be run to its end.

use crate::load::LoadError;
use crate::workload::Invalid;

/// Why a scenario could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It cannot be meant.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The gateway did not come up, or could not be asked.
    #[error("the gateway: {0}")]
    Gateway(crate::Error),
    /// The load could not be sent.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Tokens could not be signed.
    #[error("the issuer: {0}")]
    Issuer(crate::Error),
    /// A file, a socket or a thread.
    #[error("{what}: {reason}")]
    System {
        /// What it was for.
        what: &'static str,
        /// Of the operating system.
        reason: std::io::Error,
    },
    /// A thread of the scenario panicked.
    #[error("{0} panicked; this is a defect of the program")]
    Panicked(&'static str),
}

impl ScenarioError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> ScenarioError {
        move |reason| ScenarioError::System { what, reason }
    }
}
