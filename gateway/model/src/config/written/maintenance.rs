//! When a system is left alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::words::*;

/// A window in which a system is not asked: on days of the week, or once.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Days on which it begins, every week; a window that comes once has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// A time such as `22:00` where there are `days`; otherwise a date and time such as `2026-12-24T18:00:00Z`.
    pub from: Moment,
    /// The same; where it is a time that is not later than `from`, it is the next day's. `24:00` is the end of the day.
    pub to: Moment,
    /// How far the times are ahead of UTC, such as `+02:00`; they are UTC without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<UtcOffset>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
