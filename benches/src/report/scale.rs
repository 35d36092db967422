//! Axes: from a value to its place, with ticks where a person would put them.

use super::units;

/// Beyond this ratio between its ends an axis of latencies is logarithmic.
const LINEAR_UP_TO: f64 = 25.0;

/// A value's way to a place between 0 (the low end) and 1.
#[derive(Debug, Clone)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Where there is a line and what stands beside it, ascending.
    pub ticks: Vec<Tick>,
}

/// A line of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Its place, 0 to 1.
    pub place: f64,
    /// What stands beside it.
    pub label: String,
}

impl Axis {
    /// From 0 to this value or a little more, evenly.
    pub fn amount(most: f64, label: fn(f64) -> String) -> Self {
        let most = units::finite(most);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_up(most / 4.0);
        let high = (most / step - 1e-9).ceil() * step;
        Axis::with(0.0, high, false, multiples(step, high), label)
    }

    /// Latencies in µs: evenly from 0, or logarithmic where they are far apart.
    pub fn latency(low: f64, high: f64) -> Self {
        let high = units::finite(high).max(1.0);
        let low = units::finite(low).clamp(1.0, high);
        if high / low <= LINEAR_UP_TO { Axis::amount(high, units::latency) } else { Axis::logarithmic(low, high) }
    }

    /// Latencies in µs, logarithmic.
    pub fn logarithmic(low: f64, high: f64) -> Self {
        let high = round_up(units::finite(high).max(1.0));
        let low = round_down(units::finite(low).clamp(1.0, high));
        let low = if low < high { low } else { high / 10.0 };
        let decades = (high / low).log10();
        let mantissas: &[f64] = if decades > 2.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut ticks = Vec::new();
        for power in (low.log10().floor() as i32)..=(high.log10().ceil() as i32) {
            ticks.extend(mantissas.iter().map(|mantissa| mantissa * 10f64.powi(power)));
        }
        ticks.retain(|tick| *tick >= low * 0.999 && *tick <= high * 1.001);
        Axis::with(low, high, true, ticks, units::latency)
    }

    /// Seconds of a run, from its first moment.
    pub fn time(seconds: f64) -> Self {
        const STEPS: [f64; 15] =
            [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
        let high = units::finite(seconds).max(1.0);
        let step = STEPS.into_iter().find(|step| high / step <= 12.0).unwrap_or_else(|| round_up(high / 12.0));
        Axis::with(0.0, high, false, multiples(step, high), units::clock)
    }

    /// Quantiles as in HdrHistogram's plots: the value is log₁₀ of 1/(1-q), so that each further nine takes equal room.
    pub fn quantiles(most: f64) -> Self {
        let high = units::finite(most).clamp(1.0, 12.0);
        let shown = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.999_999_9];
        let mut axis = Axis { low: 0.0, high, logarithmic: false, ticks: Vec::new() };
        let ticks = shown.map(|q| (nines(q), units::quantile(q))).into_iter().filter(|(at, _)| *at <= high * 1.001);
        axis.ticks = ticks.map(|(at, label)| Tick { place: at / high, label }).collect();
        axis
    }

    fn with(low: f64, high: f64, logarithmic: bool, ticks: Vec<f64>, label: fn(f64) -> String) -> Self {
        let mut axis = Axis { low, high, logarithmic, ticks: Vec::new() };
        axis.ticks = ticks.into_iter().map(|tick| Tick { place: axis.place(tick), label: label(tick) }).collect();
        axis
    }

    /// Where this value is, from 0 to 1; what lies beyond an end is at that end.
    pub fn place(&self, value: f64) -> f64 {
        let value = units::finite(value).clamp(self.low, self.high);
        let place = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        units::finite(place).clamp(0.0, 1.0)
    }

    /// Its lowest and highest value.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Whether equal ratios, not equal differences, take equal room.
    pub fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }
}

/// The place of a quantile on the axis of [`Axis::quantiles`].
pub fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile.clamp(0.0, 1.0 - 1e-12)).log10()
}

/// 1, 2 or 5 times a power of ten, not below this.
fn round_up(value: f64) -> f64 {
    let power = power_of_ten(value);
    let choice = [1.0, 2.0, 5.0].into_iter().find(|choice| *choice >= value / power - 1e-6);
    choice.unwrap_or(10.0) * power
}

/// 1, 2 or 5 times a power of ten, not above this.
fn round_down(value: f64) -> f64 {
    let power = power_of_ten(value);
    let choice = [5.0, 2.0].into_iter().find(|choice| *choice <= value / power + 1e-6);
    choice.unwrap_or(1.0) * power
}

/// The highest one not above this.
fn power_of_ten(value: f64) -> f64 {
    10f64.powf((value.max(1e-9).log10() + 1e-9).floor())
}

fn multiples(step: f64, high: f64) -> Vec<f64> {
    let many = (high / step + 1e-6).floor().min(40.0) as u32;
    (0..=many).map(|n| f64::from(n) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_where_a_person_puts_them() {
        assert_eq!(labels(&Axis::amount(4_998.0, units::short)), ["0", "2,000", "4,000", "6,000"]);
        assert_eq!(labels(&Axis::latency(3_000.0, 11_800.0)), ["0", "5 ms", "10 ms", "15 ms"]);
        assert_eq!(labels(&Axis::latency(800.0, 2_100_000.0)), ["1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(
            labels(&Axis::time(120.0)),
            ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "1:00", "1:10", "1:20", "1:30", "1:40", "1:50", "2:00"]
        );
        assert_eq!(labels(&Axis::quantiles(4.2)), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn every_value_has_a_place_between_the_ends() {
        let axes = [
            Axis::amount(0.0, units::short),
            Axis::amount(f64::NAN, units::short),
            Axis::amount(f64::MAX, units::short),
            Axis::latency(0.0, 0.0),
            Axis::latency(5.0, 1.0),
            Axis::latency(1.0, 600_000_000.0),
            Axis::logarithmic(1_000.0, 1_000.0),
            Axis::time(0.0),
            Axis::time(f64::INFINITY),
            Axis::quantiles(0.0),
        ];
        for axis in &axes {
            assert!(axis.ticks.len() >= 2 && axis.ticks.len() <= 45, "{axis:?}");
            assert!(axis.ticks.windows(2).all(|pair| pair[0].place < pair[1].place), "{axis:?}");
            for value in [0.0, -1.0, 1.0, 1e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let place = axis.place(value);
                assert!((0.0..=1.0).contains(&place), "{axis:?}: {value} at {place}");
            }
        }
    }
}
