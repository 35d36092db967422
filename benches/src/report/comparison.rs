//! Several runs over each other: what differs in load and place, the figures with their ratios, and the curves.

use maud::{Markup, html};

use super::curve::{self, Distribution};
use super::figures::{self, Standing};
use super::plot::{Across, Curve, Frame, Plot};
use super::scale::Axis;
use super::{timeline, units};
use crate::record::{Second, Tally};
use crate::result::{Environment, Mark, RunResult};

/// Runs that are compared.
pub const MOST_RUNS: usize = 8;
/// Their colours.
const COLOURS: [&str; MOST_RUNS] =
    ["blue", "orange", "green dashed", "pink", "sky dashed", "red", "purple dashed", "grey"];
const GROUP: &str = "runs";

/// A figure of a run: its name, its value, how that is written.
type Row = (&'static str, fn(&RunResult) -> f64, fn(f64) -> String);

const ROWS: [Row; 13] = [
    ("offered, requests/s", figures::offered, units::value),
    ("answered, requests/s", figures::answered, units::value),
    ("p50", |run| run.recording.all.response.at(0.5) as f64, units::latency),
    ("p90", |run| run.recording.all.response.at(0.9) as f64, units::latency),
    ("p99", |run| run.recording.all.response.at(0.99) as f64, units::latency),
    ("p99.9", |run| run.recording.all.response.at(0.999) as f64, units::latency),
    ("p99.99", |run| run.recording.all.response.at(0.9999) as f64, units::latency),
    ("max", |run| run.recording.all.response.max() as f64, units::latency),
    ("p99 of the service alone", |run| run.recording.all.service.at(0.99) as f64, units::latency),
    ("errors", |run| run.recording.all.error_share(), units::share),
    ("shed", |run| run.recording.all.shed_share(), units::share),
    ("sent late", |run| share(run.recording.all.late, &run.recording.all), units::share),
    ("never sent", |run| share(run.recording.all.unsent, &run.recording.all), units::share),
];

fn share(count: u64, tally: &Tally) -> f64 {
    count as f64 / tally.intended.max(1) as f64
}

/// All of it, for two runs or more.
pub fn section(runs: &[RunResult]) -> Markup {
    html! {
        section {
            h2 { "Figures" }
            (table(runs))
            p.hint {
                "Ratios are to the first run, " (runs[0].name) ". " code { "sluis bench compare" }
                " tells whether a difference is more than noise."
            }
        }
        (differences(runs))
        section {
            h2 { "Over each other" }
            (curve::plot(&distributions(runs), "runs-nines", Frame::wide(300.0)))
            (over_time(runs, "p99 of the response time", latency_axis(runs, 0.99), |second| latency(second, 0.99), units::latency))
            (over_time(runs, "p50 of the response time", latency_axis(runs, 0.5), |second| latency(second, 0.5), units::latency))
            (over_time(runs, "Answered well, requests a second", count_axis(runs, ok), |second| Some(ok(second)), units::value))
            @if runs.iter().any(|run| figures::errors(&run.recording.all) > 0) {
                (over_time(runs, "Errors a second", count_axis(runs, bad), |second| Some(bad(second)), units::value))
            }
        }
    }
}

fn name(n: usize, run: &RunResult) -> String {
    format!("{} {}", n + 1, run.name)
}

fn table(runs: &[RunResult]) -> Markup {
    html! {
        div.scroll { table.figures {
            thead { tr {
                th { "" }
                @for (n, run) in runs.iter().enumerate() { th.number colspan=(if n == 0 { "1" } else { "2" }) { (name(n, run)) } }
            } }
            tbody {
                tr {
                    td { "verdict" }
                    @for (n, run) in runs.iter().enumerate() {
                        @let standing = Standing::of(run);
                        td.number colspan=(if n == 0 { "1" } else { "2" }) { span class={ "badge small " (standing.class()) } { (standing.word()) } }
                    }
                }
                @for row in ROWS { (figure(runs, row)) }
                @if runs.iter().any(|run| run.delivery.is_some()) {
                    (delivery(runs, "orders lost", |delivery| delivery.lost))
                    (delivery(runs, "duplicated", |delivery| delivery.duplicated))
                    (delivery(runs, "out of order", |delivery| delivery.out_of_order))
                }
            }
        } }
    }
}

fn figure(runs: &[RunResult], (name, of, write): Row) -> Markup {
    let first = of(&runs[0]);
    html! {
        tr {
            td { (name) }
            @for (n, run) in runs.iter().enumerate() {
                td.number { (write(of(run))) }
                @if n > 0 { td.number.ratio { (units::ratio(of(run), first).unwrap_or_default()) } }
            }
        }
    }
}

fn delivery(runs: &[RunResult], name: &str, of: fn(&crate::result::Delivery) -> u64) -> Markup {
    html! {
        tr {
            td { (name) }
            @for (n, run) in runs.iter().enumerate() {
                td.number { (run.delivery.as_ref().map(|delivery| units::count(of(delivery))).unwrap_or_else(|| "–".to_owned())) }
                @if n > 0 { td {} }
            }
        }
    }
}

/// What makes the runs hard to compare; equal runs say so.
fn differences(runs: &[RunResult]) -> Markup {
    let place = |of: fn(&Environment) -> String| runs.iter().map(move |run| of(&run.environment)).collect::<Vec<_>>();
    let plan = |of: fn(&RunResult) -> String| runs.iter().map(of).collect::<Vec<_>>();
    let rows = [
        ("digest of the load", plan(|run| run.plan.digest.chars().take(16).collect())),
        ("schedule", plan(|run| run.plan.schedule.clone())),
        ("tenants", plan(|run| run.plan.mix.clone())),
        ("protocol", plan(|run| run.plan.protocol.clone())),
        ("target", plan(|run| run.plan.target.clone())),
        ("processor", place(|place| format!("{}, {} cores", place.cpu, place.cores))),
        ("kernel", place(|place| place.kernel.clone())),
        ("memory, MiB", place(|place| units::count(place.memory_mib))),
        ("program", place(|place| place.program.clone())),
        ("gateway", place(|place| place.gateway.clone().unwrap_or_else(|| "–".to_owned()))),
        (
            "its configuration",
            place(|place| place.config_digest.clone().unwrap_or_else(|| "–".to_owned()).chars().take(16).collect()),
        ),
        ("on one machine", place(|place| if place.same_machine { "yes" } else { "no" }.to_owned())),
    ];
    let differ: Vec<_> = rows.iter().filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect();
    html! {
        section {
            h2 { "What differs" }
            @if differ.is_empty() { p { "Load and place are the same in all of them." } }
            @else {
                div.scroll { table {
                    thead { tr { th { "" } @for (n, run) in runs.iter().enumerate() { th { (name(n, run)) } } } }
                    tbody { @for (name, values) in differ { tr { td { (name) } @for value in values { td { (value) } } } } }
                } }
            }
        }
    }
}

fn distributions(runs: &[RunResult]) -> Vec<Distribution<'_>> {
    let coloured = runs.iter().zip(COLOURS).enumerate();
    coloured
        .map(|(n, (run, class))| Distribution { name: name(n, run), class, of: &run.recording.all.response })
        .collect()
}

fn over_time(
    runs: &[RunResult],
    title: &str,
    y: Axis,
    of: impl Fn(&Second) -> Option<f64>,
    write: fn(f64) -> String,
) -> Markup {
    let points = |run: &RunResult| -> Vec<_> {
        run.recording.seconds.iter().enumerate().map(|(n, second)| (n as f64 + 0.5, of(second))).collect()
    };
    let coloured = runs.iter().zip(COLOURS).enumerate();
    let lines = coloured.map(|(n, (run, class))| Curve::line(name(n, run), class, &points(run))).collect();
    let end = runs.iter().map(timeline::end).fold(1.0, f64::max);
    let title = if y.is_logarithmic() { format!("{title}, log scale") } else { title.to_owned() };
    Plot {
        title: &title,
        group: GROUP,
        x: Axis::time(end),
        across: Across::Time,
        y,
        frame: Frame::wide(220.0),
        marks: common_marks(runs),
        limits: Vec::new(),
        backdrop: None,
        areas: Vec::new(),
        lines,
        write,
    }
    .draw()
}

/// What happened in all of them alike; marks that are one run's alone would be misread.
fn common_marks(runs: &[RunResult]) -> &[Mark] {
    let texts = |run: &RunResult| run.marks.iter().map(|mark| mark.text.clone()).collect::<Vec<_>>();
    let first = texts(&runs[0]);
    if runs.iter().all(|run| texts(run) == first) { &runs[0].marks } else { &[] }
}

fn latency(second: &Second, quantile: f64) -> Option<f64> {
    (second.all.response.count() > 0).then(|| second.all.response.at(quantile) as f64)
}

fn ok(second: &Second) -> f64 {
    second.all.ok as f64
}

fn bad(second: &Second) -> f64 {
    figures::errors(&second.all) as f64
}

fn latency_axis(runs: &[RunResult], quantile: f64) -> Axis {
    let all = || runs.iter().flat_map(|run| &run.recording.seconds).filter_map(|second| latency(second, quantile));
    Axis::latency(all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max))
}

fn count_axis(runs: &[RunResult], of: fn(&Second) -> f64) -> Axis {
    Axis::amount(runs.iter().flat_map(|run| &run.recording.seconds).map(of).fold(0.0, f64::max), units::short)
}
