//! From source to component, by the language's own tools.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::PluginError;
use super::project::{Folder, Language, Project};
use crate::failure::Failure;

const TARGET: &str = "wasm32-wasip2";
const RUSTUP: &str = "get it from https://rustup.rs";

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
        Language::Rust => rust(project),
    }
}

fn rust(project: &Project) -> Result<(), PluginError> {
    let Project { dir, manifest } = project;
    let target = dir.join("target");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--release", "--lib", "--target", TARGET, "--target-dir"])
        .arg(std::path::absolute(&target).map_err(PluginError::io(&target))?)
        .current_dir(dir);
    let status = cargo.status().map_err(|error| match error.kind() {
        ErrorKind::NotFound => PluginError::Tool { tool: "cargo", help: RUSTUP },
        _ => PluginError::Runtime(error),
    })?;
    if !status.success() {
        return match has_target() {
            Some(false) => Err(PluginError::Tool {
                tool: "the target wasm32-wasip2 of rustc",
                help: "get it with `rustup target add wasm32-wasip2`",
            }),
            _ => Err(PluginError::NotBuilt),
        };
    }
    let built = target.join(TARGET).join("release").join(format!("{}.wasm", manifest.name.replace('-', "_")));
    put(&built, &project.component())
}

/// Whether rustc can build plugins; none where rustup is not what manages it.
pub fn has_target() -> Option<bool> {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().any(|line| line == TARGET))
}

fn put(built: &Path, component: &Path) -> Result<(), PluginError> {
    if let Some(parent) = component.parent() {
        std::fs::create_dir_all(parent).map_err(PluginError::io(parent))?;
    }
    std::fs::copy(built, component).map_err(PluginError::io(built))?;
    Ok(())
}
