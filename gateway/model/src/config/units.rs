//! Settings that are numbers: counts, lengths of time, sizes. Range and default are part of the type, so that the check,
//! the message, the JSON Schema and the default cannot disagree.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// Milliseconds.
pub(crate) const fn ms(n: u64) -> u64 {
    n
}
/// Seconds, in milliseconds.
pub(crate) const fn s(n: u64) -> u64 {
    n * 1000
}
/// Minutes, in milliseconds.
pub(crate) const fn min(n: u64) -> u64 {
    s(60) * n
}
/// Hours, in milliseconds.
pub(crate) const fn h(n: u64) -> u64 {
    min(60) * n
}
/// Days, in milliseconds.
pub(crate) const fn d(n: u64) -> u64 {
    h(24) * n
}
/// KiB, in bytes.
pub(crate) const fn kib(n: u64) -> u64 {
    n << 10
}
/// MiB, in bytes.
pub(crate) const fn mib(n: u64) -> u64 {
    n << 20
}
/// GiB, in bytes.
pub(crate) const fn gib(n: u64) -> u64 {
    n << 30
}
/// TiB, in bytes.
pub(crate) const fn tib(n: u64) -> u64 {
    n << 40
}

const PERIODS: &[(&str, u64)] = &[("d", d(1)), ("h", h(1)), ("m", min(1)), ("s", s(1)), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("TiB", tib(1)), ("GiB", gib(1)), ("MiB", mib(1)), ("KiB", kib(1))];

/// Writes `n` in the largest unit that divides it.
fn in_units(n: u64, units: &[(&str, u64)], rest: &str) -> String {
    let whole = units.iter().find(|(_, size)| n > 0 && n.is_multiple_of(*size));
    whole.map_or_else(|| format!("{n}{rest}"), |(unit, size)| format!("{}{unit}", n / size))
}

/// Reads digits and one unit.
fn from_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

/// Refuses what is not within the bounds.
fn within<E: Error>(value: u64, low: u64, high: u64, show: impl Fn(u64) -> String) -> Result<u64, E> {
    match value {
        value if value < low => Err(E::custom(format!("too small: from {} to {} is allowed", show(low), show(high)))),
        value if value > high => Err(E::custom(format!("too large: from {} to {} is allowed", show(low), show(high)))),
        value => Ok(value),
    }
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name<const LOW: u64, const HIGH: u64, const DEFAULT: u64>(u64);

        impl<const LOW: u64, const HIGH: u64, const DEFAULT: u64> $name<LOW, HIGH, DEFAULT> {
            const DEFAULT_IS_ALLOWED: () = assert!(LOW <= DEFAULT && DEFAULT <= HIGH);
        }

        impl<const LOW: u64, const HIGH: u64, const DEFAULT: u64> Default for $name<LOW, HIGH, DEFAULT> {
            fn default() -> Self {
                let () = Self::DEFAULT_IS_ALLOWED;
                $name(DEFAULT)
            }
        }
    };
}

bounded! {
    /// A whole number from `LOW` to `HIGH`.
    Count
}

bounded! {
    /// A length of time in milliseconds from `LOW` to `HIGH`, written `500ms`, `30s`, `10m`, `24h` or `7d`.
    Period
}

bounded! {
    /// A number of bytes from `LOW` to `HIGH`, written `64KiB`, `1MiB`, `10GiB` or as plain bytes.
    Size
}

impl<const L: u64, const H: u64, const D: u64> Count<L, H, D> {
    /// For counts of things in memory.
    pub fn usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// For counts that fit.
    pub fn u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const L: u64, const H: u64, const D: u64> Period<L, H, D> {
    /// As the rest of the program takes it.
    pub fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<const L: u64, const H: u64, const D: u64> Size<L, H, D> {
    /// Bytes.
    pub fn u64(self) -> u64 {
        self.0
    }

    /// Bytes of something in memory.
    pub fn usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::custom("a number of things cannot be negative"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<u64, E> {
        Err(E::custom("a whole number belongs here"))
    }
}

impl<'de, const L: u64, const H: u64, const D: u64> Deserialize<'de> for Count<L, H, D> {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let value = deserializer.deserialize_u64(CountVisitor)?;
        within(value, L, H, |n| n.to_string()).map(Count)
    }
}

impl<const L: u64, const H: u64, const D: u64> Serialize for Count<L, H, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const L: u64, const H: u64, const D: u64> JsonSchema for Count<L, H, D> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Count_{L}_{H}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": L, "maximum": H })
    }
}

struct PeriodVisitor;

impl Visitor<'_> for PeriodVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a length of time such as 500ms, 30s, 10m, 24h or 7d")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        from_units(value, PERIODS).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(""), &self))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<u64, E> {
        Err(E::custom("a length of time needs its unit: ms, s, m, h or d"))
    }
}

fn show_period(n: u64) -> String {
    in_units(n, PERIODS, "s")
}

impl<'de, const L: u64, const H: u64, const D: u64> Deserialize<'de> for Period<L, H, D> {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let value = deserializer.deserialize_str(PeriodVisitor)?;
        within(value, L, H, show_period).map(Period)
    }
}

impl<const L: u64, const H: u64, const D: u64> Serialize for Period<L, H, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_period(self.0))
    }
}

impl<const L: u64, const H: u64, const D: u64> JsonSchema for Period<L, H, D> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Period_{L}_{H}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let range = format!("From {} to {}.", show_period(L), show_period(H));
        json_schema!({ "type": "string", "pattern": r"^[0-9]+(ms|s|m|h|d)$|\$\{", "$comment": range })
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a size such as 64KiB, 1MiB, 10GiB or a whole number of bytes")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        if let Ok(bytes) = value.parse() {
            return Ok(bytes);
        }
        if value.ends_with("KB") || value.ends_with("MB") || value.ends_with("GB") || value.ends_with("kB") {
            return Err(E::custom("sizes count in powers of 1024: write KiB, MiB or GiB"));
        }
        from_units(value, SIZES).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(""), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }
}

fn show_size(n: u64) -> String {
    in_units(n, SIZES, " bytes")
}

impl<'de, const L: u64, const H: u64, const D: u64> Deserialize<'de> for Size<L, H, D> {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let value = deserializer.deserialize_any(SizeVisitor)?;
        within(value, L, H, show_size).map(Size)
    }
}

impl<const L: u64, const H: u64, const D: u64> Serialize for Size<L, H, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match SIZES.iter().any(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            true => serializer.serialize_str(&show_size(self.0)),
            false => serializer.serialize_u64(self.0),
        }
    }
}

impl<const L: u64, const H: u64, const D: u64> JsonSchema for Size<L, H, D> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Size_{L}_{H}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let range = format!("From {} to {}.", show_size(L), show_size(H));
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": L, "maximum": H },
                { "type": "string", "pattern": r"^[0-9]+([KMGT]iB)?$|\$\{" },
            ],
            "$comment": range,
        })
    }
}

/// Growth of a wait per attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor(f64);

impl Factor {
    /// From 1 to 10.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for Factor {
    fn default() -> Self {
        Factor(2.0)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        match (1.0..=10.0).contains(&value) {
            true => Ok(Factor(value)),
            false => Err(D::Error::custom("from 1 to 10 is allowed")),
        }
    }
}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Factor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 1, "maximum": 10 })
    }
}
