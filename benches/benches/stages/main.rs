//! Every stage of a request by itself: `make bench`, or `cargo bench -p sluis-bench -- FILTER` for times by criterion, and
//! `cargo bench -p sluis-bench -- instructions FILTER` for instructions.
//!
//! This executable is its own compile worker, so it has a `main` of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod admission;
mod canned;
mod decisions;
mod far_end;
mod house;
mod identity;
mod instructions;
mod ledger;
mod message;
mod plugin;
mod request;
mod stage;
mod whole;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use far_end::FAR_END;
use house::House;
use instructions::{COUNT, INSTRUCTIONS};
use stage::{Shared, Stage};

/// The word that makes this the compile worker.
const COMPILE_WORKER: &str = "compile-worker";

/// As the gateway's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let word = args.next().unwrap_or_default();
    if word == COMPILE_WORKER {
        return sluis_sandbox::compile_worker();
    }
    // As the gateway does; otherwise signatures are verified by slower code.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match &*word {
        FAR_END => far_end::run(),
        COUNT => instructions::counted(args),
        INSTRUCTIONS => instructions::run(args),
        _ => time(),
    }
}

/// All stages, in the order of a request, and what the ledger's commits took once they were asked for.
fn all() -> (Vec<Stage>, ledger::Measured) {
    let (ledger, measured) = ledger::stages();
    let stages = [
        decisions::stages(),
        identity::stages(),
        admission::stages(),
        message::stages(),
        plugin::stages(),
        ledger,
        whole::stages(),
    ];
    (stages.into_iter().flatten().collect(), measured)
}

/// Times by criterion.
fn time() -> ExitCode {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let (stages, measured) = all();
    let house = Shared::new(House::build);
    for stage in &stages {
        let (group, name) = stage.name.split_once('/').unwrap_or((&stage.name, "whole"));
        let mut group = criterion.benchmark_group(group);
        match stage.slow {
            true => group.sampling_mode(SamplingMode::Flat).sample_size(10),
            false => group.sample_size(30),
        };
        if stage.pieces > 1 {
            group.throughput(Throughput::Elements(stage.pieces));
        }
        // Not before it is known that the filter lets it through.
        let mut prepared = None;
        group.bench_function(name, |bencher| {
            let turns = prepared.get_or_insert_with(|| stage.prepare(&house));
            bencher.iter_custom(|count| {
                turns.ready(count);
                let began = Instant::now();
                turns.take(count);
                began.elapsed()
            });
        });
        group.finish();
    }
    ledger::print_commits(&measured, &house);
    criterion.final_summary();
    ExitCode::SUCCESS
}
