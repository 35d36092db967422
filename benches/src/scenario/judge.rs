//! Whether a scenario's pass lines hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pass::{Kind, Part, Pass, Percentile};
use crate::parts::Held;
use crate::record::{Digits, Histogram, Recording, Tally};
use crate::result::{Delivery, Line, Verdict};
use crate::slo::{Observed, merged, time, took};

/// An order that was accepted: whose, when, and when it arrived; from the first moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub tenant: &'a str,
    pub accepted: Duration,
    pub arrived: Option<Duration>,
}

/// What was seen of a scenario.
pub(super) struct Seen<'a> {
    pub recording: &'a Recording,
    /// Seconds that the loads were to last.
    pub planned: f64,
    pub delivery: &'a Delivery,
    pub arrivals: &'a [Arrival<'a>],
    /// How long after the loads' end everything had arrived; none where it had not in time.
    pub drained: Option<Duration>,
    pub erp_at_once: usize,
    /// What became of the connections of slow clients.
    pub slow: Held,
}

/// Judges every line.
pub(super) fn judge(pass: &[Pass], seen: &Seen<'_>) -> Verdict {
    let lines: Vec<Line> = pass.iter().flat_map(|pass| judge_one(pass, seen)).collect();
    Verdict { holds: lines.iter().all(|line| line.holds), lines }
}

fn judge_one(pass: &Pass, seen: &Seen<'_>) -> Vec<Line> {
    let place = if pass.place.is_empty() { String::new() } else { format!("{}: ", pass.place) };
    let line =
        |wanted: String, value: String, holds| vec![Line { wanted: format!("{place}{wanted}"), seen: value, holds }];
    match &pass.kind {
        Kind::Slo(slo, part) => {
            let (all, tenants, seconds);
            let observed = match part {
                None => Observed {
                    all: &seen.recording.all,
                    tenants: &seen.recording.tenants,
                    seconds: took(seen.recording.seconds_measured, seen.planned),
                    delivery: Some(seen.delivery),
                },
                Some(part) => {
                    (all, tenants) = of_part(seen, *part);
                    seconds = (part.1 - part.0) as f64;
                    Observed { all: &all, tenants: &tenants, seconds, delivery: None }
                }
            };
            let placed = |line: Line| Line { wanted: format!("{place}{}", line.wanted), ..line };
            slo.judge(observed).lines.into_iter().map(placed).collect()
        }
        Kind::Compare { percentile, of, part, with, factor, more } => {
            let at = |part: &Part| {
                let (all, tenants) = of_part(seen, *part);
                let tally = match of {
                    None => Some(&all),
                    Some(name) => tenants.get(name),
                };
                tally.filter(|tally| tally.response.count() > 0).map(|tally| tally.response.at(percentile.share) as f64)
            };
            let more_us = more.as_secs_f64() * 1e6;
            let extra = if more.is_zero() { String::new() } else { format!(" + {more:?}") };
            let wanted = format!("{} at most {factor}× that of {} s to {} s{extra}", percentile.name, with.0, with.1);
            match (at(part), at(with)) {
                (Some(this), Some(other)) => {
                    let text = format!("{} against {}, {:.2}×", time(this), time(other), this / other.max(1.0));
                    line(wanted, text, this <= other * factor + more_us)
                }
                _ => line(wanted, "nothing was answered".to_owned(), false),
            }
        }
        Kind::Arrival { percentile, of, part, at_most } => {
            let wanted = format!("{} from accepted to arrived at most {at_most:?}", percentile.name);
            match waited(seen, percentile, of.as_deref(), *part) {
                Some(waited) => line(wanted, time(waited.as_secs_f64() * 1e6), waited <= *at_most),
                None => line(wanted, "not all have arrived, or none was accepted".to_owned(), false),
            }
        }
        Kind::Drained(within) => {
            let text = seen
                .drained
                .map_or("not all has arrived".to_owned(), |after| format!("after {:.1} s", after.as_secs_f64()));
            line(
                format!("all arrived within {within:?} of the load's end"),
                text,
                seen.drained.is_some_and(|after| after <= *within),
            )
        }
        Kind::ErpAtOnce(most) => line(
            format!("at most {most} orders at the ERP at once"),
            seen.erp_at_once.to_string(),
            seen.erp_at_once <= *most,
        ),
        Kind::SlowClients { count, at_most } => {
            let Held { connected, ended, longest } = seen.slow;
            line(
                format!("{count} slow clients told to go, none held longer than {at_most:?}"),
                format!("{connected} connections, {ended} told to go, the longest held {:.1} s", longest.as_secs_f64()),
                connected >= *count && ended >= *count && longest <= *at_most,
            )
        }
    }
}

fn of_part(seen: &Seen<'_>, (from, to): Part) -> (Tally, BTreeMap<String, Tally>) {
    merged(seen.recording.seconds.iter().skip(from).take(to - from))
}

/// The wait that this share of the orders accepted meanwhile did not exceed. None where some of them never arrived and
/// they would be among those.
fn waited(seen: &Seen<'_>, percentile: &Percentile, of: Option<&str>, part: Option<Part>) -> Option<Duration> {
    let within = |at: Duration| part.is_none_or(|(from, to)| (from..to).contains(&(at.as_secs() as usize)));
    let meant = |arrival: &&Arrival<'_>| within(arrival.accepted) && of.is_none_or(|of| arrival.tenant == of);
    let mut waits = Histogram::new(Digits::Three);
    let (mut all, mut missing) = (0u64, 0u64);
    for arrival in seen.arrivals.iter().filter(meant) {
        all += 1;
        match arrival.arrived {
            Some(arrived) => waits.record(arrived.saturating_sub(arrival.accepted)),
            None => missing += 1,
        }
    }
    let there = all > 0 && missing as f64 <= (1.0 - percentile.share) * all as f64;
    // Of all of them, those that are missing being the last.
    let share = percentile.share * all as f64 / (all - missing).max(1) as f64;
    there.then(|| Duration::from_micros(waits.at(share.min(1.0))))
}
