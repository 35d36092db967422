//! `sluis`: the API front door of an ERP.
//!
//! One file per command; this one dispatches, prints what failed, and gives the exit code: 0 done, 1 failed,
//! 3 invalid configuration, 5 nobody there, 64 wrong command line, 99 a broken pass line, 130 interrupted.

mod admin;
mod allocator;
mod bench;
mod certs;
mod check;
mod client;
mod config;
mod demo;
mod failure;
mod ledger;
mod logging;
mod operate;
mod plugin;
mod run;
mod table;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use failure::{Failure, USAGE};

/// The API front door of an ERP: verifies who calls, runs the tenant's sandboxed plugin, forwards or keeps durably.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Bench(Box<bench::Args>),
    Certs(certs::Args),
    Check(check::Args),
    Config(config::Args),
    Demo(Box<demo::Args>),
    Dlq(Box<operate::dlq::Args>),
    Events(Box<operate::events::Args>),
    Ledger(ledger::Args),
    Plugin(Box<plugin::Args>),
    Run(run::Args),
    Sinks(operate::sinks::Args),
    /// Compile a component; the gateway starts this itself
    #[command(hide = true)]
    CompileWorker,
}

fn main() -> ExitCode {
    // Before anything else, or pingora installs another one (slower at ES256).
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // `--help` and `--version` are such errors too.
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Bench(args) => report(bench::run(*args)),
        Command::Certs(args) => certs::run(&args),
        Command::Check(args) => report(check::run(&args)),
        Command::Config(args) => report(config::run(&args)),
        Command::Demo(args) => demo::run(*args),
        Command::Dlq(args) => report(operate::dlq::run(&args)),
        Command::Events(args) => report(operate::events::run(&args)),
        Command::Ledger(args) => report(ledger::run(&args)),
        Command::Plugin(args) => report(plugin::run(*args)),
        Command::Run(args) => report(run::run(args)),
        Command::Sinks(args) => report(operate::sinks::run(&args)),
        Command::CompileWorker => sluis_sandbox::compile_worker(),
    }
}

fn report(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough (`sluis config example | head`).
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            mention(&failure.to_string());
            failure.code()
        }
    }
}

/// One text on standard output.
fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// One text on standard error. Nothing hangs on whether anybody reads it: a pipe that was closed ends no command.
fn mention(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
