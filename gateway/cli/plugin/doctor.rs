//! What is missing on this machine to build plugins.

use std::path::Path;
use std::process::Command;

use super::PluginError;
use super::build::{has_target, tool_of};
use crate::failure::Failure;

/// Looks for each tool, and says how to get what is not there.
pub fn run() -> Result<(), Failure> {
    let here = Path::new(".");
    let installed = || (has_target() != Some(false)).then(|| "installed".to_owned());
    let cargo = version(Command::new("cargo"));
    let findings = [
        ("wasm32-wasip2", cargo.as_ref().and_then(|_| installed()), "rustup target add wasm32-wasip2"),
        ("cargo", cargo, "get it from https://rustup.rs"),
        ("clang", version(Command::new("clang")), "for plugins in C: apt install clang"),
        ("wasm-ld", version(Command::new("wasm-ld")), "for plugins in C: apt install lld"),
        ("node", version(Command::new("node")), "for plugins in JavaScript: apt install nodejs npm"),
        (
            "componentize-qjs",
            // It does not tell its version.
            first_line(tool_of(here, "node_modules/.bin", "componentize-qjs"), "--help"),
            "for plugins in JavaScript: `npm install` in the plugin's folder",
        ),
        (
            "componentize-py",
            version(tool_of(here, ".venv/bin", "componentize-py")),
            "for plugins in Python: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the plugin's folder",
        ),
    ];
    let mut missing = None;
    for (tool, found, help) in findings {
        match found {
            Some(found) => crate::say(&format!("✔ {tool:<17} {found}"))?,
            None => {
                crate::say(&format!("✘ {tool:<17} missing: {help}"))?;
                missing = Some(PluginError::Tool { tool, help });
            }
        }
    }
    missing.map_or(Ok(()), |error| Err(error.into()))
}

fn version(tool: Command) -> Option<String> {
    first_line(tool, "--version")
}

/// The first line that a tool says of itself.
fn first_line(mut tool: Command, flag: &str) -> Option<String> {
    let output = tool.arg(flag).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
