//! What the tests stand on: a gateway process, upstreams that do as told, an issuer, a client that sends raw bytes.

pub mod client;
pub mod gateway;
pub mod issuer;
pub mod upstream;
pub mod workshop;

use std::time::{Duration, Instant};

/// A runtime for clients and servers that need one.
pub fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until `condition` holds; fails the test when it does not within `limit`. Never a fixed sleep: it returns as
/// soon as it can.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
