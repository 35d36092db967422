//! The digest of an event, and its attributes as they are stored.

use sluis_model::event::NewEvent;
use uuid::Uuid;

/// What the digest covers: everything that a sink gets and that must not change.
pub(crate) struct Digested<'a> {
    pub id: Uuid,
    pub accepted_at: u64,
    pub tenant: &'a str,
    pub route: &'a str,
    pub event_type: &'a str,
    pub key: Option<&'a str>,
    pub content_type: &'a str,
    pub correlation_id: &'a str,
    pub traceparent: Option<&'a str>,
    pub causation_id: Option<Uuid>,
    pub attributes: &'a [(String, String)],
    pub body: &'a [u8],
}

impl<'a> Digested<'a> {
    pub fn of(event: &'a NewEvent) -> Digested<'a> {
        Digested {
            id: event.id,
            accepted_at: event.accepted_at,
            tenant: &event.tenant,
            route: &event.route,
            event_type: &event.event_type,
            key: event.key.as_deref(),
            content_type: &event.content_type,
            correlation_id: &event.correlation_id,
            traceparent: event.traceparent.as_deref(),
            causation_id: event.causation_id,
            attributes: &event.attributes,
            body: &event.body,
        }
    }
}

/// BLAKE3 over the parts, each text after its length; what is absent has a length that nothing else has.
pub(crate) fn digest(parts: &Digested<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(parts.id.as_bytes());
    hasher.update(&parts.accepted_at.to_le_bytes());
    let texts = [
        Some(parts.tenant),
        Some(parts.route),
        Some(parts.event_type),
        parts.key,
        Some(parts.content_type),
        Some(parts.correlation_id),
        parts.traceparent,
    ];
    let mut add = |text: Option<&str>| {
        hasher.update(&text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    };
    texts.into_iter().for_each(&mut add);
    // Where they are not there, the digest is that of the formats that did not have them.
    if let Some(id) = parts.causation_id {
        add(Some("causation"));
        add(Some(&id.to_string()));
    }
    for (name, value) in parts.attributes {
        add(Some(name));
        add(Some(value));
    }
    hasher.update(parts.body);
    *hasher.finalize().as_bytes()
}

/// Attributes of an event as they are stored, in their order; none where it has none.
pub(crate) fn attributes_text(attributes: &[(String, String)]) -> Option<String> {
    if attributes.is_empty() { None } else { serde_json::to_string(attributes).ok() }
}

/// The opposite of [`attributes_text`].
pub(super) fn attributes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Vec<(String, String)>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(Vec::new()) };
    let unreadable = |error: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    };
    serde_json::from_str(text).map_err(unreadable)
}
