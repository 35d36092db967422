//! A plugin's folder: `plugin.yaml`, source, fixtures, and the component that is built from it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sluis_model::rollout::{Version, is_plugin_name};

use super::PluginError;

/// The file that makes a folder a plugin's.
pub const MANIFEST: &str = "plugin.yaml";
/// Largest manifest or fixture, bytes.
const LARGEST: u64 = 1 << 20;

/// Which plugin is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Folder {
    /// The plugin's folder
    #[arg(long, short = 'C', value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// What `plugin.yaml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The plugin's name: in the gateway's configuration, in logs, in metrics.
    pub name: String,
    /// Semantic version; immutable once it was pushed.
    pub version: Version,
    /// What it is written in.
    pub language: Language,
    /// The hooks that it has, on-request where it does not say. Only for languages that are interpreted: what is
    /// compiled says it of itself.
    hooks: Option<Vec<Hook>>,
    /// The capabilities that it uses; for the same languages, whose interpreter would import them all.
    imports: Option<Vec<Import>>,
}

impl Manifest {
    /// The hooks of a plugin that is interpreted.
    pub fn hooks(&self) -> &[Hook] {
        self.hooks.as_deref().unwrap_or(&[Hook::OnRequest])
    }

    /// The capabilities of a plugin that is interpreted.
    pub fn imports(&self) -> &[Import] {
        self.imports.as_deref().unwrap_or_default()
    }
}

/// A hook of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, clippy::enum_variant_names, reason = "the contract's own words")]
pub enum Hook {
    OnRequest,
    OnRequestHead,
    OnResponse,
    OnEvent,
}

impl Hook {
    /// The interface's name in wit/.
    pub fn word(self) -> &'static str {
        match self {
            Hook::OnRequest => "on-request",
            Hook::OnRequestHead => "on-request-head",
            Hook::OnResponse => "on-response",
            Hook::OnEvent => "on-event",
        }
    }
}

/// A capability of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Import {
    Log,
    Config,
    Clock,
    Metrics,
    Kv,
    HttpClient,
}

impl Import {
    /// The interface's name in wit/.
    pub fn word(self) -> &'static str {
        match self {
            Import::Log => "log",
            Import::Config => "config",
            Import::Clock => "clock",
            Import::Metrics => "metrics",
            Import::Kv => "kv",
            Import::HttpClient => "http-client",
        }
    }
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    /// Built by cargo for wasm32-wasip2.
    Rust,
    /// Built by clang, without a standard library.
    C,
    /// Built by componentize-qjs: QuickJS and the source, in one component.
    #[value(alias = "js")]
    JavaScript,
    /// Built by componentize-py: CPython and the source, in one component.
    #[value(alias = "py")]
    Python,
}

impl Language {
    /// Whether an interpreter is in the component, which would use every hook and capability that there is.
    pub fn is_interpreted(self) -> bool {
        matches!(self, Language::JavaScript | Language::Python)
    }

    /// As `plugin.yaml` says it.
    pub fn word(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::C => "c",
            Language::JavaScript => "javascript",
            Language::Python => "python",
        }
    }
}

/// A plugin's folder.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder.
    pub dir: PathBuf,
    /// What its manifest says.
    pub manifest: Manifest,
}

impl Project {
    /// Reads the manifest in `dir`.
    pub fn open(dir: &Path) -> Result<Project, PluginError> {
        let path = dir.join(MANIFEST);
        let wrong = |reason: String| PluginError::Project { path: path.clone(), reason };
        if !path.exists() {
            return Err(wrong("there is no plugin here; make one with `sluis plugin new NAME`".to_owned()));
        }
        let manifest: Manifest = read_yaml(&path)?;
        if !is_plugin_name(&manifest.name) {
            return Err(wrong("`name` is 1 to 63 lower-case letters, digits and dashes".to_owned()));
        }
        let says = manifest.hooks.is_some() || manifest.imports.is_some();
        if says && !manifest.language.is_interpreted() {
            let language = manifest.language.word();
            return Err(wrong(format!(
                "`hooks` and `imports` are not for {language}: what is compiled says it of itself"
            )));
        }
        Ok(Project { dir: dir.to_owned(), manifest })
    }

    /// Where the component is built to.
    pub fn component(&self) -> PathBuf {
        self.dir.join("dist").join(format!("{}.wasm", self.manifest.name))
    }

    /// Where the fixtures are.
    pub fn fixtures(&self) -> PathBuf {
        self.dir.join("fixtures")
    }
}

/// A file of YAML as a `T`.
pub fn read_yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, PluginError> {
    let size = std::fs::metadata(path).map_err(PluginError::io(path))?.len();
    let wrong = |reason: String| PluginError::Project { path: path.to_owned(), reason };
    if size > LARGEST {
        return Err(wrong(format!("the file is larger than {LARGEST} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(PluginError::io(path))?;
    serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))
}
