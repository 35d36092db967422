//! `sluis config`: the format of the configuration, and one resolved.

use sluis_edge::load::load;
use sluis_model::config::{EXAMPLE, schema};

use crate::check::ConfigFile;
use crate::failure::Failure;

/// Show the format of the configuration, or a configuration with its defaults filled in.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The JSON Schema, for editors
    Schema,
    /// An example with every setting and its default, explained
    Example,
    /// A configuration with every default filled in, paths absolute and secrets redacted, as JSON
    Resolved {
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// Prints it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Schema => crate::say(&pretty(&schema()))?,
        What::Example => crate::say(EXAMPLE.trim_end())?,
        What::Resolved { config } => crate::say(&pretty(&load(&config.path)?.plan.resolved))?,
    }
    Ok(())
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}
