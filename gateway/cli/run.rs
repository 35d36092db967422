//! `sluis run`: serves until it is told to stop.

use sluis_edge::load::load;
use sluis_edge::server::{self, Options};
use sluis_sandbox::WorkerCommand;

use crate::check::ConfigFile;
use crate::failure::Failure;
use crate::logging;

/// Serve until SIGTERM or SIGINT; SIGHUP reloads, SIGQUIT hands the sockets to a successor
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Take the listening sockets over from a running gateway, which then gets SIGQUIT
    #[arg(long)]
    pub upgrade: bool,
}

/// Runs the gateway to its end.
pub fn run(args: Args) -> Result<(), Failure> {
    logging::start();
    let loaded = load(&args.config.path)?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let options = Options { config: args.config.path, worker: worker(), upgrade: args.upgrade };
    server::run(loaded, options)?;
    Ok(())
}

/// The compile worker is this very program, even once its file was replaced by an upgrade.
pub fn worker() -> WorkerCommand {
    WorkerCommand::this_program("compile-worker")
}
