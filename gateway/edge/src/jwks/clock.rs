//! Notices when the wall clock jumps. Tokens live by it, so an operator wants to know; schedules do not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{JwksObserver, WallClock};

/// How often the two clocks are compared.
const INTERVAL: Duration = Duration::from_secs(10);
/// A difference that slewing and scheduling do not explain.
const TOLERANCE: i64 = 5;

/// Compares the clocks for ever.
pub(super) async fn watch(wall: WallClock, observer: Arc<dyn JwksObserver>) {
    let mut before = (wall(), Instant::now());
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = (wall(), Instant::now());
        let by_wall = now.0 as i64 - before.0 as i64;
        let jump = by_wall - now.1.duration_since(before.1).as_secs() as i64;
        if jump.abs() > TOLERANCE {
            tracing::warn!(seconds = jump, "the system clock jumped");
            observer.clock_jumped(jump);
        }
        before = now;
    }
}
