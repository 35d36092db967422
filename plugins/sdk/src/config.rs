//! The tenant's settings and secrets, as the operator configured them.
//!
//! On the host (in tests) they are what [`set`] set on this thread.

use alloc::string::String;

/// The value of `key`, or none.
#[cfg(target_family = "wasm")]
pub fn get(key: &str) -> Option<String> {
    crate::bindings::request::sluis::plugin::config::get(key)
}

#[cfg(not(target_family = "wasm"))]
std::thread_local! {
    static VALUES: core::cell::RefCell<alloc::collections::BTreeMap<String, String>> = const { core::cell::RefCell::new(alloc::collections::BTreeMap::new()) };
}

/// The value of `key`, or none.
#[cfg(not(target_family = "wasm"))]
pub fn get(key: &str) -> Option<String> {
    VALUES.with_borrow(|values| values.get(key).cloned())
}

/// Sets what [`get`] returns on this thread.
#[cfg(not(target_family = "wasm"))]
pub fn set(key: &str, value: &str) {
    VALUES.with_borrow_mut(|values| values.insert(key.into(), value.into()));
}

/// Forgets what was [`set`] on this thread.
#[cfg(not(target_family = "wasm"))]
pub fn clear() {
    VALUES.take();
}
