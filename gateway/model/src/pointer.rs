//! JSON pointers (RFC 6901): a place in a JSON text, and what stands there.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A place in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// Reads a pointer (RFC 6901 §3); none where it is none.
    pub fn parse(text: &str) -> Option<Pointer> {
        let steps = text.split('/').skip(1);
        is_pointer(text).then(|| Pointer(steps.map(|step| step.replace("~1", "/").replace("~0", "~").into()).collect()))
    }

    /// What stands at this place, as [`find`] has it.
    pub(crate) fn find<'b>(&self, text: &'b str) -> serde_json::Result<Option<&'b RawValue>> {
        find(&self.0, text)
    }
}

/// Whether a text is a pointer (RFC 6901 §3).
pub(crate) fn is_pointer(text: &str) -> bool {
    let escapes_hold = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    escapes_hold && (text.is_empty() || text.starts_with('/'))
}

/// The text of what stands at the end of these steps; none where nothing does. All else is read over, not kept.
///
/// # Errors
/// Not JSON; or a member on the way is there twice, of which another reader might take the other one.
pub(crate) fn find<'b, S: AsRef<str>>(steps: &[S], text: &'b str) -> serde_json::Result<Option<&'b RawValue>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Seek(steps).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// Goes on at one value by the steps that are left.
struct Seek<'s, S>(&'s [S]);

impl<'b, S: AsRef<str>> DeserializeSeed<'b> for Seek<'_, S> {
    type Value = Option<&'b RawValue>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(StepVisitor { step: step.as_ref(), rest }),
        }
    }
}

struct StepVisitor<'s, S> {
    step: &'s str,
    rest: &'s [S],
}

impl<'b, S: AsRef<str>> Visitor<'b> for StepVisitor<'_, S> {
    type Value = Option<&'b RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Is(self.step))? {
            match (is_it, &found) {
                (false, _) => {
                    members.next_value::<IgnoredAny>()?;
                }
                (true, None) => found = Some(members.next_value_seed(Seek(self.rest))?),
                (true, Some(_)) => return Err(A::Error::custom("a member is there twice")),
            }
        }
        Ok(found.flatten())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // `-` and `01` lead to no item (RFC 6901 §4).
        let index = self.step.parse::<usize>().ok().filter(|index| index.to_string() == self.step);
        let mut found = None;
        for at in 0_usize.. {
            let more = match Some(at) == index {
                true => items.next_element_seed(Seek(self.rest))?.map(|it| found = it),
                false => items.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a member has this name.
struct Is<'s>(&'s str);

impl<'b> DeserializeSeed<'b> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
