//! Latencies as an HdrHistogram: exact to three digits, merged without loss.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The highest latency told apart, µs: ten minutes. What takes longer counts as this.
pub const HIGHEST_US: u64 = 600_000_000;

type Open = hdrhistogram::Histogram<u64>;

/// Latencies in microseconds, 1 µs to ten minutes. Grows with the highest that it counted.
#[derive(Debug, Clone)]
pub struct Histogram {
    digits: Digits,
    /// While it is counted in.
    open: Option<Open>,
    /// Otherwise: each value that was counted, and how often; ascending.
    packed: Box<[(u32, u32)]>,
}

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
    pub fn new(digits: Digits) -> Self {
        Histogram { digits, open: None, packed: Box::default() }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // Fails only where it may not grow.
        let _ = self.open().record(micros.clamp(1, HIGHEST_US));
    }

    /// Counts a latency of so many µs as often as that.
    pub fn record_n(&mut self, micros: u64, count: u64) {
        let _ = self.open().record_n(micros.clamp(1, HIGHEST_US), count);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        let Some(theirs) = &other.open else {
            return if !other.packed.is_empty() {
                count(self.open(), &other.packed)
            };
        };
        let _ = self.open().add(theirs);
    }

    /// Gives back the memory of all that was not counted, for one that is done: a second of a time line. Everything can
    /// still be done with it, slower.
    pub fn pack(&mut self) {
        let Some(open) = &self.open else { return };
        let counts = open.iter_recorded().map(|value| {
            let count = u32::try_from(value.count_at_value()).ok()?;
            Some((u32::try_from(value.value_iterated_to()).ok()?, count))
        });
        // Counts that do not fit stay as they are.
        if let Some(packed) = counts.collect::<Option<Vec<_>>>() {
            *self = Histogram { digits: self.digits, open: None, packed: packed.into() };
        }
    }

    /// To count in.
    fn open(&mut self) -> &mut Open {
        let (digits, packed) = (self.digits, &mut self.packed);
        self.open.get_or_insert_with(|| unpack(digits, &std::mem::take(packed)))
    }

    fn whole(&self) -> Cow<'_, Open> {
        self.open.as_ref().map_or_else(|| Cow::Owned(unpack(self.digits, &self.packed)), Cow::Borrowed)
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        let packed = || self.packed.iter().map(|(_, count)| u64::from(*count)).sum();
        self.open.as_ref().map_or_else(packed, Open::len)
    }

    /// The latency, µs, that this share (0 to 1) of the values does not exceed; 0 where nothing was counted.
    pub fn at(&self, quantile: f64) -> u64 {
        let open = self.whole();
        if open.is_empty() { 0 } else { open.value_at_quantile(quantile) }
    }

    /// The highest, µs.
    pub fn max(&self) -> u64 {
        self.whole().max()
    }

    /// The mean, µs.
    pub fn mean(&self) -> f64 {
        self.whole().mean()
    }

    /// Each recorded value, µs, with its count, ascending: for percentile curves and resampling.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts: Vec<_> =
            self.whole().iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect();
        counts.into_iter()
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

/// # Panics
/// Never: two and three are numbers of digits that the library takes.
#[allow(clippy::expect_used)]
fn unpack(digits: Digits, packed: &[(u32, u32)]) -> Open {
    let mut open = Open::new(digits as u8).expect("two or three digits");
    count(&mut open, packed);
    open
}

fn count(open: &mut Open, packed: &[(u32, u32)]) {
    for (value, times) in packed {
        // Fails only where it may not grow.
        let _ = open.record_n(u64::from(*value), u64::from(*times));
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
        V2DeflateSerializer::new().serialize(&self.whole(), &mut bytes).map_err(serde::ser::Error::custom)?;
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
        let mut read: Open =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| D::Error::custom(format!("{e:?}")))?;
        // What comes from a file or a network decides about no more memory than what is recorded here. A histogram that
        // grows as it counts covers up to twice what it counted.
        if read.sigfig() > Digits::Three as u8 || read.high() > 2 * HIGHEST_US {
            return Err(D::Error::custom(format!("a histogram of other bounds than latencies up to {HIGHEST_US} µs")));
        }
        // As one that was counted here: it may be merged into.
        read.auto(true);
        let digits = if read.sigfig() == Digits::Two as u8 { Digits::Two } else { Digits::Three };
        Ok(Histogram { digits, open: Some(read), packed: Box::default() })
    }
}
