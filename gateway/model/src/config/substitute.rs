//! `${env:NAME}` and `${file:PATH}` in text values. It works on parsed values, so what is put in can never become
//! structure, and it is put in once: text that comes from outside is not looked at again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::World;
use super::decode::{Fault, printable};
use super::problem::did_you_mean;
use super::tree::{Node, Source, Value};

/// Largest file behind `${file:…}`.
pub const MAX_SUBSTITUTED_FILE: usize = 64 << 10;
/// Bytes put in, over all values.
const MAX_SUBSTITUTED: usize = 16 << 20;

/// Replaces references in all values of all files; reads each file once.
pub(crate) struct Substitution<'a> {
    pub world: &'a dyn World,
    pub faults: Vec<Fault>,
    /// What was read, by path.
    pub files: HashMap<PathBuf, Arc<str>>,
    bytes: usize,
}

impl<'a> Substitution<'a> {
    pub fn new(world: &'a dyn World) -> Self {
        Substitution { world, faults: Vec::new(), files: HashMap::new(), bytes: 0 }
    }

    /// Replaces what `node` and all in it refers to.
    pub fn apply(&mut self, node: &mut Node, source: &Source) {
        node.each_mut(&mut |node| {
            if let Value::Text { text, substituted } = &mut node.value
                && text.contains('$')
            {
                match self.expand(text, source) {
                    Ok((new, touched)) => {
                        *text = new;
                        *substituted = touched;
                    }
                    Err((message, help)) => {
                        self.faults.push(Fault::at(node.id, message, help));
                    }
                }
            }
        });
    }

    /// The text with its references replaced, and whether there were any.
    fn expand(&mut self, text: &str, source: &Source) -> Result<(String, bool), (String, Option<String>)> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut touched = false;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = after.find('}').ok_or_else(|| {
                    ("`${` has no `}`".to_owned(), Some("write `$$` where a `$` is meant".to_owned()))
                })?;
                let value = self.resolve(&after[..end], source)?;
                self.bytes += value.len();
                if self.bytes > MAX_SUBSTITUTED {
                    return Err((format!("more than {} MiB are put in in all", MAX_SUBSTITUTED >> 20), None));
                }
                out.push_str(&value);
                touched = true;
                rest = &after[end + 1..];
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Ok((out, touched))
    }

    fn resolve(&mut self, reference: &str, source: &Source) -> Result<Arc<str>, (String, Option<String>)> {
        match reference.split_once(':') {
            Some(("env", name)) if !name.is_empty() => match self.world.env(name) {
                Some(value) => Ok(value.into()),
                None => Err((format!("the environment variable `{}` is not set", printable(name)), None)),
            },
            Some(("file", path)) if !path.is_empty() => self.file(path, source),
            Some((kind, _)) => {
                let help = did_you_mean(kind, ["env", "file"]);
                Err(("only `${env:NAME}` and `${file:PATH}` can be put in".to_owned(), help))
            }
            None => Err((
                "only `${env:NAME}` and `${file:PATH}` can be put in".to_owned(),
                Some(format!("did you mean `${{env:{}}}`?", printable(reference))),
            )),
        }
    }

    fn file(&mut self, path: &str, source: &Source) -> Result<Arc<str>, (String, Option<String>)> {
        let full = source.dir.join(path);
        if let Some(text) = self.files.get(&full) {
            return Ok(text.clone());
        }
        let refuse = |reason: String| (format!("the file `{}` {reason}", printable(path)), None);
        let bytes = self.world.read(&full, MAX_SUBSTITUTED_FILE).map_err(|fault| refuse(fault.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text: Arc<str> = text.strip_suffix('\r').unwrap_or(text).into();
        self.files.insert(full, text.clone());
        Ok(text)
    }
}
