//! From source to component, by the language's own tools.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, ExitStatus};

use super::PluginError;
use super::project::{Folder, Language, Project};
use crate::failure::Failure;

mod c;
mod javascript;
mod python;
mod rust;
mod world;

pub use rust::has_target;

/// Build the component
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
}

/// Builds, and says what came of it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let project = Project::open(&args.folder.dir)?;
    build(&project)?;
    let component = project.component();
    let size = std::fs::metadata(&component).map_err(PluginError::io(&component))?.len();
    crate::say(&format!("{} {}  {} KiB", component.display(), project.manifest.version, size.div_ceil(1024)))?;
    Ok(())
}

/// Builds the component to where the project wants it. What the tools say goes to standard error.
pub fn build(project: &Project) -> Result<(), PluginError> {
    match project.manifest.language {
        Language::Rust => rust::build(project),
        Language::C => c::build(project),
        Language::JavaScript => javascript::build(project),
        Language::Python => python::build(project),
    }
}

fn put(built: &Path, component: &Path) -> Result<(), PluginError> {
    if let Some(parent) = component.parent() {
        std::fs::create_dir_all(parent).map_err(PluginError::io(parent))?;
    }
    std::fs::copy(built, component).map_err(PluginError::io(built))?;
    Ok(())
}

/// A tool of the language's own packages: the project's, or the one on the path.
pub fn tool_of(dir: &Path, local: &str, name: &'static str) -> Command {
    let local = dir.join(local).join(name);
    Command::new(if local.exists() { local.as_path() } else { Path::new(name) })
}

/// Runs a tool to its end; what it says goes to standard error.
fn run_tool(mut tool: Command, name: &'static str, help: &'static str) -> Result<ExitStatus, PluginError> {
    tool.stdout(std::io::stderr()).status().map_err(|error| not_run(error, name, help))
}

/// The same of a tool that says much where nothing is wrong: it is heard only where something is.
fn run_quietly(mut tool: Command, name: &'static str, help: &'static str) -> Result<ExitStatus, PluginError> {
    let output = tool.output().map_err(|error| not_run(error, name, help))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        std::io::stderr().write_all(&said).map_err(PluginError::Runtime)?;
    }
    Ok(output.status)
}

fn not_run(error: std::io::Error, tool: &'static str, help: &'static str) -> PluginError {
    match error.kind() {
        ErrorKind::NotFound => PluginError::Tool { tool, help },
        _ => PluginError::Runtime(error),
    }
}
