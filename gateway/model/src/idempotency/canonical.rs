//! One spelling for all JSON texts that say the same. It is hashed and never read again, so it need not be JSON itself:
//! a comma follows each item and member, the last one too, that members can be put in order as they are.

use std::ops::Range;

use serde::de::IgnoredAny;

/// Deeper texts are not worth what sorting on every level costs.
const MAX_DEPTH: usize = 64;

/// The one spelling; none for what is not JSON in UTF-8, has half a surrogate pair, or is nested deeper than
/// [`MAX_DEPTH`].
///
/// Members are sorted by their names; those with the same name stay in their order. Strings are escaped where they must
/// be. Numbers stay as they are written: what they are worth depends on who reads them.
pub(super) fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    // The rest relies on the grammar.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut writer = Writer { rest: text.as_bytes(), out: Vec::with_capacity(text.len()) };
    writer.value(0)?;
    Some(writer.out)
}

struct Writer<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
}

/// Where a member was written.
struct Member {
    name: Range<usize>,
    end: usize,
}

impl<'a> Writer<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'{' if depth < MAX_DEPTH => self.object(depth),
            b'[' if depth < MAX_DEPTH => self.array(depth),
            b'{' | b'[' => None,
            b'"' => self.string(),
            _ => {
                let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
                let scalar = self.take(self.rest.iter().position(ends).unwrap_or(self.rest.len()))?;
                self.out.extend_from_slice(scalar);
                Some(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.copy()?;
        loop {
            match self.next()? {
                b']' => return self.copy(),
                b',' => _ = self.take(1)?,
                _ => {
                    self.value(depth + 1)?;
                    self.out.push(b',');
                }
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.copy()?;
        let start = self.out.len();
        let mut members = Vec::new();
        loop {
            match self.next()? {
                b'}' => break,
                b',' => _ = self.take(1)?,
                _ => members.push(self.member(depth)?),
            }
        }
        self.sort(start, members)?;
        self.copy()
    }

    fn member(&mut self, depth: usize) -> Option<Member> {
        let start = self.out.len();
        self.string()?;
        let name = start..self.out.len();
        // The colon.
        self.next()?;
        self.copy()?;
        self.value(depth + 1)?;
        self.out.push(b',');
        Some(Member { name, end: self.out.len() })
    }

    /// Puts the members that were written from `start` on in order.
    fn sort(&mut self, start: usize, mut members: Vec<Member>) -> Option<()> {
        let out = &self.out;
        let name = |member: &Member| out.get(member.name.clone());
        if !members.is_sorted_by_key(name) {
            members.sort_by_key(name);
            let mut sorted = Vec::with_capacity(out.len().saturating_sub(start));
            for member in &members {
                sorted.extend_from_slice(out.get(member.name.start..member.end)?);
            }
            self.out.truncate(start);
            self.out.append(&mut sorted);
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let mut escaped = false;
        let mut has_escapes = false;
        let end = self.rest.iter().skip(1).position(|b| {
            let ends = *b == b'"' && !escaped;
            escaped = *b == b'\\' && !escaped;
            has_escapes |= escaped;
            ends
        })?;
        let string = self.take(end + 2)?;
        if has_escapes {
            let text: String = serde_json::from_slice(string).ok()?;
            serde_json::to_writer(&mut self.out, &text).ok()
        } else {
            self.out.extend_from_slice(string);
            Some(())
        }
    }

    /// The next byte that is no white space; it stays.
    fn next(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a byte over.
    fn copy(&mut self) -> Option<()> {
        let byte = self.take(1)?;
        self.out.extend_from_slice(byte);
        Some(())
    }
}
