//! The picture: orders accepted and delivered in each second, and what waits in between.

use std::fmt::Write;

use super::Course;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 180.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 50.0;

/// An SVG of two panels over one time axis.
pub fn svg(course: Course, accepted: &[u64], delivered: &[u64]) -> String {
    let length = accepted.len().max(delivered.len()).max(1);
    let at = |series: &[u64], second: usize| series.get(second).copied().unwrap_or(0) as f64;
    let mut waiting = Vec::with_capacity(length);
    let mut sum = 0.0;
    for second in 0..length {
        sum += at(accepted, second) - at(delivered, second);
        waiting.push(sum);
    }
    let rates: [Vec<f64>; 2] = [accepted, delivered].map(|series| (0..length).map(|n| at(series, n)).collect());
    let height = 2.0 * PANEL + 3.0 * GAP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + LEFT + 30.0
    );
    let x = |second: f64| LEFT + second / length as f64 * WIDTH;
    let (down, up) = (x(course.down.as_secs_f64()), x(course.up.as_secs_f64()));
    let _ = writeln!(
        out,
        "<rect x=\"{down:.1}\" y=\"{GAP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#fbe9e7\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#b71c1c\">ERP down</text>",
        up - down,
        2.0 * PANEL + GAP,
        down + 6.0,
        GAP + 16.0
    );
    panel(&mut out, GAP, "orders a second", &[("accepted", "#1565c0", &rates[0]), ("delivered", "#2e7d32", &rates[1])]);
    panel(&mut out, 2.0 * GAP + PANEL, "orders waiting", &[("waiting", "#6a1b9a", &waiting)]);
    let bottom = 2.0 * GAP + 2.0 * PANEL + 16.0;
    for tick in 0..=8 {
        let second = length as f64 * f64::from(tick) / 8.0;
        let _ =
            writeln!(out, "<text x=\"{:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{second:.0} s</text>", x(second));
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, title: &str, series: &[(&str, &str, &Vec<f64>)]) {
    let most = series.iter().flat_map(|(_, _, values)| values.iter().copied()).fold(1.0, f64::max);
    let _ = writeln!(
        out,
        "<text x=\"6\" y=\"{:.1}\">{title}</text>\
         <line x1=\"{LEFT}\" y1=\"{b}\" x2=\"{r}\" y2=\"{b}\" stroke=\"#999\"/><line x1=\"{LEFT}\" y1=\"{top}\" x2=\"{LEFT}\" y2=\"{b}\" stroke=\"#999\"/>\
         <text x=\"{l}\" y=\"{t}\" text-anchor=\"end\">{most:.0}</text><text x=\"{l}\" y=\"{b}\" text-anchor=\"end\">0</text>",
        top - 6.0,
        b = top + PANEL,
        r = LEFT + WIDTH,
        l = LEFT - 6.0,
        t = top + 10.0,
    );
    for (n, (name, colour, values)) in series.iter().enumerate() {
        let length = values.len().max(1) as f64;
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(second, value)| {
                let (x, y) = (LEFT + second as f64 / length * WIDTH, top + PANEL - value.max(0.0) / most * PANEL);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            LEFT + 120.0 + 90.0 * n as f64,
            top - 6.0
        );
    }
}
