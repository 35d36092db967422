//! The world of a plugin whose interpreter would import everything: just what its manifest names.

use std::fmt::Write;
use std::path::Path;

use super::super::PluginError;
use super::super::project::Manifest;

/// What the world is called.
pub const NAME: &str = "built";

/// Writes the contract and the world into the folder `to`, which it makes anew.
pub fn write(contract: &Path, manifest: &Manifest, to: &Path) -> Result<(), PluginError> {
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(PluginError::io(to))?;
    }
    std::fs::create_dir_all(to).map_err(PluginError::io(to))?;
    let entries = std::fs::read_dir(contract).map_err(PluginError::io(contract))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if let (Some(name), Some("wit")) = (path.file_name(), path.extension().and_then(|it| it.to_str())) {
            std::fs::copy(&path, to.join(name)).map_err(PluginError::io(&path))?;
        }
    }
    let path = to.join("built.wit");
    std::fs::write(&path, world(manifest)).map_err(PluginError::io(&path))
}

fn world(manifest: &Manifest) -> String {
    let mut world = format!("package sluis:plugin@1.0.0;\n\nworld {NAME} {{\n    import panic;\n");
    // Writing to a String does not fail.
    for import in manifest.imports() {
        let _ = writeln!(world, "    import {};", import.word());
    }
    for hook in manifest.hooks() {
        let _ = writeln!(world, "    export {};", hook.word());
    }
    world.push_str("}\n");
    world
}
