//! The run as it goes: a terminal view, or plain lines where there is no terminal.
//!
//! All of it goes to standard error, so that standard output is the result's.

mod course;
mod plain;
mod screen;
mod view;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::record::Second;
use crate::result::Mark;
use course::Course;
use screen::Screen;

pub use screen::give_back;

/// A breaker's name (or as the metric is called, with its labels), and 0 where it is closed, 1 half-open, 2 open.
pub type Breaker = (String, f64);

/// What there is to tell each second.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Since the first moment of the schedule.
    pub elapsed: Duration,
    /// Requests a second that the schedule wants now.
    pub planned_rate: f64,
    /// The second that has passed, as far as it is known.
    pub second: &'a Second,
    /// As far as they are known.
    pub breakers: &'a [Breaker],
    /// What has happened until now, ascending.
    pub marks: &'a [Mark],
}

/// Shows a run while it goes. Dropped, it gives the terminal back as it was; so whoever holds it has to end a run in
/// order on SIGINT and SIGTERM, too, instead of dying of them, or to call [`give_back`] first.
pub struct Live {
    course: Course,
    output: Output,
}

enum Output {
    /// A view that fills the terminal.
    Screen(Box<Screen>),
    /// A line for each second.
    Lines(Box<dyn Write + Send>),
    /// Nobody can read it any more.
    Closed,
}

impl Live {
    /// On standard error: the view where that is a terminal that this process has in the foreground, otherwise lines.
    /// `length` is the schedule's.
    pub fn new(name: &str, length: Duration) -> Self {
        let lines = || Output::Lines(Box::new(std::io::stderr()));
        let variable = |name| std::env::var(name).unwrap_or_default();
        // https://no-color.org: present and not empty.
        let colour = variable("NO_COLOR").is_empty();
        let able = std::io::stderr().is_terminal() && variable("TERM") != "dumb";
        let screen = if able { Screen::open(colour).ok().flatten() } else { None };
        let output = screen.map_or_else(lines, |screen| Output::Screen(Box::new(screen)));
        Live { course: Course::new(name, length), output }
    }

    /// Lines to this writer, whatever it is.
    pub fn lines(name: &str, length: Duration, to: Box<dyn Write + Send>) -> Self {
        Live { course: Course::new(name, length), output: Output::Lines(to) }
    }

    /// Shows this second. A run does not end because nobody can watch it: after the first error there is no more.
    pub fn tell(&mut self, moment: &Moment<'_>) {
        let line = plain::line(&self.course, moment);
        self.course.add(moment);
        let written = match &mut self.output {
            Output::Screen(screen) if screen.is_open() => screen.draw(&self.course),
            // A panic somewhere has given the terminal back.
            Output::Screen(_) => {
                self.output = Output::Lines(Box::new(std::io::stderr()));
                Ok(())
            }
            Output::Lines(to) => writeln!(to, "{line}").and_then(|()| to.flush()),
            Output::Closed => Ok(()),
        };
        if written.is_err() {
            self.output = Output::Closed;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
