//! A result for the terminal.

use sluis_bench::record::{Failure as Cause, Histogram, Tally};
use sluis_bench::report::offered;
use sluis_bench::result::{Ended, RunResult};
use sluis_bench::slo::{Observed, fairness, percent, time};

use crate::table::{Align, plain, render};

/// Tenants shown; all are in the file.
const MAX_TENANTS: usize = 20;
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// All that fits a screen.
pub fn show(result: &RunResult) -> std::io::Result<()> {
    let mut text = String::new();
    text.push_str(&head(result));
    text.push_str(&latencies(&result.recording.all));
    text.push_str(&tenants(result));
    text.push_str(&delivery(result));
    text.push_str(&generator(result));
    text.push_str(&verdict(result));
    crate::say(text.trim_end())
}

fn head(result: &RunResult) -> String {
    let observed = Observed::of(result);
    let all = observed.all;
    let mut text = format!(
        "{}: {} to {} over {}\n",
        plain(&result.name),
        plain(&result.plan.schedule),
        plain(&result.plan.target),
        result.plan.protocol
    );
    match &result.ended {
        Ended::Complete => {}
        Ended::Partial { why } => text.push_str(&format!("PARTIAL: {}\n", plain(why))),
        Ended::Interrupted => text.push_str(&format!("INTERRUPTED after {:.1} s\n", observed.seconds)),
        Ended::Aborted { why } => text.push_str(&format!("ABORTED after {:.1} s: {}\n", observed.seconds, plain(why))),
    }
    text.push_str(&format!(
        "sent {}  late {}  unsent {}  ok {}  shed {}  refused {}  failed {}  wrong {}\n",
        all.sent, all.late, all.unsent, all.ok, all.shed, all.refused, all.failed, all.wrong
    ));
    text.push_str(&format!(
        "offered {:.1}/s  achieved {:.1}/s  error {}  shed {}",
        offered(result),
        if observed.seconds > 0.0 { all.ok as f64 / observed.seconds } else { 0.0 },
        percent(all.error_share()),
        percent(all.shed_share())
    ));
    if result.recording.tenants.len() > 1
        && let Some(index) = fairness(result.recording.tenants.values())
    {
        text.push_str(&format!("  fairness {index:.3}"));
    }
    text.push('\n');
    text.push_str(&errors(all));
    text
}

/// What went wrong, by kind.
fn errors(all: &Tally) -> String {
    let cause = |cause: &Cause| match cause {
        Cause::Connect => "no connection",
        Cause::Tls => "no TLS",
        Cause::Timeout => "timeout",
        Cause::Reset => "reset",
        Cause::Protocol => "not HTTP",
        Cause::Local => "generator's limits",
    };
    let mut kinds: Vec<String> = all.failures.iter().map(|(kind, count)| format!("{} {count}", cause(kind))).collect();
    let bad = all.statuses.iter().filter(|(status, _)| **status >= 400);
    kinds.extend(bad.map(|(status, count)| format!("{status} {count}")));
    if kinds.is_empty() { String::new() } else { format!("errors: {}\n", kinds.join("  ")) }
}

fn latencies(all: &Tally) -> String {
    if all.response.count() == 0 {
        return "nothing was answered\n".to_owned();
    }
    let mut heading = vec![("", Align::Left), ("mean", Align::Right)];
    heading.extend(PERCENTILES.map(|(name, _)| (name, Align::Right)));
    heading.push(("max", Align::Right));
    let row = |name: &str, histogram: &Histogram| {
        let mut row = vec![name.to_owned(), time(histogram.mean())];
        row.extend(PERCENTILES.map(|(_, quantile)| time(histogram.at(quantile) as f64)));
        row.push(time(histogram.max() as f64));
        row
    };
    let mut rows = vec![row("response", &all.response)];
    if let Some(ok) = all.response_ok().filter(|ok| (1..all.response.count()).contains(&ok.count())) {
        rows.push(row("response (ok)", ok));
    }
    rows.push(row("service", &all.service));
    render(&heading, &rows)
}

fn tenants(result: &RunResult) -> String {
    let tenants = &result.recording.tenants;
    if tenants.len() < 2 {
        return String::new();
    }
    let heading = [
        ("tenant", Align::Left),
        ("sent", Align::Right),
        ("ok", Align::Right),
        ("error", Align::Right),
        ("shed", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
    ];
    let mut sorted: Vec<_> = tenants.iter().collect();
    sorted.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.intended));
    let row = |(name, tally): &(&String, &Tally)| {
        let at = |quantile| {
            if tally.response.count() == 0 { "–".to_owned() } else { time(tally.response.at(quantile) as f64) }
        };
        vec![
            (*name).clone(),
            tally.sent.to_string(),
            tally.ok.to_string(),
            percent(tally.error_share()),
            percent(tally.shed_share()),
            at(0.5),
            at(0.99),
            at(0.999),
        ]
    };
    let rows: Vec<Vec<String>> = sorted.iter().take(MAX_TENANTS).map(row).collect();
    let rest = sorted.len().saturating_sub(MAX_TENANTS);
    let more = if rest == 0 { String::new() } else { format!("… and {rest} tenants more\n") };
    format!("{}{more}", render(&heading, &rows))
}

fn delivery(result: &RunResult) -> String {
    result.delivery.as_ref().map_or(String::new(), |found| {
        let outstanding = match found.outstanding {
            0 => String::new(),
            count => format!("  still under way {count}"),
        };
        format!(
            "accepted {}  arrived {}  lost {}{outstanding}  duplicated {}  out of order {}  unacknowledged {}  \
             invented {}\n",
            found.accepted,
            found.arrived,
            found.lost,
            found.duplicated,
            found.out_of_order,
            found.unacknowledged,
            found.invented
        )
    })
}

fn generator(result: &RunResult) -> String {
    let own = &result.generator;
    let mut text = format!(
        "generator: {} threads, the busiest {:.0} % of a core, lag p99 {}, longest {}, {} of {} descriptors\n",
        own.threads,
        own.busiest_thread * 100.0,
        time(own.lag_p99_us as f64),
        time(own.lag_max_us as f64),
        own.descriptors.0,
        own.descriptors.1
    );
    for warning in &own.warnings {
        text.push_str(&format!("note: {}\n", plain(warning)));
    }
    for reason in &own.invalid {
        text.push_str(&format!("INVALID, the figures do not stand: {}\n", plain(reason)));
    }
    text
}

fn verdict(result: &RunResult) -> String {
    let Some(verdict) = &result.verdict else { return String::new() };
    let mut text = format!("SLO {}\n", if verdict.holds { "PASS" } else { "FAIL" });
    let width = verdict.lines.iter().map(|line| line.wanted.chars().count()).max().unwrap_or(0);
    for line in &verdict.lines {
        let mark = if line.holds { "✔" } else { "✖" };
        text.push_str(&format!("  {mark} {:<width$}  {}\n", plain(&line.wanted), plain(&line.seen)));
    }
    text
}
