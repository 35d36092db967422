//! An attempt as a message: a CloudEvent 1.0.2 in the HTTP protocol binding, its attributes as fields beside the data
//! (binary mode, §3.1) or data and attributes as one JSON object (structured mode, §3.2; JSON event format).

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use sluis_model::cloud_event::is_json;
use sluis_model::hook::event::CheckedShaped;
use sluis_model::plan::EventFormat;

use super::Delivery;
use crate::status::rfc3339;

/// Longest field value made of something a tenant wrote.
const FIELD_BYTES: usize = 4 << 10;
/// Attributes that are made here, whatever the event brought.
const OWN: [&str; 7] = ["specversion", "id", "source", "type", "datacontenttype", "data", "causationid"];

const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Fields and body of an attempt, as a plugin shaped it where one did.
pub(super) fn message(delivery: &Delivery, shaped: CheckedShaped, format: EventFormat) -> (HeaderMap, Bytes) {
    let CheckedShaped { content_type, set_headers, body } = shaped;
    let data = body.map_or_else(|| delivery.body.clone(), Bytes::from);
    let content_type = content_type.as_deref().unwrap_or(&delivery.content_type);
    let attributes = attributes(delivery);
    let mut fields = HeaderMap::new();
    if format == EventFormat::Binary {
        for (name, value) in &attributes {
            let name = HeaderName::try_from(format!("ce-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(encoded(value))) {
                fields.insert(name, value);
            }
        }
    }
    transport(delivery, &mut fields);
    fields.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap_or(UNKNOWN_TYPE));
    shape(&mut fields, set_headers);
    match format {
        EventFormat::Binary => (fields, data),
        EventFormat::Structured => {
            let envelope = Envelope { attributes: &attributes, content_type, data: &data };
            fields.insert(CONTENT_TYPE, STRUCTURED);
            (fields, serde_json::to_vec(&envelope).unwrap_or_default().into())
        }
    }
}

/// What is told of the attempt, not of the event.
fn transport(delivery: &Delivery, fields: &mut HeaderMap) {
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    };
    put("x-correlation-id", &encoded(&delivery.correlation_id));
    if let Some(traceparent) = &delivery.traceparent {
        put("traceparent", traceparent);
    }
    put("x-sluis-attempt", &delivery.attempt.to_string());
    if delivery.is_replay() {
        put("x-replay", "true");
    }
}

/// The event's attributes, those that every event has first.
fn attributes(delivery: &Delivery) -> Vec<(&str, String)> {
    let brought = |name: &str| delivery.attributes.iter().any(|(brought, _)| brought == name);
    let mut all = vec![
        ("specversion", "1.0".to_owned()),
        ("id", delivery.event_id.to_string()),
        ("source", format!("/tenants/{}/routes/{}", delivery.tenant, delivery.route)),
        ("type", delivery.event_type.to_string()),
    ];
    // When it happened, as far as the sender says; that it was accepted is all that is known otherwise.
    if !brought("time") {
        all.push(("time", rfc3339(delivery.accepted_at)));
    }
    if let Some(key) = &delivery.key {
        all.push(("partitionkey", key.clone()));
    }
    if let Some(cause) = delivery.causation_id {
        all.push(("causationid", cause.to_string()));
    }
    let rest = delivery
        .attributes
        .iter()
        .filter(|(name, _)| !(OWN.contains(&name.as_str()) || name == "partitionkey" && delivery.key.is_some()));
    all.extend(rest.map(|(name, value)| (name.as_str(), value.clone())));
    all
}

/// What a plugin makes of the event's fields. Attributes stay the event's own: by them a sink knows what it was sent.
fn shape(fields: &mut HeaderMap, set: Vec<(HeaderName, HeaderValue)>) {
    let is_attribute = |name: &HeaderName| name.as_str().starts_with("ce-");
    let set: Vec<_> = set.into_iter().filter(|(name, _)| !is_attribute(name)).collect();
    for (name, _) in &set {
        fields.remove(name);
    }
    // Appended, so that a field can have two values.
    for (name, value) in set {
        fields.append(name, value);
    }
}

/// The whole event as one JSON object (JSON event format §3).
struct Envelope<'a> {
    attributes: &'a [(&'a str, String)],
    content_type: &'a str,
    data: &'a [u8],
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in self.attributes {
            members.serialize_entry(name, value)?;
        }
        if self.data.is_empty() {
            return members.end();
        }
        members.serialize_entry("datacontenttype", self.content_type)?;
        // JSON as itself; other text as a string, which is never mistaken for JSON by its media type; all else as bytes.
        match std::str::from_utf8(self.data) {
            Ok(text) if is_json(self.content_type) => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => members.serialize_entry("data", json)?,
                Err(_) => members.serialize_entry("data_base64", &STANDARD.encode(text))?,
            },
            Ok(text) if self.content_type.starts_with("text/") => members.serialize_entry("data", text)?,
            _ => members.serialize_entry("data_base64", &STANDARD.encode(self.data))?,
        }
        members.end()
    }
}

/// CloudEvents HTTP protocol binding §3.1.3.2: a value is percent-encoded where it is not printable ASCII, and at space,
/// double quote and percent sign.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        let mut utf8 = [0; 4];
        let bytes = char.encode_utf8(&mut utf8);
        if matches!(char, '!'..='~') && !matches!(char, '"' | '%') {
            out.push(char);
        } else {
            bytes.bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
        if out.len() > FIELD_BYTES {
            break;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use sluis_model::lane::Lane;
    use uuid::Uuid;

    use super::*;

    fn delivery(content_type: &str, body: &'static [u8]) -> Delivery {
        Delivery {
            event_id: Uuid::nil(),
            sink: "erp".into(),
            lane: Lane::Normal,
            attempt: 1,
            tenant: "acme".into(),
            route: "orders".into(),
            event_type: "order.created".into(),
            key: Some("k 1".to_owned()),
            content_type: content_type.to_owned(),
            correlation_id: "c-1".into(),
            traceparent: None,
            accepted_at: 0,
            since: 0,
            causation_id: None,
            attributes: vec![("partitionkey".to_owned(), "theirs".to_owned()), ("subject".to_owned(), "é".to_owned())],
            body: Bytes::from_static(body),
        }
    }

    fn structured(content_type: &str, body: &'static [u8]) -> serde_json::Value {
        let message = message(&delivery(content_type, body), CheckedShaped::default(), EventFormat::Structured);
        assert_eq!(message.0[CONTENT_TYPE], STRUCTURED);
        assert!(!message.0.keys().any(|name| name.as_str().starts_with("ce-")));
        serde_json::from_slice(&message.1).unwrap()
    }

    #[test]
    fn values_are_percent_encoded_as_the_binding_says() {
        assert_eq!(encoded("order-42"), "order-42");
        assert_eq!(encoded("a \"b\" 100%"), "a%20%22b%22%20100%25");
        assert_eq!(encoded("Euro € 😀\r\n"), "Euro%20%E2%82%AC%20%F0%9F%98%80%0D%0A");
    }

    #[test]
    fn attributes_stand_beside_the_data() {
        let (fields, body) = message(&delivery("text/plain", b"hello"), CheckedShaped::default(), EventFormat::Binary);
        assert_eq!((&body[..], &fields["ce-subject"]), (&b"hello"[..], &HeaderValue::from_static("%C3%A9")));
        assert_eq!(
            (&fields["ce-partitionkey"], &fields["content-type"]),
            (&HeaderValue::from_static("k%201"), &HeaderValue::from_static("text/plain"))
        );
        assert!(!fields.contains_key("x-replay") && !fields.contains_key("ce-causationid"));
        let cause = Some(Uuid::max());
        let replay = Delivery { causation_id: cause, ..delivery("text/plain", b"") };
        let (fields, _) = message(&replay, CheckedShaped::default(), EventFormat::Binary);
        assert_eq!(
            (&fields["x-replay"], fields["ce-causationid"].to_str().unwrap()),
            (&HeaderValue::from_static("true"), Uuid::max().to_string().as_str())
        );
    }

    #[test]
    fn an_envelope_has_json_as_json_text_as_text_and_bytes_in_base64() {
        let event = structured("application/json", b"{\"a\": 1.0}");
        assert_eq!(event["data"], json!({ "a": 1.0 }));
        let expected = ["1.0", "00000000-0000-0000-0000-000000000000", "/tenants/acme/routes/orders", "k 1", "é"];
        let got = ["specversion", "id", "source", "partitionkey", "subject"].map(|name| event[name].as_str().unwrap());
        assert_eq!(got, expected);
        assert_eq!(structured("application/x+json; v=1", b"[1]")["data"], json!([1]));
        assert_eq!(structured("text/csv", b"a;b")["data"], "a;b");
        assert_eq!(structured("application/json", b"{")["data_base64"], "ew==");
        assert_eq!(structured("application/octet-stream", b"\xff")["data_base64"], "/w==");
        assert_eq!(structured("text/plain", b"\xff")["data_base64"], "/w==");
        assert_eq!(structured("application/json", b"").get("data"), None);
    }

    #[test]
    fn a_plugin_shapes_the_data_and_not_the_attributes() {
        let shaped = CheckedShaped {
            content_type: Some("text/plain".to_owned()),
            set_headers: vec![
                (HeaderName::from_static("ce-id"), HeaderValue::from_static("forged")),
                (HeaderName::from_static("x-shaped"), HeaderValue::from_static("yes")),
            ],
            body: Some(b"shaped".to_vec()),
        };
        let (fields, body) = message(&delivery("application/json", b"{}"), shaped, EventFormat::Structured);
        assert_eq!((&fields["x-shaped"], fields.contains_key("ce-id")), (&HeaderValue::from_static("yes"), false));
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&event["data"], &event["datacontenttype"]), (&json!("shaped"), &json!("text/plain")));
        assert_eq!(event["id"], Uuid::nil().to_string());
    }
}
