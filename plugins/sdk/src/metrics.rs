//! Counters of the tenant's own. Their names are declared in the tenant's settings; any other is dropped and counted.
//!
//! On the host (in tests) they are kept per thread: [`taken`] returns them.

/// Adds to the counter `name`.
#[cfg(target_family = "wasm")]
pub fn add(name: &str, value: u64) {
    crate::bindings::request::sluis::plugin::metrics::add(name, value);
}

#[cfg(not(target_family = "wasm"))]
std::thread_local! {
    static COUNTS: core::cell::RefCell<alloc::collections::BTreeMap<alloc::string::String, u64>> = const { core::cell::RefCell::new(alloc::collections::BTreeMap::new()) };
}

/// Adds to the counter `name`.
#[cfg(not(target_family = "wasm"))]
pub fn add(name: &str, value: u64) {
    COUNTS.with_borrow_mut(|counts| {
        let count = counts.entry(name.into()).or_default();
        *count = count.saturating_add(value);
    });
}

/// Takes what this thread has added, by counter.
#[cfg(not(target_family = "wasm"))]
pub fn taken() -> alloc::collections::BTreeMap<alloc::string::String, u64> {
    COUNTS.take()
}
