//! CloudEvents 1.0.2 as they come in by HTTP: attributes as fields beside the data (HTTP protocol binding §3.1), or both as
//! one JSON object (§3.2 and the JSON event format). What is said of an event is taken over; whose it is and by what id it
//! is known from here on is the gateway's word. Pure.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// Attributes beside those that every event has.
pub const MAX_ATTRIBUTES: usize = 20;
/// Bytes of an attribute's value.
pub const MAX_VALUE: usize = 1024;
/// Letters of an attribute's name.
const MAX_NAME: usize = 20;
/// Bytes of an ordering key.
const MAX_KEY: usize = 255;
/// What only the gateway says of an event.
const OURS: [&str; 3] = ["sluisoutcome", "sourceid", "sourceuri"];

/// An event that came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// `type`
    pub event_type: String,
    /// `partitionkey`
    pub key: Option<String>,
    /// Media type of the data, where the event itself tells it.
    pub content_type: Option<String>,
    /// The data, where the body is more than that.
    pub data: Option<Bytes>,
    /// The rest, by name; the sender's own `id` and `source` are `sourceid` and `sourceuri`.
    pub attributes: Vec<(String, String)>,
}

/// Why a CloudEvent cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// A batch, or another format than JSON.
    #[error("a CloudEvents format that is not taken")]
    Unsupported,
    /// Not as the specification has it, or more than is taken.
    #[error("malformed CloudEvent")]
    Malformed,
}

impl From<EventFault> for Refusal {
    fn from(fault: EventFault) -> Refusal {
        match fault {
            EventFault::Unsupported => Refusal::UnsupportedCloudEvent,
            EventFault::Malformed => Refusal::MalformedCloudEvent,
        }
    }
}

/// The event that a request with these fields and this whole body is; none where it is none.
///
/// # Errors
/// Where it says that it is one, and cannot be taken.
pub fn incoming(headers: &HeaderMap, body: &[u8]) -> Result<Option<Incoming>, EventFault> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match essence(content_type).as_str() {
        "application/cloudevents+json" => structured(body).map(Some),
        other if other.starts_with("application/cloudevents") => Err(EventFault::Unsupported),
        _ if headers.contains_key("ce-specversion") => binary(headers).map(Some),
        _ => Ok(None),
    }
}

/// Whether a media type is one of JSON (RFC 8259, RFC 6839 §3.1).
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.ends_with("+json") || essence.ends_with("/json")
}

/// A media type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn binary(headers: &HeaderMap) -> Result<Incoming, EventFault> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value = decoded(value.as_bytes()).ok_or(EventFault::Malformed)?;
        // A field twice is an attribute twice.
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(EventFault::Malformed);
        }
    }
    event(attributes)
}

fn structured(body: &[u8]) -> Result<Incoming, EventFault> {
    let text = std::str::from_utf8(body).map_err(|_| EventFault::Malformed)?;
    let Members(members) = serde_json::from_str(text).map_err(|_| EventFault::Malformed)?;
    let (mut attributes, mut data, mut data_base64) = (BTreeMap::new(), None, None);
    for (name, json) in members {
        match &*name {
            "data" => data = Some(json.get()),
            "data_base64" => data_base64 = Some(json.get()),
            // Without a value it is not there (JSON event format §2.2).
            _ if json.get() == "null" => {}
            _ => drop(attributes.insert(name, scalar(json.get()).ok_or(EventFault::Malformed)?)),
        }
    }
    let content_type = attributes.remove("datacontenttype");
    let data = match (data, data_base64) {
        (Some(_), Some(_)) => return Err(EventFault::Malformed),
        (None, None) => Bytes::new(),
        (None, Some(json)) => {
            let text: String = serde_json::from_str(json).map_err(|_| EventFault::Malformed)?;
            STANDARD.decode(text).map_err(|_| EventFault::Malformed)?.into()
        }
        (Some(json), None) => match (&content_type, serde_json::from_str::<String>(json)) {
            // What is not JSON stands in a string (§3.1.1).
            (Some(media_type), Ok(text)) if !is_json(media_type) => text.into(),
            _ => Bytes::copy_from_slice(json.as_bytes()),
        },
    };
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    Ok(Incoming { content_type: Some(content_type), data: Some(data), ..event(attributes)? })
}

/// An event of these attributes.
fn event(mut attributes: BTreeMap<String, String>) -> Result<Incoming, EventFault> {
    let mut required =
        |name: &str| attributes.remove(name).filter(|value| !value.is_empty()).ok_or(EventFault::Malformed);
    let (version, event_type) = (required("specversion")?, required("type")?);
    let (id, source) = (required("id")?, required("source")?);
    // In binary mode the media type is the request's own (§3.1.1); a second one would contradict it.
    if version != "1.0" || attributes.contains_key("datacontenttype") || attributes.contains_key("data") {
        return Err(EventFault::Malformed);
    }
    let key = attributes.remove("partitionkey");
    let key_holds = |key: &String| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if attributes.len() > MAX_ATTRIBUTES || !attributes.keys().all(|name| is_name(name)) || !key.iter().all(key_holds) {
        return Err(EventFault::Malformed);
    }
    attributes.retain(|name, _| !OURS.contains(&name.as_str()));
    attributes.extend([("sourceid".to_owned(), id), ("sourceuri".to_owned(), source)]);
    if !attributes.values().chain([&event_type]).all(|value| is_value(value)) {
        return Err(EventFault::Malformed);
    }
    Ok(Incoming { event_type, key, content_type: None, data: None, attributes: attributes.into_iter().collect() })
}

/// CloudEvents §3.1: lower-case letters and digits.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// CloudEvents §3.1.1: a string without control characters.
fn is_value(value: &str) -> bool {
    value.len() <= MAX_VALUE && !value.chars().any(char::is_control)
}

/// A value as a field has it (§3.1.3.2): in quotes or not, with percent-encoded UTF-8 in it.
fn decoded(value: &[u8]) -> Option<String> {
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let mut bytes = quoted.unwrap_or(value).iter().copied();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' if quoted.is_some() => bytes.next()?,
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// A string, a boolean or a whole number, as text (CloudEvents §3.1.1).
fn scalar(json: &str) -> Option<String> {
    let is_whole = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    match json {
        "true" | "false" => Some(json.to_owned()),
        number if is_whole(number) => Some(number.to_owned()),
        text => serde_json::from_str(text).ok(),
    }
}

/// The members of an object, each there once.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repeated members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, json)) = members.next_entry::<String, &'de RawValue>()? {
            if all.insert(name, json).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
