//! What the disk itself takes to bring something to stable storage: beside every figure that rests on it.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::{Error, Latencies, latencies};

/// How many are taken.
const SYNCS: usize = 200;

/// Times of `fdatasync` in microseconds, each of 4 KiB more at the end of a new file.
pub struct Syncs(pub Latencies);

impl Syncs {
    /// Of a file at `path`, which is removed in the end.
    ///
    /// # Errors
    /// Where it cannot be written or synchronised.
    pub fn take(path: &Path) -> Result<Syncs, Error> {
        let mut file = std::fs::File::create(path)?;
        let mut took = latencies()?;
        for _ in 0..SYNCS {
            let began = Instant::now();
            file.write_all(&[0x5a; 4_096])?;
            file.sync_data()?;
            took.saturating_record(u64::try_from(began.elapsed().as_micros())?);
        }
        std::fs::remove_file(path)?;
        Ok(Syncs(took))
    }
}

impl fmt::Display for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|quantile| self.0.value_at_quantile(quantile));
        write!(f, "p50 {p50} µs, p90 {p90} µs, p99 {p99} µs, longest {} µs", self.0.max())
    }
}
