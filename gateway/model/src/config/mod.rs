//! Configuration: as written ([`written`]) → as checked ([`Plan`]).
//!
//! [`check`] is the only way from one to the other, and `sluis check`, `sluis run` and a reload all take it. It reads
//! files and variables through a [`World`], finds as many mistakes as it can, and says of each where it is and what
//! was probably meant. Paths in [`written`] are absolute from here on, and values that were put in stay secret.
//!
//! ```text
//! include   root file + included files → one tree that knows every place     (substitute: ${env:…}, ${file:…})
//! decode    tree → written types; wrong types, ranges, unknown and missing fields
//! lower     written → plan; names that lead nowhere, things that exclude each other
//! ```

mod decode;
mod include;
mod lower;
mod problem;
mod substitute;
mod tree;
mod units;
mod words;
pub mod written;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use include::{MAX_DEPTH, MAX_FILE, MAX_FILES, MAX_TOTAL};
pub use lower::default_call_limits;
pub use problem::{ConfigError, Problem, count};
pub use substitute::MAX_SUBSTITUTED_FILE;
pub use tree::Step;

use decode::Fault;
use tree::{Node, Place, Source, Value};
use written::Written;

use crate::plan::Plan;

/// The annotated example: every setting, with its default, explained.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// What configuration is read from.
pub trait World {
    /// The file's bytes, if they are at most `limit`.
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, ReadFault>;
    /// The names in a directory.
    fn list(&self, dir: &Path) -> Result<Vec<String>, ReadFault>;
    /// The path from the root of the file system, links left alone.
    fn absolute(&self, path: &Path) -> PathBuf;
    /// What is the same for two paths to one file.
    fn identity(&self, path: &Path) -> PathBuf;
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
}

/// Why something could not be read; reads on after the name of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFault {
    /// Larger than so many bytes.
    TooLarge(usize),
    /// What the system said.
    Failed(String),
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ReadFault::TooLarge(limit) => write!(f, "is larger than {} KiB", limit >> 10),
            ReadFault::Failed(reason) => write!(f, "cannot be read: {reason}"),
        }
    }
}

/// A configuration that holds.
#[derive(Debug)]
pub struct Checked {
    /// What the program runs on.
    pub plan: Plan,
    /// Doubtful, but no reason to refuse.
    pub warnings: Vec<Problem>,
    /// Every file that was read, secrets included, and every directory that was searched: what to watch for changes.
    pub files: Vec<PathBuf>,
    /// Finds places for what is checked later, such as the content of certificate files.
    pub places: Places,
}

/// Where every setting was written.
pub struct Places {
    root: Node,
    sources: Vec<Source>,
    /// Values not to be shown.
    secrets: Vec<Place>,
    /// Every value that holds something from elsewhere.
    put_in: HashSet<String>,
}

// The tree holds secrets.
impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

impl Places {
    /// A problem with the setting at `path`; with what is around it where that was left to its default.
    pub fn problem(&self, path: &[Step], message: impl fmt::Display, help: Option<String>) -> Problem {
        let found = self.root.nearest(path);
        self.at(found.node.place, &found.path, message, help)
    }

    /// The same with the key of the setting, where that is what is wrong.
    pub fn problem_of_key(&self, path: &[Step], message: impl fmt::Display, help: Option<String>) -> Problem {
        let found = self.root.nearest(path);
        self.at(found.key.unwrap_or(found.node.place), &found.path, message, help)
    }

    fn at(&self, place: Place, path: &str, message: impl fmt::Display, help: Option<String>) -> Problem {
        let message = if path.is_empty() { message.to_string() } else { format!("{path}: {message}") };
        Problem::new(&self.sources, place, &self.secrets, message, help)
    }

    /// `word` as a message may name it: not if it came from the environment or another file.
    pub fn quoted(&self, word: &str) -> String {
        match self.put_in.contains(word) {
            true => "what was put in".to_owned(),
            false => format!("`{}`", decode::printable(word)),
        }
    }

    /// The position of each item of a list, over all files, by its `name` (a tenant's: `id`).
    pub fn positions(&self, list: &str) -> HashMap<&str, usize> {
        let Some(Value::List(items)) = self.root.get(list).map(|node| &node.value) else { return HashMap::new() };
        let named = items.iter().enumerate().filter_map(|(index, item)| {
            match &item.get("name").or_else(|| item.get("id"))?.value {
                Value::Text { text, .. } => Some((text.as_str(), index)),
                _ => None,
            }
        });
        named.collect()
    }
}

/// Reads and checks the configuration in `path`.
pub fn check(path: &Path, world: &dyn World) -> Result<Checked, ConfigError> {
    let refuse = |problems| ConfigError { problems, warnings: Vec::new() };
    let assembly = include::assemble(path, world).map_err(refuse)?;
    let (root, sources) = (assembly.root, assembly.sources);
    let mut written: Written = decode::decode(&root, &sources).map_err(|faults| {
        let mut problems: Vec<_> = faults.into_iter().map(|fault| problem_of(&root, &sources, fault)).collect();
        Problem::sort(&mut problems);
        refuse(problems)
    })?;
    if let Some(source) = sources.first() {
        written.server.state_dir.place_in(&source.dir);
        written.plugins.dir.place_in(&source.dir);
    }
    let digest = digest(&sources);
    let places = Places { secrets: secrets(&root), put_in: put_in(&root), root, sources };
    let (plan, warnings) = lower::lower(&written, digest, &places)?;
    Ok(Checked { plan, warnings, files: assembly.files, places })
}

/// The JSON Schema of the configuration, from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Written).to_value()
}

/// BLAKE3 over names and texts of the sources. What is put in from elsewhere is left out: a digest that is shown
/// must not help to guess a secret.
fn digest(sources: &[Source]) -> String {
    let mut hasher = blake3::Hasher::new();
    for source in sources {
        let name = source.shown.to_string_lossy();
        for part in [name.as_bytes(), source.text.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// A fault with its place and path.
fn problem_of(root: &Node, sources: &[Source], fault: Fault) -> Problem {
    let found = fault.id.and_then(|id| root.find(id));
    let (path, place) = found.unwrap_or_else(|| (String::new(), root.place));
    let message = match (path.as_str(), fault.unknown) {
        ("", _) => fault.message,
        (path, true) => match parent(path) {
            "" => fault.message,
            parent => format!("{} in {parent}", fault.message),
        },
        (path, false) => format!("{path}: {}", fault.message),
    };
    Problem::new(sources, place, &secrets(root), message, fault.help)
}

fn parent(path: &str) -> &str {
    path.rfind('.').map_or("", |at| &path[..at])
}

fn put_in(root: &Node) -> HashSet<String> {
    let mut texts = HashSet::new();
    root.each(&mut |node| {
        if let Value::Text { text, substituted: true } = &node.value {
            texts.insert(text.clone());
        }
    });
    texts
}

/// The values whose text is not to be shown, written out in the file though they are: those of `headers` and of a
/// tenant's `config`.
fn secrets(root: &Node) -> Vec<Place> {
    fn gather(node: &Node, secret: bool, places: &mut Vec<Place>) {
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    gather(value, secret || key.text == "headers" || key.text == "config", places);
                }
            }
            Value::List(items) => items.iter().for_each(|item| gather(item, secret, places)),
            _ if secret => places.push(node.place),
            _ => {}
        }
    }
    let mut places = Vec::new();
    gather(root, false, &mut places);
    places
}
