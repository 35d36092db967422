use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// A place in a JSON document, kept on the stack while one walks it: `At::ROOT.key("lines")`, `.index(2)`.
#[derive(Debug, Clone, Copy)]
pub struct At<'p> {
    parent: Option<&'p At<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> At<'p> {
    /// The whole document.
    pub const ROOT: At<'static> = At { parent: None, step: Step::Root };

    /// The member `key` of the object here.
    pub fn key(&'p self, key: &'p str) -> At<'p> {
        At { parent: Some(self), step: Step::Key(key) }
    }

    /// The element `index` of the array here.
    pub fn index(&'p self, index: usize) -> At<'p> {
        At { parent: Some(self), step: Step::Index(index) }
    }

    /// This place as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.push_to(&mut pointer);
        pointer
    }

    fn push_to(&self, pointer: &mut String) {
        if let Some(parent) = self.parent {
            parent.push_to(pointer);
        }
        match self.step {
            Step::Root => {}
            Step::Key(key) => push_key(pointer, key),
            Step::Index(index) => {
                // Writing to a String does not fail.
                let _ = write!(pointer, "/{index}");
            }
        }
    }
}

fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// An array or object that is open at the place, and what in it.
enum Open {
    Array(usize),
    Object(String),
}

/// The JSON pointer of the value at a line and column (from 1) of well-formed `text`, as serde_json counts them.
pub(super) fn pointer_at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = (start + column).min(text.len());
    let mut open: Vec<Open> = Vec::new();
    let mut bytes = text.as_bytes()[..end].iter().enumerate();
    let mut last_text = 0..0;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let mut escaped = false;
                let close = bytes.find(|(_, b)| {
                    let closes = **b == b'"' && !escaped;
                    escaped = **b == b'\\' && !escaped;
                    closes
                });
                last_text = at..close.map_or(end, |(close, _)| close + 1);
            }
            b'[' => open.push(Open::Array(0)),
            b'{' => open.push(Open::Object(String::new())),
            // The value that is wrong may be the one that ends here.
            b']' | b'}' if at + 1 < end => {
                open.pop();
            }
            b':' => {
                if let Some(Open::Object(key)) = open.last_mut() {
                    *key = serde_json::from_str(&text[last_text.clone()]).unwrap_or_default();
                }
            }
            b',' => {
                if let Some(Open::Array(index)) = open.last_mut() {
                    *index += 1;
                }
            }
            _ => {}
        }
    }
    // An object or array that only just began is itself what is wrong.
    if matches!(text.as_bytes()[..end].last(), Some(b'[' | b'{' | b']' | b'}')) {
        open.pop();
    }
    let mut pointer = String::new();
    for step in open {
        match step {
            Open::Array(index) => {
                let _ = write!(pointer, "/{index}");
            }
            Open::Object(key) => push_key(&mut pointer, &key),
        }
    }
    pointer
}
