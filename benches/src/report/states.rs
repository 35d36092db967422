//! What the gateway said of itself over time: breakers as bands, everything else as lines.

use maud::{Markup, html};

use super::plot::{self, Curve, Frame, Plot};
use super::scale::Axis;
use super::{timeline, units};
use crate::result::{RunResult, Series};

/// The unit of series that are a breaker's state: 0 closed, 1 half-open, 2 open.
pub const BREAKER: &str = "breaker";
/// Lines in one plot, and breakers in one picture.
const MOST_LINES: usize = 8;
/// Plots by unit.
const MOST_UNITS: usize = 8;
const COLOURS: [&str; MOST_LINES] = ["blue", "orange", "green", "pink", "sky", "red", "purple", "grey"];
/// Units that a breaker's band takes from top to bottom.
const BAND: f64 = 26.0;

/// A state's name and its colour.
pub fn breaker(state: f64) -> (&'static str, &'static str) {
    match state {
        _ if state >= 1.5 => ("open", "red"),
        _ if state >= 0.5 => ("half-open", "orange"),
        _ => ("closed", "green"),
    }
}

/// All of them.
pub fn plots(run: &RunResult, group: &str) -> Markup {
    let mut units: Vec<&str> = Vec::new();
    for series in run.series.iter().filter(|series| series.unit != BREAKER) {
        if !units.contains(&series.unit.as_str()) {
            units.push(&series.unit);
        }
    }
    html! {
        (bands(run, group))
        @for unit in units.iter().take(MOST_UNITS) { (lines(run, unit, group)) }
        @if units.len() > MOST_UNITS { p.hint { "And " (units.len() - MOST_UNITS) " more kinds of series." } }
    }
}

fn lines(run: &RunResult, unit: &str, group: &str) -> Markup {
    let of_unit: Vec<&Series> = run.series.iter().filter(|series| series.unit == unit).collect();
    let mut shown = of_unit.clone();
    // The largest say most.
    shown.sort_by(|a, b| most(b).total_cmp(&most(a)));
    shown.truncate(MOST_LINES);
    let highest = shown.iter().map(|series| most(series)).fold(0.0, f64::max);
    let left_out = of_unit.len() - shown.len();
    let more = if left_out > 0 { format!(" (the largest, {left_out} more)") } else { String::new() };
    let title = format!("{}{more}", capital(unit));
    let curves = shown.iter().zip(COLOURS).map(|(series, class)| Curve::steps(&series.name, class, &points(series)));
    let lines = curves.collect();
    let y = Axis::amount(highest, units::short);
    Plot { lines, write: units::value, frame: Frame::wide(170.0), ..timeline::plot(run, &title, group, y) }.draw()
}

/// A band for each breaker, coloured by its state.
fn bands(run: &RunResult, group: &str) -> Markup {
    let breakers: Vec<&Series> = run.series.iter().filter(|series| series.unit == BREAKER).collect();
    if breakers.is_empty() {
        return html! {};
    }
    let shown = &breakers[..breakers.len().min(MOST_LINES)];
    let frame = Frame::wide(52.0 + BAND * shown.len() as f64);
    let x = Axis::time(timeline::end(run));
    let (low, high) = x.ends();
    let title = "Breakers";
    html! {
        figure {
            figcaption {
                span.title { (title) } " "
                @for state in [0.0, 1.0, 2.0] {
                    @let (name, class) = breaker(state);
                    span.key { svg.swatch viewBox="0 0 18 10" aria-hidden="true" { rect class={ "area " (class) } width="18" height="10" {} } (name) }
                }
                @if breakers.len() > shown.len() { span.hint { "and " (breakers.len() - shown.len()) " more" } }
                span.at {}
            }
            div.scroll {
                svg.plot viewBox=(frame.view()) role="img" aria-label=(title) data-group=(group) data-across="time"
                    data-low=(low) data-high=(high) data-left=(frame.x(0.0)) data-right=(frame.x(1.0)) data-width=(frame.width) {
                    @for (n, series) in shown.iter().enumerate() { (band(n, series, &x, frame)) }
                    g.axes { (plot::x_ticks(&x, frame)) }
                    (plot::marks(&run.marks, &x, frame))
                    line.cursor x1="0" x2="0" y1="20" y2=(frame.floor()) {}
                }
            }
        }
    }
}

fn band(n: usize, series: &Series, x: &Axis, frame: Frame) -> Markup {
    let top = 22.0 + BAND * n as f64;
    let mut changes: Vec<(f64, f64)> = Vec::new();
    for (at, state) in points(series).iter().filter_map(|(at, state)| Some((*at, (*state)?))) {
        if changes.last().is_none_or(|last| breaker(last.1) != breaker(state)) {
            changes.push((at, state));
        }
    }
    // More changes than that are no picture.
    changes.truncate(super::line::MOST_POINTS);
    let begins = changes.first().map_or(frame.x(0.0), |(at, _)| frame.x(x.place(*at)));
    html! {
        @for (n, (at, state)) in changes.iter().enumerate() {
            @let until = changes.get(n + 1).map_or(frame.x(1.0), |next| frame.x(x.place(next.0)));
            @let (from, (name, class)) = (frame.x(x.place(*at)), breaker(*state));
            rect class={ "area " (class) } x=(format!("{from:.1}")) y=(top) width=(format!("{:.1}", (until - from).max(0.5))) height=(BAND - 8.0) {
                title { (name) " from " (units::clock(*at)) }
            }
        }
        text.over x=(format!("{:.1}", begins + 6.0)) y=(top + 13.5) { (label_of(&series.name)) }
    }
}

/// Ascending, from the first moment on.
fn points(series: &Series) -> Vec<(f64, Option<f64>)> {
    let mut points: Vec<(f64, Option<f64>)> =
        series.points.iter().map(|(at, value)| (units::finite(*at), Some(units::finite(*value)))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Of what was before, the last value is what it starts with.
    let before = points.iter().take_while(|point| point.0 < 0.0).count();
    if before > 0 {
        points[before - 1].0 = 0.0;
        points.drain(..before - 1);
    }
    points
}

fn most(series: &Series) -> f64 {
    series.points.iter().map(|point| units::finite(point.1)).fold(0.0, f64::max)
}

/// What tells a series from its likes: the value of its label where it has one (`erp` of `x{upstream="erp"}`).
pub fn label_of(name: &str) -> &str {
    let labels = name.split_once('{').map(|(_, labels)| labels);
    let value = labels.and_then(|labels| labels.split('"').nth(1)).filter(|value| !value.is_empty());
    value.unwrap_or(name)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
