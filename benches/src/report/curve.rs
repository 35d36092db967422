//! Percentile curves as HdrHistogram draws them: each further nine takes equal room.

use maud::Markup;

use super::plot::{Across, Curve, Frame, Plot};
use super::scale::{Axis, nines};
use super::units;
use crate::record::Histogram;

/// A line of the plot.
pub struct Distribution<'a> {
    /// In the legend.
    pub name: String,
    /// Its colour.
    pub class: &'static str,
    /// The latencies.
    pub of: &'a Histogram,
}

/// Latency by percentile, over each other.
pub fn plot(distributions: &[Distribution<'_>], group: &str, frame: Frame) -> Markup {
    let counted = || distributions.iter().filter(|one| one.of.count() > 0);
    let highest = counted().map(|one| one.of.max()).max().unwrap_or_default();
    let lowest = counted().map(|one| one.of.at(0.05)).min().unwrap_or_default();
    let most = counted().map(|one| nines(last(one.of))).fold(1.0, f64::max);
    let y = Axis::latency(lowest as f64, highest as f64);
    let title = if y.is_logarithmic() { "Latency by percentile, log scale" } else { "Latency by percentile" };
    let lines = counted().map(|one| Curve::line(&one.name, one.class, &points(one.of)));
    Plot {
        title,
        group,
        x: Axis::quantiles(most),
        across: Across::Nines,
        y,
        frame,
        marks: &[],
        limits: Vec::new(),
        backdrop: None,
        areas: Vec::new(),
        lines: lines.collect(),
        write: units::latency,
    }
    .draw()
}

/// The quantile of the highest value: half a value below the whole.
fn last(histogram: &Histogram) -> f64 {
    1.0 - 0.5 / histogram.count().max(1) as f64
}

/// The quantile function: a value holds from the share of those below it up to the share that includes it.
fn points(histogram: &Histogram) -> Vec<(f64, Option<f64>)> {
    let (all, last) = (histogram.count() as f64, last(histogram));
    let mut points = Vec::new();
    let mut below = 0;
    for (value, count) in histogram.counts() {
        let until = below + count;
        points.push((nines(below as f64 / all), Some(value as f64)));
        points.push((nines((until as f64 / all).min(last)), Some(value as f64)));
        below = until;
    }
    points
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Digits;

    #[test]
    fn the_curve_is_the_quantile_function() {
        let mut histogram = Histogram::new(Digits::Three);
        (0..900).for_each(|_| histogram.record(Duration::from_micros(100)));
        (0..100).for_each(|_| histogram.record(Duration::from_micros(900)));
        let points = points(&histogram);
        let places: Vec<(f64, f64)> =
            points.iter().map(|(x, y)| ((x * 100.0).round() / 100.0, y.unwrap_or(0.0))).collect();
        assert_eq!(places, [(0.0, 100.0), (1.0, 100.0), (1.0, 900.0), (3.3, 900.0)]);
    }
}
