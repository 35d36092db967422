//! The sandbox against guests in text: compiled by a real worker process, run in a real pool.
//! `support` wraps a core module of `../guests/` into a component of `wit/`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod budgets;
mod happy;
mod isolation;
mod loading;
/// Mutated components through the whole path.
mod mutants;
/// Components of contracts once published.
mod released;
mod support;
mod traps;
mod wasi;
