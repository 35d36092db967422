//! Reading the root file and all that it includes into one tree.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::decode::{Fault, printable};
use super::problem::{Problem, did_you_mean};
use super::substitute::Substitution;
use super::tree::{Id, Key, Node, Place, Source, Value, parse, shown};
use super::written::INCLUDABLE;
use super::{World, secrets};

/// Largest configuration file.
pub const MAX_FILE: usize = 1 << 20;
/// All configuration files together.
pub const MAX_TOTAL: usize = 32 << 20;
/// Number of configuration files.
pub const MAX_FILES: usize = 10_000;
/// Files that include files that include …
pub const MAX_DEPTH: usize = 8;

/// Everything read, as one tree.
pub(crate) struct Assembly {
    pub root: Node,
    pub sources: Vec<Source>,
    /// Every file that was read, secrets included, and every directory that was searched: what to watch for changes.
    pub files: Vec<PathBuf>,
}

/// Reads `path` and what it includes.
pub(crate) fn assemble(path: &Path, world: &dyn World) -> Result<Assembly, Vec<Problem>> {
    let mut reader = Reader {
        world,
        root: shown(path),
        sources: Vec::new(),
        seen: HashMap::new(),
        watched: Vec::new(),
        substitution: Substitution::new(world),
        ids: 0,
        total: 0,
        problems: Vec::new(),
        faults: Vec::new(),
    };
    let root = reader.open(path, None, &mut Vec::new()).map(|(node, included)| merge(node, included));
    let mut problems = reader.problems;
    Problem::sort(&mut problems);
    match root {
        Some(root) => {
            let faults = std::mem::take(&mut reader.substitution.faults);
            for fault in faults.into_iter().chain(reader.faults) {
                problems.push(super::problem_of(&root, &reader.sources, fault));
            }
            if !problems.is_empty() {
                return Err(problems);
            }
            let files = reader.watched.into_iter().chain(reader.substitution.files.into_keys());
            let files = files.collect::<BTreeSet<_>>().into_iter().collect();
            Ok(Assembly { root, sources: reader.sources, files })
        }
        None => Err(problems),
    }
}

struct Reader<'a> {
    world: &'a dyn World,
    /// The root file, as shown.
    root: String,
    sources: Vec<Source>,
    /// By the file's identity, so that a link to it is the same file.
    seen: HashMap<PathBuf, usize>,
    /// Files as named, and directories: where a link leads may change.
    watched: Vec<PathBuf>,
    substitution: Substitution<'a>,
    ids: Id,
    total: usize,
    problems: Vec<Problem>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// Reads one file and all it includes: its tree, and those of the others in the order named.
    fn open(&mut self, path: &Path, from: Option<Place>, trail: &mut Vec<PathBuf>) -> Option<(Node, Vec<Node>)> {
        let identity = self.world.identity(path);
        if trail.contains(&identity) {
            return self.refuse(from, format!("`{}` includes itself", shown(path)), Some(cycle(trail, &identity)));
        }
        if let Some(first) = self.seen.get(&identity) {
            let first = self.sources.get(*first).map(|s| shown(&s.shown)).unwrap_or_default();
            return self.refuse(
                from,
                format!("`{}` is included twice", shown(path)),
                Some(format!("also as `{first}`")),
            );
        }
        if trail.len() > MAX_DEPTH {
            return self.refuse(from, format!("files include each other more than {MAX_DEPTH} deep"), None);
        }
        if self.sources.len() >= MAX_FILES {
            return self.refuse(from, format!("more than {MAX_FILES} files are included"), None);
        }
        let bytes = match self.world.read(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(fault) => return self.refuse(from, format!("`{}` {fault}", shown(path)), None),
        };
        self.total += bytes.len();
        if self.total > MAX_TOTAL {
            return self.refuse(from, format!("all files together are larger than {} MiB", MAX_TOTAL >> 20), None);
        }
        let file = self.sources.len();
        let node = self.parse(path, bytes, &identity)?;
        if from.is_some() {
            self.only_lists(&node);
        }
        trail.push(identity);
        let mut included = Vec::new();
        for (pattern, place) in self.includes(&node) {
            for path in self.matches(file, &pattern, place) {
                if let Some((node, more)) = self.open(&path, Some(place), trail) {
                    included.push(node);
                    included.extend(more);
                }
            }
        }
        trail.pop();
        Some((node, included))
    }

    fn parse(&mut self, path: &Path, bytes: Vec<u8>, identity: &Path) -> Option<Node> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let good = String::from_utf8_lossy(good);
                let line = good.matches('\n').count() + 1;
                let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                let message = "not UTF-8 text".to_owned();
                self.problems.push(Problem::of_file(shown(path), line as u32, column as u32, message));
                return None;
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let dir = self.world.absolute(path.parent().unwrap_or(Path::new("")));
        let file = self.sources.len();
        let source = Source { shown: path.to_owned(), dir, text: text.into() };
        self.seen.insert(identity.to_owned(), file);
        self.watched.push(self.world.absolute(path));
        self.sources.push(source.clone());
        match parse(text, file, &mut self.ids) {
            Ok(mut node) => {
                self.substitution.apply(&mut node, &source);
                Some(node)
            }
            Err(fault) => {
                self.problems.push(Problem::of_syntax(&self.sources, fault.place, fault.message));
                None
            }
        }
    }

    /// Refuses what only the root may say. An empty file is none of that.
    fn only_lists(&mut self, node: &Node) {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let message = format!("a file is a mapping, not {}", other.kind());
                return self.problems.push(Problem::of_syntax(&self.sources, node.place, message));
            }
        };
        let hidden = secrets(node);
        for (key, value) in entries {
            if !INCLUDABLE.contains(&key.text.as_str()) {
                let message = format!("`{}` cannot stand in an included file", printable(&key.text));
                let help = did_you_mean(&key.text, INCLUDABLE);
                let help = help.or_else(|| Some(format!("only {} can", INCLUDABLE.join(", "))));
                self.problems.push(Problem::new(&self.sources, key.place, &hidden, message, help));
            } else if !matches!(value.value, Value::List(_) | Value::Null) {
                let message = format!("{}: a list belongs here, not {}", key.text, value.value.kind());
                self.problems.push(Problem::new(&self.sources, value.place, &hidden, message, None));
            }
        }
    }

    /// The patterns of `include`, as far as it is a list of texts; the decoder refuses anything else.
    fn includes(&mut self, node: &Node) -> Vec<(String, Place)> {
        let Some(Value::List(items)) = node.get("include").map(|include| &include.value) else { return Vec::new() };
        let mut patterns = Vec::new();
        for item in items {
            match &item.value {
                // The names of files are shown in messages, and what is put in must not be.
                Value::Text { substituted: true, .. } => {
                    let message = "nothing can be put into `include`".to_owned();
                    self.problems.push(Problem::new(&self.sources, item.place, &[], message, None));
                }
                Value::Text { text, .. } => patterns.push((text.clone(), item.place)),
                _ => {}
            }
        }
        patterns
    }

    /// The files that `pattern` stands for, by name.
    fn matches(&mut self, file: usize, pattern: &str, place: Place) -> Vec<PathBuf> {
        // As shown, so that messages name files the way the root was named.
        let base = self.sources.get(file).and_then(|s| s.shown.parent().map(Path::to_owned)).unwrap_or_default();
        let path = base.join(pattern);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        if dir.to_string_lossy().contains(['*', '?']) {
            let message = "`*` and `?` can stand only in the last part of a path".to_owned();
            self.problems.push(Problem::new(&self.sources, place, &[], message, None));
            return Vec::new();
        }
        if !name.contains(['*', '?']) {
            return vec![path];
        }
        self.watched.push(self.world.absolute(&dir));
        match self.world.list(&dir) {
            Ok(mut names) => {
                names.retain(|n| wildcard(&name, n));
                names.sort();
                names.into_iter().map(|n| dir.join(n)).collect()
            }
            Err(fault) => {
                let message = format!("the directory `{}` {fault}", shown(&dir));
                self.problems.push(Problem::new(&self.sources, place, &[], message, None));
                Vec::new()
            }
        }
    }

    fn refuse<T>(&mut self, from: Option<Place>, message: String, help: Option<String>) -> Option<T> {
        self.problems.push(match from {
            Some(place) => Problem::new(&self.sources, place, &[], message, help),
            None => Problem::of_file(self.root.clone(), 1, 1, message),
        });
        None
    }
}

fn cycle(trail: &[PathBuf], again: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let from = trail.iter().position(|path| path == again).unwrap_or(0);
    let mut names: Vec<String> = trail.iter().skip(from).map(|path| name(path)).collect();
    names.push(name(again));
    names.join(" → ")
}

/// Adds the lists of `included` to those of `root`.
fn merge(mut root: Node, included: Vec<Node>) -> Node {
    if matches!(root.value, Value::Null) {
        root.value = Value::Map(Vec::new());
    }
    let Value::Map(lists) = &mut root.value else { return root };
    for node in included {
        let Value::Map(entries) = node.value else { continue };
        for (key, value) in entries {
            match lists.iter_mut().find(|(k, _)| k.text == key.text).map(|(_, list)| &mut list.value) {
                None => lists.push((key, value)),
                Some(list @ Value::Null) => *list = value.value,
                Some(Value::List(items)) => {
                    if let Value::List(more) = value.value {
                        items.extend(more);
                    }
                }
                // No list in the root: the decoder refuses it.
                Some(_) => {}
            }
        }
    }
    root
}

/// Whether `name` matches `pattern`; a leading dot must be written.
fn wildcard(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Positions in pattern and name; `retry` is where to go on after the last `*`.
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    (p, n) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, name) in
            [("*.yaml", "a.yaml"), ("a*b*c", "aXbYbZc"), ("?.yaml", "x.yaml"), ("*", "x"), (".*", ".x")]
        {
            assert!(wildcard(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.yaml", "a.yml"), ("*.yaml", ".a.yaml"), ("?.yaml", "xy.yaml"), ("a*b", "abc"), ("", "x")]
        {
            assert!(!wildcard(pattern, name), "{pattern} {name}");
        }
    }
}
