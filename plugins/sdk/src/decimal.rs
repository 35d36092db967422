//! Exact decimal numbers: amounts never pass through a float.

use core::cmp::Ordering;
use core::fmt;

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

/// Most decimals, and most digits, of a [`Decimal`].
const MOST: u8 = 18;

/// `units` / 10^`scale`, exactly. Written with exactly `scale` decimals; equal and ordered by value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decimal {
    units: i64,
    scale: u8,
}

/// Why there is no such decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// The text is not a decimal number.
    Malformed,
    /// More digits than can be kept exactly.
    Overflow,
    /// The value has more decimals than were asked for.
    Inexact,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a decimal number",
            Self::Overflow => "too large to be kept exactly",
            Self::Inexact => "too many decimals",
        })
    }
}

impl core::error::Error for DecimalError {}

impl Decimal {
    /// 0.
    pub const ZERO: Self = Self { units: 0, scale: 0 };

    /// `units` / 10^`scale`; none where `scale` is over 18.
    pub const fn new(units: i64, scale: u8) -> Option<Self> {
        if scale > MOST { None } else { Some(Self { units, scale }) }
    }

    /// Parses plain notation: an optional minus, digits, and where there is a point, digits behind it: `-12.50`.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (negative, digits) = split_sign(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(DecimalError::Malformed),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty() {
            return Err(DecimalError::Malformed);
        }
        let units = accumulate(accumulate(0, whole)?, fraction)?;
        let scale = u8::try_from(fraction.len()).ok().filter(|s| *s <= MOST).ok_or(DecimalError::Overflow)?;
        Ok(Self { units: if negative { -units } else { units }, scale })
    }

    /// Parses the text of a JSON number, exponent and all: `1.25e2` is 125.
    pub fn parse_json(text: &str) -> Result<Self, DecimalError> {
        let Some(at) = text.bytes().position(|b| b | 0x20 == b'e') else { return Self::parse(text) };
        let mantissa = Self::parse(&text[..at])?;
        let exponent: i32 = match text[at + 1..].strip_prefix('+') {
            Some(digits) if digits.starts_with('-') => return Err(DecimalError::Malformed),
            Some(digits) => digits,
            None => &text[at + 1..],
        }
        .parse()
        .map_err(|_| DecimalError::Malformed)?;
        if mantissa.units == 0 {
            return Ok(Self::ZERO);
        }
        let mantissa = mantissa.shortest();
        match i32::from(mantissa.scale).saturating_sub(exponent) {
            scale @ 0..=18 => Ok(Self { units: mantissa.units, scale: scale as u8 }),
            scale @ -18..0 => Ok(Self { units: times_ten(mantissa.units, scale.unsigned_abs() as u8)?, scale: 0 }),
            _ => Err(DecimalError::Overflow),
        }
    }

    /// The same value with `scale` decimals, where that is exact.
    pub fn rescale(self, scale: u8) -> Result<Self, DecimalError> {
        if scale > MOST {
            return Err(DecimalError::Overflow);
        }
        if scale == self.scale {
            return Ok(self);
        }
        if scale > self.scale {
            return Ok(Self { units: times_ten(self.units, scale - self.scale)?, scale });
        }
        let by = 10i64.pow(u32::from(self.scale - scale));
        if self.units % by == 0 { Ok(Self { units: self.units / by, scale }) } else { Err(DecimalError::Inexact) }
    }

    /// The same value without trailing zeros behind the point.
    pub fn shortest(mut self) -> Self {
        while self.scale > 0 && self.units % 10 == 0 {
            self.units /= 10;
            self.scale -= 1;
        }
        self
    }

    /// `self` / 10^`scale` as a whole number: cents of an amount in euro at scale 2, where that is exact.
    pub fn units_at(self, scale: u8) -> Result<i64, DecimalError> {
        self.rescale(scale).map(|d| d.units)
    }

    /// The sum, with the decimals of the finer of the two.
    pub fn plus(self, other: Self) -> Result<Self, DecimalError> {
        let scale = self.scale.max(other.scale);
        let sum = self.rescale(scale)?.units.checked_add(other.rescale(scale)?.units);
        Ok(Self { units: sum.ok_or(DecimalError::Overflow)?, scale })
    }

    /// The difference, with the decimals of the finer of the two.
    pub fn minus(self, other: Self) -> Result<Self, DecimalError> {
        self.plus(Self { units: other.units.checked_neg().ok_or(DecimalError::Overflow)?, scale: other.scale })
    }

    /// The product, with as many decimals as both have together, or fewer where only zeros are lost.
    pub fn times(self, other: Self) -> Result<Self, DecimalError> {
        let product = |a: Self, b: Self| {
            let scale = a.scale + b.scale;
            a.units.checked_mul(b.units).filter(|_| scale <= MOST).map(|units| Self { units, scale })
        };
        product(self, other).or_else(|| product(self.shortest(), other.shortest())).ok_or(DecimalError::Overflow)
    }

    /// The quotient with `scale` decimals, half rounded away from zero; an overflow where `other` is zero.
    pub fn divided_by(self, other: Self, scale: u8) -> Result<Self, DecimalError> {
        if other.units == 0 || scale > MOST {
            return Err(DecimalError::Overflow);
        }
        // self.units / 10^self.scale * 10^other.scale / other.units * 10^scale
        let power = |n: u8| 10i128.pow(u32::from(n));
        let mut over = i128::from(self.units).checked_mul(power(scale)).ok_or(DecimalError::Overflow)?;
        let mut under = i128::from(other.units);
        if self.scale >= other.scale {
            under = under.checked_mul(power(self.scale - other.scale)).ok_or(DecimalError::Overflow)?;
        } else {
            over = over.checked_mul(power(other.scale - self.scale)).ok_or(DecimalError::Overflow)?;
        }
        let (whole, rest) = (over / under, over % under);
        let away = if (over < 0) == (under < 0) { 1 } else { -1 };
        let rounded = if rest.unsigned_abs() >= under.unsigned_abs().div_ceil(2) { whole + away } else { whole };
        Ok(Self { units: i64::try_from(rounded).map_err(|_| DecimalError::Overflow)?, scale })
    }

    /// Rounded to `scale` decimals, half away from zero.
    pub fn round(self, scale: u8) -> Result<Self, DecimalError> {
        if scale >= self.scale { self.rescale(scale) } else { self.divided_by(Self { units: 1, scale: 0 }, scale) }
    }

    /// Whether it is 0.
    pub const fn is_zero(self) -> bool {
        self.units == 0
    }

    /// Whether it is below 0.
    pub const fn is_negative(self) -> bool {
        self.units < 0
    }

    /// Whether it is above 0.
    pub const fn is_positive(self) -> bool {
        self.units > 0
    }

    /// Number of decimals that it is written with.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Plain notation with exactly `scale` decimals, at the end of `buffer`.
    fn write(self, buffer: &mut [u8; 24]) -> &str {
        let (mut rest, mut at, mut decimals) = (self.units.unsigned_abs(), buffer.len(), self.scale);
        while rest > 0 || decimals > 0 || at == buffer.len() || buffer[at] == b'.' {
            at -= 1;
            buffer[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if decimals == 1 {
                at -= 1;
                buffer[at] = b'.';
            }
            decimals = decimals.saturating_sub(1);
        }
        if self.units < 0 {
            at -= 1;
            buffer[at] = b'-';
        }
        core::str::from_utf8(&buffer[at..]).unwrap_or_default()
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn accumulate(start: i64, digits: &str) -> Result<i64, DecimalError> {
    // Compared before it is multiplied: a guest's checked multiplication is a function of 128 bits.
    const LAST: i64 = 10i64.pow(MOST as u32 - 1);
    digits.bytes().try_fold(start, |sum, byte| match byte {
        b'0'..=b'9' if sum < LAST => Ok(sum * 10 + i64::from(byte - b'0')),
        b'0'..=b'9' => Err(DecimalError::Overflow),
        _ => Err(DecimalError::Malformed),
    })
}

fn times_ten(units: i64, times: u8) -> Result<i64, DecimalError> {
    10i64.checked_pow(u32::from(times)).and_then(|by| units.checked_mul(by)).ok_or(DecimalError::Overflow)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; 24]))
    }
}

/// A JSON number whose text is exactly the decimal (`12.50`).
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; 24];
        let raw: &RawValue = serde_json::from_str(self.write(&mut buffer)).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        let at = |d: &Self| i128::from(d.units) * 10i128.pow(u32::from(scale - d.scale));
        at(self).cmp(&at(other))
    }
}

#[cfg(test)]
mod tests;
