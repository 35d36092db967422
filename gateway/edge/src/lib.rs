//! Floor 3 of Sluis: ingress, admit, forward, reply; the only crate that names pingora.
//!
//! A request's life is read in [`serve`]; the order of its checks in [`admit`]; every "no" leaves by [`reply`].

#![forbid(unsafe_code)]

mod address;
pub mod admin;
pub mod admit;
pub mod body;
pub mod clock;
pub mod components;
pub mod decide;
pub mod enqueue;
pub mod event_status;
mod events;
mod flood;
pub mod forward;
pub mod guard;
pub mod head;
pub mod http_client;
pub mod idempotency;
pub mod journey;
pub mod jwks;
mod lagging;
pub mod load;
pub mod metrics;
pub mod observe;
mod patience;
pub mod record;
pub mod recorder;
pub mod relay;
pub mod reload;
pub mod reply;
pub mod rollouts;
pub mod serve;
pub mod server;
pub mod serving;
pub mod shadow;
pub mod state;
pub mod tenant_log;
pub mod tls;
pub mod tokens;
pub mod uploads;
pub mod upstream;
