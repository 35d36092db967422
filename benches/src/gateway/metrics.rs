//! The gateway's metrics over time: the few that explain a run, kept as series.

use std::collections::BTreeMap;

use crate::result::{RunResult, Series};

/// What is kept, and what it counts. A name that ends in `_total` is kept as its growth each second.
const KEPT: [(&str, &str); 7] = [
    ("sluis_breaker_state", "breaker"),
    ("sluis_backlog_events", "queue"),
    ("sluis_requests_in_flight", "requests"),
    ("sluis_connections", "connections"),
    ("sluis_connections_refused_total", "per second"),
    ("sluis_delivery_attempts_total", "per second"),
    ("sluis_jwks_fetches_total", "per second"),
];
/// Series at most, and points of one: bounded by the gateway's configuration, and a day.
const MAX_SERIES: usize = 200;
const MAX_POINTS: usize = 86_400;
/// What tells the gateway's version, in its label.
const VERSION: &str = "sluis_build_info{version=\"";

/// Names with labels and values of a text in Prometheus' exposition format.
pub fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name, value.parse().ok()?))
    })
}

/// How many events the ledger's commits held until now, and how soon they were on stable storage.
pub fn commits(text: &str) -> String {
    const BUCKET: &str = "sluis_ledger_commit_seconds_bucket{le=\"";
    let value = |name: &str| samples(text).find(|(sample, _)| *sample == name).map_or(0.0, |(_, value)| value);
    let count = value("sluis_ledger_commit_seconds_count");
    let each = value("sluis_ledger_batch_size_sum") / count.max(1.0);
    let mut told = format!("{count:.0} of {each:.1} events each");
    for (bucket, so_far) in samples(text).filter_map(|(name, value)| Some((name.strip_prefix(BUCKET)?, value))) {
        let Ok(seconds) = bucket.trim_end_matches("\"}").parse::<f64>() else { continue };
        let share = 100.0 * so_far / count.max(1.0);
        told += &format!(", {share:.1} % within {} ms", seconds * 1e3);
        if so_far >= count {
            break;
        }
    }
    told
}

/// What was kept until now.
#[derive(Debug, Default)]
pub struct Kept {
    series: BTreeMap<String, Series>,
    /// Counters as they were at the last look.
    counters: BTreeMap<String, f64>,
    /// The gateway's, where it told it.
    version: Option<String>,
}

impl Kept {
    /// Takes a look's text in, `at` seconds from the first moment.
    pub fn look(&mut self, at: f64, text: &str) {
        for (name, value) in samples(text) {
            if let Some(version) = name.strip_prefix(VERSION) {
                self.version = version.strip_suffix("\"}").map(str::to_owned);
            }
            let plain = name.split('{').next().unwrap_or_default();
            let Some((_, unit)) = KEPT.iter().find(|(kept, _)| *kept == plain) else { continue };
            let value = if plain.ends_with("_total") {
                let before = self.counters.insert(name.to_owned(), value);
                // A counter that begins anew belongs to a new process.
                before.map_or(0.0, |before| if value >= before { value - before } else { value })
            } else {
                value
            };
            self.add(name, unit, at, value);
        }
    }

    /// One point more of a series.
    fn add(&mut self, name: &str, unit: &str, at: f64, value: f64) {
        // The warm-up is not on the time line.
        if at < 0.0 || self.series.len() >= MAX_SERIES && !self.series.contains_key(name) {
            return;
        }
        let new = || Series { name: name.to_owned(), unit: unit.to_owned(), points: Vec::new() };
        let series = self.series.entry(name.to_owned()).or_insert_with(new);
        if series.points.len() < MAX_POINTS {
            series.points.push((at, value));
        }
    }

    /// Breakers as they were at the last look.
    pub fn breakers(&self) -> Vec<(String, f64)> {
        let breakers = self.series.values().filter(|series| series.unit == "breaker");
        breakers.filter_map(|series| Some((series.name.clone(), series.points.last()?.1))).collect()
    }

    /// Gives a result its time lines and the gateway's version. Series that were 0 all the time tell nothing, breakers
    /// and queues aside.
    pub fn tell(self, result: &mut RunResult) {
        let tells = |series: &Series| {
            ["breaker", "queue"].contains(&series.unit.as_str()) || series.points.iter().any(|(_, value)| *value != 0.0)
        };
        result.series.extend(self.series.into_values().filter(tells));
        result.environment.gateway = self.version;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Digits, Tally};

    #[test]
    fn commits_are_told_up_to_the_bucket_that_has_them_all() {
        let text = "sluis_ledger_batch_size_sum 30\n\
            sluis_ledger_commit_seconds_bucket{le=\"0.0005\"} 3\nsluis_ledger_commit_seconds_bucket{le=\"0.001\"} 12\n\
            sluis_ledger_commit_seconds_bucket{le=\"0.0025\"} 12\nsluis_ledger_commit_seconds_bucket{le=\"+Inf\"} 12\n\
            sluis_ledger_commit_seconds_count 12\n";
        assert_eq!(commits(text), "12 of 2.5 events each, 25.0 % within 0.5 ms, 100.0 % within 1 ms");
        assert_eq!(commits(""), "0 of 0.0 events each");
    }

    #[test]
    fn states_are_kept_as_they_are_and_counters_as_growth() {
        let mut kept = Kept::default();
        let text = |state: u8, attempts: u32| {
            format!(
                "# HELP sluis_breaker_state 0 closed\nsluis_breaker_state{{upstream=\"erp\"}} {state}\n\
                 sluis_delivery_attempts_total{{outcome=\"ok\",sink=\"erp\"}} {attempts}\nsluis_build_info{{version=\"1\"}} 1\n"
            )
        };
        kept.look(0.0, &text(0, 100));
        kept.look(1.0, &text(2, 150));
        // Started anew.
        kept.look(2.0, &text(0, 20));
        assert_eq!(kept.breakers(), [("sluis_breaker_state{upstream=\"erp\"}".to_owned(), 0.0)]);
        let mut result = crate::result::tests::sample(2, &Tally::new(Digits::Three));
        kept.tell(&mut result);
        assert_eq!(result.environment.gateway.as_deref(), Some("1"));
        let series = result.series;
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].points, [(0.0, 0.0), (1.0, 2.0), (2.0, 0.0)]);
        assert_eq!(series[1].points, [(0.0, 0.0), (1.0, 50.0), (2.0, 20.0)]);
    }
}
