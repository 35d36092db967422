//! A second as a line: `12 s  4,998/s  p50 3.1  p99 11.8 ms  ok 4,990  shed 8  failed 0`.

use super::Moment;
use super::course::Course;
use crate::record::Tally;
use crate::report::{breaker, figures, label_of, units};

/// The line of this second, with what has changed since the ones before.
pub fn line(before: &Course, moment: &Moment<'_>) -> String {
    let all = &moment.second.all;
    let mut line =
        format!("{}  {}/s", units::clock(moment.elapsed.as_secs_f64().floor()), units::count(figures::answers(all)));
    if all.response.count() > 0 {
        let (p50, p99) = (all.response.at(0.5), all.response.at(0.99));
        line += &format!("  p50 {}  p99 {} ms", units::milliseconds(p50), units::milliseconds(p99));
    }
    line += &outcomes(all);
    for (name, state) in moment.breakers {
        let word = breaker(*state).0;
        let was =
            before.breakers.iter().find(|(known, _)| known == name).map_or("closed", |(_, state)| breaker(*state).0);
        if was != word {
            line += &format!("  · breaker {} {word}", clean(label_of(name)));
        }
    }
    for mark in moment.marks.iter().skip(before.marks_told) {
        line += &format!("  · {}", clean(&mark.text));
    }
    line
}

/// Always what is good, shed and failed; the rest where there is any.
fn outcomes(all: &Tally) -> String {
    let always = [("ok", all.ok), ("shed", all.shed), ("failed", all.failed)];
    let rare = [("refused", all.refused), ("wrongly let in", all.wrong), ("unsent", all.unsent), ("late", all.late)];
    let shown = always.into_iter().chain(rare.into_iter().filter(|(_, count)| *count > 0));
    shown.map(|(name, count)| format!("  {name} {}", units::count(count))).collect()
}

/// Without what a terminal would take for a command, and of bounded length.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(120).collect()
}
