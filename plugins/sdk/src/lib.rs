//! The SDK for Sluis plugins in Rust.
//!
//! A plugin is a function from a [`Request`] to a [`Decision`], exported by [`plugin!`]:
//!
//! ```
//! use sluis_plugin::{Decision, Request};
//!
//! sluis_plugin::plugin! { on_request: decide }
//!
//! fn decide(request: Request) -> Decision {
//!     match request.header("content-type") {
//!         Some("application/json") => Decision::forward().header("x-seen-by", "plugin").into(),
//!         _ => Decision::refuse(415, "urn:example:media-type", "Only JSON is taken here").into(),
//!     }
//! }
//! ```
//!
//! Plugins are lean unless they ask for `std`: no WASI, an allocator that only moves forward (an instance serves one
//! request and is then gone), and a panic handler that tells the operator's log where and why before it traps.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

pub mod clock;
pub mod config;
pub mod currency;
pub mod date;
pub mod decimal;
pub mod event;
pub mod http_client;
pub mod json;
pub mod kv;
pub mod log;
pub mod metrics;
pub mod text;

#[doc(hidden)]
pub mod arena;
#[doc(hidden)]
pub mod bindings;
mod decision;
mod plugin;
mod request;
mod response;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod runtime;

pub use bindings::request::sluis::plugin::types::{
    Decision, Enqueue, Forward, Problem, Request, Respond, Response, ResponseChange,
};
pub use currency::Currency;
pub use date::Date;
pub use decimal::Decimal;
pub use json::{At, Field, Invalid, Object};
