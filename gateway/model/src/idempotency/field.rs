//! The syntax of the field `Idempotency-Key`: an item of RFC 8941 that is a string, or a bare word.

use std::borrow::Cow;

/// The key in a field's value; its length is not looked at.
pub(super) fn key(value: &[u8]) -> Option<Cow<'_, str>> {
    // Past this every cut is between two characters.
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?.trim_matches(' ');
    let Some(rest) = text.strip_prefix('"') else {
        let is_bare = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';'));
        return is_bare.then_some(Cow::Borrowed(text));
    };
    let (key, rest) = string(rest)?;
    parameters(rest)?;
    Some(Cow::Owned(key))
}

/// What stands in quotes, behind the first of them, and what follows (RFC 8941 §4.2.5).
fn string(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((content, chars.as_str())),
            '\\' => content.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => content.push(c),
            _ => return None,
        }
    }
}

/// Nothing but parameters (RFC 8941 §4.2.3.2).
fn parameters(mut text: &str) -> Option<()> {
    while let Some(parameter) = text.strip_prefix(';') {
        let parameter = parameter.trim_start_matches(' ');
        let (name, rest) = run(parameter, |c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.' | '*'));
        if !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') {
            return None;
        }
        text = match rest.strip_prefix('=') {
            Some(value) => bare_item(value)?,
            None => rest,
        };
    }
    text.is_empty().then_some(())
}

/// What follows a bare item (RFC 8941 §4.2.3.1).
fn bare_item(text: &str) -> Option<&str> {
    match text.chars().next()? {
        '"' => string(text.strip_prefix('"')?).map(|(_, rest)| rest),
        '?' => text.strip_prefix("?0").or_else(|| text.strip_prefix("?1")),
        ':' => {
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
            run(text.strip_prefix(':')?, is_base64).1.strip_prefix(':')
        }
        '-' | '0'..='9' => number(text.strip_prefix('-').unwrap_or(text)),
        'a'..='z' | 'A'..='Z' | '*' => {
            Some(run(text, |c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c)).1)
        }
        _ => None,
    }
}

/// What follows an integer or a decimal without its sign (RFC 8941 §4.2.4).
fn number(text: &str) -> Option<&str> {
    let (whole, rest) = run(text, |c| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix('.') else {
        return (1..=15).contains(&whole.len()).then_some(rest);
    };
    let (fraction, rest) = run(rest, |c| c.is_ascii_digit());
    ((1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len())).then_some(rest)
}

/// Takes characters of a kind.
fn run(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    let taken = text.trim_start_matches(is);
    text.split_at(text.len() - taken.len())
}
