//! Measurements of Sluis: what the benches and tools share.
//!
//! Everything measured is the real part: the gateway as a process of its own or its crates, tokens signed here, keys
//! fetched over HTTP, components as they are built, and a disk.

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod agent;
pub mod client;
pub mod compare;
pub mod component;
pub mod cores;
pub mod disk;
pub mod gateway;
pub mod instructions;
pub mod issuer;
pub mod lean;
pub mod live;
pub mod load;
pub mod memory;
pub mod pace;
pub mod parts;
pub mod record;
pub mod report;
pub mod result;
pub mod saturate;
pub mod scenario;
pub mod session;
pub mod slo;
pub mod upstream;
pub mod workload;

/// Whatever went wrong; these programs print it and end.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How a tool ends: with `broken` where what it looked at did not hold, and with 1 where it could not look, which it says.
#[allow(clippy::print_stderr)]
pub fn ended(held: Result<bool, Error>, broken: u8) -> ExitCode {
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(broken),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// An order of 993 bytes with seven lines: the body of every request here, of the shape and size that the gateways
/// beside us are measured with.
pub const ORDER: &[u8] = include_bytes!("../fixtures/order.json");

/// A latency in microseconds, up to a minute, to three digits.
pub type Latencies = hdrhistogram::Histogram<u64>;

/// No latencies yet.
pub fn latencies() -> Result<Latencies, Error> {
    Ok(Latencies::new_with_bounds(1, 60_000_000, 3)?)
}

/// Microseconds as milliseconds, for tables.
pub fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_order_has_the_size_that_is_said() {
        assert_eq!(crate::ORDER.len(), 993);
    }
}
