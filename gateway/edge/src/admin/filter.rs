//! Which deliveries are asked for: filters, cursors and pages, as text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sluis_ledger::{Cursor, Filter};
use sluis_model::event::DeliveryState;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::caller::EventsCaller;
use super::problem::Problem;

/// Deliveries of a page that names no limit.
const PAGE: usize = 50;
/// Deliveries of a page at most.
const LARGEST_PAGE: usize = 500;

/// Which deliveries, and which part of them. What is not set is not looked at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of this tenant. Tenants see none but their own.
    pub tenant: Option<String>,
    /// To this sink.
    pub sink: Option<String>,
    /// In one of these states, with commas between them: `ready`, `leased`, `retry_wait`, `held`, `blocked`,
    /// `delivered`, `dead`, `superseded`, `discarded`, `replayed`.
    pub state: Option<String>,
    /// With this ordering key.
    pub key: Option<String>,
    /// Of this CloudEvents type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// By this route.
    pub route: Option<String>,
    /// Of this correlation id.
    pub correlation_id: Option<String>,
    /// Accepted at this time or later, RFC 3339.
    pub since: Option<String>,
    /// Accepted before this time, RFC 3339.
    pub until: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Deliveries at most, 1 to 500; 50 where absent.
    pub limit: Option<usize>,
}

/// Which of those that were given up. What is not set is not looked at.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadFilter {
    /// Of this tenant. Tenants see none but their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// To this sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// With this ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of this CloudEvents type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// By this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Of this correlation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Accepted at this time or later, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Accepted before this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl From<DeadFilter> for EventsQuery {
    fn from(filter: DeadFilter) -> Self {
        let DeadFilter { tenant, sink, key, event_type, route, correlation_id, since, until } = filter;
        EventsQuery { tenant, sink, key, event_type, route, correlation_id, since, until, ..EventsQuery::default() }
    }
}

impl EventsQuery {
    /// The filter, for what the caller may see.
    pub fn filter(&self, caller: &EventsCaller) -> Result<Filter, Problem> {
        let since = self.since.as_deref().map(|text| instant("since", text)).transpose()?;
        let until = self.until.as_deref().map(|text| instant("until", text)).transpose()?;
        Ok(Filter {
            tenant: caller.whose(self.tenant.clone())?,
            sink: self.sink.clone(),
            states: self.state.as_deref().map(states).transpose()?.unwrap_or_default(),
            key: self.key.clone(),
            event_type: self.event_type.clone(),
            route: self.route.clone(),
            correlation_id: self.correlation_id.clone(),
            since,
            until,
            oldest_first: false,
        })
    }

    /// The same of what was given up.
    pub fn dead_filter(&self, caller: &EventsCaller) -> Result<Filter, Problem> {
        let filter = self.filter(caller)?;
        if filter.states.iter().any(|state| *state != DeliveryState::Dead) {
            return Err(Problem::invalid_filter("every delivery in this list is `dead`"));
        }
        Ok(Filter { states: vec![DeliveryState::Dead], ..filter })
    }

    /// Where the page begins.
    pub fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        self.cursor.as_deref().map(|text| cursor(text).ok_or_else(Problem::invalid_cursor)).transpose()
    }

    /// How long it is.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        match (1..=LARGEST_PAGE).contains(&limit) {
            true => Ok(limit),
            false => Err(Problem::invalid_filter(format!("`limit` is 1 to {LARGEST_PAGE}"))),
        }
    }
}

/// States by their words, with commas between them.
fn states(text: &str) -> Result<Vec<DeliveryState>, Problem> {
    text.split(',')
        .map(|word| {
            let found = DeliveryState::ALL.into_iter().find(|state| state.label() == word);
            found.ok_or_else(|| {
                let known = DeliveryState::ALL.map(DeliveryState::label).join(", ");
                Problem::invalid_filter(format!("`state` is one or more of {known}, with commas between them"))
            })
        })
        .collect()
}

/// Milliseconds since the epoch.
fn instant(name: &str, text: &str) -> Result<u64, Problem> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok();
    let ms = at.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    ms.ok_or_else(|| Problem::invalid_filter(format!("`{name}` is a time such as 2026-01-31T12:00:00Z (RFC 3339)")))
}

/// A cursor as text that says nothing to anybody else.
pub fn cursor_text(cursor: Cursor) -> String {
    let mut bytes = cursor.event.to_be_bytes().to_vec();
    bytes.extend(cursor.n.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The opposite of [`cursor_text`].
fn cursor(text: &str) -> Option<Cursor> {
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (event, n) = bytes.split_first_chunk::<8>()?;
    let cursor = Cursor { event: i64::from_be_bytes(*event), n: i64::from_be_bytes(n.try_into().ok()?) };
    (cursor.event >= 0 && cursor.n >= 0).then_some(cursor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_given_out_and_nothing_else() {
        let given = Cursor { event: 7_000_000_000, n: 3 };
        let text = cursor_text(given);
        assert_eq!(cursor(&text), Some(given));
        let negative = cursor_text(Cursor { event: -1, n: 0 });
        for wrong in ["", "AAAA", "not a cursor", &format!("{text}A"), &format!("{text}=="), &negative] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_and_states_are_read_strictly() {
        assert_eq!(instant("since", "1970-01-01T00:00:01.5Z").ok(), Some(1_500));
        for wrong in ["", "yesterday", "2026-01-31", "1969-12-31T23:59:59Z", "17"] {
            assert!(instant("since", wrong).is_err(), "{wrong}");
        }
        assert_eq!(states("dead,retry_wait").ok(), Some(vec![DeliveryState::Dead, DeliveryState::RetryWait]));
        for wrong in ["", "dead,", "Dead", "dead, held"] {
            assert!(states(wrong).is_err(), "{wrong}");
        }
    }
}
