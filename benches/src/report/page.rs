//! The page: head, what a run comes to, its sections in the order in which a reader asks for them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::comparison::{self, MOST_RUNS};
use super::curve::{self, Distribution};
use super::figures::{self, Standing};
use super::plot::Frame;
use super::{heat, notes, states, tables, tenants, timeline, units};
use crate::result::{Ended, RunResult, SCHEMA};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Reasons and warnings shown.
const MOST_REASONS: usize = 20;

/// The whole document.
pub fn document(runs: &[RunResult]) -> Markup {
    let title = match runs {
        [] => "No runs".to_owned(),
        [run] => format!("{} – {}", run.name, Standing::of(run).word()),
        [first, rest @ ..] => format!("{} and {} more", first.name, rest.len()),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                // The page asks nobody for anything, and runs no script but its own.
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    @match runs {
                        [] => { h1 { "No runs" } p { "There is nothing to show." } }
                        [run] => { (single(run)) }
                        _ => { (several(runs)) }
                    }
                    (footer())
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn policy() -> String {
    let script = STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
    format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'")
}

fn single(run: &RunResult) -> Markup {
    html! { (header(run)) (body(run, "run")) }
}

fn several(runs: &[RunResult]) -> Markup {
    let shown = &runs[..runs.len().min(MOST_RUNS)];
    html! {
        header { h1 { (shown.len()) " runs beside each other" } }
        @if runs.len() > shown.len() { p.banner.partial { "The first " (MOST_RUNS) " of " (runs.len()) " runs are shown." } }
        (comparison::section(shown))
        section {
            h2 { "Each run" }
            @for (n, run) in shown.iter().enumerate() {
                details {
                    summary { (n + 1) " " (run.name) " " (badge(run)) }
                    (header(run)) (body(run, &format!("run{n}")))
                }
            }
        }
    }
}

fn badge(run: &RunResult) -> Markup {
    let standing = Standing::of(run);
    html! { span class={ "badge small " (standing.class()) } { (standing.word()) } }
}

fn header(run: &RunResult) -> Markup {
    let standing = Standing::of(run);
    html! {
        header {
            div.top { h1 { (run.name) } span class={ "badge " (standing.class()) } { (standing.word()) } }
            p.meta { (run.started) " · " (run.plan.protocol) " · " (run.plan.target) " · " (run.plan.schedule) }
            p.story { (notes::story(run)) }
        }
        (banners(run))
        (tiles(run))
    }
}

/// What takes the figures' worth, wholly or in part.
fn banners(run: &RunResult) -> Markup {
    let (invalid, warnings) = (&run.generator.invalid, &run.generator.warnings);
    html! {
        @if !invalid.is_empty() {
            div.banner.invalid {
                strong { "These figures do not stand: the generator was the limit, not the gateway." }
                ul { @for reason in invalid.iter().take(MOST_REASONS) { li { (reason) } } }
            }
        }
        @match &run.ended {
            Ended::Complete => {}
            Ended::Interrupted => {
                p.banner.partial { strong { "A part of the run: " } "it was stopped after " (units::length(figures::scheduled_seconds(run))) " of " (units::length(run.plan.seconds)) "." }
            }
            Ended::Partial { why } => {
                p.banner.partial { strong { "A part of the load: " } (why) }
            }
            Ended::Aborted { why } => {
                p.banner.fail { strong { "Aborted " } "after " (units::length(figures::scheduled_seconds(run))) " of " (units::length(run.plan.seconds)) ": " (why) }
            }
        }
        @if !warnings.is_empty() {
            div.banner.partial { strong { "To keep in mind" } ul { @for warning in warnings.iter().take(MOST_REASONS) { li { (warning) } } } }
        }
    }
}

fn tiles(run: &RunResult) -> Markup {
    let all = &run.recording.all;
    let latency = |quantile: f64| match all.response.count() {
        0 => "–".to_owned(),
        _ => units::latency(all.response.at(quantile) as f64),
    };
    let bad = |count: u64| if count > 0 { "tile bad" } else { "tile" };
    let tile = |class: &str, name: &str, value: String, below: String| {
        html! { div class=(class) { span.label { (name) } span.value { (value) } span.below { (below) } } }
    };
    let errors = figures::errors(all);
    html! {
        div.tiles {
            (tile("tile", "offered", units::value(figures::offered(run)), "requests/s".to_owned()))
            (tile("tile", "answered", units::value(figures::answered(run)), "requests/s".to_owned()))
            (tile("tile", "p50", latency(0.5), "response time".to_owned()))
            (tile("tile strong", "p99", latency(0.99), "response time".to_owned()))
            (tile("tile", "p99.9", latency(0.999), format!("max {}", latency(1.0))))
            (tile(bad(errors), "errors", units::share(all.error_share()), units::count(errors)))
            (tile("tile", "shed", units::share(all.shed_share()), units::count(all.shed)))
            (tile(bad(all.unsent), "late, unsent", format!("{}, {}", units::count(all.late), units::count(all.unsent)), "requests".to_owned()))
            @if let Some(delivery) = &run.delivery {
                (tile(bad(delivery.lost), "lost", units::count(delivery.lost), format!("of {}", units::count(delivery.accepted))))
            }
        }
    }
}

fn body(run: &RunResult, group: &str) -> Markup {
    html! {
        @let notes = notes::worth_a_look(run);
        @if run.verdict.is_some() || !notes.is_empty() {
            div.columns {
                @if let Some(verdict) = &run.verdict { section { h2 { "Pass lines" } (tables::verdict(verdict)) } }
                @if !notes.is_empty() { section { h2 { "Worth a look" } ul.notes { @for note in notes { li { (note) } } } } }
            }
        }
        @if !run.recording.seconds.is_empty() { (over_time(run, group)) }
        (distribution(run, group))
        (tenants::table(run))
        div.columns {
            section { h2 { "Outcomes" } (tables::outcomes(&run.recording.all)) }
            div {
                @if let Some(delivery) = &run.delivery { section { h2 { "Delivery" } (tables::delivery(delivery)) } }
                section { h2 { "The generator" } (tables::generator(&run.generator)) }
            }
        }
        div.columns {
            section { h2 { "What was asked for" } (tables::plan(run)) }
            section { h2 { "Where it ran" } (tables::environment(run)) }
        }
    }
}

fn over_time(run: &RunResult, group: &str) -> Markup {
    html! {
        section {
            h2 { "Over time" }
            (timeline::load(run, group))
            (timeline::latency(run, group))
            (heat::map(run, group))
            (timeline::errors(run, group))
            (states::plots(run, group))
            @if !run.marks.is_empty() { (tables::marks(&run.marks)) }
        }
    }
}

fn distribution(run: &RunResult, group: &str) -> Markup {
    let all = &run.recording.all;
    let of = |name: &str, class, of| Distribution { name: name.to_owned(), class, of };
    let lines = [
        of("service, from sending on", "green dashed", &all.service),
        of("response, from the intended moment on", "blue", &all.response),
    ];
    html! {
        @if all.response.count() > 0 {
            section {
                h2 { "Latency" }
                div.curve { (curve::plot(&lines, &format!("{group}-nines"), Frame { width: 720.0, height: 360.0 })) (tables::percentiles(all)) }
            }
        }
    }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "Response time is counted from the moment that the schedule gave a request to the end of its answer, sent "
                "in time or not; service time from its sending. Each second of a time line holds the requests that were due "
                "in it. Past " (super::line::MOST_POINTS) " points a line shows each stretch's lowest and highest value."
            }
            p { "Drawn from " code { (SCHEMA) } " by sluis-bench " (env!("CARGO_PKG_VERSION")) "." }
        }
    }
}
