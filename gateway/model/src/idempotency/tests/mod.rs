//! Tests of keys, of what tells requests apart, and of claims.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod claim;
mod extract;
mod fingerprint;
mod key;
