//! Windows in which a system is not to be asked: on days of the week, or once. Pure; the time is an argument
//! (milliseconds since the epoch).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const MINUTES_OF_A_DAY: u32 = 24 * 60;

/// No window is followed further than this, milliseconds: longer than a week, which weekly windows may fill.
pub const HORIZON: u64 = 8 * DAY;

/// All windows of one system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    windows: Vec<Window>,
}

/// One window. It begins with its first moment and ends before its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Weekly(Weekly),
    Single { from: u64, to: u64 },
}

/// Times of day are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekly {
    /// Days on which it begins, Monday first.
    days: [bool; 7],
    from: u64,
    /// On the next day, unless it is later than `from`.
    to: u64,
    /// Local time less UTC, and a day: never negative.
    shift: u64,
}

impl Calendar {
    /// Of these windows, in any order. They may overlap.
    pub fn new(windows: Vec<Window>) -> Self {
        Calendar { windows }
    }

    /// Inside a window, when it ends; windows that overlap or follow each other without a gap count as one. A window
    /// that goes on for longer than [`HORIZON`] is to be asked about again then.
    pub fn open_until(&self, now: u64) -> Option<u64> {
        let horizon = now.saturating_add(HORIZON);
        let mut end = now;
        // Each round ends with another window's end, which is later.
        while end < horizon
            && let Some(later) = self.windows.iter().filter_map(|window| window.end(end)).max()
        {
            end = later;
        }
        (end > now).then(|| end.min(horizon))
    }
}

impl Window {
    /// Begins on each of `days`, Monday first, at `from` and ends at `to`, on the next day where that is not later; both
    /// are minutes of the day, `to` may be 1440. `offset` is local time less UTC, in minutes. None where a number is out
    /// of range, or the window is empty.
    pub fn weekly(days: [bool; 7], from: u32, to: u32, offset: i32) -> Option<Window> {
        let in_range = from < MINUTES_OF_A_DAY && to <= MINUTES_OF_A_DAY && offset.unsigned_abs() < MINUTES_OF_A_DAY;
        if !in_range || from == to || days == [false; 7] {
            return None;
        }
        let shift = DAY.checked_add_signed(i64::from(offset) * MINUTE.cast_signed())?;
        let (from, to) = (u64::from(from) * MINUTE, u64::from(to) * MINUTE);
        Some(Window(Kind::Weekly(Weekly { days, from, to, shift })))
    }

    /// From one moment to another. None where it is empty.
    pub fn single(from: u64, to: u64) -> Option<Window> {
        (from < to).then_some(Window(Kind::Single { from, to }))
    }

    /// Where it is open at that moment, when it ends.
    fn end(&self, at: u64) -> Option<u64> {
        match &self.0 {
            Kind::Weekly(weekly) => weekly.end(at),
            Kind::Single { from, to } => (*from..*to).contains(&at).then_some(*to),
        }
    }
}

impl Weekly {
    fn end(&self, at: u64) -> Option<u64> {
        let local = at.checked_add(self.shift)?;
        // `shift` makes it one more than the days since the epoch, which began on a Thursday.
        let (day, time) = (local / DAY, local % DAY);
        let (today, yesterday) = (self.begins(day + 2), self.begins(day + 1));
        let last = if self.from < self.to {
            (today && (self.from..self.to).contains(&time)).then_some(day)
        } else if time >= self.from {
            today.then_some(day + 1)
        } else {
            (yesterday && time < self.to).then_some(day)
        };
        last?.checked_mul(DAY)?.checked_add(self.to)?.checked_sub(self.shift)
    }

    fn begins(&self, day: u64) -> bool {
        self.days[(day % 7) as usize]
    }
}

/// Minutes of the day that `text` names: `00:00` to `24:00`.
pub(crate) fn time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = hours_and_minutes(text)?;
    let time = hours * 60 + minutes;
    (time <= MINUTES_OF_A_DAY).then_some(time)
}

/// Minutes of a distance from UTC: `Z`, or `+02:00` and the like (RFC 3339 §5.6).
pub(crate) fn utc_offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = hours_and_minutes(text.get(1..)?).filter(|(hours, _)| *hours < 24)?;
    Some(sign * (hours * 60 + minutes).cast_signed())
}

/// Milliseconds since the epoch of a date and time (RFC 3339 §5.6).
pub(crate) fn date_and_time(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Two digits, a colon, two digits; up to 99:59.
fn hours_and_minutes(text: &str) -> Option<(u32, u32)> {
    let &[a, b, b':', c, d] = text.as_bytes() else { return None };
    let number = |tens: u8, ones: u8| Some(char::from(tens).to_digit(10)? * 10 + char::from(ones).to_digit(10)?);
    let (hours, minutes) = (number(a, b)?, number(c, d)?);
    (minutes < 60).then_some((hours, minutes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use time::UtcOffset;

    use super::*;

    fn at(text: &str) -> u64 {
        date_and_time(text).unwrap()
    }

    fn weekly(days: &[usize], from: &str, to: &str, offset: &str) -> Window {
        let days = std::array::from_fn(|day| days.contains(&day));
        Window::weekly(days, time_of_day(from).unwrap(), time_of_day(to).unwrap(), utc_offset(offset).unwrap()).unwrap()
    }

    fn until(windows: &[Window], now: &str) -> Option<String> {
        let end = Calendar::new(windows.to_vec()).open_until(at(now))?;
        let end = OffsetDateTime::from_unix_timestamp_nanos(i128::from(end) * 1_000_000).unwrap();
        Some(end.format(&Rfc3339).unwrap())
    }

    #[test]
    fn a_weekly_window_may_pass_midnight_and_be_told_in_local_time() {
        // 3 October 2026 is a Saturday.
        let nights = [weekly(&[5, 6], "22:00", "02:00", "+02:00")];
        for (now, end) in [
            ("2026-10-03T19:59:59.999Z", None),
            ("2026-10-03T20:00:00Z", Some("2026-10-04T00:00:00Z")),
            ("2026-10-03T23:59:59.999Z", Some("2026-10-04T00:00:00Z")),
            ("2026-10-04T00:00:00Z", None),
            ("2026-10-04T22:00:00Z", Some("2026-10-05T00:00:00Z")),
            ("2026-10-02T22:00:00Z", None),
            ("2026-10-05T20:00:00Z", None),
        ] {
            assert_eq!(until(&nights, now).as_deref(), end, "{now}");
        }
    }

    #[test]
    fn windows_without_a_gap_are_one() {
        let mut windows = vec![
            weekly(&[5, 6], "00:00", "24:00", "Z"),
            weekly(&[0], "00:00", "06:00", "Z"),
            Window::single(at("2026-10-05T05:00:00Z"), at("2026-10-05T07:30:00+01:00")).unwrap(),
        ];
        assert_eq!(until(&windows, "2026-10-03T12:00:00Z").as_deref(), Some("2026-10-05T06:30:00Z"));
        windows.push(weekly(&[0, 1, 2, 3, 4], "06:00", "00:00", "Z"));
        assert_eq!(until(&windows, "2026-10-03T12:00:00Z").as_deref(), Some("2026-10-06T00:00:00Z"), "Tuesday is free");
        windows.push(weekly(&[0, 1, 2, 3, 4, 5, 6], "00:00", "24:00", "Z"));
        assert_eq!(until(&windows, "2026-10-03T12:00:00Z").as_deref(), Some("2026-10-11T12:00:00Z"), "the horizon");
        assert_eq!(until(&[], "2026-10-03T12:00:00Z"), None);
    }

    #[test]
    fn only_what_is_a_time_is_read_as_one() {
        assert_eq!(
            [time_of_day("00:00"), time_of_day("23:59"), time_of_day("24:00")],
            [Some(0), Some(1439), Some(1440)]
        );
        for wrong in ["", "1:00", "24:01", "12:60", "12.00", "12:00:00", "-1:00", "١٢:٠٠", "12:0a"] {
            assert_eq!(time_of_day(wrong), None, "{wrong}");
        }
        assert_eq!([utc_offset("Z"), utc_offset("+05:30"), utc_offset("-23:59")], [Some(0), Some(330), Some(-1439)]);
        for wrong in ["", "z", "+", "02:00", "+2:00", "+24:00", "UTC", "é2:00"] {
            assert_eq!(utc_offset(wrong), None, "{wrong}");
        }
        assert_eq!(date_and_time("1970-01-01T01:00:00.5+01:00"), Some(500));
        for wrong in ["", "2026-10-03", "2026-10-03T12:00:00", "2026-02-30T12:00:00Z", "1969-12-31T23:59:59Z", "22:00"]
        {
            assert_eq!(date_and_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn windows_that_make_no_sense_do_not_exist() {
        let all = [true; 7];
        assert_eq!(Window::weekly(all, 60, 60, 0), None);
        assert_eq!(Window::weekly(all, 1440, 0, 0), None);
        assert_eq!(Window::weekly(all, 0, 1441, 0), None);
        assert_eq!(Window::weekly(all, 0, 60, 1440), None);
        assert_eq!(Window::weekly([false; 7], 0, 60, 0), None);
        assert_eq!(Window::single(5, 5), None);
    }

    /// Where a minute's first moment lies within a window, told by another calendar.
    fn contains(window: &Window, minute: u64) -> bool {
        let Kind::Weekly(weekly) = &window.0 else { return window.end(minute * MINUTE).is_some() };
        let offset = (weekly.shift / MINUTE).cast_signed() as i32 - 1440;
        let local = OffsetDateTime::from_unix_timestamp((minute * 60).cast_signed()).unwrap();
        let local = local.to_offset(UtcOffset::from_whole_seconds(offset * 60).unwrap());
        let day = usize::from(local.weekday().number_days_from_monday());
        let time = (u64::from(local.hour()) * 60 + u64::from(local.minute())) * MINUTE;
        let end = if weekly.to > weekly.from { weekly.to } else { weekly.to + DAY };
        let begun = |day: usize, time: u64| weekly.days[day] && weekly.from <= time && time < end;
        begun(day, time) || begun((day + 6) % 7, time + DAY)
    }

    fn any_window() -> impl Strategy<Value = Window> {
        let weekly = (any::<[bool; 7]>(), 0u32..1440, 0u32..=1440, -1439i32..1440);
        // Often at the same few times, so that windows meet.
        let round =
            (any::<[bool; 7]>(), 0u32..4, 0u32..=4, -1i32..=1).prop_map(|(d, f, t, o)| (d, f * 360, t * 360, o * 360));
        let single = (0u64..20_000, 1u64..9_000).prop_map(|(from, length)| (from, from + length));
        prop_oneof![
            weekly.prop_filter_map("empty", |(days, from, to, offset)| Window::weekly(days, from, to, offset)),
            round.prop_filter_map("empty", |(days, from, to, offset)| Window::weekly(days, from, to, offset)),
            single
                .prop_filter_map("empty", |(from, to)| Window::single((START + from) * MINUTE, (START + to) * MINUTE)),
        ]
    }

    /// Minutes: some Thursday.
    const START: u64 = 2_958 * 7 * 1440;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_window_ends_where_its_last_minute_does(
            windows in proptest::collection::vec(any_window(), 0..6),
            minute in START..START + 20_000,
            within in 0..MINUTE,
        ) {
            let now = minute * MINUTE + within;
            let is_open = |minute: &u64| windows.iter().any(|window| contains(window, *minute));
            let end = (minute..).find(|minute| !is_open(minute) || minute * MINUTE >= now + HORIZON).unwrap();
            let expected = (end > minute).then(|| (end * MINUTE).min(now + HORIZON));
            prop_assert_eq!(Calendar::new(windows).open_until(now), expected);
        }

        #[test]
        fn no_moment_is_too_far_away(windows in proptest::collection::vec(any_window(), 1..6), now in any::<u64>()) {
            let end = Calendar::new(windows).open_until(now);
            prop_assert!(end.is_none_or(|end| end > now));
        }
    }
}
