//! Figures as people read them: three significant digits, a unit, thousands apart.

/// A number of things: `4,990`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Any value to about three significant digits, thousands apart: `4,998`, `12.5`, `0.04`.
pub fn value(value: f64) -> String {
    let value = finite(value);
    let (sign, size) = (if value < 0.0 { "-" } else { "" }, value.abs());
    match size {
        // Rust's cast saturates, and `finite` has bounded it.
        _ if size >= 99.95 => format!("{sign}{}", count(size.round() as u64)),
        _ => format!("{sign}{}", trimmed(size, if size >= 9.995 { 1 } else { 2 })),
    }
}

/// A value for an axis: `500`, `2k`, `1.5M`.
pub fn short(number: f64) -> String {
    let number = finite(number);
    let (factor, unit) = match number.abs() {
        size if size >= 1e12 => (1e12, "T"),
        size if size >= 1e9 => (1e9, "G"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e4 => (1e3, "k"),
        _ => return value(number),
    };
    format!("{}{unit}", trimmed(number / factor, 2))
}

/// A latency given in µs: `850 µs`, `3.12 ms`, `2.03 s`; `0` without a unit.
pub fn latency(micros: f64) -> String {
    let micros = finite(micros).max(0.0);
    let (number, unit) = match micros {
        _ if micros == 0.0 => return "0".to_owned(),
        _ if micros < 999.5 => (micros, "µs"),
        _ if micros < 999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", significant(number))
}

/// A latency given in µs as milliseconds without the unit, for where the unit stands at the end: `3.1`, `11.8`.
pub fn milliseconds(micros: u64) -> String {
    significant(micros as f64 / 1e3)
}

/// A time of the run: `12 s`, `1:05`, `2:03:00`.
pub fn clock(seconds: f64) -> String {
    let seconds = finite(seconds).max(0.0);
    if seconds < 59.95 {
        return format!("{} s", trimmed(seconds, 1));
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

/// How long something took, in one or two units: `60 s`, `20 min`, `2 h 5 min`.
pub fn length(seconds: f64) -> String {
    let seconds = finite(seconds).max(0.0);
    if seconds < 600.0 {
        return format!("{} s", value(seconds));
    }
    let minutes = (seconds / 60.0).round() as u64;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{} h", count(hours)),
        (hours, minutes) => format!("{} h {minutes} min", count(hours)),
    }
}

/// A share, 0 to 1, in per cent. Nothing but none is `0 %`, nothing but all is `100 %`.
pub fn share(share: f64) -> String {
    let percent = finite(share) * 100.0;
    match percent {
        _ if percent <= 0.0 => "0 %".to_owned(),
        _ if percent < 0.001 => "< 0.001 %".to_owned(),
        _ if percent < 1.0 => format!("{} %", trimmed(percent, 3)),
        _ if percent < 99.0 => format!("{} %", trimmed(percent, 1)),
        _ if percent < 100.0 => format!("{} %", trimmed((percent * 1e3).floor() / 1e3, 3)),
        _ => format!("{} %", trimmed(percent, 1)),
    }
}

/// What `now` is beside `before`: `×1.08`; nothing where there is no measure.
pub fn ratio(now: f64, before: f64) -> Option<String> {
    let ratio = now / before;
    let text = match ratio {
        _ if !ratio.is_finite() || before <= 0.0 => return None,
        _ if ratio >= 100.0 => format!("×{}", value(ratio)),
        _ if ratio >= 9.995 => format!("×{ratio:.1}"),
        _ => format!("×{ratio:.2}"),
    };
    Some(text)
}

/// A quantile in per cent with as many nines as it has: `50 %`, `99.9 %`.
pub fn quantile(quantile: f64) -> String {
    format!("{} %", trimmed(finite(quantile) * 100.0, 6))
}

/// Within what can be drawn and written: not a number is 0, and nothing is larger than 10^15.
pub fn finite(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-1e15, 1e15) }
}

/// Three significant digits, at least the whole.
fn significant(number: f64) -> String {
    match number {
        _ if number < 9.995 => trimmed(number, 2),
        _ if number < 99.95 => trimmed(number, 1),
        _ => count(number.round() as u64),
    }
}

/// With at most so many decimals, without zeros at the end.
fn trimmed(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(value(4_998.4), "4,998");
        assert_eq!(value(-12.52), "-12.5");
        assert_eq!(value(0.04), "0.04");
        assert_eq!(short(1_500_000.0), "1.5M");
        assert_eq!(short(2_000.0), "2,000");
        assert_eq!(short(20_000.0), "20k");
        assert_eq!(latency(850.0), "850 µs");
        assert_eq!(latency(3_120.0), "3.12 ms");
        assert_eq!(latency(999_600.0), "1 s");
        assert_eq!(latency(600_000_000.0), "600 s");
        assert_eq!(milliseconds(11_800), "11.8");
        assert_eq!(clock(12.0), "12 s");
        assert_eq!(clock(65.2), "1:05");
        assert_eq!(clock(7_380.0), "2:03:00");
        assert_eq!(length(59.7), "59.7 s");
        assert_eq!(length(1_200.0), "20 min");
        assert_eq!(length(7_500.0), "2 h 5 min");
        assert_eq!(ratio(1.08, 1.0).as_deref(), Some("×1.08"));
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(quantile(0.9999), "99.99 %");
    }

    #[test]
    fn a_share_never_rounds_to_none_or_all() {
        assert_eq!(share(0.0), "0 %");
        assert_eq!(share(1e-9), "< 0.001 %");
        assert_eq!(share(0.000_2), "0.02 %");
        assert_eq!(share(0.125), "12.5 %");
        assert_eq!(share(0.999_999_9), "99.999 %");
        assert_eq!(share(1.0), "100 %");
    }

    #[test]
    fn what_is_no_number_is_written_as_one() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            for text in [value(odd), short(odd), latency(odd), clock(odd), length(odd), share(odd), quantile(odd)] {
                assert!(!text.contains("NaN") && !text.contains("inf") && text.len() < 40, "{odd}: {text}");
            }
        }
    }
}
