//! `sluis bench agent`: a machine that sends for a coordinator.

use std::net::SocketAddr;
use std::path::PathBuf;

use sluis_bench::agent::{self, AgentError};
use sluis_bench::load::Stop;

use super::{BenchError, stop};
use crate::failure::Failure;

/// Send for a coordinator, `sluis bench run --agents`, until it is ended
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to be asked. Whoever has the secret can have any load sent from here: keep it in a network of your own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// The shared secret, 16 bytes at least; the coordinator has the same
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
}

/// Serves.
pub fn run(args: &Args) -> Result<(), Failure> {
    let secret = agent::secret(&args.token_file).map_err(failure)?;
    let stop = Stop::new();
    stop::on_signal(&stop)?;
    let said = |address: SocketAddr| crate::say(&format!("ready on {address}"));
    agent::serve(args.listen, &secret, &stop, said).map_err(failure)
}

/// With its exit code.
pub fn failure(error: AgentError) -> Failure {
    let text = error.to_string();
    Failure::Bench(match error {
        AgentError::Session(error) => return error.into(),
        AgentError::Unreachable { .. } | AgentError::Refused { .. } | AgentError::Target(_) => {
            BenchError::Unreachable(text)
        }
        AgentError::Secret { .. } | AgentError::Asked(_) => BenchError::Usage(text),
        _ => BenchError::Failed(text),
    })
}
