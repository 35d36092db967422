//! Settings that are text: names, ids, addresses, paths, secrets. Each is checked as it is read.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use crate::maintenance::{date_and_time, time_of_day, utc_offset};
use crate::plan::{Algorithm, Secret};

/// Makes a type of text that is checked as it is read.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn arc(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let check: fn(&str) -> bool = $check;
                match check(&text) {
                    true => Ok($name(text.into())),
                    false => Err(D::Error::custom(concat!($expected, " belongs here"))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": concat!($pattern, r"|\$\{") })
            }
        }
    };
}

word! {
    /// The name of something: a label in logs and metrics, and how other settings refer to it.
    Name, "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    "a name of at most 63 letters, digits, dots, dashes and underscores that starts with a letter or digit",
    |text| text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

word! {
    /// A tenant's id.
    TenantId, "^[a-z0-9-]{1,63}$",
    "an id of 1 to 63 lower-case letters, digits and dashes",
    |text| (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

word! {
    /// Text for a claim, a type or a key: short, printable, without spaces at its ends.
    Label, "^[^\\s].{0,254}$",
    "1 to 255 printable characters without space at either end",
    |text| (1..=255).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

impl Label {
    /// A text of ours, known to be right.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Label(text.into())
    }
}

word! {
    /// An OAuth scope (RFC 6749 §3.3).
    Scope, r"^[\x21\x23-\x5B\x5D-\x7E]{1,255}$",
    "a scope of printable ASCII characters without space, quote or backslash",
    |text| (1..=255).contains(&text.len())
        && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

impl Scope {
    /// A text of ours, known to be right.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Scope(text.into())
    }
}

word! {
    /// A time of day, or a date and time (RFC 3339 §5.6).
    Moment, r"^[0-2][0-9]:[0-5][0-9]$|^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$",
    "a time such as 22:00, or a date and time such as 2026-12-24T18:00:00Z,",
    |text| time_of_day(text).is_some() || date_and_time(text).is_some()
}

word! {
    /// A distance from UTC (RFC 3339 §5.6).
    UtcOffset, r"^(Z|[+-][0-2][0-9]:[0-5][0-9])$",
    "a distance from UTC such as +02:00",
    |text| utc_offset(text).is_some()
}

/// An address and port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map(Address)
            .map_err(|_| D::Error::custom("an IP address and port such as 127.0.0.1:8080 or [::1]:8080 belongs here"))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The name by which the decoder knows a path, to join it to the directory of the file that names it.
pub(crate) const FILE_PATH: &str = "FilePath";

/// The path of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct FilePath(String);

impl FilePath {
    /// A default, until [`FilePath::place_in`] places it.
    pub(crate) fn new(path: &str) -> Self {
        FilePath(path.to_owned())
    }

    /// Joins it to `dir`, unless it is absolute.
    pub(crate) fn place_in(&mut self, dir: &Path) {
        self.0 = dir.join(&self.0).to_string_lossy().into_owned();
    }

    /// As the rest of the program takes it.
    pub fn get(&self) -> PathBuf {
        PathBuf::from(&self.0)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathVisitor;

        impl<'de> Visitor<'de> for PathVisitor {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a path")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
                String::deserialize(deserializer)
            }
        }

        let text = deserializer.deserialize_newtype_struct(FILE_PATH, PathVisitor)?;
        match text.is_empty() || text.chars().any(char::is_control) {
            true => Err(D::Error::custom("a path belongs here")),
            false => Ok(FilePath(text)),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Algorithm {
    /// All of them, by their registered names.
    pub const ALL: [(&'static str, Algorithm); 9] = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some((_, algorithm)) = Algorithm::ALL.iter().find(|(name, _)| *name == text) {
            return Ok(*algorithm);
        }
        Err(match text.to_ascii_uppercase().as_str() {
            "NONE" => D::Error::custom("unsigned tokens prove nothing and are never accepted"),
            "HS256" | "HS384" | "HS512" => D::Error::custom(
                "with a shared secret whoever verifies tokens can also make them: only public-key signatures are \
                 accepted",
            ),
            _ => D::Error::unknown_variant(&text, &ALGORITHM_NAMES),
        })
    }
}

const ALGORITHM_NAMES: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{self:?}"))
    }
}

impl JsonSchema for Algorithm {
    fn schema_name() -> Cow<'static, str> {
        "Algorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ALGORITHM_NAMES })
    }
}
