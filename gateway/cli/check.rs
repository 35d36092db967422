//! `sluis check`: what `sluis run` would say about a configuration.

use std::path::PathBuf;

use sluis_edge::load::{Loaded, load};
use sluis_model::config::count;

use crate::failure::Failure;

/// Check a configuration, the files it names included, as `run` and a reload do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// The configuration
    #[arg(long = "config", short, value_name = "FILE", default_value = "gateway.yaml")]
    pub path: PathBuf,
}

/// Prints warnings and a summary.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Loaded { plan, warnings, .. } = load(&args.config.path)?;
    for warning in &warnings {
        crate::say(&format!("warning: {warning}"))?;
    }
    let parts = [
        count(plan.listeners.len(), "listener"),
        count(plan.issuers.len(), "issuer"),
        count(plan.upstreams.len(), "upstream"),
        count(plan.sinks.len(), "sink"),
        count(plan.router.routes().len(), "route"),
        count(plan.tenants.len(), "tenant"),
        count(warnings.len(), "warning"),
    ];
    crate::say(&format!("{}: good ({})", args.config.path.display(), parts.join(", ")))?;
    Ok(())
}
