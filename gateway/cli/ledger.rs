//! `sluis ledger`: copies of the durable store, and whether it holds together.
//!
//! A backup is made by this process and not by the gateway: whoever may read the ledger's files may copy them, and nobody
//! else; no order that comes over a network decides where a gateway writes; and it works as well while none runs. The
//! database lets one read a moment of it for long while another process goes on writing.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use sluis_edge::load::load;
use sluis_ledger::{Report, UpkeepError, backup, repair, verify};

use crate::check::ConfigFile;
use crate::failure::Failure;

/// Back the durable store of events up, and look whether one holds together.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy the ledger of a configuration as it is at this moment, also while its gateway runs
    Backup {
        #[command(flatten)]
        config: ConfigFile,
        /// A directory that is not there yet
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Read all of a ledger that no gateway has open, or of a backup, and hold its parts against each other
    Verify {
        /// The directory: `ledger` in the gateway's `state_dir`, or a backup
        dir: PathBuf,
        /// Count sums and fronts anew where they do not hold; the files as they were are kept beside it
        #[arg(long)]
        repair: bool,
    },
}

/// Does it, and says what came of it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Backup { config, to } => {
            let dir = load(&config.path)?.plan.server.state_dir.join("ledger");
            backup(&dir, to)?;
            crate::say(&format!("{} is a copy of {}", to.display(), dir.display()))?;
            Ok(())
        }
        What::Verify { dir, repair: false } => tell(&verify(dir)?),
        What::Verify { dir, repair: true } => {
            let found = verify(dir)?;
            if !found.findings.iter().any(sluis_ledger::Finding::is_repairable) {
                return tell(&found);
            }
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let repaired = repair(dir, u64::try_from(since.as_millis()).unwrap_or_default())?;
            crate::say(&format!("mended; as it was: {}", repaired.kept.display()))?;
            tell(&repaired.after)
        }
    }
}

/// A line for each finding with what to do, and a summary.
fn tell(report: &Report) -> Result<(), Failure> {
    for finding in &report.findings {
        crate::say(&format!("{finding}\n    {}", finding.advice()))?;
    }
    let Report { format, events, deliveries, .. } = report;
    let mut parts = vec![format!("format {format}, events: {events}, deliveries: {deliveries}")];
    if !report.shrinks {
        parts
            .push("never smaller than it once was, as an earlier version made it: a backup in its place is".to_owned());
    }
    crate::say(&parts.join(", "))?;
    match report.findings.len() {
        0 => Ok(crate::say("good")?),
        findings => Err(Failure::Findings(findings)),
    }
}

impl From<UpkeepError> for Failure {
    fn from(error: UpkeepError) -> Self {
        Failure::Ledger(error)
    }
}
