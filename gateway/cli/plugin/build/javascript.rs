//! JavaScript, by componentize-qjs: QuickJS, started and frozen with the plugin's modules loaded.

use std::fmt::Write;

use super::super::PluginError;
use super::super::project::{Hook, Project};
use super::{put, run_quietly, tool_of, world};

/// Builds by componentize-qjs.
pub fn build(project: &Project) -> Result<(), PluginError> {
    let dir = std::path::absolute(&project.dir).map_err(PluginError::io(&project.dir))?;
    let made = dir.join("target/javascript");
    world::write(&dir.join("wit"), &project.manifest, &made.join("wit"))?;
    let entry = made.join("entry.js");
    std::fs::write(&entry, entry_module(project.manifest.hooks())).map_err(PluginError::io(&entry))?;
    let built = made.join("component.wasm");
    // Without a world of their own for async functions and without WASI: neither is in the contract.
    let mut tool = tool_of(&dir, "node_modules/.bin", NAME);
    tool.args(["--sync", "--stub-wasi", "--module-root", ".", "--world", world::NAME])
        .args(["--wit", "target/javascript/wit", "--js", "target/javascript/entry.js", "--output"])
        .arg(&built)
        .current_dir(&dir);
    if !run_quietly(tool, NAME, "get it with `npm install` in the plugin's folder (Node.js 18 or newer)")?.success() {
        return Err(PluginError::NotBuilt);
    }
    put(&built, &project.component())
}

/// What builds.
pub const NAME: &str = "componentize-qjs";

/// The module that exports what the world does, and hands it to the plugin's functions.
fn entry_module(hooks: &[Hook]) -> String {
    let mut module = String::from(
        "import * as plugin from \"../../src/plugin.js\";\nimport { guard } from \"../../vendor/sluis/hook.js\";\n\n",
    );
    for hook in hooks {
        let name = camel_case(hook.word());
        // Writing to a String does not fail.
        let _ = match hook {
            Hook::OnEvent => writeln!(
                module,
                "export const {name} = {{\n    shape: guard(plugin.shape, \"shape\"),\n    judge: guard(plugin.judge ?? (() => null), \"judge\"),\n}};"
            ),
            _ => writeln!(module, "export const {name} = {{ {name}: guard(plugin.{name}, \"{name}\") }};"),
        };
    }
    module
}

fn camel_case(kebab: &str) -> String {
    let mut parts = kebab.split('-');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1);
        name.push_str(&first.to_uppercase());
        name.push_str(rest);
    }
    name
}
