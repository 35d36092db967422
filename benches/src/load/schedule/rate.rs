//! The rate that a schedule wants at a time, for views and for the warm-up.

use std::time::Duration;

use super::{Schedule, ScheduleError, Shape};

impl Schedule {
    /// Its first rate for so long, all of it and not a share: the numbers of a warm-up come before all others. `None`
    /// where it takes no time.
    pub(crate) fn warm_up(&self, length: Duration) -> Result<Option<Schedule>, ScheduleError> {
        (!length.is_zero()).then(|| Schedule::constant(self.first_rate(), length)).transpose()
    }

    /// This one in the same shares as another: a warm-up as its schedule.
    pub(in crate::load) fn shared_as(self, other: &Schedule) -> Schedule {
        Schedule { share: other.share, ..self }
    }

    /// Moments a second, of the whole and not of a share; 0 past the end. Of a trace, its mean.
    pub fn rate_at(&self, at: Duration) -> f64 {
        let segment = self.segments.iter().find(|segment| at < segment.start + segment.length);
        segment.map_or(0.0, |segment| match &segment.shape {
            Shape::Linear(from, to) => {
                let share = (at - segment.start).as_secs_f64() / segment.length.as_secs_f64();
                from + (to - from) * share
            }
            Shape::Listed(offsets) => offsets.len() as f64 / segment.length.as_secs_f64().max(1.0),
        })
    }
}
