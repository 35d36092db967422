//! The integration tests: one binary, this list is its index. They start the real `sluis` as a process of its own, on
//! free ports, with real files, real sockets and guests compiled from source (`make plugins` first).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod support;

/// `sluis plugin`: a tenant's day, from an empty folder to a bad version that rolls itself back.
mod author;
/// `sluis bench`: verdicts, exit codes, files, and everything that can be asked wrongly.
mod bench;
/// CloudEvents: taken in and sent on, in both modes.
mod cloudevents;
/// `sluis check` and `sluis config` on real files.
mod config;
/// `sluis demo`: the tour, and the stand-ins alone.
mod demo;
/// Events on their way to sinks: shaped and judged by plugins.
mod events;
/// Store and forward, and clients that would rather not wait.
mod fallback;
/// Forwarding: bodies, framings, protocols, deadlines, retries, hygiene.
mod forward;
/// Idempotency keys: requests that are sent again.
mod idempotency;
/// Tokens and keys through the whole gateway.
mod identity;
/// One mapping in every language; the examples and their twins.
mod languages;
/// `sluis ledger`: backups, and whether a ledger holds together.
mod ledger;
/// Caps and rates: who is refused, and who is left alone.
mod limits;
/// People who look after events: operators and tenants, by the admin listener.
mod operate;
/// Tenants' plugins: decisions, faults, lies.
mod plugin;
/// Events: accepted, delivered, kept through crashes.
mod queue;
/// Plans replaced under way.
mod reload;
/// Versions of plugins: tried, promoted, rolled back, quarantined.
mod rollouts;
/// Two hundred tenants: onboarded without a restart, each with what is its own.
mod tenants;
/// `sluis events`, `sluis dlq` and `sluis sinks`: what people see, and what programs read.
mod terminal;
/// TLS and HTTP/2 on both sides.
mod tls;
/// Components as they come in: who may, what is refused, what is kept.
mod uploads;
/// Customers who wait for something to become of an event.
mod waiting;
