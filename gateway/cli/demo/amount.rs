//! Decimal amounts without floats: what an ERP adds up has to come out to the cent.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Units of one: nine digits after the point, as ERPNext takes for rates.
const SCALE: i128 = 1_000_000_000;
const DIGITS: usize = 9;
/// Digits before the point at most; with them no sum or product of a bounded document leaves `i128`.
const WHOLE_DIGITS: usize = 12;

/// An exact decimal number with up to nine digits after the point. In JSON a number or a string (`19.99`, `"19.99"`),
/// read from its text, never by way of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(i128);

/// Not a plain decimal number of at most twelve digits and nine decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal amount")]
pub struct NotAnAmount;

impl Amount {
    /// One hundred, as in per cent.
    pub const HUNDRED: Amount = Amount::whole(100);

    /// That many ones.
    pub const fn whole(ones: u32) -> Amount {
        Amount(ones as i128 * SCALE)
    }

    /// Rounded to two decimals, half away from zero, as money is.
    pub fn to_cents(self) -> Amount {
        let cent = SCALE / 100;
        let half = if self.0 < 0 { -cent / 2 } else { cent / 2 };
        Amount((self.0 + half) / cent * cent)
    }

    /// The product, cut to nine decimals.
    pub fn times(self, other: Amount) -> Amount {
        // Whole part and fraction apart: the product of both at once would not fit.
        Amount(self.0 / SCALE * other.0 + self.0 % SCALE * other.0 / SCALE)
    }

    /// The part that `percent` takes away, taken away.
    pub fn less_percent(self, percent: Amount) -> Amount {
        Amount(self.times(Amount::HUNDRED - percent).0 / 100)
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl std::ops::Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0 + other.0)
    }
}

impl std::ops::Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount(self.0 - other.0)
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), |sum, amount| sum + amount)
    }
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let fraction = if fraction.len() > DIGITS { fraction.trim_end_matches('0') } else { fraction };
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let sized = (1..=WHOLE_DIGITS).contains(&whole.len()) && fraction.len() <= DIGITS;
        if !sized || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
            return Err(NotAnAmount);
        }
        let whole: i128 = whole.parse().map_err(|_| NotAnAmount)?;
        let fraction: i128 = format!("{fraction:0<DIGITS$}").parse().map_err(|_| NotAnAmount)?;
        Ok(Amount(sign * (whole * SCALE + fraction)))
    }
}

impl fmt::Display for Amount {
    /// Two decimals: `1234.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.to_cents().0 / (SCALE / 100);
        let sign = if cents < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        raw.get().trim_matches('"').parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn sums_do_not_drift() {
        let tenth: Amount = (0..10).map(|_| amount("0.1")).sum();
        assert_eq!(tenth, amount("1.00"));
        assert_eq!(amount("3").times(amount("19.99")).to_string(), "59.97");
        let most = amount("999999999999.999999999");
        // The largest there is: nothing overflows.
        assert!(most.times(most).less_percent(amount("0.000000001")) > most);
        assert_eq!(amount("7").times(amount("1.428571429")).to_string(), "10.00");
        assert_eq!(amount("100").less_percent(amount("12.5")).to_string(), "87.50");
        assert_eq!(
            [amount("0.005"), amount("-0.005"), amount("0.0049")].map(|a| a.to_string()),
            ["0.01", "-0.01", "0.00"]
        );
    }

    #[test]
    fn numbers_and_strings_read_alike_and_the_rest_is_refused() {
        let read: Vec<Amount> = serde_json::from_str(r#"[19.99, "19.99", "19.99000000000"]"#).unwrap();
        assert!(read.iter().all(|one| *one == amount("19.99")));
        for bad in [
            "1e3",
            "\"\"",
            "\".5\"",
            "\"5.\"",
            "\"1,5\"",
            "null",
            "\"0.0000000001\"",
            "1234567890123",
            "\"--1\"",
            "[1]",
            "\"+1\"",
        ] {
            assert!(serde_json::from_str::<Amount>(bad).is_err(), "{bad}");
        }
    }
}
