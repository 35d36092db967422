//! The page's tables of one run: pass lines, percentiles, answers, delivery, the generator, plan and place.

use maud::{Markup, html};

use super::plot::{self, MOST_MARKS};
use super::{figures, units};
use crate::record::{Histogram, Tally};
use crate::result::{Delivery, Generator, Mark, RunResult, Verdict};

/// Rows of a table whose length the run decides.
const MOST_ROWS: usize = 100;
/// Percentiles in the table.
pub const QUANTILES: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// The pass lines.
pub fn verdict(verdict: &Verdict) -> Markup {
    html! {
        table {
            thead { tr { th { "Pass line" } th { "Seen" } th { "Held" } } }
            tbody {
                @for line in verdict.lines.iter().take(MOST_ROWS) {
                    tr {
                        td { code { (line.wanted) } }
                        td { (line.seen) }
                        td class=(if line.holds { "good" } else { "bad" }) { (if line.holds { "✓ yes" } else { "✗ no" }) }
                    }
                }
            }
        }
        (more(verdict.lines.len(), MOST_ROWS))
    }
}

/// Response and service time by percentile.
pub fn percentiles(tally: &Tally) -> Markup {
    let latency = |histogram: &Histogram, micros: f64| match histogram.count() {
        0 => "–".to_owned(),
        _ => units::latency(micros),
    };
    // Where none was turned away, it is the same as the response.
    let ok = tally.response_ok().filter(|ok| ok.count() < tally.response.count());
    let columns: Vec<(&str, &Histogram)> =
        [("Response", Some(&tally.response)), ("Ok alone", ok), ("Service", Some(&tally.service))]
            .into_iter()
            .filter_map(|(title, histogram)| Some((title, histogram?)))
            .collect();
    let row = |name: String, of: &dyn Fn(&Histogram) -> f64| {
        html! {
            tr { td { (name) } @for (_, one) in &columns { td.number { (latency(one, of(one))) } } }
        }
    };
    html! {
        table {
            thead { tr { th { "Percentile" } @for (title, _) in &columns { th.number { (title) } } } }
            tbody {
                @for quantile in QUANTILES {
                    (row(if quantile == 1.0 { "max".to_owned() } else { units::quantile(quantile) }, &|one| one.at(quantile) as f64))
                }
                (row("mean".to_owned(), &Histogram::mean))
            }
            tfoot { tr { td { "answers" } @for (_, one) in &columns { td.number { (units::count(one.count())) } } } }
        }
    }
}

/// What became of the requests, by outcome, status and cause.
pub fn outcomes(tally: &Tally) -> Markup {
    let row = |name: &str, count: u64| {
        let part = if tally.intended == 0 { 0.0 } else { count as f64 / tally.intended as f64 };
        html! { tr { td { (name) } td.number { (units::count(count)) } td.number { (units::share(part)) } } }
    };
    html! {
        table {
            thead { tr { th { "Outcome" } th.number { "Requests" } th.number { "Share" } } }
            tbody {
                (row("due by the schedule", tally.intended))
                (row("ok", tally.ok)) (row("shed (429, or 503 with Retry-After)", tally.shed))
                (row("refused (other 4xx and 5xx)", tally.refused)) (row("failed (no answer)", tally.failed))
                @for (cause, count) in &tally.failures { (row(&format!("— {}", figures::failure(*cause)), *count)) }
                (row("wrongly let in", tally.wrong)) (row("never sent", tally.unsent)) (row("sent late", tally.late))
                @for (status, count) in tally.statuses.iter().take(MOST_ROWS) { (row(&format!("answered {status}"), *count)) }
            }
        }
        (more(tally.statuses.len(), MOST_ROWS))
    }
}

/// What arrived.
pub fn delivery(delivery: &Delivery) -> Markup {
    let row = |name: &str, count: u64, has_to_be_none: bool| {
        let class = match (has_to_be_none, count) {
            (true, 0) => "number good",
            (true, _) => "number bad",
            _ => "number",
        };
        html! { tr { td { (name) } td class=(class) { (units::count(count)) } } }
    };
    html! {
        table {
            thead { tr { th { "Orders" } th.number { "Count" } } }
            tbody {
                (row("accepted", delivery.accepted, false)) (row("arrived", delivery.arrived, false))
                (row("lost: accepted, never arrived", delivery.lost, true))
                @if delivery.outstanding > 0 { (row("still under way when the wait was cut short", delivery.outstanding, false)) }
                (row("invented: arrived, never sent", delivery.invented, true))
                (row("duplicated: arrivals beyond the first", delivery.duplicated, false))
                (row("out of order within their key", delivery.out_of_order, false))
                (row("arrived without their sender knowing", delivery.unacknowledged, false))
            }
        }
    }
}

/// Whether the generator was good enough.
pub fn generator(generator: &Generator) -> Markup {
    let (used, limit) = generator.descriptors;
    html! {
        table {
            thead { tr { th { "Generator" } th.number { "Seen" } } }
            tbody {
                tr { td { "threads that send" } td.number { (generator.threads) } }
                tr { td { "busiest thread, of a core" } td.number { (units::share(generator.busiest_thread)) } }
                tr { td { "CPU, whole process" } td.number { (units::value(generator.cpu_seconds)) " s" } }
                tr { td { "lag behind the schedule, p99" } td.number { (units::latency(generator.lag_p99_us as f64)) } }
                tr { td { "lag, longest" } td.number { (units::latency(generator.lag_max_us as f64)) } }
                tr { td { "descriptors, of the limit" } td.number { (units::count(used)) " of " (units::count(limit)) } }
                tr { td { "wall clock's jumps" } td.number { (units::value(generator.clock_step_seconds)) " s" } }
            }
        }
    }
}

/// What happened, by its letter in the plots.
pub fn marks(marks: &[Mark]) -> Markup {
    html! {
        table {
            thead { tr { th { "" } th { "What happened" } th.number { "From" } th.number { "Until" } } }
            tbody {
                @for (n, mark) in marks.iter().take(MOST_ROWS).enumerate() {
                    tr {
                        td { @if n < MOST_MARKS { (plot::letter(n)) } }
                        td { (mark.text) }
                        td.number { (units::clock(mark.at)) }
                        td.number { @if let Some(until) = mark.until { (units::clock(until)) } }
                    }
                }
            }
        }
        (more(marks.len(), MOST_ROWS))
    }
}

/// What was asked for.
pub fn plan(run: &RunResult) -> Markup {
    let plan = &run.plan;
    pairs(&[
        ("Target", plan.target.clone()),
        ("Protocol", plan.protocol.clone()),
        ("Schedule", plan.schedule.clone()),
        (
            "Length",
            format!("{}, after a warm-up of {}", units::length(plan.seconds), units::length(plan.warm_up_seconds)),
        ),
        ("Connections", format!("{} at most", units::count(plan.connections as u64))),
        ("Tenants", plan.mix.clone()),
        ("Digest of the load", plan.digest.clone()),
    ])
}

/// Where it ran.
pub fn environment(run: &RunResult) -> Markup {
    let place = &run.environment;
    let unknown = || "not known".to_owned();
    pairs(&[
        ("Processor", format!("{}, {} cores", place.cpu, place.cores)),
        ("Memory", format!("{} MiB", units::count(place.memory_mib))),
        ("Kernel", place.kernel.clone()),
        ("Load and gateway", if place.same_machine { "on one machine" } else { "on machines of their own" }.to_owned()),
        ("Program", place.program.clone()),
        ("Gateway", place.gateway.clone().unwrap_or_else(unknown)),
        ("Its configuration", place.config_digest.clone().unwrap_or_else(unknown)),
    ])
}

fn pairs(pairs: &[(&str, String)]) -> Markup {
    html! { dl { @for (name, value) in pairs { dt { (name) } dd { (value) } } } }
}

/// Says how many rows a table leaves out.
pub fn more(all: usize, shown: usize) -> Markup {
    html! { @if all > shown { p.hint { "And " (units::count((all - shown) as u64)) " more." } } }
}
