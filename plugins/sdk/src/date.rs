//! Calendar dates: what documents of an ERP carry.

use core::fmt;

use serde::{Serialize, Serializer};

/// A day of the Gregorian calendar, year 1 to 9999; written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The date of an RFC 3339 timestamp or ISO 8601 date (`2026-11-20T12:00:00+01:00`), as it is written there: no
    /// change of time zone.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let bytes = date.as_bytes();
        let time = rest.is_empty() || is_time(rest);
        let number = |range: core::ops::Range<usize>| {
            bytes[range].iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let separated = bytes[4] == b'-' && bytes[7] == b'-';
        let exists = year > 0 && (1..=12).contains(&month) && day > 0 && day <= u16::from(days_of(year, month as u8));
        (time && separated && exists).then_some(Self { year, month: month as u8, day: day as u8 })
    }

    /// The date `days` later; none past the year 9999.
    pub fn plus_days(self, days: u16) -> Option<Self> {
        let mut date = self;
        let mut left = u32::from(days);
        loop {
            let rest_of_month = u32::from(days_of(date.year, date.month) - date.day);
            if left <= rest_of_month {
                date.day += left as u8;
                return Some(date);
            }
            left -= rest_of_month + 1;
            date.day = 1;
            if date.month < 12 {
                date.month += 1;
            } else {
                date.month = 1;
                date.year += 1;
            }
            if date.year > 9999 {
                return None;
            }
        }
    }
}

/// `T` and `HH:MM:SS`, with or without fraction and offset.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let two = |at: usize, max: u8| match bytes.get(at..at + 2) {
        Some([a, b]) if a.is_ascii_digit() && b.is_ascii_digit() => (a - b'0') * 10 + (b - b'0') <= max,
        _ => false,
    };
    let clock = matches!(bytes[0], b'T' | b' ') && two(1, 23) && two(4, 59) && two(7, 60);
    if !clock || bytes[3] != b':' || bytes[6] != b':' {
        return false;
    }
    let rest = text[9..].strip_prefix('.').map_or(&text[9..], |f| f.trim_start_matches(|c: char| c.is_ascii_digit()));
    match rest.as_bytes() {
        [] | [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

fn days_of(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_date_is_the_one_that_is_written() {
        for (text, is) in [
            ("2026-11-20", "2026-11-20"),
            ("2026-11-20T23:59:59-05:00", "2026-11-20"),
            ("2024-02-29T00:00:00Z", "2024-02-29"),
            ("2026-11-20T12:00:00.123+01:00", "2026-11-20"),
            ("2017-03-22T19:28:02", "2017-03-22"),
        ] {
            assert_eq!(Date::parse(text).unwrap().to_string(), is);
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-01-00",
            "2026/01/01",
            "0000-01-01",
            "20260101T0",
            "2026-01-01x",
            "2026-01-01T25:00:00Z",
            "2026-01-01T10:00",
            "2026-01-01T10:00:00+01",
            "2026-01-0é",
        ] {
            assert_eq!(Date::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn days_are_added_over_months_years_and_leap_days() {
        let plus = |text, days| Date::parse(text).unwrap().plus_days(days).map(|d| d.to_string());
        assert_eq!(plus("2026-11-20", 0).unwrap(), "2026-11-20");
        assert_eq!(plus("2026-11-20", 14).unwrap(), "2026-12-04");
        assert_eq!(plus("2026-12-31", 1).unwrap(), "2027-01-01");
        assert_eq!(plus("2024-02-28", 1).unwrap(), "2024-02-29");
        assert_eq!(plus("2025-02-28", 366).unwrap(), "2026-03-01");
        assert_eq!(plus("9999-12-31", 1), None);
    }
}
