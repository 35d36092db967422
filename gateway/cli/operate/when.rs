//! Times as people say and read them.

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A time of the command line: RFC 3339, or how long ago (`90s`, `30m`, `2h`, `7d`). As RFC 3339.
///
/// # Errors
/// When it is neither.
pub fn parse(text: &str) -> Result<String, String> {
    let help = || format!("{text:?} is neither a time (2026-01-31T12:00:00Z) nor how long ago (90s, 30m, 2h, 7d)");
    let ago = || {
        let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)].into_iter().find(|(name, _)| *name == unit)?.1;
        let seconds = i64::from(count.parse::<u32>().ok()?).checked_mul(unit)?;
        OffsetDateTime::now_utc().checked_sub(Duration::seconds(seconds))
    };
    let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(ago).ok_or_else(help)?;
    at.format(&Rfc3339).map_err(|_| help())
}

/// How far away a time of an answer is: `3 min ago`, `in 20 s`; empty where there is none.
pub fn relative(at: &Value) -> String {
    let Some(at) = read(at) else { return String::new() };
    let seconds = (OffsetDateTime::now_utc() - at).whole_seconds();
    let distance = distance(seconds.unsigned_abs());
    if seconds < 0 { format!("in {distance}") } else { format!("{distance} ago") }
}

/// A time of an answer, with how far away it is.
pub fn both(at: &Value) -> String {
    match read(at) {
        Some(time) => format!("{} ({})", absolute(time), relative(at)),
        None => String::new(),
    }
}

/// A time of an answer to the millisecond, as wide as every other.
pub fn exact(at: &Value) -> String {
    read(at).map(|at| format!("{} {}.{:03}", at.date(), clock(at), at.millisecond())).unwrap_or_default()
}

fn absolute(at: OffsetDateTime) -> String {
    format!("{} {} UTC", at.date(), clock(at))
}

fn clock(at: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

fn read(at: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(at.as_str()?, &Rfc3339).ok()
}

/// So many seconds in the largest unit that says enough.
pub fn distance(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_two_ways() {
        assert_eq!(parse("2026-01-31T12:00:00Z").as_deref(), Ok("2026-01-31T12:00:00Z"));
        assert!(parse("2h").is_ok_and(|text| text.ends_with('Z')));
        for wrong in ["", "h", "2", "2w", "-2h", "2 h", "é", "yesterday", "99999999999d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_distance_is_told_in_one_unit() {
        let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(distance);
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
