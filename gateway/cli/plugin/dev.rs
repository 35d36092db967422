//! The same after every change: build, fixtures.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::project::{Folder, Project};
use super::{build, test};
use crate::failure::Failure;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Folders that are made, not written.
const MADE: [&str; 4] = ["target", "dist", ".git", "node_modules"];

/// Build and run the fixtures, and again after every change
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
}

/// Until it is interrupted.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let mut seen = None;
    let mut every = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let now = newest(&args.folder.dir);
        if seen == Some(now) {
            continue;
        }
        seen = Some(now);
        // A component of an earlier source would say nothing about this one.
        match once(&args.folder.dir).await {
            Ok(()) => {}
            Err(Failure::Plugin(error)) => crate::say(&error.to_string())?,
            Err(failure) => return Err(failure),
        }
        crate::say("waiting for a change; Ctrl-C ends")?;
    }
}

async fn once(dir: &Path) -> Result<(), Failure> {
    let project = Project::open(dir)?;
    build::build(&project)?;
    test::test(&project, &[]).await
}

/// When anything under `dir` was last written, and how many files there are.
fn newest(dir: &Path) -> (Option<SystemTime>, usize) {
    let (mut newest, mut files) = (None, 0);
    let mut folders: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if !MADE.iter().any(|made| entry.file_name() == *made) {
                    folders.push(entry.path());
                }
            } else {
                files += 1;
                newest = newest.max(entry.metadata().and_then(|metadata| metadata.modified()).ok());
            }
        }
    }
    (newest, files)
}
