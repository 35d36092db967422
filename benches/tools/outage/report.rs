//! The verdict: what was promised, what was seen.

use std::collections::HashMap;
use std::time::Duration;

use sluis_bench::pace::micros;
use sluis_bench::parts::Erp;
use sluis_bench::workload::Orders;
use sluis_bench::{Error, Latencies, latencies, milliseconds};

use super::Course;
use super::load::{Load, Sent};

/// One line: what must be, what was, whether it held.
struct Line {
    what: &'static str,
    seen: String,
    holds: bool,
}

/// See the module.
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub fn of(
        course: Course,
        load: &Load,
        (orders, erp): (&Orders, &Erp),
        drained: Option<Duration>,
        concurrency: usize,
    ) -> Result<Report, Error> {
        let sent = load.sent();
        let delivery = orders.delivery();
        let refused = sent.iter().filter(|sent| sent.status != 202).count();
        let (lost, again, disordered) = (delivery.lost, delivery.duplicated, delivery.out_of_order);
        let at_most = erp.at_once_at_most();
        let asked_down: u64 = erp.seconds().iter().map(|second| second.refused).sum();
        let calm = critical(&sent, |at| at < course.sale)?;
        let busy = critical(&sent, |at| at >= course.down && at < course.up)?;
        let (p99_calm, p99_busy) = (calm.value_at_quantile(0.99), busy.value_at_quantile(0.99));
        let overtaken = critical_first(&sent, orders, course);
        let mut lines = Vec::new();
        let mut line = |what, holds, seen: String| lines.push(Line { what, seen, holds });
        line("orders refused or unanswered", refused == 0, format!("{refused} of {}", sent.len()));
        line("accepted orders lost", lost == 0, format!("{lost} of {}", delivery.accepted));
        line("orders behind a later one of their key", disordered == 0, format!("{disordered}"));
        line("orders that came twice", true, format!("{again}"));
        let ratio = p99_busy as f64 / p99_calm.max(1) as f64;
        line(
            "critical accept p99, down against calm, at most 1.5×",
            ratio <= 1.5,
            format!("{:.2} ms against {:.2} ms, {ratio:.2}×", milliseconds(p99_busy), milliseconds(p99_calm)),
        );
        line("the same, in each tenth of the time that it was down", true, tenths(&sent, course)?);
        line("critical orders delivered after it was back", overtaken.1, overtaken.0);
        line("requests at the ERP at once, at most its concurrency", at_most <= concurrency, format!("{at_most}"));
        line("attempts spent on the ERP while it was down", true, format!("{asked_down}"));
        line(
            "all delivered",
            drained.is_some(),
            drained.map_or("no".to_owned(), |at| {
                format!("{:.1} s after it was back", (at - course.up.min(at)).as_secs_f64())
            }),
        );
        Ok(Report { lines })
    }

    pub fn print(&self) {
        for Line { what, seen, holds } in &self.lines {
            println!("{} {what:<54} {seen}", if *holds { "✔" } else { "✘" });
        }
    }

    pub fn holds(&self) -> bool {
        self.lines.iter().all(|line| line.holds)
    }
}

/// Accept latencies of critical orders in a part of the course.
fn critical(sent: &[Sent], during: impl Fn(Duration) -> bool) -> Result<Latencies, Error> {
    let mut latency = latencies()?;
    for one in sent.iter().filter(|sent| sent.critical && during(sent.at)) {
        latency.saturating_record(micros(one.latency));
    }
    Ok(latency)
}

/// Critical orders' accept p99 in milliseconds, in each tenth of the outage: whether a backlog makes accepting slower.
fn tenths(sent: &[Sent], course: Course) -> Result<String, Error> {
    let tenth = (course.up - course.down) / 10;
    let p99 = |n: u32| {
        let from = course.down + tenth * n;
        let latency = critical(sent, |at| at >= from && at < from + tenth)?;
        Ok(format!("{:.2}", milliseconds(latency.value_at_quantile(0.99))))
    };
    Ok((0..10).map(p99).collect::<Result<Vec<_>, Error>>()?.join(" "))
}

/// How long after the ERP was back the last critical order of the outage was delivered, and the last of the others;
/// whether the critical ones were first.
fn critical_first(sent: &[Sent], orders: &Orders, course: Course) -> (String, bool) {
    let arrived: HashMap<u64, Duration> =
        orders.times().filter_map(|(number, _, arrived)| Some((number, arrived?))).collect();
    let last = |critical: bool| {
        let of_outage = |sent: &&Sent| sent.critical == critical && sent.at >= course.down && sent.at < course.up;
        sent.iter().filter(of_outage).filter_map(|sent| arrived.get(&sent.number).copied()).max()
    };
    let (Some(critical), Some(others)) = (last(true), last(false)) else { return ("none".to_owned(), false) };
    let after = |at: Duration| at.saturating_sub(course.up).as_secs_f64();
    (format!("within {:.1} s, the others within {:.1} s", after(critical), after(others)), critical < others)
}
