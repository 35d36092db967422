//! The worker's side of compilation, a process of its own: limits first, then the bytes, then the compiler. Its answer
//! is an artefact on stdout, or a refusal on stderr with status [`REFUSED`].

use std::io::{Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::ceilings;
use crate::compile::{ENV_CPU, ENV_MEMORY, REFUSED};
use crate::engine;
use crate::error::LoadError;
use crate::text;

/// Open files: the three streams, and a few that the compiler may want.
const FILES: u64 = 16;

/// The body of the hidden subcommand `compile-worker`. The limits come in the environment, set by the gateway.
pub fn compile_worker() -> ExitCode {
    match run() {
        Ok(artefact) => match std::io::stdout().lock().write_all(&artefact) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let detail = text::escape(&error.detail(), 512);
            let _ = writeln!(std::io::stderr(), "{}\t{detail}", error.code());
            ExitCode::from(REFUSED)
        }
    }
}

fn run() -> Result<Vec<u8>, LoadError> {
    confine()?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(unread)?;
    ceilings::validate(&bytes)?;
    let engine = engine::compiling().map_err(refused)?;
    engine.precompile_component(&bytes).map_err(refused)
}

/// Gives up what a compiler does not need, before a byte of the upload is read. Filters on files and system calls
/// (landlock, seccomp) belong here too.
fn confine() -> Result<(), LoadError> {
    let cpu = number(ENV_CPU)?;
    let memory = number(ENV_MEMORY)?;
    // Past the soft limit comes a signal that tells what happened, past the hard one a kill.
    limit(Resource::Cpu, cpu, cpu.saturating_add(1))?;
    limit(Resource::As, memory, memory)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Nofile, FILES, FILES)?;
    limit(Resource::Fsize, 0, 0)
}

fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), LoadError> {
    setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) }).map_err(crash)
}

fn number(name: &str) -> Result<u64, LoadError> {
    let value = std::env::var(name).ok().and_then(|value| value.parse().ok());
    value.ok_or_else(|| LoadError::CompileCrash(format!("{name} is not set: this command is started by the gateway")))
}

fn unread(error: std::io::Error) -> LoadError {
    if error.kind() == std::io::ErrorKind::OutOfMemory { LoadError::CompileMemory } else { crash(error) }
}

fn crash(error: impl std::fmt::Display) -> LoadError {
    LoadError::CompileCrash(error.to_string())
}

/// The compiler refused what validation let through. Memory that is not to be had reads differently from the rest.
fn refused(error: wasmtime::Error) -> LoadError {
    let out_of_memory = error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::OutOfMemory)
        });
    if out_of_memory { LoadError::CompileMemory } else { LoadError::NotAComponent(format!("{error:#}")) }
}
