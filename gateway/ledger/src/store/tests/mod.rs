//! Tests of the store that need to look behind its walls.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod twin;

use super::*;
use crate::clock::ManualClock;
use crate::observer::NoObserver;

/// A store with everything small, so that checkpoints and page splits happen in every test.
fn open(dir: &Path, now: u64, checkpoint_pages: i32) -> Result<Store, OpenError> {
    let settings = Settings {
        max_bytes: 1 << 40,
        shedding: Shedding { low: 100, normal: 100 },
        max_batch: 8,
        queue: 64,
        observer: Arc::new(NoObserver),
        clock: Clock::Manual(ManualClock::at(now)),
        checkpoint_pages,
        max_pages: None,
        tuning: Tuning { page_size: 1024, cache_kib: 64 },
    };
    Store::open(dir, settings)
}
