//! The run over time: what was offered and became of it, how long answers took, what went wrong.

use maud::{Markup, html};

use super::plot::{Across, Curve, Frame, Plot};
use super::scale::Axis;
use super::{figures, limits, units};
use crate::record::{Failure, Second, Tally};
use crate::result::RunResult;

/// Most columns of stacked areas.
const MOST_COLUMNS: usize = 600;
/// Of a second's outcomes that are drawn, their names, colours and counts, from the floor up.
type Kind = (&'static str, &'static str, fn(&Tally) -> u64);

const OUTCOMES: [Kind; 6] = [
    ("ok", "well", |tally| tally.ok),
    ("shed", "orange", |tally| tally.shed),
    ("refused", "red", |tally| tally.refused),
    ("failed", "pink", |tally| tally.failed),
    ("wrongly let in", "ink", |tally| tally.wrong),
    ("unsent", "grey", |tally| tally.unsent),
];

const ERRORS: [Kind; 10] = [
    ("shed", "orange", |tally| tally.shed),
    ("refused", "red", |tally| tally.refused),
    ("timeout", "purple", |tally| failed(tally, Failure::Timeout)),
    ("no connection", "pink", |tally| failed(tally, Failure::Connect)),
    ("cut off", "sky", |tally| failed(tally, Failure::Reset)),
    ("TLS", "green", |tally| failed(tally, Failure::Tls)),
    ("not HTTP", "yellow", |tally| failed(tally, Failure::Protocol)),
    ("own limit", "blue", |tally| failed(tally, Failure::Local)),
    ("wrongly let in", "ink", |tally| tally.wrong),
    ("unsent", "grey", |tally| tally.unsent),
];

fn failed(tally: &Tally, failure: Failure) -> u64 {
    tally.failures.get(&failure).copied().unwrap_or_default()
}

/// Until where the time axis goes: the last second, mark or value.
pub fn end(run: &RunResult) -> f64 {
    let marks = run.marks.iter().map(|mark| mark.until.unwrap_or(mark.at));
    let series = run.series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let seconds = run.recording.seconds.len() as f64;
    marks.chain(series).map(units::finite).fold(seconds, f64::max).max(1.0)
}

/// What was offered in each second, and what became of it.
pub fn load(run: &RunResult, group: &str) -> Markup {
    let columns = columns(run, |tally| tally.intended);
    let offered: Vec<_> =
        columns.iter().map(|(second, all)| (*second, Some(rate(run, *second, all.intended)))).collect();
    let most = offered.iter().filter_map(|point| point.1).fold(0.0, f64::max);
    let mut plot =
        plot(run, "Requests a second, offered and what became of them", group, Axis::amount(most, units::short));
    plot.areas = stacked(run, &columns, &OUTCOMES);
    plot.lines = vec![Curve::steps("offered", "ink dashed", &offered)];
    plot.write = units::value;
    plot.draw()
}

/// What was not answered well in each second, by kind; nothing where all was.
pub fn errors(run: &RunResult, group: &str) -> Markup {
    let bad = |tally: &Tally| ERRORS.iter().map(|kind| (kind.2)(tally)).sum::<u64>();
    if bad(&run.recording.all) == 0 {
        return html! {};
    }
    let columns = columns(run, bad);
    let most = columns.iter().map(|(second, all)| rate(run, *second, bad(all))).fold(0.0, f64::max);
    let mut plot = plot(run, "Not answered well, a second", group, Axis::amount(most, units::short));
    plot.areas = stacked(run, &columns, &ERRORS);
    plot.write = units::value;
    plot.frame = Frame::wide(190.0);
    plot.draw()
}

/// Response time in each second.
pub fn latency(run: &RunResult, group: &str) -> Markup {
    let seconds = &run.recording.seconds;
    let highest = seconds.iter().map(|second| second.all.response.max()).max().unwrap_or_default();
    let medians = seconds.iter().filter(|second| second.all.response.count() > 0);
    let lowest = medians.map(|second| second.all.response.at(0.5)).min().unwrap_or_default();
    let limits = limits::of(run);
    let highest = limits.iter().map(|limit| limit.micros).fold(highest as f64, f64::max);
    let y = Axis::latency(lowest as f64, highest);
    let title = if y.is_logarithmic() { "Response time, log scale" } else { "Response time" };
    let mut plot = plot(run, title, group, y);
    plot.limits = limits;
    plot.lines = vec![
        Curve::line("max", "grey thin", &over_time(seconds, |tally| tally.response.max())),
        Curve::line("p99", "blue", &over_time(seconds, |tally| tally.response.at(0.99))),
        Curve::line("p50", "sky", &over_time(seconds, |tally| tally.response.at(0.5))),
    ];
    plot.draw()
}

/// A latency of each second that had answers, at the second's middle.
pub fn over_time(seconds: &[Second], of: impl Fn(&Tally) -> u64) -> Vec<(f64, Option<f64>)> {
    let value = |tally: &Tally| (tally.response.count() > 0).then(|| of(tally) as f64);
    seconds.iter().enumerate().map(|(n, second)| (n as f64 + 0.5, value(&second.all))).collect()
}

/// An empty plot over the run's time.
pub fn plot<'a>(run: &'a RunResult, title: &'a str, group: &'a str, y: Axis) -> Plot<'a> {
    Plot {
        title,
        group,
        x: Axis::time(end(run)),
        across: Across::Time,
        y,
        frame: Frame::wide(230.0),
        marks: &run.marks,
        limits: Vec::new(),
        backdrop: None,
        areas: Vec::new(),
        lines: Vec::new(),
        write: units::latency,
    }
}

/// Of each stretch of the run the second with the most of it, so that no peak is lost, with the stretch's start.
fn columns<'a>(run: &'a RunResult, weight: impl Fn(&Tally) -> u64) -> Vec<(f64, &'a Tally)> {
    let stretch = run.recording.seconds.len().div_ceil(MOST_COLUMNS).max(1);
    let chunks = run.recording.seconds.chunks(stretch).enumerate();
    let worst = |(n, seconds): (usize, &'a [Second])| {
        let worst = seconds.iter().map(|second| &second.all).max_by_key(|all| weight(all))?;
        Some(((n * stretch) as f64, worst))
    };
    chunks.filter_map(worst).collect()
}

/// The kinds that occur, each as the area up to its upper edge, the tallest first.
fn stacked(run: &RunResult, columns: &[(f64, &Tally)], kinds: &[Kind]) -> Vec<Curve> {
    let mut edges = vec![0.0; columns.len()];
    let mut areas = Vec::new();
    for (name, class, count) in kinds {
        let own: Vec<f64> = columns.iter().map(|(second, all)| rate(run, *second, count(all))).collect();
        if own.iter().all(|own| *own == 0.0) {
            continue;
        }
        edges.iter_mut().zip(&own).for_each(|(edge, own)| *edge += own);
        let points = columns.iter().zip(&edges).map(|((second, _), edge)| (*second, Some(*edge))).collect();
        areas.push(Curve { name: (*name).to_owned(), class, points, own, stepped: true });
    }
    areas.reverse();
    areas
}

fn rate(run: &RunResult, second: f64, count: u64) -> f64 {
    count as f64 / figures::covered(run, second as usize)
}
