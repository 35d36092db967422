//! What is missing on this machine to build plugins.

use std::process::Command;

use super::PluginError;
use super::build::has_target;
use crate::failure::Failure;

/// Looks for each tool, and says how to get what is not there.
pub fn run() -> Result<(), Failure> {
    let cargo = Command::new("cargo").arg("--version").output();
    let version = cargo.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let findings = [
        ("cargo", version.clone(), "get it from https://rustup.rs"),
        (
            "wasm32-wasip2",
            version.filter(|_| has_target() != Some(false)).map(|_| "installed".to_owned()),
            "rustup target add wasm32-wasip2",
        ),
    ];
    let version_of = |tool: &str| {
        let output = Command::new(tool).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let findings = findings.into_iter().chain([
        ("clang", version_of("clang"), "for plugins in C: apt install clang"),
        ("wasm-ld", version_of("wasm-ld"), "for plugins in C: apt install lld"),
    ]);
    let mut missing = None;
    for (tool, found, help) in findings {
        match found {
            Some(found) => crate::say(&format!("✔ {tool:<14} {found}"))?,
            None => {
                crate::say(&format!("✘ {tool:<14} missing: {help}"))?;
                missing = Some(PluginError::Tool { tool, help });
            }
        }
    }
    missing.map_or(Ok(()), |error| Err(error.into()))
}
