//! All that an agent saw in lines of a bounded length, and put together again: a day's time line is hundreds of MiB.

use super::wire::{Done, Line};
use crate::load::schedule::LONGEST;
use crate::record::{Second, Tally};
use crate::workload::MAX_TENANTS;

/// Seconds in a line: some 400 KiB each at most, with all tenants that a time line shows.
const SECONDS: usize = 128;
/// Tenants in a line.
const TENANTS: usize = 1_000;

/// The lines of it, of which the last is [`Line::Done`].
pub fn lines(mut done: Done) -> impl Iterator<Item = Line> {
    let seconds = pieces(std::mem::take(&mut done.recording.seconds), SECONDS, Line::Seconds);
    let tenants = pieces(std::mem::take(&mut done.recording.tenants), TENANTS, Line::Tenants);
    seconds.chain(tenants).chain(std::iter::once(Line::Done(Box::new(done))))
}

fn pieces<T>(all: impl IntoIterator<Item = T>, size: usize, line: fn(Vec<T>) -> Line) -> impl Iterator<Item = Line> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<T> = all.by_ref().take(size).collect();
        (!piece.is_empty()).then(|| line(piece))
    })
}

/// What came before the last line.
#[derive(Default)]
pub struct Pieces {
    seconds: Vec<Second>,
    tenants: Vec<(String, Tally)>,
}

impl Pieces {
    /// More of the time line.
    ///
    /// # Errors
    /// Where it is longer than any schedule.
    pub fn add_seconds(&mut self, piece: Vec<Second>) -> Result<(), String> {
        self.seconds.extend(piece);
        within(self.seconds.len(), LONGEST.as_secs() as usize + 1, "seconds")
    }

    /// More tenants.
    ///
    /// # Errors
    /// Where there are more than any workload has.
    pub fn add_tenants(&mut self, piece: Vec<(String, Tally)>) -> Result<(), String> {
        self.tenants.extend(piece);
        within(self.tenants.len(), MAX_TENANTS, "tenants")
    }

    /// All of it.
    pub fn whole(self, mut done: Done) -> Done {
        done.recording.seconds = self.seconds;
        done.recording.tenants = self.tenants.into_iter().collect();
        done
    }
}

fn within(count: usize, most: usize, what: &str) -> Result<(), String> {
    if count > most { Err(format!("tells of more than {most} {what}, which no run has")) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::wire::MAX_LINE;
    use super::*;
    use crate::record::{Digits, Recording, SHOWN_TENANTS};
    use crate::result::Generator;

    /// As much as histograms of two digits can hold.
    fn full() -> Tally {
        let mut tally = Tally::new(Digits::Two);
        for exponent in 0..30 {
            for step in 0..128u64 {
                let micros = (128 + step) << exponent;
                tally.response.record_n(micros, micros % 1_009);
                tally.service.record_n(micros, micros % 997);
            }
        }
        tally.response_ok = Some(tally.response.clone());
        tally
    }

    #[test]
    fn hours_of_a_time_line_go_through_lines_that_are_short_enough() {
        let second =
            Second { all: full(), tenants: (0..=SHOWN_TENANTS).map(|n| (format!("org-{n}"), full())).collect() };
        let longest = serde_json::to_vec(&second).unwrap().len() * SECONDS;
        assert!(longest < MAX_LINE, "{longest} bytes");
    }

    #[test]
    fn what_was_cut_up_is_whole_again() {
        let tally = |n: u64| Tally { intended: n, ..Tally::new(Digits::Two) };
        let second = |n| Second { all: tally(n), tenants: Default::default() };
        let recording = Recording {
            seconds_measured: 300.0,
            all: tally(7),
            tenants: (0..2_500).map(|n| (format!("org-{n}"), tally(n))).collect(),
            seconds: (0..300).map(second).collect(),
        };
        let done = || Done { recording: recording.clone(), generator: Generator::default(), stopped: false };
        let mut pieces = Pieces::default();
        let (mut count, mut last) = (0, None);
        for line in lines(done()) {
            count += 1;
            match line {
                Line::Seconds(piece) => pieces.add_seconds(piece).unwrap(),
                Line::Tenants(piece) => pieces.add_tenants(piece).unwrap(),
                Line::Done(done) => last = Some(*done),
                Line::Second { .. } | Line::Failed { .. } => panic!("not of a run that ended"),
            }
        }
        assert_eq!(count, 3 + 3 + 1);
        assert_eq!(pieces.whole(last.unwrap()).recording, recording);
    }

    #[test]
    fn an_agent_cannot_tell_without_end() {
        let mut pieces = Pieces::default();
        let tally = Tally::new(Digits::Two);
        let tenants = |n: usize| vec![(String::new(), tally.clone()); n];
        assert_eq!(pieces.add_tenants(tenants(MAX_TENANTS)), Ok(()));
        assert!(pieces.add_tenants(tenants(1)).unwrap_err().contains("100000 tenants"));
    }
}
