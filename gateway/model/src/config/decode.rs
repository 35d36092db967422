//! Tree → types as written, through serde, collecting every mistake instead of stopping at the first.
//!
//! Serde ends at its first error. So the value to blame is noted and set aside, and the rest is decoded again
//! without it, until nothing fails. Unknown fields are noted in passing and need no second round.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::problem::did_you_mean;
use super::tree::{Id, Key, Node, Source, Value};
use super::words::FILE_PATH;

/// Mistakes reported at once; a wrong file is seldom wrong in more ways.
pub(crate) const MAX_FAULTS: usize = 20;

/// A mistake and the key or value to blame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fault {
    pub id: Option<Id>,
    pub message: String,
    pub help: Option<String>,
    /// An unknown field: the message names its mapping itself.
    pub unknown: bool,
    missing: Option<&'static str>,
    /// Follows from another one.
    silent: bool,
}

impl Fault {
    /// A mistake of the key or value `id`.
    pub fn at(id: Id, message: String, help: Option<String>) -> Self {
        Fault { id: Some(id), message, help, ..Fault::default() }
    }
}

/// Decodes `root`; the value is there only if no fault is.
pub(crate) fn decode<T: DeserializeOwned>(root: &Node, sources: &[Source]) -> Result<T, Vec<Fault>> {
    let context = Context { sources, aside: RefCell::default(), faults: RefCell::default() };
    loop {
        let result = T::deserialize(Decoder { node: root, context: &context });
        match result {
            Ok(value) if context.faults.borrow().is_empty() => return Ok(value),
            Ok(_) => return Err(context.faults.into_inner()),
            Err(fault) => {
                let id = fault.id.unwrap_or(root.id);
                // An unknown field met in passing is found again in every round.
                context.note(Fault { id: Some(id), ..fault });
                if id == root.id || context.faults.borrow().len() >= MAX_FAULTS {
                    return Err(context.faults.into_inner());
                }
            }
        }
    }
}

struct Context<'a> {
    sources: &'a [Source],
    aside: RefCell<HashSet<Id>>,
    faults: RefCell<Vec<Fault>>,
}

impl Context<'_> {
    fn note(&self, fault: Fault) {
        let Some(id) = fault.id else { return };
        if self.aside.borrow_mut().insert(id) && !fault.silent {
            self.faults.borrow_mut().push(fault);
        }
    }

    fn is_aside(&self, id: Id) -> bool {
        self.aside.borrow().contains(&id)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// Messages never repeat a value: the excerpt shows it as it was written, before substitution.
impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault { message: message.to_string(), ..Fault::default() }
    }

    fn invalid_type(unexpected: Unexpected, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            _ => "something else",
        };
        let wanted = expected.to_string();
        let wanted = match wanted.as_str() {
            "a string" => "text".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a map" => "a mapping".to_owned(),
            other if other.starts_with("struct ") => "a mapping".to_owned(),
            _ => wanted,
        };
        Fault { message: format!("{wanted} belongs here, not {found}"), ..Fault::default() }
    }

    fn invalid_value(_: Unexpected, expected: &dyn Expected) -> Self {
        Fault { message: format!("{expected} belongs here"), ..Fault::default() }
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Fault { message: format!("{expected} belongs here"), ..Fault::default() }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let list: Vec<String> = expected.iter().map(|word| format!("`{word}`")).collect();
        Fault {
            message: format!("one of {} belongs here", list.join(", ")),
            help: did_you_mean(variant, expected.iter().copied()),
            ..Fault::default()
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Fault { message: format!("`{field}` is missing"), missing: Some(field), ..Fault::default() }
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
    context: &'a Context<'a>,
}

impl<'a> Decoder<'a> {
    /// Blames this value for a fault that blames nothing yet.
    fn blame<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|mut fault| {
            if fault.id.is_none() {
                fault.id = Some(self.node.id);
                fault.silent = fault.missing.is_some_and(|field| self.has_attempt(field));
                if let Value::Text { substituted: true, .. } = self.node.value {
                    fault.help = None;
                }
            }
            fault
        })
    }

    /// Whether a field is missing only because it was set aside, or because its name was misspelt.
    fn has_attempt(self, field: &str) -> bool {
        let Value::Map(entries) = &self.node.value else { return false };
        let misspelt = |key: &Key| self.context.is_aside(key.id) && did_you_mean(&key.text, [field]).is_some();
        entries.iter().any(|(key, _)| key.text == field || misspelt(key))
    }

    /// The text of a substituted value where a number or a boolean belongs.
    fn substituted(self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text { text, substituted: true } => Some(text.trim()),
            _ => None,
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some(text) = self.substituted() else { return self.deserialize_any(visitor) };
        let result = if let Ok(n) = text.parse::<u64>() {
            visitor.visit_u64(n)
        } else if let Ok(n) = text.parse::<i64>() {
            visitor.visit_i64(n)
        } else if let Ok(n) = text.parse::<f64>() {
            visitor.visit_f64(n)
        } else {
            Err(Fault::custom("a number belongs here, and what was put in is none"))
        };
        self.blame(result)
    }

    fn mapping<V: Visitor<'a>>(self, fields: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value, Fault> {
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            // A section whose settings are all commented out.
            Value::Null => &[],
            _ => return self.deserialize_any(visitor),
        };
        if let Some(fields) = fields {
            for (key, _) in entries.iter().filter(|(key, _)| !fields.contains(&key.text.as_str())) {
                self.unknown(key, fields);
            }
        }
        self.blame(visitor.visit_map(Entries { entries: entries.iter(), value: None, context: self.context }))
    }

    fn unknown(self, key: &Key, fields: &[&str]) {
        let help = did_you_mean(&key.text, fields.iter().copied());
        let help = help.unwrap_or_else(|| format!("known here: {}", fields.join(", ")));
        self.context.note(Fault {
            id: Some(key.id),
            message: format!("unknown field `{}`", printable(&key.text)),
            help: Some(help),
            unknown: true,
            ..Fault::default()
        });
    }
}

/// A key as it may be shown: bounded, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        })*
    };
}

impl<'a> Deserializer<'a> for Decoder<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Null => Err(Fault::invalid_type(Unexpected::Unit, &visitor)),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), context: self.context }),
            Value::Map(_) => return self.mapping(None, visitor),
        };
        self.blame(result)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.substituted() {
            Some("true") => self.blame(visitor.visit_bool(true)),
            Some("false") => self.blame(visitor.visit_bool(false)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.blame(visitor.visit_some(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (&self.node.value, self.context.sources.get(self.node.place.file)) {
            // Relative to the file that names it, not to wherever the process was started.
            (Value::Text { text, .. }, Some(source)) if name == FILE_PATH && !text.is_empty() => {
                let path = source.dir.join(text).to_string_lossy().into_owned();
                self.blame(visitor.visit_newtype_struct(IntoDeserializer::<Fault>::into_deserializer(path)))
            }
            _ => self.blame(visitor.visit_newtype_struct(self)),
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => self.blame(visitor.visit_seq(Items { items: [].iter(), context: self.context })),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.mapping(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.mapping(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Text { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            other => Err(Fault::custom(format!("one word belongs here, not {}", other.kind()))),
        };
        self.blame(result)
    }

    forward_to_deserialize_any! { <W: Visitor<'a>> char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    context: &'a Context<'a>,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let context = self.context;
        match self.items.find(|item| !context.is_aside(item.id)) {
            Some(node) => {
                let decoder = Decoder { node, context };
                decoder.blame(seed.deserialize(decoder)).map(Some)
            }
            None => Ok(None),
        }
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
    context: &'a Context<'a>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let context = self.context;
        let Some((key, value)) =
            self.entries.find(|(key, value)| !context.is_aside(key.id) && !context.is_aside(value.id))
        else {
            return Ok(None);
        };
        self.value = Some(value);
        let result = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(key.text.as_str()));
        result.map(Some).map_err(|fault| Fault { id: fault.id.or(Some(key.id)), ..fault })
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(node) => {
                let decoder = Decoder { node, context: self.context };
                decoder.blame(seed.deserialize(decoder))
            }
            None => Err(Fault::custom("a key has no value")),
        }
    }
}
