//! Where a request has its key.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

use super::fingerprint::frame;
use super::{Idempotency, Key, KeyFault, KeySource};
use crate::pointer;

/// A CloudEvent that is a JSON text (CloudEvents 1.0.2, JSON format §3).
const CLOUDEVENT: &[u8] = b"application/cloudevents+json";

/// The key of a request with these fields and this whole body; none where it has none and needs none.
///
/// # Errors
/// [`KeyFault::Missing`] where it has none and needs one, [`KeyFault::Malformed`] where what stands there is no key, or
/// stands there twice.
pub fn extract(idempotency: &Idempotency, headers: &HeaderMap, body: &[u8]) -> Result<Option<Key>, KeyFault> {
    let key = match &idempotency.source {
        KeySource::Field(name) => single(headers, name)?.map(Key::from_field).transpose(),
        KeySource::PlainField(name) => single(headers, name)?.map(plain).transpose(),
        KeySource::Body(pointer) => in_json(body, |text| pointer.find(text))?.map(scalar).transpose(),
        KeySource::CloudEvent => cloud_event(headers, body),
    }?;
    match key {
        None if idempotency.required => Err(KeyFault::Missing),
        key => Ok(key),
    }
}

/// The value of a field, which may stand there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, KeyFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(KeyFault::Malformed) } else { Ok(first.map(|value| value.as_bytes())) }
}

fn plain(value: &[u8]) -> Result<Key, KeyFault> {
    std::str::from_utf8(value).map_err(|_| KeyFault::Malformed).and_then(Key::new)
}

/// What `find` finds in a body, if there is one.
fn in_json<'b>(
    body: &'b [u8],
    find: impl Fn(&'b str) -> serde_json::Result<Option<&'b RawValue>>,
) -> Result<Option<&'b str>, KeyFault> {
    if body.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(body).map_err(|_| KeyFault::Malformed)?;
    let found = find(text).map_err(|_| KeyFault::Malformed)?;
    Ok(found.map(RawValue::get))
}

/// The key that a JSON value is: a string, or a whole number as it is written.
fn scalar(json: &str) -> Result<Key, KeyFault> {
    let is_whole = json.strip_prefix('-').unwrap_or(json).bytes().all(|b| b.is_ascii_digit());
    if is_whole { Key::new(json) } else { string(json).and_then(|text| Key::new(&text)) }
}

fn string(json: &str) -> Result<String, KeyFault> {
    serde_json::from_str(json).map_err(|_| KeyFault::Malformed)
}

/// `source` and `id` name an event (CloudEvents 1.0.2 §3.1). Either can be longer than a key and need not be ASCII, so
/// the key is a hash of both.
fn cloud_event(headers: &HeaderMap, body: &[u8]) -> Result<Option<Key>, KeyFault> {
    let attributes = match is_structured(headers)? {
        true => ["source", "id"].map(|name| {
            let json = in_json(body, |text| pointer::find(&[name], text))?;
            json.map(|json| string(json).map(String::into_bytes)).transpose()
        }),
        false => {
            ["ce-source", "ce-id"].map(|name| Ok(single(headers, &HeaderName::from_static(name))?.map(<[u8]>::to_vec)))
        }
    };
    let [source, id] = attributes;
    match (source?, id?) {
        (None, None) => Ok(None),
        (Some(source), Some(id)) if !source.is_empty() && !id.is_empty() => {
            let mut hasher = blake3::Hasher::new();
            frame(&mut hasher, &source);
            frame(&mut hasher, &id);
            Key::new(&hasher.finalize().to_hex()).map(Some)
        }
        _ => Err(KeyFault::Malformed),
    }
}

/// Whether the body is the whole event (CloudEvents 1.0.2, HTTP binding §3.2).
fn is_structured(headers: &HeaderMap) -> Result<bool, KeyFault> {
    let media_type = single(headers, &CONTENT_TYPE)?.and_then(|value| value.split(|b| *b == b';').next());
    Ok(media_type.is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(CLOUDEVENT)))
}
