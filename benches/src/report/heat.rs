//! Where the answers lie: a map of latency over time, stronger where there are more.

use std::fmt::Write;

use maud::{Markup, html};

use super::plot::{Frame, Plot};
use super::scale::Axis;
use super::timeline;
use crate::record::{Digits, Histogram};
use crate::result::RunResult;

const MOST_COLUMNS: usize = 180;
const ROWS: usize = 44;
/// Shades, lightest first; each is a class of the style sheet.
const SHADES: [&str; 7] = ["h1", "h2", "h3", "h4", "h5", "h6", "h7"];

fn frame() -> Frame {
    Frame::wide(230.0)
}

/// The map; nothing where nothing was answered.
pub fn map(run: &RunResult, group: &str) -> Markup {
    let (stretch, columns) = columns(run);
    let highest = columns.iter().map(Histogram::max).max().unwrap_or_default();
    let lowest = columns.iter().filter_map(|column| column.counts().next()).map(|(value, _)| value).min();
    let Some(lowest) = lowest else { return html! {} };
    let y = Axis::logarithmic(lowest as f64, highest as f64);
    let x = Axis::time(timeline::end(run));
    let backdrop = cells(&columns, stretch, &x, &y);
    let title = "Where the answers lie: response time, log scale, stronger where there are more";
    Plot { backdrop: Some(backdrop), frame: frame(), ..timeline::plot(run, title, group, y) }.draw()
}

/// Stretches of the run with their response times, and how many seconds each is.
fn columns(run: &RunResult) -> (usize, Vec<Histogram>) {
    let stretch = run.recording.seconds.len().div_ceil(MOST_COLUMNS).max(1);
    let merged = run.recording.seconds.chunks(stretch).map(|seconds| {
        let mut all = Histogram::new(Digits::Two);
        seconds.iter().for_each(|second| all.merge(&second.all.response));
        all
    });
    (stretch, merged.collect())
}

/// One path a shade, so that a map costs little.
fn cells(columns: &[Histogram], stretch: usize, x: &Axis, y: &Axis) -> Markup {
    let counted: Vec<[u64; ROWS]> = columns.iter().map(|column| rows(column, y)).collect();
    let most = counted.iter().flatten().copied().max().unwrap_or(1).max(1);
    let frame = frame();
    let edge = |column: usize| (frame.x(x.place((column * stretch) as f64)) * 10.0).round() / 10.0;
    let mut paths = SHADES.map(|_| String::new());
    let row_height = (frame.y(0.0) - frame.y(1.0)) / ROWS as f64;
    for (n, column) in counted.iter().enumerate() {
        let (from, width) = (edge(n), edge(n + 1) - edge(n));
        for (row, count) in column.iter().enumerate().filter(|(_, count)| **count > 0) {
            let top = frame.y((row + 1) as f64 / ROWS as f64);
            let _ = write!(paths[shade(*count, most)], "M{from:.1} {top:.2}h{width:.1}v{row_height:.2}h-{width:.1}z");
        }
    }
    html! {
        g.heat { @for (path, class) in paths.iter().zip(SHADES).filter(|(path, _)| !path.is_empty()) { path class=(class) d=(path) {} } }
    }
}

fn rows(column: &Histogram, y: &Axis) -> [u64; ROWS] {
    let mut rows = [0; ROWS];
    for (value, count) in column.counts() {
        let row = (y.place(value as f64) * ROWS as f64) as usize;
        rows[row.min(ROWS - 1)] += count;
    }
    rows
}

/// By the count's logarithm: a single answer has to be seen beside thousands.
fn shade(count: u64, most: u64) -> usize {
    let part = ((count as f64).ln_1p() / (most as f64).ln_1p()).clamp(0.0, 1.0);
    ((part * SHADES.len() as f64).ceil() as usize).clamp(1, SHADES.len()) - 1
}
