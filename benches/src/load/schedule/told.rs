//! A schedule as one machine tells it to another, which has none of its files.

use serde::{Deserialize, Serialize};

use super::{Part, Schedule, ScheduleError, parse, trace};

/// A schedule's text, and what is in the files that it names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    text: String,
    /// Of each trace, in the text's order, the nanoseconds from one moment to the next: fewer digits than offsets have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    traces: Vec<Vec<u64>>,
}

impl From<Schedule> for Told {
    fn from(schedule: Schedule) -> Told {
        let traces = schedule.parts.iter().filter_map(|part| match part {
            Part::Trace { offsets, .. } => Some(trace::steps(offsets)),
            _ => None,
        });
        Told { text: schedule.to_string(), traces: traces.collect() }
    }
}

impl TryFrom<Told> for Schedule {
    type Error = ScheduleError;

    fn try_from(Told { text, traces }: Told) -> Result<Schedule, ScheduleError> {
        let mut traces = traces.into_iter();
        let parts = parse::parts(&text, |file| {
            let steps = traces.next().unwrap_or_default();
            trace::offsets(&steps).map_err(|what| ScheduleError::Trace { file: file.to_owned(), what })
        });
        Schedule::new(parts?)
    }
}
