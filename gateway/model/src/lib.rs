//! Floor 0 of Sluis: words and decisions.
//!
//! Nothing here reads a clock, a socket, a file or an environment variable; time is an argument.
//! Every other crate speaks in these words, so a word has one meaning in WIT, code, config, metric and test.

#![forbid(unsafe_code)]

pub mod breaker;
pub mod budget;
pub mod cloud_event;
pub mod config;
pub mod event;
pub mod fields;
pub mod hook;
pub mod http_client;
pub mod idempotency;
pub mod identity;
pub mod kv;
pub mod lane;
pub mod limits;
pub mod maintenance;
pub mod pacing;
pub mod plan;
pub mod pointer;
pub mod prefer;
pub mod refusal;
pub mod retry;
pub mod retry_queue;
pub mod rollout;
pub mod route;
pub mod schedule;
pub mod section;
pub mod shedding;
pub mod signature;
pub mod target;

#[cfg(test)]
mod testing;
mod window;
