//! How an ERP behaves: how long it takes, how often it errs, how many orders it works on at once, and whether it is there.

use std::time::Duration;

use http::StatusCode;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::server::Door;
use crate::workload::Invalid;
use crate::workload::draw::{Draw, Pick};
use crate::workload::text;

/// See the module.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// How long it works on an order.
    pub latency: Latency,
    /// Orders that it answers with an error instead of taking them.
    pub errors: Option<Errors>,
    /// Orders that it works on at once; the others wait.
    pub concurrency: usize,
    /// Whether it is there.
    pub state: State,
}

/// Whether a system is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers.
    #[default]
    Up,
    /// It answers 503 to everything, at once.
    Down,
    /// Nobody listens on its port.
    Refused,
    /// It ends every connection with a reset.
    Reset,
    /// It takes connections and never answers.
    Silent,
}

impl State {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Down => "down",
            State::Refused => "refused",
            State::Reset => "reset",
            State::Silent => "silent",
        }
    }

    /// How its callers are met.
    pub fn door(self) -> Door {
        match self {
            State::Up | State::Down => Door::Open,
            State::Refused => Door::Closed,
            State::Reset => Door::Resetting,
            State::Silent => Door::Silent,
        }
    }
}

/// How long an order takes.
#[derive(Debug, Clone)]
pub enum Latency {
    /// Each the same, or anything between the two.
    Between(Duration, Duration),
    /// One of these, by weight.
    Shares(Pick, Vec<Duration>),
    /// From the first to the second over so long, then the second.
    Ramp(Duration, Duration, Duration),
}

impl Latency {
    /// `20ms`; `10ms..50ms`; `5ms:99,2s:1` by weight; `5ms..500ms over 10s`, rising.
    pub fn parse(at: &str, text: &str) -> Result<Latency, Invalid> {
        let one = |text: &str| text::duration(at, text);
        if let Some((range, over)) = text.split_once(" over ") {
            let (from, to) = range.split_once("..").ok_or_else(|| {
                Invalid::new(
                    at,
                    format!("`{text}` says over how long, but not from where to where; write 5ms..1s over 10s"),
                )
            })?;
            return Ok(Latency::Ramp(one(from)?, one(to)?, one(over)?));
        }
        if text.contains(':') {
            let mut all = Vec::new();
            for part in text.split(',') {
                let (latency, weight) = part.split_once(':').unwrap_or((part, "1"));
                let weight = weight.trim().parse().ok().filter(|weight: &f64| (0.0..=1e9).contains(weight));
                all.push((one(latency)?, weight.ok_or_else(|| Invalid::new(at, format!("`{part}`: no such weight")))?));
            }
            let weights: Vec<f64> = all.iter().map(|(_, weight)| *weight).collect();
            if weights.iter().sum::<f64>() == 0.0 {
                return Err(Invalid::new(at, "one weight at least must be more than 0"));
            }
            return Ok(Latency::Shares(Pick::by(&weights), all.into_iter().map(|(latency, _)| latency).collect()));
        }
        match text.split_once("..") {
            Some((from, to)) if one(from)? <= one(to)? => Ok(Latency::Between(one(from)?, one(to)?)),
            Some(_) => Err(Invalid::new(at, format!("`{text}` ends before it begins"))),
            None => Ok(Latency::Between(one(text)?, one(text)?)),
        }
    }

    /// Of one order, `since` so long after this behaviour began.
    pub fn draw(&self, draw: &mut Draw, since: Duration) -> Duration {
        match self {
            Latency::Between(from, to) => *from + (*to - *from).mul_f64(unit(draw)),
            Latency::Shares(pick, all) => all[pick.at(draw.bits())],
            Latency::Ramp(from, to, over) => {
                let part = if over.is_zero() { 1.0 } else { (since.as_secs_f64() / over.as_secs_f64()).min(1.0) };
                from.mul_f64(1.0 - part) + to.mul_f64(part)
            }
        }
    }
}

/// Orders answered with an error.
#[derive(Debug, Clone, Copy)]
pub struct Errors {
    /// Part of all, 0 to 1.
    pub share: f64,
    /// What they are answered.
    pub status: StatusCode,
    /// What `Retry-After` says (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
}

impl Errors {
    /// Whether the next order is one.
    pub fn draw(&self, draw: &mut Draw) -> bool {
        unit(draw) < self.share
    }
}

fn unit(draw: &mut Draw) -> f64 {
    (draw.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

impl Default for Behaviour {
    fn default() -> Self {
        let latency = Latency::Between(Duration::ZERO, Duration::ZERO);
        Behaviour { latency, errors: None, concurrency: Behaviour::MOST, state: State::Up }
    }
}

impl Behaviour {
    /// Orders at once where nothing is said.
    pub const MOST: usize = 100_000;
}

/// A change of behaviour as it is written; what it leaves out stays as it is. A word alone is a state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change(Written);

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    latency: Option<String>,
    errors: Option<WrittenErrors>,
    concurrency: Option<usize>,
    state: Option<State>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenErrors {
    share: String,
    #[serde(default = "unavailable")]
    status: u16,
    retry_after: Option<String>,
}

fn unavailable() -> u16 {
    503
}

impl Change {
    /// In a few words, for a time line.
    pub fn words(&self) -> String {
        let Written { latency, errors, concurrency, state } = &self.0;
        let mut words: Vec<String> = state.iter().map(|state| state.word().to_owned()).collect();
        words.extend(latency.iter().map(|latency| format!("takes {latency}")));
        words.extend(errors.iter().map(|errors| format!("errs {}", errors.share)));
        words.extend(concurrency.iter().map(|concurrency| format!("works on {concurrency} at once")));
        words.join(", ")
    }

    /// The behaviour after this change.
    pub fn apply(&self, at: &str, to: &Behaviour) -> Result<Behaviour, Invalid> {
        let Written { latency, errors, concurrency, state } = &self.0;
        let mut behaviour = to.clone();
        if let Some(text) = latency {
            behaviour.latency = Latency::parse(&format!("{at}.latency"), text)?;
        }
        if let Some(errors) = errors {
            let status = StatusCode::from_u16(errors.status).ok().filter(|status| status.as_u16() >= 400);
            let no_error = || Invalid::new(format!("{at}.errors.status"), format!("{} is no error", errors.status));
            let retry_after = errors.retry_after.as_deref();
            behaviour.errors = Some(Errors {
                share: text::share(&format!("{at}.errors.share"), &errors.share)?,
                status: status.ok_or_else(no_error)?,
                retry_after: retry_after
                    .map(|text| text::duration(&format!("{at}.errors.retry_after"), text))
                    .transpose()?,
            });
        }
        if let Some(concurrency) = concurrency {
            if !(1..=Behaviour::MOST).contains(concurrency) {
                return Err(Invalid::new(format!("{at}.concurrency"), format!("1 to {}", Behaviour::MOST)));
            }
            behaviour.concurrency = *concurrency;
        }
        behaviour.state = state.unwrap_or(behaviour.state);
        Ok(behaviour)
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;
        impl<'de> Visitor<'de> for WordOrMap {
            type Value = Change;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("up, down, refused, reset, silent, or {latency, errors, concurrency, state}")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Change, E> {
                let state = State::deserialize(serde::de::value::StrDeserializer::new(word))?;
                Ok(Change(Written { state: Some(state), ..Written::default() }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Change, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(Change)
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drawn(text: &str, since: u64) -> Vec<u128> {
        let latency = Latency::parse("latency", text).unwrap();
        let ms = |n| latency.draw(&mut Draw::of(1, n), Duration::from_millis(since)).as_millis();
        (0..1_000).map(ms).collect()
    }

    #[test]
    fn latencies_are_as_they_are_written() {
        assert!(drawn("20ms", 0).iter().all(|ms| *ms == 20));
        let between = drawn("10ms..50ms", 0);
        assert!(between.iter().all(|ms| (10..=50).contains(ms)) && between.iter().any(|ms| *ms > 45));
        let slow = drawn("5ms:90,2s:10", 0).iter().filter(|ms| **ms == 2_000).count();
        assert!((60..140).contains(&slow), "{slow}");
        assert_eq!([0, 5_000, 20_000].map(|since| drawn("100ms..1100ms over 10s", since)[0]), [100, 600, 1_100]);
        for text in ["", "20", "50ms..10ms", "5ms over 10s", "5ms:0", "5ms:x"] {
            assert!(Latency::parse("latency", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let change = |yaml| serde_saphyr::from_str::<Change>(yaml).unwrap();
        let slow = change("{latency: 40ms, concurrency: 4}").apply("erp", &Behaviour::default()).unwrap();
        let down = change("down").apply("erp", &slow).unwrap();
        assert_eq!((down.state, down.concurrency), (State::Down, 4));
        assert_eq!(down.latency.draw(&mut Draw::of(1, 1), Duration::ZERO), Duration::from_millis(40));
        let refused = |yaml| change(yaml).apply("at[2].erp", &slow).unwrap_err().to_string();
        assert_eq!(refused("{errors: {share: 50%, status: 200}}"), "at[2].erp.errors.status: 200 is no error");
        assert!(refused("{concurrency: 0}").starts_with("at[2].erp.concurrency"));
        assert!(serde_saphyr::from_str::<Change>("broken").is_err());
        assert!(serde_saphyr::from_str::<Change>("{latencies: 1ms}").is_err());
    }
}
