//! Python, by componentize-py: CPython, started and frozen with the plugin's modules imported.

use std::fmt::Write;

use super::super::PluginError;
use super::super::project::{Hook, Project};
use super::{put, run_tool, tool_of, world};

/// Builds by componentize-py.
pub fn build(project: &Project) -> Result<(), PluginError> {
    let dir = std::path::absolute(&project.dir).map_err(PluginError::io(&project.dir))?;
    let made = dir.join("target/python");
    world::write(&dir.join("wit"), &project.manifest, &made.join("wit"))?;
    let entry = made.join("entry.py");
    std::fs::write(&entry, entry_module(project.manifest.hooks())).map_err(PluginError::io(&entry))?;
    let built = made.join("component.wasm");
    let mut tool = tool_of(&dir, ".venv/bin", NAME);
    tool.args(["--quiet", "--wit-path", "target/python/wit", "--world", world::NAME, "componentize", "--stub-wasi"])
        .args([
            "--python-path",
            "target/python",
            "--python-path",
            "src",
            "--python-path",
            "vendor",
            "entry",
            "--output",
        ])
        .arg(&built)
        // Its own, below the traceback that matters.
        .env("RUST_BACKTRACE", "0")
        .current_dir(&dir);
    let help =
        "get it with `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the plugin's folder";
    if !run_tool(tool, NAME, help)?.success() {
        return Err(PluginError::NotBuilt);
    }
    put(&built, &project.component())
}

/// What builds.
pub const NAME: &str = "componentize-py";

/// The module with the classes that the world wants, whose methods are the plugin's functions.
fn entry_module(hooks: &[Hook]) -> String {
    let mut module = String::from("import plugin\nfrom sluis.hook import guard\n");
    for hook in hooks {
        let name = hook.word().replace('-', "_");
        let class: String = hook.word().split('-').map(capitalised).collect();
        let _ = write!(module, "\n\nclass {class}:\n");
        let functions: &[&str] = if *hook == Hook::OnEvent { &["shape", "judge"] } else { &[&name] };
        for function in functions {
            // Writing to a String does not fail.
            let _ = writeln!(module, "    {function} = guard(plugin, \"{function}\")");
        }
    }
    module
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
