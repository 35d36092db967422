//! How long a client may keep the gateway waiting for its body. A limit on each wait alone lets a byte now and then hold a
//! place, and what was read so far, for as long as its sender likes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::time::timeout;
use pingora::{Error, ErrorType};

/// What makes good for a second of waiting.
const BYTES_PER_SECOND: u32 = 1024;

/// Waits add up to `body_timeout`, and each KiB that comes makes good for a second of them: whoever is slower than that
/// for longer has no more time.
pub struct Patience {
    most: Duration,
    left: Duration,
}

impl Patience {
    /// Nothing was waited for yet.
    pub fn new(body_timeout: Duration) -> Self {
        Patience { most: body_timeout, left: body_timeout }
    }

    /// The next piece of the body; none at its end. What others take in between is not counted.
    ///
    /// # Errors
    /// As the session's own, and `ReadTimedout`.
    pub async fn next(&mut self, session: &mut ServerSession) -> pingora::Result<Option<Bytes>> {
        self.next_of(session.read_request_body()).await
    }

    async fn next_of(
        &mut self,
        read: impl Future<Output = pingora::Result<Option<Bytes>>>,
    ) -> pingora::Result<Option<Bytes>> {
        let mut read = pin!(read);
        // What is there already costs no look at a clock.
        if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
            return self.came(read, Duration::ZERO);
        }
        let began = Instant::now();
        match timeout(self.left, read).await {
            Ok(read) => self.came(read, began.elapsed()),
            Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "the body came too slowly")),
        }
    }

    fn came(&mut self, read: pingora::Result<Option<Bytes>>, waited: Duration) -> pingora::Result<Option<Bytes>> {
        let bytes = read.as_ref().map_or(0, |piece| piece.as_ref().map_or(0, Bytes::len));
        let earned = Duration::from_secs(bytes as u64) / BYTES_PER_SECOND;
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.most);
        read
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn piece(bytes: usize) -> pingora::Result<Option<Bytes>> {
        Ok(Some(Bytes::from(vec![b'x'; bytes])))
    }

    #[test]
    fn waits_add_up_and_each_kibibyte_makes_good_for_a_second() {
        let mut patience = Patience::new(30 * SECOND);
        for (bytes, waited, left) in
            [(1, 10, 20_000), (1, 10, 10_001), (2_048, 1, 11_001), (512, 0, 11_501), (100_000, 0, 30_000), (0, 40, 0)]
        {
            patience.came(piece(bytes), waited * SECOND).unwrap();
            assert_eq!(patience.left.as_millis(), left, "{bytes} bytes after {waited} s");
        }
    }

    #[tokio::test]
    async fn nobody_is_waited_for_beyond_what_is_left() {
        let mut patience = Patience::new(Duration::from_millis(20));
        assert_eq!(patience.next_of(async { piece(3) }).await.unwrap().unwrap().len(), 3);
        let late = patience.next_of(std::future::pending()).await.unwrap_err();
        assert_eq!(*late.etype(), ErrorType::ReadTimedout);
    }
}
