//! Lines for the tenant's log. The host keeps a bounded number of bounded lines and counts what it drops.
//!
//! On the host (in tests) lines are kept per thread: [`taken`] returns them.

/// What the developer wants to know.
pub fn debug(message: &str) {
    write("debug", message);
}

/// What happened.
pub fn info(message: &str) {
    write("info", message);
}

/// What somebody should look at.
pub fn warn(message: &str) {
    write("warn", message);
}

/// What went wrong.
pub fn error(message: &str) {
    write("error", message);
}

#[cfg(target_family = "wasm")]
fn write(level: &str, message: &str) {
    crate::bindings::request::sluis::plugin::log::write(level, message);
}

#[cfg(not(target_family = "wasm"))]
std::thread_local! {
    static LINES: core::cell::RefCell<alloc::vec::Vec<(alloc::string::String, alloc::string::String)>> = const { core::cell::RefCell::new(alloc::vec::Vec::new()) };
}

#[cfg(not(target_family = "wasm"))]
fn write(level: &str, message: &str) {
    LINES.with_borrow_mut(|lines| lines.push((level.into(), message.into())));
}

/// Takes the `(level, message)` lines that this thread has logged.
#[cfg(not(target_family = "wasm"))]
pub fn taken() -> alloc::vec::Vec<(alloc::string::String, alloc::string::String)> {
    LINES.take()
}
