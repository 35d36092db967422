//! Runs a plugin's fixtures in the very sandbox that serves it later: same engine, same limits, same checks at the
//! door.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluis_fixture::Named;
use sluis_model::config::default_call_limits;
use sluis_model::hook::Usage;
use sluis_model::plan::Grant;
use sluis_sandbox::{LoadError, Plugin, Sandbox, SandboxSettings, WorkerCommand};

use super::PluginError;
use super::build;
use super::fixtures;
use super::project::{Folder, Project};
use crate::failure::Failure;

/// Build the component and run its fixtures
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Run what was built before
    #[arg(long)]
    no_build: bool,
    /// Only fixtures whose name contains one of these
    names: Vec<String>,
}

/// Builds, runs, prints.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let project = Project::open(&args.folder.dir)?;
    if !args.no_build {
        build::build(&project)?;
    }
    test(&project, &args.names).await
}

/// Runs the fixtures of what was built.
pub async fn test(project: &Project, names: &[String]) -> Result<(), Failure> {
    let plugin = load(&project.component()).await?;
    let fixtures = fixtures::read(&project.fixtures(), names)?;
    let width = fixtures.iter().map(|named| named.name.chars().count()).max().unwrap_or(0);
    let mut failed = 0;
    let limits = default_call_limits();
    for Named { name, fixture } in &fixtures {
        // The first call pays for what every later one finds ready; the second is the one to look at.
        sluis_fixture::run(&plugin, fixture, &limits).await;
        let sluis_fixture::Outcome { called, complaints } = sluis_fixture::run(&plugin, fixture, &limits).await;
        let Usage { cpu, memory, host_calls, .. } = called.usage;
        let mark = if complaints.is_empty() { '✔' } else { '✘' };
        let (cpu, memory) = (cpu.as_micros(), memory >> 10);
        crate::say(&format!("{mark} {name:<width$}  {cpu:>6} µs  {memory:>6} KiB  {host_calls:>3} host calls"))?;
        for complaint in &complaints {
            crate::say(&format!("    {complaint}"))?;
        }
        if !complaints.is_empty() {
            failed += 1;
            for line in &called.logs {
                crate::say(&format!("    log {}: {}", line.level.label(), line.message))?;
            }
        }
    }
    let all = fixtures.len();
    match failed {
        0 => Ok(crate::say(&format!("{all} fixtures hold"))?),
        _ => Err(PluginError::Fixtures { failed, all }.into()),
    }
}

/// Loads a component as the gateway would, with every capability granted.
pub async fn load(component: &Path) -> Result<Arc<Plugin>, PluginError> {
    let artefacts = component.with_file_name(".artefacts");
    let sandbox = Sandbox::new(settings(artefacts))?;
    let rejected = |error: LoadError| PluginError::Rejected { help: help(&error), error };
    sandbox.load(component, &Grant::ALL).await.map_err(rejected)
}

fn settings(artefact_dir: PathBuf) -> SandboxSettings {
    SandboxSettings {
        instances: 4,
        long_calls: 1,
        memory: default_call_limits().memory,
        component_bytes: 256 << 20,
        compile_timeout: Duration::from_secs(60),
        compile_memory: 4 << 30,
        artefact_dir,
        worker: WorkerCommand::this_program("compile-worker"),
    }
}

/// What removes the reason for which a component is refused.
fn help(error: &LoadError) -> String {
    let LoadError::UndeclaredCapability(imports) = error else { return String::new() };
    let any = |prefix: &str| imports.iter().any(|import| import.starts_with(prefix));
    let mut help = String::new();
    if any("wasi:http") {
        help.push_str("\n  wasi:http: ask other systems through the capability `http-client` of the SDK");
    }
    if any("wasi:filesystem") || any("wasi:sockets") {
        help.push_str("\n  wasi:filesystem, wasi:sockets: there are no files and no sockets; in Rust a crate that opens them is in the tree (`cargo tree`)");
    }
    if any("sluis:") {
        help.push_str("\n  sluis: this gateway speaks another version of the contract; `sluis plugin new` has its own");
    }
    help
}
