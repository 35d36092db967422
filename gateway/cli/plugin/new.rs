//! A folder to begin with: builds, has fixtures that hold, and needs nothing but the language's own tools.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use sluis_model::rollout::is_plugin_name;

use super::PluginError;
use super::project::{Language, MANIFEST};
use crate::failure::Failure;

/// The contract, as this gateway speaks it.
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/wit");
/// A folder for each language, `NAME` standing for the plugin's.
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/gateway/cli/plugin/template");
/// The SDKs, which are published nowhere but here.
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/sdk");
static C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/c");
static JAVASCRIPT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/javascript");
static PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/python");

/// Not in the template's folder: it would hold for this repository.
const IGNORED: &str = "/target\n/dist\n/node_modules\n/.venv\n__pycache__\n";

/// What a language has besides its template: its SDK, where that goes, and files that are kept elsewhere here, because
/// what builds the examples is built by the same.
type Parts = (&'static Dir<'static>, &'static str, &'static [(&'static str, &'static str)]);

fn parts(language: Language) -> Parts {
    match language {
        Language::Rust => (
            &RUST,
            "vendor/sdk",
            &[
                ("Cargo.lock", include_str!("../../../plugins/Cargo.lock")),
                (".cargo/config.toml", include_str!("../../../plugins/.cargo/config.toml")),
            ],
        ),
        Language::C => (&C, "vendor", &[]),
        Language::JavaScript => (
            &JAVASCRIPT,
            "vendor/sluis",
            &[
                ("package.json", include_str!("../../../plugins/tools/package.json")),
                ("package-lock.json", include_str!("../../../plugins/tools/package-lock.json")),
            ],
        ),
        Language::Python => {
            (&PYTHON, "vendor", &[("requirements.txt", include_str!("../../../plugins/tools/requirements.txt"))])
        }
    }
}

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
    let (sdk, vendor, files) = parts(*lang);
    for (path, text) in files.iter().chain(&[(".gitignore", IGNORED)]) {
        write(&dir.join(path), text.as_bytes())?;
    }
    let named = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("NAME", name).into_bytes();
    write(&dir.join("README.md"), &named(TEMPLATES.get_file("README.md").map_or(&[], |file| file.contents())))?;
    if let Some(template) = TEMPLATES.get_dir(lang.word()) {
        copy(template, template, &dir, &named)?;
    }
    copy(&WIT, &WIT, &dir.join("wit"), &<[u8]>::to_vec)?;
    copy(sdk, sdk, &dir.join(vendor), &<[u8]>::to_vec)?;
    let mut manifest = format!("name: {name}\nversion: 0.1.0\nlanguage: {}\n", lang.word());
    if lang.is_interpreted() {
        manifest.push_str("# Of on-request, on-request-head, on-response, on-event.\nhooks: [on-request]\n");
        manifest
            .push_str("# Of log, config, clock, metrics, kv, http-client: those that the source uses.\nimports: []\n");
    }
    write(&dir.join(MANIFEST), manifest.as_bytes())?;
    let at = dir.display();
    crate::say(&format!(
        "made {at}\n\n  cd {at}\n  sluis plugin test     # builds it and runs its fixtures\n  sluis plugin dev      # the same after every change"
    ))?;
    Ok(())
}

/// Copies what is in `from`, with its place below `root`, changed by `to_bytes`.
fn copy(root: &Dir<'_>, from: &Dir<'_>, to: &Path, to_bytes: &impl Fn(&[u8]) -> Vec<u8>) -> Result<(), PluginError> {
    for entry in from.entries() {
        match entry {
            DirEntry::Dir(dir) => copy(root, dir, to, to_bytes)?,
            DirEntry::File(file) => {
                let path = file.path().strip_prefix(root.path()).unwrap_or(file.path());
                write(&to.join(path), &to_bytes(file.contents()))?;
            }
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
