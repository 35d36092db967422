//! YAML text → a tree that remembers where every key and value stands.
//!
//! Semantic checks find the place of a mistake by its path in this tree, so the types as written stay plain.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// Nesting of mappings and lists; the deepest setting needs eight.
const MAX_DEPTH: usize = 32;
/// Values in one file, aliases expanded.
const MAX_NODES: usize = 250_000;
/// Aliases in one file.
const MAX_ALIASES: usize = 1_000;

/// One file that was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As shown to people: relative to where the root was named from.
    pub shown: PathBuf,
    /// Directory that relative paths in this file start from.
    pub dir: PathBuf,
    /// Its text, without a byte order mark.
    pub text: Arc<str>,
}

/// Where something stands: file, 1-based line and column in characters, length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub file: usize,
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

impl Place {
    fn new(file: usize, location: Location) -> Self {
        let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file,
            line: clamp(location.line()).max(1),
            column: clamp(location.column()).max(1),
            length: u32::try_from(location.span().len()).unwrap_or(u32::MAX).max(1),
        }
    }
}

/// A key or value's identity in its tree.
pub(crate) type Id = u32;

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub id: Id,
    pub text: String,
    pub place: Place,
}

/// A value.
#[derive(Clone)]
pub(crate) struct Node {
    pub id: Id,
    pub place: Place,
    /// Position in the list of its own file; lists of several files are joined.
    pub index: usize,
    pub value: Value,
}

/// What YAML 1.2's core schema makes of a node.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text {
        text: String,
        /// Came in part from the environment or another file: never shown, and may stand where a number belongs.
        substituted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// The word for it in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => "a number",
            Value::Text { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// One step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, counted over all files.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// What was found on a path.
pub(crate) struct Found<'a> {
    pub node: &'a Node,
    /// Place of its key, if it has one.
    pub key: Option<Place>,
    /// The path in words, as far as it goes.
    pub path: String,
}

/// The path of a setting: `at!["routes", 2, "forward"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { [$($crate::config::Step::from($step)),*] };
}
pub(crate) use at;

impl Node {
    /// What was written of `path`: all of it, or as far as it goes.
    pub fn nearest(&self, path: &[Step]) -> Found<'_> {
        let mut found = Found { node: self, key: None, path: String::new() };
        for step in path {
            let next = match (step, &found.node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    entries.iter().find(|(k, _)| k.text == *key).map(|(key, value)| (value, Some(key.place)))
                }
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, None)),
                _ => None,
            };
            let Some((node, key)) = next else { break };
            match step {
                Step::Key(key) => push_key(&mut found.path, key),
                Step::Index(_) => found.path.push_str(&format!("[{}]", node.index)),
            }
            (found.node, found.key) = (node, key);
        }
        found
    }

    /// Path and place of the key or value `id`.
    pub fn find(&self, id: Id) -> Option<(String, Place)> {
        let mut path = String::new();
        self.descend(id, &mut path).map(|place| (path, place))
    }

    fn descend(&self, id: Id, path: &mut String) -> Option<Place> {
        if self.id == id {
            return Some(self.place);
        }
        let length = path.len();
        match &self.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    push_key(path, &key.text);
                    if key.id == id {
                        return Some(key.place);
                    }
                    if let Some(place) = value.descend(id, path) {
                        return Some(place);
                    }
                    path.truncate(length);
                }
            }
            Value::List(items) => {
                for item in items {
                    path.push_str(&format!("[{}]", item.index));
                    if let Some(place) = item.descend(id, path) {
                        return Some(place);
                    }
                    path.truncate(length);
                }
            }
            _ => {}
        }
        None
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Calls `visit` with every value from here down.
    pub fn each(&self, visit: &mut impl FnMut(&Node)) {
        visit(self);
        match &self.value {
            Value::List(items) => items.iter().for_each(|item| item.each(visit)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| value.each(visit)),
            _ => {}
        }
    }

    /// The same, to change them.
    pub fn each_mut(&mut self, visit: &mut impl FnMut(&mut Node)) {
        visit(self);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.each_mut(visit)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.each_mut(visit)),
            _ => {}
        }
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// Why a text is no YAML that we take.
#[derive(Debug)]
pub(crate) struct SyntaxFault {
    pub place: Place,
    pub message: String,
}

/// Parses the text of file number `file`; `ids` numbers keys and values across files.
pub(crate) fn parse(text: &str, file: usize, ids: &mut Id) -> Result<Node, SyntaxFault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        emit_comments: false,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(number(raw, file, 0, ids)),
        Err(error) => {
            let place = error.location().map(|l| Place { length: 1, ..Place::new(file, l) });
            let place = place.unwrap_or(Place { file, line: 1, column: 1, length: 1 });
            Err(SyntaxFault { place, message: describe(&error) })
        }
    }
}

/// The parser's message without the position that we print ourselves.
fn describe(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or("not YAML").trim();
    let first = first.split(" at line ").next().unwrap_or(first);
    first.trim_start_matches("error: ").to_owned()
}

fn number(raw: Spanned<Raw>, file: usize, index: usize, ids: &mut Id) -> Node {
    let place = Place::new(file, raw.referenced);
    let id = next(ids);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(b) => Value::Bool(b),
        Raw::Int(n) => Value::Int(n),
        Raw::Uint(n) => Value::Uint(n),
        Raw::Float(n) => Value::Float(n),
        Raw::Text(text) => Value::Text { text, substituted: false },
        Raw::List(items) => {
            Value::List(items.into_iter().enumerate().map(|(i, item)| number(item, file, i, ids)).collect())
        }
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let place = Place::new(file, key.referenced);
                    (Key { id: next(ids), text: key.value, place }, number(value, file, 0, ids))
                })
                .collect(),
        ),
    };
    Node { id, place, index, value }
}

fn next(ids: &mut Id) -> Id {
    *ids += 1;
    *ids
}

/// A value as the parser hands it over.
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(u64::try_from(value).map_or(Raw::Int(value), Raw::Uint))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Float(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Float(value as f64))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

/// `path` as people see it, free of control characters.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
