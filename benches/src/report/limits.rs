//! Pass lines on latency, as lines in the plots.

use crate::result::RunResult;

/// A bound on a percentile of the response time.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// As it was written.
    pub text: String,
    /// µs.
    pub micros: f64,
}

/// Most of them in a plot.
const MOST: usize = 4;

/// Those of a run: of its pass lines, the ones that read like `p99<25ms`.
pub fn of(run: &RunResult) -> Vec<Limit> {
    let lines = run.verdict.iter().flat_map(|verdict| &verdict.lines);
    lines
        .filter_map(|line| Some(Limit { text: line.wanted.clone(), micros: micros(&line.wanted)? }))
        .take(MOST)
        .collect()
}

fn micros(wanted: &str) -> Option<f64> {
    let (what, bound) = wanted.trim().split_once('<')?;
    what.trim().strip_prefix('p')?.parse::<f64>().ok()?;
    let bound = bound.trim_start_matches('=').trim();
    let unit = bound.find(|letter: char| letter.is_alphabetic() || letter == 'µ')?;
    let (number, unit) = bound.split_at(unit);
    let factor = match unit {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    number.trim().parse::<f64>().ok().map(|number| number * factor).filter(|micros| micros.is_finite() && *micros > 0.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bounds_on_percentiles_are_told_from_other_pass_lines() {
        assert_eq!(super::micros("p99<25ms"), Some(25_000.0));
        assert_eq!(super::micros(" p99.9 <= 1.5 s"), Some(1_500_000.0));
        assert_eq!(super::micros("p50<800us"), Some(800.0));
        for other in
            ["error<0.1%", "lost=0", "p99<25", "p99:+10%", "pass<25ms", "p99<infs", "p99<-1ms", "", "<", "p<1ms"]
        {
            assert_eq!(super::micros(other), None, "{other}");
        }
    }
}
