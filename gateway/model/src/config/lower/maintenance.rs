//! When a system is left alone.

use super::super::tree::{Step, at};
use super::super::words::Moment;
use super::super::written;
use super::Check;
use crate::maintenance::{Calendar, Window, date_and_time, time_of_day, utc_offset};

/// Windows of one system: each is looked at for every request.
const MAX_WINDOWS: usize = 64;

impl Check<'_> {
    /// Those of an item of `list`.
    pub(super) fn maintenance(&mut self, list: &str, i: usize, written: &[written::Maintenance]) -> Calendar {
        self.at_most(&at![list, i, "maintenance"], written, MAX_WINDOWS);
        let windows = written.iter().enumerate().filter_map(|(j, window)| {
            let field = |name: &str| at![list, i, "maintenance", j, name].to_vec();
            match window.days.is_empty() {
                true => self.single(&field, window),
                false => self.weekly(&field, window),
            }
        });
        Calendar::new(windows.collect())
    }

    fn weekly(&mut self, field: &dyn Fn(&str) -> Vec<Step>, written: &written::Maintenance) -> Option<Window> {
        let mut days = [false; 7];
        for day in &written.days {
            if std::mem::replace(&mut days[*day as usize], true) {
                self.error(&field("days"), "a day stands twice");
            }
        }
        let message = "beside `days` a time such as 22:00 belongs here";
        let from = self.moment(&field("from"), &written.from, time_of_day, message);
        let to = self.moment(&field("to"), &written.to, time_of_day, message);
        let offset = written.utc_offset.as_ref().map_or(Some(0), |offset| utc_offset(offset));
        let (from, to, offset) = (from?, to?, offset?);
        let window = Window::weekly(days, from, to, offset);
        if window.is_none() {
            self.error(&field("from"), "no time is left until `to`: a whole day is from 00:00 to 24:00");
        }
        window
    }

    fn single(&mut self, field: &dyn Fn(&str) -> Vec<Step>, written: &written::Maintenance) -> Option<Window> {
        if written.utc_offset.is_some() {
            self.error(&field("utc_offset"), "a date and time says itself how far it is ahead of UTC");
        }
        let message = "without `days` a date and time such as 2026-12-24T18:00:00Z belongs here";
        let from = self.moment(&field("from"), &written.from, date_and_time, message);
        let to = self.moment(&field("to"), &written.to, date_and_time, message);
        let (from, to) = (from?, to?);
        let window = Window::single(from, to);
        if window.is_none() {
            self.error(&field("to"), "must be later than `from`");
        }
        window
    }

    fn moment<T>(&mut self, path: &[Step], text: &Moment, read: fn(&str) -> Option<T>, message: &str) -> Option<T> {
        let moment = read(text);
        if moment.is_none() {
            self.error(path, message);
        }
        moment
    }
}
