//! Every stage of a request by itself: `make bench`, or `cargo bench -p sluis-bench -- FILTER`.
//!
//! This executable is its own compile worker, so it has a `main` of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod admission;
mod decisions;
mod house;
mod identity;
mod ledger;
mod plugin;

use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;

use house::House;

/// The word that makes this the compile worker.
const COMPILE_WORKER: &str = "compile-worker";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(COMPILE_WORKER) {
        return sluis_sandbox::compile_worker();
    }
    // As the gateway does; otherwise signatures are verified by slower code.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let house = House::build();
    decisions::bench(&mut criterion);
    identity::bench(&mut criterion, &house);
    admission::bench(&mut criterion, &house);
    plugin::bench(&mut criterion, &house);
    ledger::bench(&mut criterion, &house);
    criterion.final_summary();
    ExitCode::SUCCESS
}
