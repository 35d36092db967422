//! JSON of a client, read so that a refusal can point at what is wrong.
//!
//! A document is a struct of [`Field`]s: each keeps its text, is looked at when it is needed, and says where it stands
//! ([`At`]) when it is not what it must be.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use core::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decimal::Decimal;
use crate::{Decision, Problem};

mod place;
pub use place::At;

/// What is wrong in a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// JSON pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// What is wrong there, for people.
    pub detail: String,
}

impl Invalid {
    /// `detail` is wrong at `at`.
    pub fn at(at: &At<'_>, detail: impl Into<String>) -> Self {
        Self { pointer: at.pointer(), detail: detail.into() }
    }

    /// 422 with this detail and pointer.
    pub fn refuse(self, kind: impl Into<String>, title: impl Into<String>) -> Problem {
        Decision::refuse(422, kind, title).detail(self.detail).pointer(self.pointer)
    }
}

/// Parses `body`, which must be an object, as a `T`. Text that is no JSON is wrong as a whole; a value of the wrong shape is wrong where it stands.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    let whole = |detail: String| Invalid { pointer: String::new(), detail };
    let text = core::str::from_utf8(body).map_err(|error| whole(format!("not UTF-8: {error}")))?;
    serde_json::from_str(text).map(|Object(document)| document).map_err(|error| {
        if error.is_data() {
            let pointer = place::pointer_at(text, error.line(), error.column());
            Invalid { pointer, detail: format!("{error}") }
        } else {
            whole(format!("not JSON: {error}"))
        }
    })
}

/// A struct that is an object in JSON and nothing else: serde's derive alone would take an array of the fields' values
/// in their order too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = T;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData)).map(Self)
    }
}

/// A member that may be there: its JSON text, looked at when needed. `null` counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Field<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self((raw.get() != "null").then_some(raw)))
    }
}

impl<'a> Field<'a> {
    /// Its JSON text, where it is there.
    pub fn raw(self) -> Option<&'a RawValue> {
        self.0
    }

    /// Text, which must be there; empty text is not.
    pub fn text(self, at: &At<'_>) -> Result<Cow<'a, str>, Invalid> {
        let text = self.optional_text(at)?;
        text.ok_or_else(|| Invalid::at(at, "must be a text that is not empty"))
    }

    /// Text; none where it is absent or empty.
    pub fn optional_text(self, at: &At<'_>) -> Result<Option<Cow<'a, str>>, Invalid> {
        let Some(raw) = self.0 else { return Ok(None) };
        let text: Text<'a> = serde_json::from_str(raw.get()).map_err(|_| Invalid::at(at, "must be a text"))?;
        Ok(Some(text.0).filter(|text| !text.is_empty()))
    }

    /// A decimal number, which must be there: text (`"12.50"`, plain notation) or a JSON number.
    pub fn decimal(self, at: &At<'_>) -> Result<Decimal, Invalid> {
        let decimal = self.optional_decimal(at)?;
        decimal.ok_or_else(|| Invalid::at(at, "must be a decimal number"))
    }

    /// A decimal number; none where it is absent.
    pub fn optional_decimal(self, at: &At<'_>) -> Result<Option<Decimal>, Invalid> {
        let Some(raw) = self.0 else { return Ok(None) };
        let parsed = match raw.get().as_bytes() {
            [b'"', ..] => Decimal::parse(&self.text(at)?),
            [b'-' | b'0'..=b'9', ..] => Decimal::parse_json(raw.get()),
            _ => return Err(Invalid::at(at, "must be a decimal number")),
        };
        parsed.map(Some).map_err(|error| Invalid::at(at, format!("{error}")))
    }

    /// A whole JSON number, which must be there.
    pub fn integer(self, at: &At<'_>) -> Result<i64, Invalid> {
        let parsed = self.0.and_then(|raw| raw.get().parse().ok());
        parsed.ok_or_else(|| Invalid::at(at, "must be a whole number"))
    }
}

/// The same value without white space between its parts.
pub fn compact(value: &RawValue) -> Box<RawValue> {
    let mut inside = false;
    let mut escaped = false;
    let mut kept = String::with_capacity(value.get().len());
    kept.extend(value.get().chars().filter(|c| {
        let keep = inside || !matches!(c, ' ' | '\t' | '\n' | '\r');
        if *c == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && *c == '\\' && !escaped;
        keep
    }));
    match RawValue::from_string(kept) {
        Ok(compact) => compact,
        Err(_) => value.to_owned(),
    }
}

/// A text, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.into()))
            }
        }
        deserializer.deserialize_str(OfText).map(Self)
    }
}

#[cfg(test)]
mod tests;
