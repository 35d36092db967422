//! Which deliveries a command is about.

use serde_json::{Value, json};

use super::order;
use super::when;
use crate::admin::encoded;

/// What is not set is not looked at.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Of this tenant; tenants see none but their own
    #[arg(long)]
    tenant: Option<String>,
    /// To this sink
    #[arg(long)]
    sink: Option<String>,
    /// With this ordering key
    #[arg(long)]
    key: Option<String>,
    /// Of this CloudEvents type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// By this route
    #[arg(long)]
    route: Option<String>,
    /// Of this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Accepted at this time or later: RFC 3339, or how long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<String>,
    /// Accepted before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<String>,
}

/// Which part of a list.
#[derive(Debug, clap::Args)]
pub struct Part {
    /// Deliveries at most, 1 to 500
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u16,
    /// Go on where a list ended
    #[arg(long)]
    cursor: Option<String>,
}

impl Filter {
    fn fields(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("tenant", &self.tenant),
            ("sink", &self.sink),
            ("key", &self.key),
            ("type", &self.event_type),
            ("route", &self.route),
            ("correlation_id", &self.correlation_id),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    /// As a query, with a part of the list and further parameters.
    pub fn query(&self, part: &Part, state: Option<&str>) -> String {
        let mut query = format!("limit={}", part.limit);
        let more = [("cursor", part.cursor.as_deref()), ("state", state)];
        let fields = self.fields().into_iter().map(|(name, value)| (name, value.as_deref()));
        for (name, value) in fields.chain(more) {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        query
    }

    /// As it stands in an order.
    pub fn json(&self) -> Value {
        order(self.fields().map(|(name, value)| (name, value.as_ref().map(|value| json!(value)))))
    }
}
