//! The ledger from outside: real files, real sinks on real sockets, real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod support;

mod accept;
mod claim_quota;
mod claims;
mod clocks;
mod crash;
mod deliver;
mod faults;
mod files;
mod full_disk;
mod gate;
mod hook;
mod kill;
mod kv;
mod lanes;
mod operate;
mod order;
mod power;
mod purge;
mod registry;
mod restart;
mod sent_anew;
mod tls;
mod upkeep;
