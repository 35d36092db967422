//! The fixtures of a plugin's folder.

use std::path::{Path, PathBuf};

use sluis_fixture::{Content, Fixture, Named};

use super::PluginError;
use super::project::read_yaml;

/// The fixtures in a folder, by name; only those whose name contains one of `filter`, where there is one.
pub fn read(dir: &Path, filter: &[String]) -> Result<Vec<Named>, PluginError> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(PluginError::io(dir))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"))
        .collect();
    paths.sort();
    let mut fixtures = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !filter.is_empty() && !filter.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let mut fixture: Fixture = read_yaml(&path)?;
        for content in fixture.contents() {
            read_file(content, dir)?;
        }
        fixtures.push(Named { name, fixture });
    }
    Ok(fixtures)
}

/// Puts a file's text in the place of its name; a file that is JSON is compared as such.
fn read_file(content: &mut Content, dir: &Path) -> Result<(), PluginError> {
    let Content::File(name) = content else { return Ok(()) };
    let path = dir.join(name);
    let text = std::fs::read_to_string(&path).map_err(PluginError::io(&path))?;
    *content = match path.extension().is_some_and(|extension| extension == "json") {
        true => serde_json::from_str(&text).map_or(Content::Text(text), Content::Json),
        false => Content::Text(text),
    };
    Ok(())
}
