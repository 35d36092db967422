//! Each tenant's share of a run: figures and small lines over time, all drawn to the same scale.

use maud::{Markup, html};

use super::line::{self, MOST_POINTS};
use super::scale::Axis;
use super::{figures, units};
use crate::record::{Second, Tally};
use crate::result::RunResult;

/// Tenants with a row, those with most requests.
const MOST_ROWS: usize = 40;
/// Points of a small line.
const SMALL_POINTS: usize = MOST_POINTS / 6;
const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 26.0;

/// The table; nothing where there is one tenant only.
pub fn table(run: &RunResult) -> Markup {
    let mut tenants: Vec<(&String, &Tally)> = run.recording.tenants.iter().collect();
    if tenants.len() < 2 {
        return html! {};
    }
    tenants.sort_by(|a, b| b.1.intended.cmp(&a.1.intended).then(a.0.cmp(b.0)));
    let seconds = &run.recording.seconds;
    let latency = latency_axis(seconds);
    html! {
        section {
            h2 { "Tenants" }
            div.scroll {
                table.tenants {
                    thead { tr {
                        th { "Tenant" } th.number { "Due" } th.number { "Ok" } th.number { "Shed" } th.number { "Errors" }
                        th.number { "p50" } th.number { "p99" } th.number { "p99.9" } th.number { "Max" }
                        th.spark { "Due and ok over time" } th.spark { "p99 over time" }
                    } }
                    tbody { @for (name, tally) in tenants.iter().take(MOST_ROWS) { (row(name, tally, seconds, &latency)) } }
                }
            }
            p.hint {
                "Requests over time: each tenant's own scale. p99 over time: one scale for all, "
                (units::latency(latency.ends().0)) " to " (units::latency(latency.ends().1))
                (if latency.is_logarithmic() { ", logarithmic." } else { "." })
                @if tenants.len() > MOST_ROWS { " And " (units::count((tenants.len() - MOST_ROWS) as u64)) " tenants more." }
            }
        }
    }
}

/// One for all tenants' 99th percentiles.
fn latency_axis(seconds: &[Second]) -> Axis {
    let tallies = seconds.iter().flat_map(|second| second.tenants.values());
    let p99s = tallies.filter(|tally| tally.response.count() > 0).map(|tally| tally.response.at(0.99));
    let ends = p99s.fold((u64::MAX, 0), |(low, high), p99| (low.min(p99), high.max(p99)));
    Axis::latency(ends.0 as f64, ends.1 as f64)
}

fn row(name: &str, tally: &Tally, seconds: &[Second], latency: &Axis) -> Markup {
    let answered = |quantile: f64| match tally.response.count() {
        0 => "–".to_owned(),
        _ => units::latency(tally.response.at(quantile) as f64),
    };
    let errors = figures::errors(tally);
    html! {
        tr {
            td.name { (name) }
            td.number { (units::count(tally.intended)) }
            td.number { (units::count(tally.ok)) }
            td.number title=(units::count(tally.shed)) { (units::share(tally.shed_share())) }
            td class=(if errors > 0 { "number bad" } else { "number" }) title=(units::count(errors)) { (units::share(tally.error_share())) }
            @for quantile in [0.5, 0.99, 0.999, 1.0] { td.number { (answered(quantile)) } }
            td.spark { (requests(name, seconds)) }
            td.spark { (latencies(name, seconds, latency)) }
        }
    }
}

/// Requests due, as a line, over those answered well, as an area.
fn requests(name: &str, seconds: &[Second]) -> Markup {
    let over_time = |of: fn(&Tally) -> u64| {
        let value = |second: &Second| second.tenants.get(name).map(|tally| of(tally) as f64);
        small(seconds.iter().map(value).collect())
    };
    let (due, ok) = (over_time(|tally| tally.intended), over_time(|tally| tally.ok));
    let most = due.iter().filter_map(|point| point.1).fold(0.0, f64::max);
    let y = Axis::amount(most, units::short);
    let x = Axis::time(seconds.len() as f64);
    let places: Vec<(f64, f64)> =
        ok.iter().map(|(at, value)| (x.place(*at) * WIDTH, height(&y, value.unwrap_or_default()))).collect();
    html! {
        @if !due.is_empty() {
            (drawing(html! {
                path.area.well d=(line::filled_steps(&places, WIDTH, HEIGHT)) {}
                path.line.ink.thin d=(line::through(&placed(&due, &x, &y))) {}
            }))
        }
    }
}

fn latencies(name: &str, seconds: &[Second], y: &Axis) -> Markup {
    let value = |second: &Second| {
        let tally = second.tenants.get(name).filter(|tally| tally.response.count() > 0);
        tally.map(|tally| tally.response.at(0.99) as f64)
    };
    let points = small(seconds.iter().map(value).collect());
    let x = Axis::time(seconds.len() as f64);
    html! {
        @if points.iter().any(|point| point.1.is_some()) {
            (drawing(html! { path.line.blue.small d=(line::through(&placed(&points, &x, y))) {} }))
        }
    }
}

/// Nothing where the tenant has no time line of its own.
fn small(values: Vec<Option<f64>>) -> Vec<line::Point> {
    if values.iter().all(Option::is_none) {
        return Vec::new();
    }
    let points: Vec<line::Point> = values.into_iter().enumerate().map(|(n, value)| (n as f64, value)).collect();
    line::thinned(&points, SMALL_POINTS)
}

fn placed(points: &[line::Point], x: &Axis, y: &Axis) -> Vec<line::Point> {
    points.iter().map(|(at, value)| (x.place(*at) * WIDTH, value.map(|value| height(y, value)))).collect()
}

fn height(y: &Axis, value: f64) -> f64 {
    HEIGHT - 1.0 - y.place(value) * (HEIGHT - 2.0)
}

fn drawing(inside: Markup) -> Markup {
    html! { svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" { (inside) } }
}
