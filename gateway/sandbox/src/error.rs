//! Why a sandbox or a component does not come up.

use std::path::PathBuf;

/// The sandbox itself cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refuses its settings, or the address space for its pool is not to be had.
    #[error("the engine cannot be made: {0}")]
    Engine(String),
    /// The directory for artefacts, or the key in it, cannot be used.
    #[error("the artefacts in {path} cannot be used: {source}")]
    Artefacts {
        /// The directory or the key file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A component was refused, or could not be loaded; nothing of it was kept.
///
/// The text is fit for a log and for the person who uploaded it: escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or is no regular file.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// Larger than a component may be, in bytes.
    #[error("the file is larger than {0} bytes")]
    TooLarge(usize),
    /// Not WebAssembly, not a component, or not valid.
    #[error("not a component: {0}")]
    NotAComponent(String),
    /// A core module, or a component that exports no hook, or one with another signature.
    #[error("not a component of the world sluis:plugin@1.0.0: {0}")]
    WrongWorld(String),
    /// Imports that Sluis does not offer, by name.
    #[error("imports that are not offered: {}", .0.join(", "))]
    UndeclaredCapability(Vec<String>),
    /// Imports that Sluis offers and this tenant was not granted, by name.
    #[error("imports that the tenant was not granted: {}", .0.join(", "))]
    CapabilityNotGranted(Vec<String>),
    /// A WebAssembly proposal that is switched off.
    #[error("a feature that is switched off: {0}")]
    FeatureDisabled(String),
    /// Past one of our ceilings: functions, nesting, locals and so on.
    #[error("past a ceiling: {0}")]
    TooComplex(String),
    /// Asks for more memory or tables than a slot of the pool has.
    #[error("does not fit into a sandbox: {0}")]
    DoesNotFit(String),
    /// Compiling took longer than it may.
    #[error("compiling took too long")]
    CompileTimeout,
    /// Compiling took more memory than it may.
    #[error("compiling took too much memory")]
    CompileMemory,
    /// The compiler crashed or gave up.
    #[error("the compiler failed: {0}")]
    CompileCrash(String),
    /// Its start function used up its budget.
    #[error("starting took too long")]
    InitTimeout,
    /// Its start function trapped.
    #[error("starting failed: {0}")]
    InitTrap(String),
    /// No slot of the pool was free to try it in; nothing is said about the component.
    #[error("no sandbox is free")]
    Capacity,
    /// Our own artefacts cannot be written or read back.
    #[error("the artefact cannot be kept: {0}")]
    Artefact(String),
}

impl LoadError {
    /// The stable word for it in answers, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::Unreadable(_) => "unreadable",
            LoadError::TooLarge(_) => "too-large",
            LoadError::NotAComponent(_) => "not-a-component",
            LoadError::WrongWorld(_) => "wrong-world",
            LoadError::UndeclaredCapability(_) => "undeclared-capability",
            LoadError::CapabilityNotGranted(_) => "capability-not-granted",
            LoadError::FeatureDisabled(_) => "feature-disabled",
            LoadError::TooComplex(_) => "too-complex",
            LoadError::DoesNotFit(_) => "does-not-fit",
            LoadError::CompileTimeout => "compile-timeout",
            LoadError::CompileMemory => "compile-memory",
            LoadError::CompileCrash(_) => "compile-crash",
            LoadError::InitTimeout => "init-timeout",
            LoadError::InitTrap(_) => "init-trap",
            LoadError::Capacity => "plugin-capacity",
            LoadError::Artefact(_) => "artefact",
        }
    }

    /// The refusal without the words that [`LoadError::from_worker`] puts before it again.
    #[cfg(feature = "compiler")]
    pub(crate) fn detail(&self) -> String {
        match self {
            LoadError::NotAComponent(detail)
            | LoadError::FeatureDisabled(detail)
            | LoadError::TooComplex(detail)
            | LoadError::CompileCrash(detail) => detail.clone(),
            error => error.to_string(),
        }
    }

    /// The refusals that a worker may report, from their code; see [`crate::compile`].
    pub(crate) fn from_worker(code: &str, detail: String) -> LoadError {
        match code {
            "not-a-component" => LoadError::NotAComponent(detail),
            "feature-disabled" => LoadError::FeatureDisabled(detail),
            "too-complex" => LoadError::TooComplex(detail),
            "compile-memory" => LoadError::CompileMemory,
            _ => LoadError::CompileCrash(detail),
        }
    }
}
