//! How a command fails, and the exit code that says so to scripts.

use std::fmt;
use std::process::ExitCode;

use sluis_edge::server::StartError;
use sluis_ledger::UpkeepError;
use sluis_model::config::{ConfigError, count};

use crate::admin::AdminError;
use crate::bench::BenchError;
use crate::plugin::PluginError;

/// Anything that went wrong.
pub const FAILED: u8 = 1;
/// The configuration is invalid.
pub const INVALID_CONFIG: u8 = 3;
/// The command line is wrong (`EX_USAGE` of sysexits).
pub const USAGE: u8 = 64;

/// Why a command failed; `main` prints it and takes the exit code from it.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is invalid.
    Config(ConfigError),
    /// Standard output could not be written to.
    Output(std::io::Error),
    /// The gateway did not start.
    Start(StartError),
    /// Something about a plugin.
    Plugin(PluginError),
    /// A gateway did not do what it was asked for.
    Admin(AdminError),
    /// Something about a ledger.
    Ledger(UpkeepError),
    /// So much in a ledger does not hold.
    Findings(usize),
    /// A bench command did not end well.
    Bench(BenchError),
}

impl Failure {
    /// The exit code of the process.
    pub fn code(&self) -> ExitCode {
        match self {
            Failure::Config(_) => ExitCode::from(INVALID_CONFIG),
            Failure::Output(_) | Failure::Start(_) | Failure::Plugin(_) | Failure::Admin(_) => ExitCode::from(FAILED),
            Failure::Ledger(_) | Failure::Findings(_) => ExitCode::from(FAILED),
            Failure::Bench(error) => error.code(),
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Config(error) => error.fmt(f),
            Failure::Output(error) => write!(f, "cannot write the output: {error}"),
            Failure::Start(error) => error.fmt(f),
            Failure::Plugin(error) => error.fmt(f),
            Failure::Admin(error) => error.fmt(f),
            Failure::Ledger(error) => error.fmt(f),
            Failure::Bench(error) => error.fmt(f),
            Failure::Findings(findings) => {
                write!(f, "the ledger does not hold together: {}", count(*findings, "finding"))
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::Config(error)
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Failure::Plugin(error)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Failure::Admin(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::Start(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Output(error)
    }
}
