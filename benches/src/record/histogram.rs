//! Latencies as an HdrHistogram: exact to three digits, merged without loss.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The highest latency told apart, µs: ten minutes. What takes longer counts as this.
pub const HIGHEST_US: u64 = 600_000_000;

/// Latencies in microseconds, 1 µs to ten minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// How exactly a histogram tells values apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// Two significant digits, for the many of a time line: 20 KiB at most.
    Two = 2,
    /// Three significant digits, for the whole of a run.
    Three = 3,
}

impl Histogram {
    /// Empty.
    ///
    /// # Panics
    /// Never: the bounds are constants that the library takes.
    #[allow(clippy::expect_used)]
    pub fn new(digits: Digits) -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST_US, digits as u8);
        Histogram(histogram.expect("bounds that the library takes"))
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, HIGHEST_US));
    }

    /// Counts a latency of so many µs as often as that.
    pub fn record_n(&mut self, micros: u64, count: u64) {
        self.0.saturating_record_n(micros.clamp(1, HIGHEST_US), count);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        // Fails only where a value is past the highest, which is the same for all.
        let _ = self.0.add(&other.0);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency, µs, that this share (0 to 1) of the values does not exceed; 0 where nothing was counted.
    pub fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// The highest, µs.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The mean, µs.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Each recorded value, µs, with its count, ascending: for percentile curves and resampling.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value()))
    }
}

/// As written: the usual figures for whoever reads the file, and the whole in HdrHistogram's V2 format with deflate,
/// base64, which is what is read back.
#[derive(Serialize, Deserialize)]
struct Written {
    count: u64,
    mean_us: f64,
    p50_us: u64,
    p90_us: u64,
    p95_us: u64,
    p99_us: u64,
    p999_us: u64,
    p9999_us: u64,
    max_us: u64,
    hdr: String,
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        let at = |quantile| self.at(quantile);
        let written = Written {
            count: self.count(),
            mean_us: self.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: self.max(),
            hdr: STANDARD.encode(bytes),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(deserializer)?;
        let bytes = STANDARD.decode(written.hdr).map_err(D::Error::custom)?;
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| D::Error::custom(format!("{e:?}")))?;
        // What comes from a file or a network decides about no more memory than what is recorded here.
        if read.sigfig() > Digits::Three as u8 || read.high() > HIGHEST_US {
            return Err(D::Error::custom(format!("a histogram of other bounds than latencies up to {HIGHEST_US} µs")));
        }
        Ok(Histogram(read))
    }
}
