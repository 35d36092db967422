//! What a reader of the figures should not overlook, in sentences.

use super::{figures, units};
use crate::record::{Second, Tally};
use crate::result::{Mark, RunResult};

/// So many times the usual, a second is worth a sentence.
const OUTSTANDING: f64 = 3.0;
/// Seconds after a mark in which it may be the reason.
const AFTERMATH: f64 = 10.0;

/// The run in a sentence or two.
pub fn story(run: &RunResult) -> String {
    let all = &run.recording.all;
    if all.intended == 0 {
        return "Nothing was due in this run.".to_owned();
    }
    let mut story = format!(
        "In {}, {} requests a second were due and {} were answered.",
        units::length(figures::scheduled_seconds(run)),
        units::value(figures::offered(run)),
        units::value(figures::answered(run)),
    );
    if all.response.count() > 0 {
        let at = |quantile| units::latency(all.response.at(quantile) as f64);
        let (half, most, longest) = (at(0.5), at(0.99), at(1.0));
        story += &format!(" Half of the answers came within {half}, 99 % within {most}; the longest took {longest}.");
    }
    let (errors, shed) = (all.error_share(), all.shed_share());
    story += &match errors > 0.0 {
        true => format!(" {} came to a bad end", units::share(errors)),
        false => " None came to a bad end".to_owned(),
    };
    if shed > 0.0 { story + &format!("; {} were turned away politely.", units::share(shed)) } else { story + "." }
}

/// The rest.
pub fn worth_a_look(run: &RunResult) -> Vec<String> {
    let all = &run.recording.all;
    [worst_second(run), waited(all), behind(run), turned_away(all), tenant(run), delivery(run)]
        .into_iter()
        .flatten()
        .collect()
}

/// A second whose 99th percentile stands out from the others', with what had happened.
fn worst_second(run: &RunResult) -> Option<String> {
    let p99 = |second: &Second| (second.all.response.count() > 0).then(|| second.all.response.at(0.99));
    let of_seconds = run.recording.seconds.iter().enumerate().filter_map(|(n, second)| Some((n, p99(second)?)));
    let (worst, highest) = of_seconds.clone().max_by_key(|(n, p99)| (*p99, std::cmp::Reverse(*n)))?;
    let mut others: Vec<u64> = of_seconds.map(|(_, p99)| p99).collect();
    others.sort_unstable();
    let usual = others[others.len() / 2];
    if others.len() < 3 || (highest as f64) < usual as f64 * OUTSTANDING {
        return None;
    }
    Some(format!(
        "The worst second was at {}: there 99 % were answered within {}, {} the usual {}{}.",
        units::clock(worst as f64),
        units::latency(highest as f64),
        units::ratio(highest as f64, usual as f64).unwrap_or_default(),
        units::latency(usual as f64),
        reason(&run.marks, worst as f64),
    ))
}

fn reason(marks: &[Mark], second: f64) -> String {
    let near = |mark: &&Mark| mark.at < second + 1.0 && second < mark.until.unwrap_or(mark.at) + AFTERMATH;
    let last = marks.iter().filter(near).max_by(|a, b| a.at.total_cmp(&b.at));
    last.map(|mark| match mark.until {
        Some(until) if second >= until => {
            format!(", {} after the end of “{}”", units::clock(second - until), mark.text)
        }
        _ if second < mark.at + 1.0 => format!(", at “{}”", mark.text),
        _ => format!(", {} after “{}”", units::clock(second - mark.at), mark.text),
    })
    .unwrap_or_default()
}

/// Where requests waited to be sent, a tool that sends only when it is answered would not have seen it.
fn waited(all: &Tally) -> Option<String> {
    let (response, service) = (all.response.at(0.99), all.service.at(0.99));
    let differ = response as f64 > service as f64 * 1.5 && response.saturating_sub(service) > 1_000;
    differ.then(|| {
        format!(
            "At the 99th percentile the answer came {} after its request was due, but {} after it was sent: the rest is \
             waiting for a free connection, which a tool that sends only when it is answered does not see.",
            units::latency(response as f64),
            units::latency(service as f64)
        )
    })
}

fn behind(run: &RunResult) -> Option<String> {
    let all = &run.recording.all;
    (all.late + all.unsent > 0).then(|| {
        format!(
            "{} requests were sent more than {} ms after their moment, {} not at all: all {} connections were busy, or \
             the generator fell behind.",
            units::count(all.late),
            crate::record::LATE.as_millis(),
            if all.unsent > 0 { units::count(all.unsent) } else { "none".to_owned() },
            units::count(run.plan.connections as u64)
        )
    })
}

/// Latency is of all answers: those that turn a request away are quick and make it look better.
fn turned_away(all: &Tally) -> Option<String> {
    let turned_away = all.shed + all.refused;
    let part = turned_away as f64 / figures::answers(all).max(1) as f64;
    (part > 0.05).then(|| {
        format!(
            "{} of the answers turned a request away. They count in the latency, too, and are often the quickest: read \
             the percentiles with that in mind.",
            units::share(part)
        )
    })
}

/// A tenant that had more than twice its part of the errors.
fn tenant(run: &RunResult) -> Option<String> {
    let all = &run.recording.all;
    let enough = |tally: &Tally| figures::errors(tally) >= 10 && tally.error_share() > 2.0 * all.error_share();
    let (name, worst) = run
        .recording
        .tenants
        .iter()
        .filter(|(_, tally)| enough(tally))
        .max_by_key(|(_, tally)| figures::errors(tally))?;
    Some(format!(
        "Errors are not spread evenly: {name} had {} of its requests come to a bad end, all together {}.",
        units::share(worst.error_share()),
        units::share(all.error_share())
    ))
}

fn delivery(run: &RunResult) -> Option<String> {
    let delivery = run.delivery.as_ref().filter(|delivery| delivery.lost + delivery.invented > 0)?;
    Some(format!(
        "Of {} orders accepted, {} never arrived; {} arrived that nobody had sent.",
        units::count(delivery.accepted),
        units::count(delivery.lost),
        units::count(delivery.invented)
    ))
}
