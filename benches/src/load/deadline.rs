//! The time limit of exchanges.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A time limit for one exchange after the other. Its timer is set anew only when it fires, not for each.
pub struct Deadline {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    pub fn new(limit: Duration) -> Self {
        Deadline { limit, sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// What the future comes to, `None` where that takes longer than the limit from this moment on.
    pub async fn within<T>(&mut self, from: Instant, future: impl Future<Output = T>) -> Option<T> {
        let until = tokio::time::Instant::from_std(from + self.limit);
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while self.sleep.as_mut().poll(cx).is_ready() {
                if tokio::time::Instant::now() >= until {
                    return Poll::Ready(None);
                }
                self.sleep.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }
}
