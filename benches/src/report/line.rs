//! Lines and areas as SVG path data: gaps where nothing was seen, and never more points than an eye can tell apart.

use std::fmt::Write;

/// Most points of a line. A plot is a thousand units wide.
pub const MOST_POINTS: usize = 1_200;

/// A place on the time line (or another x axis) and the value there; `None` where nothing was seen.
pub type Point = (f64, Option<f64>);

/// The same line with at most `most` points: of each stretch the lowest and the highest value, in their order.
pub fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil((most / 2).max(1));
    points.chunks(stretch).flat_map(extremes).collect()
}

fn extremes(stretch: &[Point]) -> Vec<Point> {
    let value = |at: &usize| stretch[*at].1.unwrap_or_default();
    let seen = || (0..stretch.len()).filter(|at| stretch[*at].1.is_some());
    let lowest = seen().min_by(|a, b| value(a).total_cmp(&value(b)));
    let highest = seen().max_by(|a, b| value(a).total_cmp(&value(b)));
    match (lowest, highest) {
        (Some(low), Some(high)) if low == high => vec![stretch[low]],
        (Some(low), Some(high)) => vec![stretch[low.min(high)], stretch[low.max(high)]],
        _ => stretch.first().map(|first| (first.0, None)).into_iter().collect(),
    }
}

/// Through these places; a point alone becomes a dot where the stroke's ends are round.
pub fn through(places: &[(f64, Option<f64>)]) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (n, (x, y)) in places.iter().enumerate() {
        let Some(y) = y else {
            drawing = false;
            continue;
        };
        let _ = write!(path, "{}{x:.1} {y:.1}", if drawing { "L" } else { "M" });
        if !drawing && places.get(n + 1).is_none_or(|next| next.1.is_none()) {
            path.push_str("h0");
        }
        drawing = true;
    }
    path
}

/// Holds each value until the next one.
pub fn steps(places: &[(f64, f64)], end: f64) -> String {
    let mut path = String::new();
    for (n, (x, y)) in places.iter().enumerate() {
        let until = places.get(n + 1).map_or(end, |next| next.0);
        let _ = if n == 0 { write!(path, "M{x:.1} {y:.1}H{until:.1}") } else { write!(path, "V{y:.1}H{until:.1}") };
    }
    path
}

/// As [`steps`], closed down to the floor.
pub fn filled_steps(places: &[(f64, f64)], end: f64, floor: f64) -> String {
    let Some((start, _)) = places.first() else { return String::new() };
    format!("{}V{floor:.1}H{start:.1}Z", steps(places, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_line_keeps_its_peaks_and_its_gaps() {
        let mut points: Vec<Point> = (0..100_000).map(|n| (f64::from(n), Some(f64::from(n % 7)))).collect();
        points[54_321].1 = Some(1e6);
        points[54_400].1 = Some(-5.0);
        points[70_000..80_000].iter_mut().for_each(|point| point.1 = None);
        let thin = thinned(&points, MOST_POINTS);
        assert!(thin.len() <= MOST_POINTS, "{}", thin.len());
        assert!(thin.contains(&(54_321.0, Some(1e6))) && thin.contains(&(54_400.0, Some(-5.0))));
        assert!(thin.iter().any(|point| point.1.is_none()));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn paths_break_at_gaps_and_show_single_points() {
        let places = [(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(4.0)), (4.0, None)];
        assert_eq!(through(&places), "M0.0 1.0L1.0 2.0M3.0 4.0h0");
        assert_eq!(through(&[]), "");
        assert_eq!(filled_steps(&[(0.0, 5.0), (1.0, 6.0)], 2.0, 9.0), "M0.0 5.0H1.0V6.0H2.0V9.0H0.0Z");
        assert_eq!(filled_steps(&[], 2.0, 9.0), "");
    }
}
