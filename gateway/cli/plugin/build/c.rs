//! C, by clang without a standard library: bindings are made of wit/, the component is put around what clang links.

use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

use super::super::PluginError;
use super::super::project::Project;
use super::run_tool;

/// The world that the SDK for C implements.
const WORLD: &str = "request";
/// What bindings are called: `plugin.h`, `plugin_string_t`.
const BINDINGS: &str = "plugin";
/// As lean guests have it: a small stack, and a first memory that holds a normal request.
const LINKER: [&str; 4] =
    ["-Wl,--no-entry", "-Wl,--stack-first", "-Wl,-z,stack-size=65536", "-Wl,--initial-memory=524288"];

/// Builds by clang.
pub fn build(project: &Project) -> Result<(), PluginError> {
    let dir = std::path::absolute(&project.dir).map_err(PluginError::io(&project.dir))?;
    let made = dir.join("target/c");
    std::fs::create_dir_all(&made).map_err(PluginError::io(&made))?;
    bind(&dir.join("wit"), &made)?;
    let module = made.join("module.wasm");
    let mut clang = Command::new("clang");
    clang
        .args([
            "--target=wasm32-unknown-unknown",
            "-mbulk-memory",
            "-std=c11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-nostdlib",
            "-ffreestanding",
        ])
        .args(["-fno-builtin", "-Ivendor", "-Ivendor/include", "-Itarget/c", "-o"])
        .arg(&module)
        .args(LINKER)
        .args(sources(&dir, "src")?)
        .args(sources(&dir, "vendor")?)
        .args(["target/c/plugin.c", "target/c/plugin_component_type.o"])
        .current_dir(&dir);
    if !run_tool(clang, "clang", "get it with `apt install clang lld`")?.success() {
        let has_linker = Command::new("wasm-ld").arg("--version").output().is_ok();
        return Err(match has_linker {
            true => PluginError::NotBuilt,
            false => PluginError::Tool { tool: "wasm-ld", help: "get it with `apt install lld`" },
        });
    }
    let linked = std::fs::read(&module).map_err(PluginError::io(&module))?;
    let component = encode(&linked).map_err(|reason| PluginError::Project { path: module.clone(), reason })?;
    let path = project.component();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(PluginError::io(parent))?;
    }
    std::fs::write(&path, component).map_err(PluginError::io(&path))
}

/// The sources in a folder of the plugin's, relative to it, in an order that is always the same.
fn sources(dir: &Path, folder: &str) -> Result<Vec<PathBuf>, PluginError> {
    let src = dir.join(folder);
    let entries = std::fs::read_dir(&src).map_err(PluginError::io(&src))?;
    let names = entries.filter_map(|entry| Some(Path::new(folder).join(entry.ok()?.file_name())));
    let mut sources: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|it| it == "c")).collect();
    sources.sort();
    Ok(sources)
}

fn bind(wit: &Path, to: &Path) -> Result<(), PluginError> {
    let made = || {
        let said = |error: &dyn std::fmt::Display| format!("{error:#}");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(wit).map_err(|error| said(&error))?;
        let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| said(&error))?;
        let mut files = Files::default();
        let options = wit_bindgen_c::Opts { rename_world: Some(BINDINGS.to_owned()), ..Default::default() };
        options.build().generate(&mut resolve, world, &mut files).map_err(|error| said(&error))?;
        Ok(files)
    };
    let files = made().map_err(|reason| PluginError::Project { path: wit.to_owned(), reason })?;
    for (name, bytes) in files.iter() {
        let path = to.join(name);
        std::fs::write(&path, bytes).map_err(PluginError::io(&path))?;
    }
    Ok(())
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    let encoded = encoder.module(module).and_then(|encoder| encoder.validate(true).encode());
    encoded.map_err(|error| format!("{error:#}"))
}
