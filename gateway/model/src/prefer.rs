//! What a client would like of its answer (RFC 7240). Pure.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The field that clients say it in.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Those preferences of a request that mean something here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preferences {
    /// An answer before the work is done (§4.1).
    pub respond_async: bool,
    /// The client waits so long, a second at least (§4.3).
    pub wait: Option<Duration>,
}

/// Reads every `Prefer` field. What is not well-formed, unknown or not to be had is ignored, and of a preference that
/// stands there twice the first counts (§2).
pub fn preferences(headers: &HeaderMap) -> Preferences {
    let mut found = Preferences::default();
    let mut waits = false;
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    for preference in values.flat_map(|value| split(value, ',')) {
        let (name, value) = named(preference);
        if name.eq_ignore_ascii_case("respond-async") {
            found.respond_async |= value.is_empty();
        } else if name.eq_ignore_ascii_case("wait") && !waits {
            waits = true;
            found.wait = seconds(value).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        }
    }
    found
}

/// Name and value of a preference without its parameters; no value and an empty one are the same (§2).
fn named(preference: &str) -> (&str, &str) {
    let preference = split(preference, ';').next().unwrap_or_default();
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (name.trim(), unquoted.unwrap_or(value))
}

/// `delta-seconds` (RFC 9111 §1.2.2), up to nine digits.
fn seconds(text: &str) -> Option<u64> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The parts between separators that do not stand in a quoted string (RFC 9110 §5.6.4).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        let separates = char == separator && !quoted;
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> (bool, Option<u64>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        let found = preferences(&headers);
        (found.respond_async, found.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        assert_eq!(read(&[]), (false, None));
        assert_eq!(read(&["respond-async"]), (true, None));
        assert_eq!(read(&["Respond-Async, WAIT = 10"]), (true, Some(10)));
        assert_eq!(read(&["handling=lenient, wait=100, respond-async"]), (true, Some(100)));
        assert_eq!(read(&["return=minimal; foo=\"a, wait=9\"", "wait=\"20\"; x"]), (false, Some(20)));
        assert_eq!(read(&["foo=\"a\\\", wait=9\", respond-async=\"\""]), (true, None));
        assert_eq!(read(&["wait=1, wait=2"]), (false, Some(1)), "the first counts");
    }

    #[test]
    fn what_is_not_one_is_ignored() {
        for bad in ["wait", "wait=", "wait=-1", "wait=1.5", "wait=0", "wait=9999999999", "wait=x", "respond-async=1"] {
            assert_eq!(read(&[bad]), (false, None), "{bad}");
        }
        assert_eq!(read(&["wait=x, respond-async"]), (true, None));
        assert_eq!(read(&[";;,,=,respond-async"]), (true, None));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(value in "[ -~]{0,80}") {
            read(&[&value]);
        }

        #[test]
        fn what_is_in_quotes_is_no_preference(text in "[ !#-\\[\\]-~]{0,40}") {
            prop_assert_eq!(read(&[&format!("x=\"{text}\"")]), (false, None));
        }
    }
}
