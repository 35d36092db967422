//! One plot: axes, what happened meanwhile, areas and lines, a legend that also shows the values under the pointer.

use maud::{Markup, html};

use super::limits::Limit;
use super::line::{self, MOST_POINTS, Point};
use super::scale::Axis;
use crate::result::Mark;

/// Units of a drawing from edge to edge, which the page scales, where it has the page's width.
pub const WIDTH: f64 = 1000.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
/// Marks drawn in a plot; the table of marks has more.
pub const MOST_MARKS: usize = 26;
/// Units that a letter of a mark takes, roughly.
const LETTER: f64 = 6.6;

/// What a plot consists of.
pub struct Plot<'a> {
    /// What it shows, with the scale where it matters.
    pub title: &'a str,
    /// Plots of one group show their values at the same moment.
    pub group: &'a str,
    /// The horizontal axis, and what it counts.
    pub x: Axis,
    /// As [`Plot::x`].
    pub across: Across,
    /// The vertical axis.
    pub y: Axis,
    /// The drawing's size.
    pub frame: Frame,
    /// Faults and the like, on a time axis.
    pub marks: &'a [Mark],
    /// Bounds, across the whole plot.
    pub limits: Vec<Limit>,
    /// Behind the lines, ready drawn.
    pub backdrop: Option<Markup>,
    /// Areas, each from the floor up, the tallest first.
    pub areas: Vec<Curve>,
    /// Lines, the last one on top.
    pub lines: Vec<Curve>,
    /// How a value is written.
    pub write: fn(f64) -> String,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// Seconds from the first moment.
    Time,
    /// Nines, see [`Axis::quantiles`].
    Nines,
}

/// A line, or the upper edge of an area.
pub struct Curve {
    /// In the legend.
    pub name: String,
    /// Its colour: a class of the style sheet.
    pub class: &'static str,
    /// Ascending. Of an area, the sum up to it.
    pub points: Vec<Point>,
    /// Of an area, what is its own in each point; empty where that is the value.
    pub own: Vec<f64>,
    /// Holds each value until the next.
    pub stepped: bool,
}

impl Curve {
    /// A line from point to point.
    pub fn line(name: impl Into<String>, class: &'static str, points: &[Point]) -> Self {
        let points = line::thinned(points, MOST_POINTS);
        Curve { name: name.into(), class, points, own: Vec::new(), stepped: false }
    }

    /// A line that holds each value until the next.
    pub fn steps(name: impl Into<String>, class: &'static str, points: &[Point]) -> Self {
        Curve { stepped: true, ..Curve::line(name, class, points) }
    }
}

/// A drawing's size in units, and where its parts are.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// From edge to edge.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Frame {
    /// As wide as the page.
    pub fn wide(height: f64) -> Self {
        Frame { width: WIDTH, height }
    }

    /// The place on the horizontal axis, in units.
    pub fn x(self, place: f64) -> f64 {
        LEFT + place * (self.width - LEFT - RIGHT)
    }

    /// The place on the vertical axis, in units.
    pub fn y(self, place: f64) -> f64 {
        self.floor() - place * (self.floor() - TOP)
    }

    /// For `viewBox`.
    pub fn view(self) -> String {
        format!("0 0 {} {}", self.width, self.height)
    }

    /// The horizontal axis's own height.
    pub fn floor(self) -> f64 {
        self.height - BOTTOM
    }
}

impl Plot<'_> {
    /// As a figure of the page.
    pub fn draw(&self) -> Markup {
        let frame = self.frame;
        let (low, high) = self.x.ends();
        let across = if self.across == Across::Time { "time" } else { "nines" };
        html! {
            figure {
                (self.legend())
                div.scroll {
                    svg.plot viewBox=(frame.view()) role="img" aria-label=(self.title) data-group=(self.group) data-across=(across)
                        data-low=(low) data-high=(high) data-left=(frame.x(0.0)) data-right=(frame.x(1.0)) data-width=(frame.width) {
                        @for (n, area) in self.areas.iter().enumerate() { (self.area(n, area, frame)) }
                        @if self.across == Across::Nines { (uprights(&self.x, frame)) }
                        (axes(&self.x, &self.y, frame))
                        @if self.across == Across::Time { (marks(self.marks, &self.x, frame)) }
                        @if let Some(backdrop) = &self.backdrop { (backdrop) }
                        @for (n, line) in self.lines.iter().enumerate() { (self.line(n + self.areas.len(), line, frame)) }
                        @for limit in &self.limits { (self.limit(limit, frame)) }
                        line.cursor x1="0" x2="0" y1=(TOP) y2=(frame.floor()) {}
                    }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            figcaption {
                span.title { (self.title) } " "
                // Areas lie on each other: the legend names them from the floor up.
                @for (n, area) in self.areas.iter().enumerate().rev() { (key(n, area, "area")) }
                @for (n, line) in self.lines.iter().enumerate() { (key(n + self.areas.len(), line, "line")) }
                span.at {}
            }
        }
    }

    fn limit(&self, limit: &Limit, frame: Frame) -> Markup {
        let y = format!("{:.1}", frame.y(self.y.place(limit.micros)));
        html! {
            g.limit {
                line x1=(frame.x(0.0)) x2=(frame.x(1.0)) y1=(y) y2=(y) {}
                text x=(frame.x(1.0) - 4.0) y=(y) dy="-4" text-anchor="end" { (limit.text) }
            }
        }
    }

    fn line(&self, key: usize, curve: &Curve, frame: Frame) -> Markup {
        let places: Vec<Point> = curve
            .points
            .iter()
            .map(|(x, y)| (frame.x(self.x.place(*x)), y.map(|y| frame.y(self.y.place(y)))))
            .collect();
        let path = if curve.stepped {
            let places: Vec<(f64, f64)> = places.iter().filter_map(|(x, y)| Some((*x, (*y)?))).collect();
            line::steps(&places, frame.x(self.x.place(end_of_steps(&curve.points))))
        } else {
            line::through(&places)
        };
        self.path("line", key, curve, &path)
    }

    fn area(&self, key: usize, curve: &Curve, frame: Frame) -> Markup {
        let place = |(x, y): &Point| (frame.x(self.x.place(*x)), frame.y(self.y.place(y.unwrap_or_default())));
        let places: Vec<(f64, f64)> = curve.points.iter().map(place).collect();
        let end = frame.x(self.x.place(end_of_steps(&curve.points)));
        self.path("area", key, curve, &line::filled_steps(&places, end, frame.floor()))
    }

    /// With its values, for whoever points at them.
    fn path(&self, kind: &str, key: usize, curve: &Curve, path: &str) -> Markup {
        let moments: Vec<String> = curve.points.iter().map(|(x, _)| format!("{x:.3}")).collect();
        let written = |(n, point): (usize, &Point)| {
            let value = curve.own.get(n).copied().or(point.1);
            value.map(self.write).unwrap_or_default()
        };
        let values: Vec<String> = curve.points.iter().enumerate().map(written).collect();
        html! {
            path class={ (kind) " " (curve.class) } d=(path) data-key=(key) data-stepped=(curve.stepped || kind == "area")
                data-x=(moments.join(" ")) data-values=(values.join("|")) {}
        }
    }
}

/// Where the last of the points that are held ends: as long after it as the one before lasted.
fn end_of_steps(points: &[Point]) -> f64 {
    match points {
        [.., before, last] => last.0 + (last.0 - before.0),
        [only] => only.0 + 1.0,
        [] => 0.0,
    }
}

fn key(key: usize, curve: &Curve, kind: &str) -> Markup {
    html! {
        span.key data-key=(key) {
            svg.swatch viewBox="0 0 18 10" aria-hidden="true" {
                @if kind == "area" { rect class={ "area " (curve.class) } width="18" height="10" {} }
                @else { path class={ "line " (curve.class) } d="M1 5H17" {} }
            }
            (curve.name) b {}
        }
    }
}

/// Grid, ticks and their labels.
pub fn axes(x: &Axis, y: &Axis, frame: Frame) -> Markup {
    let (left, right) = (frame.x(0.0), frame.x(1.0));
    html! {
        g.axes {
            @for tick in &y.ticks {
                @let at = format!("{:.1}", frame.y(tick.place));
                line x1=(left) x2=(right) y1=(at) y2=(at) {}
                text x=(left - 8.0) y=(at) dy="4" text-anchor="end" { (tick.label) }
            }
            (x_ticks(x, frame))
        }
    }
}

/// A line of the grid at each tick of the horizontal axis.
fn uprights(x: &Axis, frame: Frame) -> Markup {
    html! {
        g.axes {
            @for tick in &x.ticks {
                @let at = format!("{:.1}", frame.x(tick.place));
                line x1=(at) x2=(at) y1=(TOP) y2=(frame.floor()) {}
            }
        }
    }
}

/// The labels below, without lines: over time, marks are the lines.
pub fn x_ticks(x: &Axis, frame: Frame) -> Markup {
    html! {
        line.floor x1=(frame.x(0.0)) x2=(frame.x(1.0)) y1=(frame.floor()) y2=(frame.floor()) {}
        @for tick in &x.ticks {
            @let at = format!("{:.1}", frame.x(tick.place));
            line.floor x1=(at) x2=(at) y1=(frame.floor()) y2=(frame.floor() + 4.0) {}
            @let anchor = if tick.place > 0.98 { "end" } else { "middle" };
            text x=(at) y=(frame.floor() + 18.0) text-anchor=(anchor) { (tick.label) }
        }
    }
}

/// What happened, as labelled bands over the whole height.
pub fn marks(marks: &[Mark], x: &Axis, frame: Frame) -> Markup {
    let shown = &marks[..marks.len().min(MOST_MARKS)];
    let starts: Vec<f64> = shown.iter().map(|mark| frame.x(x.place(mark.at))).collect();
    html! {
        @for (n, mark) in shown.iter().enumerate() {
            @let (from, until) = (starts[n], mark.until.map(|until| frame.x(x.place(until)).max(starts[n])));
            g.mark {
                title { (mark.text) }
                @if let Some(until) = until {
                    rect x=(format!("{from:.1}")) y=(TOP) width=(format!("{:.1}", (until - from).max(1.0))) height=(frame.floor() - TOP) {}
                }
                line x1=(format!("{from:.1}")) x2=(format!("{from:.1}")) y1=(TOP - 4.0) y2=(frame.floor()) {}
                text x=(format!("{:.1}", from + 3.0)) y=(TOP - 6.0) { (label(n, &mark.text, room(&starts, n, frame))) }
            }
        }
    }
}

/// From this mark to the next one's start, or to the edge.
fn room(starts: &[f64], n: usize, frame: Frame) -> f64 {
    let after = starts.iter().copied().filter(|start| *start > starts[n]).fold(frame.x(1.0), f64::min);
    let hidden = starts[n + 1..].iter().any(|start| *start == starts[n]);
    if hidden { 0.0 } else { after - starts[n] }
}

/// The mark's letter, and as much of its text as there is room for.
fn label(n: usize, text: &str, room: f64) -> String {
    let letter = letter(n);
    let fits = ((room - 12.0) / LETTER).max(0.0) as usize;
    let whole = format!("{letter} {text}");
    match whole.chars().count() {
        length if length <= fits => whole,
        _ if fits >= 8 => format!("{}…", whole.chars().take(fits - 1).collect::<String>().trim_end()),
        _ if fits >= 1 => letter,
        _ => String::new(),
    }
}

/// A, B, C and so on; a number past Z.
pub fn letter(n: usize) -> String {
    u8::try_from(n).ok().filter(|n| *n < 26).map_or_else(|| (n + 1).to_string(), |n| char::from(b'A' + n).to_string())
}
