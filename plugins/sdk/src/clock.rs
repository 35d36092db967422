//! What time it is, no finer than a millisecond.
//!
//! On the host (in tests) it is what [`set`] set on this thread, and 0 before.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[cfg(target_family = "wasm")]
pub fn now() -> u64 {
    crate::bindings::request::sluis::plugin::clock::now()
}

#[cfg(not(target_family = "wasm"))]
std::thread_local! {
    static NOW: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[cfg(not(target_family = "wasm"))]
pub fn now() -> u64 {
    NOW.get()
}

/// Sets what [`now`] returns on this thread.
#[cfg(not(target_family = "wasm"))]
pub fn set(millis: u64) {
    NOW.set(millis);
}
