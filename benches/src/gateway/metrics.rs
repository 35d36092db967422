//! The gateway's metrics over time: read each second, the few that explain a run kept as series.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Admin;
use crate::result::Series;

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
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Names with labels and values of a text in Prometheus' exposition format.
pub fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name, value.parse().ok()?))
    })
}

/// What was kept until now.
#[derive(Debug, Default)]
pub struct Kept {
    series: BTreeMap<String, Series>,
    /// Counters as they were at the last look.
    counters: BTreeMap<String, f64>,
}

impl Kept {
    /// Takes a look's text in, `at` seconds from the first moment.
    pub fn look(&mut self, at: f64, text: &str) {
        for (name, value) in samples(text) {
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
    pub fn add(&mut self, name: &str, unit: &str, at: f64, value: f64) {
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

    /// All series; those that were 0 all the time tell nothing, breakers and queues aside.
    pub fn into_series(self) -> Vec<Series> {
        let tells = |series: &Series| {
            ["breaker", "queue"].contains(&series.unit.as_str()) || series.points.iter().any(|(_, value)| *value != 0.0)
        };
        self.series.into_values().filter(tells).collect()
    }
}

/// Looks each second until it is stopped. While there is no gateway there is nothing to see.
pub async fn follow(admin: &Admin, first: Instant, kept: &Arc<Mutex<Kept>>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Ok(Ok(text)) = tokio::time::timeout(EVERY, admin.metrics()).await {
            let now = Instant::now();
            let at =
                now.saturating_duration_since(first).as_secs_f64() - first.saturating_duration_since(now).as_secs_f64();
            kept.lock().unwrap_or_else(PoisonError::into_inner).look(at, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let series = kept.into_series();
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].points, [(0.0, 0.0), (1.0, 2.0), (2.0, 0.0)]);
        assert_eq!(series[1].points, [(0.0, 0.0), (1.0, 50.0), (2.0, 20.0)]);
    }
}
