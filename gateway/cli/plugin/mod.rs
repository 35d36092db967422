//! `sluis plugin`: what the author of a plugin does, from an empty folder to a version that serves.

mod build;
mod dev;
mod doctor;
mod fixtures;
mod inspect;
mod limits;
mod new;
mod project;
mod remote;
mod replay;
mod sign;
mod test;

use std::path::PathBuf;

use sluis_sandbox::{LoadError, SandboxError};

use crate::admin::AdminError;
use crate::failure::Failure;

/// Write, test, upload and roll out a tenant's plugin.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(new::Args),
    Build(build::Args),
    Test(test::Args),
    Dev(dev::Args),
    Inspect(inspect::Args),
    /// Say what is missing on this machine to build plugins, and how to get it
    Doctor,
    /// Say what a plugin may use at most
    Limits,
    Key(sign::NewKey),
    Push(remote::Push),
    Deploy(remote::Deploy),
    /// End the trial: the candidate serves all requests
    Promote(remote::Plain),
    /// End the trial: the candidate goes
    Abandon(remote::Plain),
    Rollback(remote::RollBack),
    Release(remote::Release),
    Status(remote::Status),
    Audit(remote::Audit),
    Logs(remote::Logs),
    Recordings(replay::Recordings),
    Replay(replay::Replay),
}

/// Why a command did not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file system said no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// A file of the project is not what it must be.
    #[error("{}: {reason}", .path.display())]
    Project {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A tool that builds plugins is missing.
    #[error("{tool} is missing; {help}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// How to get it.
        help: &'static str,
    },
    /// The tool has said why.
    #[error("the plugin was not built")]
    NotBuilt,
    /// No sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The gateway would not take the component.
    #[error("the gateway would refuse this component ({code}): {error}{help}", code = .error.code())]
    Rejected {
        /// Why.
        error: LoadError,
        /// What removes the reason; begins with a line break, or empty.
        help: String,
    },
    /// Fixtures failed; they were printed.
    #[error("{failed} of {all} fixtures failed")]
    Fixtures {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// The gateway did not do it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

impl PluginError {
    fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> PluginError {
        let path = path.to_owned();
        move |error| PluginError::Io { path, error }
    }
}

/// Does what was asked for.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(PluginError::Runtime)?;
    runtime.block_on(async {
        match args.command {
            Command::New(args) => new::run(&args),
            Command::Build(args) => build::run(&args),
            Command::Test(args) => test::run(&args).await,
            Command::Dev(args) => dev::run(&args).await,
            Command::Inspect(args) => inspect::run(&args).await,
            Command::Doctor => doctor::run(),
            Command::Limits => limits::run(),
            Command::Key(args) => sign::new_key(&args),
            Command::Push(args) => remote::push(&args).await,
            Command::Deploy(args) => remote::deploy(&args).await,
            Command::Promote(args) => remote::plain(&args, "promote").await,
            Command::Abandon(args) => remote::plain(&args, "abandon").await,
            Command::Rollback(args) => remote::roll_back(&args).await,
            Command::Release(args) => remote::release(&args).await,
            Command::Status(args) => remote::status(&args).await,
            Command::Audit(args) => remote::audit(&args).await,
            Command::Logs(args) => remote::logs(&args).await,
            Command::Recordings(args) => replay::list(&args).await,
            Command::Replay(args) => replay::run(&args).await,
        }
    })
}
