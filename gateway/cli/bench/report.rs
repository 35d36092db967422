//! `sluis bench report`: a page of results that are there already.

use std::path::{Path, PathBuf};

use sluis_bench::result::{RunResult, read};

use super::BenchError;
use crate::failure::Failure;

/// Most runs on a page.
const MAX_RUNS: usize = 20;

/// Draw a page of one result, or of several over each other
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Results, as `--out` wrote them; the first is what the others are held against
    #[arg(required = true, value_name = "RESULT.json")]
    results: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// Draws it.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.results.len() > MAX_RUNS {
        return Err(BenchError::Usage(format!("{} results; a page has {MAX_RUNS} at most", args.results.len())).into());
    }
    let results = args.results.iter().map(|path| read(path)).collect::<Result<Vec<RunResult>, _>>()?;
    page(&args.html, &results)
}

/// Writes a page.
pub fn page(path: &Path, results: &[RunResult]) -> Result<(), Failure> {
    Ok(sluis_bench::result::write_text(path, &sluis_bench::report::html(results))?)
}
