//! What can be done to a ledger from outside: copying it while it is in use, holding it against itself, and mending what
//! can be counted anew. Everything blocks.

use std::fmt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::OpenError;
use crate::store;

/// Why something was not done to a ledger.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// It cannot be opened, or something beside it cannot.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Written by an earlier version of Sluis.
    #[error(
        "the ledger in {dir} has format {found}; start this program's gateway on it once, which brings it to {known}"
    )]
    OlderFormat {
        /// The ledger's directory.
        dir: PathBuf,
        /// Format number in the file.
        found: i64,
        /// That of this program.
        known: i64,
    },
    /// A backup is never written over anything.
    #[error("{path} exists")]
    Exists {
        /// What stands in the way.
        path: PathBuf,
    },
    /// The gateway writes faster than the copy is made, and its log has grown past what is wanted.
    #[error("the gateway writes faster than the copy is made; try again in a quieter hour, or to a faster disk")]
    Outrun,
    /// Only what can be counted anew is mended.
    #[error("the file itself is damaged: restore a backup, or see what `verify` says")]
    Damaged,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Format number of the file.
    pub format: i64,
    /// Events in it.
    pub events: u64,
    /// Deliveries in it.
    pub deliveries: u64,
    /// Whether what is free in the file can be given back to the file system. Files that earlier
    /// versions made cannot; a backup of them can.
    pub shrinks: bool,
    /// What does not hold, at most a hundred of each kind.
    pub findings: Vec<Finding>,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The database's own structure, in its words.
    Structure(String),
    /// What is stored of an event is not what was accepted.
    Digest {
        /// The event.
        event: Uuid,
    },
    /// A sum that is kept is not what a count says.
    Sum {
        /// What is summed up.
        what: &'static str,
        /// Of whom.
        of: String,
        /// As it is kept.
        kept: i64,
        /// As it is.
        counted: i64,
    },
    /// A line of an ordering key that nobody, or more than one, stands at the front of.
    Line {
        /// The sink.
        sink: String,
        /// Whose events they are.
        tenant: String,
        /// The ordering key.
        key: String,
        /// How many are not blocked.
        fronts: u64,
    },
    /// A delivery whose history has not as many steps as it went, or ends elsewhere.
    History {
        /// Position of the event.
        event: i64,
        /// Number of the delivery.
        n: i64,
        /// Steps that it went,
        steps: i64,
        /// and those that are written down.
        written: i64,
    },
    /// Rows about events that are not there.
    Orphans {
        /// Of this table.
        table: &'static str,
        /// So many.
        rows: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Structure(message) => write!(f, "the file is damaged: {message}"),
            Finding::Digest { event } => write!(f, "event {event} is not as it was accepted"),
            Finding::Sum { what, of, kept, counted } => write!(f, "{what} of {of}: {kept} kept, {counted} counted"),
            Finding::Line { sink, tenant, key, fronts } => {
                write!(f, "line of key {key:?} of {tenant} to {sink}: {fronts} at its front instead of 1")
            }
            Finding::History { event, n, steps, written } => {
                write!(f, "delivery {n} of event at {event}: {steps} steps, {written} written down or another end")
            }
            Finding::Orphans { table, rows } => write!(f, "{rows} rows of {table} without their event"),
        }
    }
}

impl Finding {
    /// Whether [`repair`] mends it.
    pub fn is_repairable(&self) -> bool {
        matches!(self, Finding::Sum { .. } | Finding::Line { .. })
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Finding::Structure(_) => "restore the last backup, and look at the disk and its log",
            Finding::Digest { .. } => {
                "it is never sent but given up as dead: ask its tenant for it once more, and look at the disk"
            }
            Finding::Sum { .. } | Finding::Line { .. } => "`sluis ledger verify --repair` while no gateway runs on it",
            Finding::History { .. } => "nothing depends on it but the event's history; please report it",
            Finding::Orphans { .. } => "nothing depends on them; please report it",
        }
    }
}

/// What [`repair`] did.
#[derive(Debug)]
pub struct Repaired {
    /// Where the files are as they were before.
    pub kept: PathBuf,
    /// What holds now.
    pub after: Report,
}

/// Copies the ledger in `dir` into the new directory `to`, as it is at this moment, also while a gateway works on it; only
/// whoever may read the ledger can. The copy is complete and on stable storage when it has its name, is as small as it can
/// be, and is itself a ledger.
///
/// # Errors
/// See [`UpkeepError`]; then `to` is not there.
pub fn backup(dir: &Path, to: &Path) -> Result<(), UpkeepError> {
    store::backup::copy(dir, to)
}

/// Reads all of a ledger that nobody has open, or of a backup, and holds its parts against each other. Changes nothing.
///
/// # Errors
/// Where it is in use, is no ledger, or of another format.
pub fn verify(dir: &Path) -> Result<Report, UpkeepError> {
    store::verify::verify(dir)
}

/// Counts the sums anew and gives every line a front, on a ledger that nobody has open; events stay as they are. The files
/// as they were are kept beside it. `now` is milliseconds since the epoch.
///
/// # Errors
/// As [`verify`], and where the file itself is damaged.
pub fn repair(dir: &Path, now: u64) -> Result<Repaired, UpkeepError> {
    if verify(dir)?.findings.iter().any(|finding| matches!(finding, Finding::Structure(_))) {
        return Err(UpkeepError::Damaged);
    }
    let kept = store::repair::repair(dir, now)?;
    Ok(Repaired { kept, after: verify(dir)? })
}
