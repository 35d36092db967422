//! A folder to begin with: builds, has fixtures that hold, and needs nothing but the language's own tools.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use sluis_model::rollout::is_plugin_name;

use super::PluginError;
use super::project::{Language, MANIFEST};
use crate::failure::Failure;

/// The contract, as this gateway speaks it.
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/wit");
/// The SDK, which is published nowhere but here.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/sdk");
/// The same for C.
static C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/c");

const README: &str = include_str!("template/README.md");

/// Files of the templates, beside the contract and the SDK. `NAME` stands for the plugin's.
const RUST_FILES: [(&str, &str); 7] = [
    ("Cargo.lock", include_str!("../../../plugins/Cargo.lock")),
    (".gitignore", "/target\n/dist\n"),
    (".cargo/config.toml", include_str!("../../../plugins/.cargo/config.toml")),
    ("Cargo.toml", include_str!("template/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("template/rust/lib.rs")),
    ("fixtures/order.yaml", include_str!("template/rust/order.yaml")),
    ("fixtures/no-total.yaml", include_str!("template/rust/no-total.yaml")),
];

const C_FILES: [(&str, &str); 4] = [
    (".gitignore", "/target\n/dist\n"),
    ("src/plugin.c", include_str!("template/c/plugin.c")),
    ("fixtures/order.yaml", include_str!("template/c/order.yaml")),
    ("fixtures/not-json.yaml", include_str!("template/c/not-json.yaml")),
];

/// Make a plugin to begin with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name: lower-case letters, digits and dashes
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// Where; a folder of its name where absent
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the template.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Args { name, lang, dir } = args;
    let dir = dir.clone().unwrap_or_else(|| PathBuf::from(name));
    let wrong = |reason: &str| PluginError::Project { path: dir.clone(), reason: reason.to_owned() };
    // A cargo package begins with a letter.
    if !is_plugin_name(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(wrong("a plugin's name is 1 to 63 lower-case letters, digits and dashes, a letter first").into());
    }
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(wrong("the folder is not empty").into());
    }
    let (files, sdk, vendor): (&[_], _, _) = match lang {
        Language::Rust => (&RUST_FILES, &SDK, "vendor/sdk"),
        Language::C => (&C_FILES, &C, "vendor"),
    };
    for (path, text) in files.iter().chain(&[("README.md", README)]) {
        write(&dir.join(path), text.replace("NAME", name).as_bytes())?;
    }
    copy(&WIT, &dir.join("wit"))?;
    copy(sdk, &dir.join(vendor))?;
    let manifest = format!("name: {name}\nversion: 0.1.0\nlanguage: {}\n", lang.word());
    write(&dir.join(MANIFEST), manifest.as_bytes())?;
    let at = dir.display();
    crate::say(&format!(
        "made {at}\n\n  cd {at}\n  sluis plugin test     # builds it and runs its fixtures\n  sluis plugin dev      # the same after every change"
    ))?;
    Ok(())
}

fn copy(from: &Dir<'_>, to: &Path) -> Result<(), PluginError> {
    for entry in from.entries() {
        match entry {
            DirEntry::Dir(dir) => copy(dir, to)?,
            DirEntry::File(file) => write(&to.join(file.path()), file.contents())?,
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(PluginError::io(parent))?;
    }
    std::fs::write(path, bytes).map_err(PluginError::io(path))
}
