//! Catalogue of bad inputs, section 2E: the part about fetching keys.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod network;
mod schedule;
mod sources;
