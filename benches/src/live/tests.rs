//! What is shown, second by second, on a terminal of given size and as lines.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::course::Course;
use super::{Live, Moment, plain, view};
use crate::record::{Digits, Exchange, Failure, Outcome, Second, Tally};
use crate::report::sample::{self, Shape};
use crate::result::{Mark, RunResult};

const SHAPE: Shape = Shape { seconds: 20, rate: 60, down: 6.0..12.0, slower: 1.0 };

fn second(ok: u64, shed: u64, failed: u64) -> Second {
    let mut second = Second { all: Tally::new(Digits::Two), tenants: Default::default() };
    let outcomes = [
        (Outcome::Ok, Some(202), ok),
        (Outcome::Shed, Some(429), shed),
        (Outcome::Failed(Failure::Reset), None, failed),
    ];
    for (outcome, status, count) in outcomes {
        for n in 0..count {
            let ended = Duration::from_micros(3_000 + n % 10 * 100);
            let exchange = Exchange {
                tenant: 0,
                intended: Duration::ZERO,
                sent: Duration::ZERO,
                ended,
                status,
                outcome: outcome.clone(),
            };
            second.all.record(&exchange);
        }
    }
    second
}

fn mark(at: f64, text: &str) -> Mark {
    Mark { at, until: None, text: text.to_owned() }
}

/// The whole of a sample run told to a course.
fn told(run: &RunResult, until: usize) -> Course {
    let mut course = Course::new(&run.name, Duration::from_secs(run.recording.seconds.len() as u64));
    for (n, second) in run.recording.seconds.iter().take(until).enumerate() {
        let elapsed = n as f64 + 1.0;
        let state =
            |at: usize| run.series[at].points.iter().rfind(|point| point.0 <= elapsed).map_or(0.0, |point| point.1);
        let breakers = [(run.series[0].name.clone(), state(0)), (run.series[1].name.clone(), state(1))];
        let marks: Vec<Mark> = run.marks.iter().filter(|mark| mark.at <= elapsed).cloned().collect();
        course.add(&Moment {
            elapsed: Duration::from_secs_f64(elapsed),
            planned_rate: 75.0,
            second,
            breakers: &breakers,
            marks: &marks,
        });
    }
    course
}

fn drawn(course: &Course, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::render(frame, course, false)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_second_is_a_line() {
    let course = Course::new("run", Duration::from_secs(60));
    let second = second(4_990, 8, 0);
    let moment = Moment {
        elapsed: Duration::from_millis(12_300),
        planned_rate: 5_000.0,
        second: &second,
        breakers: &[],
        marks: &[],
    };
    assert_eq!(plain::line(&course, &moment), "12 s  4,998/s  p50 3.41  p99 3.9 ms  ok 4,990  shed 8  failed 0");
}

#[test]
fn what_changed_stands_at_the_end_of_the_line_and_only_once() {
    let mut course = Course::new("run", Duration::from_secs(60));
    let (second, marks) = (second(0, 0, 3), [mark(64.0, "ERP\u{1b}[2J down")]);
    let open = [("sluis_breaker_state{upstream=\"erp\"}".to_owned(), 2.0)];
    let moment =
        Moment { elapsed: Duration::from_secs(65), planned_rate: 3.0, second: &second, breakers: &open, marks: &marks };
    assert_eq!(plain::line(&course, &moment), "1:05  0/s  ok 0  shed 0  failed 3  · breaker erp open  · ERP [2J down");
    course.add(&moment);
    assert_eq!(plain::line(&course, &moment), "1:05  0/s  ok 0  shed 0  failed 3");
}

#[test]
fn the_view_shows_the_run() {
    let run = sample::run("erp-down", &SHAPE);
    let screen = drawn(&told(&run, 10), 110, 40);
    for expected in [
        "sluis bench erp-down",
        "10 s of 20 s, 10 s left",
        "50 %",
        "Offered 60/s, planned 75",
        "p99.99",
        "timeout",
        "globex",
        "erp open",
        "crm closed",
        "6 s  ERP down",
        "Ctrl-C ends the run",
    ] {
        assert!(screen.contains(expected), "{expected} is missing in\n{screen}");
    }
    assert!(!screen.contains("reload"), "that is still to come");
}

#[test]
fn a_small_terminal_shows_what_matters_most() {
    let course = told(&sample::run("erp-down", &SHAPE), 10);
    let screen = drawn(&course, 80, 24);
    assert!(screen.contains("p99") && screen.contains("breaker erp open") && screen.contains("ERP down"), "{screen}");
    for (width, height) in [(1, 1), (10, 3), (40, 12), (200, 50)] {
        drawn(&course, width, height);
    }
    assert!(drawn(&Course::new("none yet", Duration::ZERO), 80, 24).contains("none yet"));
}

/// A writer that fails once it has taken this many lines.
struct Pipe(Arc<Mutex<Vec<u8>>>, usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut taken = self.0.lock().unwrap();
        if taken.iter().filter(|byte| **byte == b'\n').count() == self.1 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_run_goes_on_when_nobody_reads_it() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut live = Live::lines("run", Duration::from_secs(9), Box::new(Pipe(taken.clone(), 2)));
    let second = second(1, 0, 0);
    for n in 1..=4 {
        live.tell(&Moment {
            elapsed: Duration::from_secs(n),
            planned_rate: 1.0,
            second: &second,
            breakers: &[],
            marks: &[],
        });
    }
    let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.starts_with("1 s  1/s  p50 3.01 "), "{text}");
}

/// For whoever changes the view: prints it as it would be on a terminal.
#[test]
#[ignore = "prints a view to look at"]
#[allow(clippy::print_stderr)]
fn a_view_to_look_at() {
    let shape = Shape { seconds: 120, rate: 400, down: 30.0..55.0, slower: 1.0 };
    let course = told(&sample::run("erp-down", &shape), 98);
    for (width, height) in [(120, 40), (80, 24)] {
        eprintln!("{}", drawn(&course, width, height));
    }
}
