//! Rust, by cargo for wasm32-wasip2.

use std::process::Command;

use super::super::PluginError;
use super::super::project::Project;
use super::{put, run_tool};

const TARGET: &str = "wasm32-wasip2";
const RUSTUP: &str = "get it from https://rustup.rs";

/// Builds by cargo.
pub fn build(project: &Project) -> Result<(), PluginError> {
    let Project { dir, manifest } = project;
    let target = dir.join("target");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--release", "--lib", "--target", TARGET, "--target-dir"])
        .arg(std::path::absolute(&target).map_err(PluginError::io(&target))?)
        .current_dir(dir);
    let status = run_tool(cargo, "cargo", RUSTUP)?;
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
