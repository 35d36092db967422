//! Moments as they were recorded: a file with an offset in seconds on each line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use super::ScheduleError;

/// Largest file, bytes.
const LARGEST: u64 = 256 * 1024 * 1024;
/// Most rows: 16 bytes of memory each.
const MOST_ROWS: usize = 10_000_000;
/// The heading that a table may have.
const HEADING: &str = "offset";
/// What a trace without rows is.
const EMPTY: &str = "no row";

/// Every row's offset. The first line may be the heading `offset`; empty lines and what is behind a `,` or `#` do not
/// count.
pub fn read(file: &Path) -> Result<Vec<Duration>, ScheduleError> {
    let wrong = |what: String| ScheduleError::Trace { file: file.to_owned(), what };
    let open = File::open(file).map_err(|e| wrong(e.to_string()))?;
    let size = open.metadata().map_err(|e| wrong(e.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("{size} bytes; at most {LARGEST} are possible")));
    }
    // A pipe or a growing file has no size to trust.
    rows(BufReader::new(open.take(LARGEST))).map_err(wrong)
}

fn rows(lines: impl BufRead) -> Result<Vec<Duration>, String> {
    let mut offsets: Vec<Duration> = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line.map_err(|e| format!("line {}: {e}", index + 1))?;
        let first = line.split([',', '#']).next().unwrap_or_default().trim();
        if first.is_empty() || (index == 0 && first == HEADING) {
            continue;
        }
        let offset = first.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let offset = offset.ok_or_else(|| format!("line {}: `{first}` is not an offset in seconds", index + 1))?;
        if offsets.last().is_some_and(|last| *last > offset) {
            return Err(format!("line {}: {first} comes before the line above it; offsets must ascend", index + 1));
        }
        if offsets.len() == MOST_ROWS {
            return Err(format!("more than {MOST_ROWS} rows"));
        }
        offsets.push(offset);
    }
    if offsets.is_empty() { Err(EMPTY.to_owned()) } else { Ok(offsets) }
}

/// Nanoseconds from each moment to the next; the first is from the start.
pub fn steps(offsets: &[Duration]) -> Vec<u64> {
    let before = std::iter::once(&Duration::ZERO).chain(offsets);
    let step = |(offset, before): (&Duration, &Duration)| offset.saturating_sub(*before).as_nanos();
    // No schedule is so long that its nanoseconds do not fit.
    offsets.iter().zip(before).map(|pair| u64::try_from(step(pair)).unwrap_or(u64::MAX)).collect()
}

/// Offsets of moments, from the [`steps`] between them.
pub fn offsets(steps: &[u64]) -> Result<Vec<Duration>, String> {
    match steps.len() {
        0 => return Err(EMPTY.to_owned()),
        rows if rows > MOST_ROWS => return Err(format!("more than {MOST_ROWS} rows")),
        _ => {}
    }
    let mut at = Duration::ZERO;
    let offset = |step: &u64| {
        at = at.saturating_add(Duration::from_nanos(*step));
        at
    };
    Ok(steps.iter().map(offset).collect())
}

/// SHA-256 of all offsets, hexadecimal.
pub fn digest(offsets: &[Duration]) -> String {
    crate::result::digest(offsets.iter().map(|offset| ("", offset.as_nanos().to_le_bytes())))
}
