//! The request target, normalised once before routing, policy and upstream, so that all three see the same bytes
//! (RFC 3986 §6.2.2).
//!
//! What is plainly another spelling of the same path is rewritten: escapes of unreserved characters are decoded, other
//! escapes get upper-case digits, dot segments are resolved. What two parsers could read as different paths is refused:
//! encoded slashes and backslashes, control characters, escapes that are not UTF-8, a climb above the root, a dot
//! segment with parameters (`..;x`, which some servers take for `..`). So is an empty segment (`//`): some servers merge
//! it, others do not, and whoever gets a 400 for it at the first call writes the URL as it is meant.
//!
//! The query is checked and passed on as sent: nothing is routed by it, and clients sign it.

use std::borrow::Cow;

use crate::refusal::Refusal;

/// A normalised target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Starts with `/`; no dot segments, no empty segments inside, escapes only where needed and in upper case.
    pub path: Cow<'a, str>,
    /// Without `?`; as sent.
    pub query: Cow<'a, str>,
}

/// `OPTIONS *`: the server as a whole (RFC 9112 §3.2.4). It has no path, so [`normalise`] refuses it.
pub const ASTERISK: &[u8] = b"*";

/// Takes an absolute-form target (RFC 9112 §3.2.2) apart into its authority and its origin-form; none where it is no
/// absolute-form of `http` or `https`. The authority is unchecked: [`crate::route::host_of`] does that.
pub fn absolute(raw: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let scheme = raw.iter().position(|b| *b == b':')?;
    if !(raw[..scheme].eq_ignore_ascii_case(b"http") || raw[..scheme].eq_ignore_ascii_case(b"https")) {
        return None;
    }
    let rest = raw[scheme..].strip_prefix(b"://")?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    let origin = match origin.first() {
        Some(b'/') => Cow::Borrowed(origin),
        // An empty path is the root (RFC 9110 §4.2.3); anything odd stays odd for `normalise` to refuse.
        None => Cow::Borrowed(&b"/"[..]),
        Some(_) => Cow::Owned([b"/", origin].concat()),
    };
    (!authority.is_empty()).then_some((authority, origin))
}

/// The origin-form of an absolute-form target; none where it is none.
pub fn origin_form(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    absolute(raw).map(|(_, origin)| origin)
}

/// Normalises a target in origin-form; a path that is clean already is borrowed.
pub fn normalise(raw: &[u8]) -> Result<Target<'_>, Refusal> {
    parse(raw, Dots::Resolve).ok_or(Refusal::MalformedRequest)
}

/// As [`normalise`], but refuses dot segments: for a path that a plugin made, which has no reason for them.
pub(crate) fn normalise_without_dots(raw: &[u8]) -> Option<Target<'_>> {
    parse(raw, Dots::Refuse)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    Resolve,
    Refuse,
}

fn parse(raw: &[u8], dots: Dots) -> Option<Target<'_>> {
    // Both classes are ASCII, so what passes them is UTF-8.
    let text = std::str::from_utf8(raw).ok()?;
    let end = text.bytes().position(|b| class(b) & PATH == 0).unwrap_or(text.len());
    let (path, query) = match text.as_bytes().get(end) {
        None => (text, ""),
        Some(b'?') => (&text[..end], &text[end + 1..]),
        Some(_) => return None,
    };
    if !path.starts_with('/') || !query_holds(query) {
        return None;
    }
    let path = if is_clean(path) { Cow::Borrowed(path) } else { Cow::Owned(resolve(&rewrite(path)?, dots)?) };
    Some(Target { path, query: Cow::Borrowed(query) })
}

/// Class of bytes that stand in a path as they are, `%` and `/` included (RFC 3986 §3.3).
const PATH: u8 = 1;
/// Class of bytes that stand in a query as they are (RFC 3986 §3.4), and those that browsers leave unescaped there
/// (WHATWG URL §1.3), backslash excepted.
const QUERY: u8 = 2;

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() {
            table[at] = PATH | QUERY;
        }
        at += 1;
    }
    let both = b"-._~!$&'()*+,;=:@/%";
    let mut at = 0;
    while at < both.len() {
        table[both[at] as usize] = PATH | QUERY;
        at += 1;
    }
    let query = b"?[]{}|^`";
    let mut at = 0;
    while at < query.len() {
        table[query[at] as usize] = QUERY;
        at += 1;
    }
    table
}

static CLASSES: [u8; 256] = classes();

fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Whether nothing needs rewriting: no escape, no empty segment, no segment that begins with a dot.
fn is_clean(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let clean = byte != b'%' && !(before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        clean
    })
}

/// A query may hold any escape but those of NUL, CR and LF, which end strings and lines wherever it is decoded.
fn query_holds(query: &str) -> bool {
    let bytes = query.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'%' => match escape(bytes, at) {
                Some(0 | b'\r' | b'\n') | None => return false,
                Some(_) => 3,
            },
            byte if class(*byte) & QUERY != 0 => 1,
            _ => return false,
        };
    }
    true
}

/// The byte that the escape at `at` stands for.
fn escape(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let value = digit(*bytes.get(at + 1)?)? << 4 | digit(*bytes.get(at + 2)?)?;
    u8::try_from(value).ok()
}

/// Decodes escapes of unreserved characters and writes the others in upper case; refuses those that must not be.
fn rewrite(path: &str) -> Option<String> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte as char);
            decoded.push(byte);
            at += 1;
            continue;
        }
        let byte = escape(bytes, at)?;
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\') {
            return None;
        }
        decoded.push(byte);
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
        at += 3;
    }
    // Refuses overlong encodings too (RFC 3629 §3); control characters beyond ASCII hide as well as those in it.
    let decoded = std::str::from_utf8(&decoded).ok()?;
    (!decoded.contains(char::is_control)).then_some(out)
}

/// Resolves dot segments (RFC 3986 §5.2.4); a climb above the root and an empty segment are refused, not repaired.
fn resolve(path: &str, dots: Dots) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." if dots == Dots::Refuse => return None,
            "." => {}
            ".." => out.truncate(out.rfind('/')?),
            "" if !last => return None,
            _ if is_disguised(segment) => return None,
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
        // `/a/.` and `/a/b/..` are `/a/`.
        if last && matches!(segment, "." | "..") {
            out.push('/');
        }
    }
    Some(out)
}

/// A dot segment with a parameter behind it, which some servers cut off before they resolve.
fn is_disguised(segment: &str) -> bool {
    let rest = segment.strip_prefix("..").or_else(|| segment.strip_prefix('.'));
    rest.is_some_and(|rest| rest.starts_with(';') || rest.starts_with("%3B"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
