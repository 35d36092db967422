//! The view: rates and latency as small graphs, figures of the last second and of all, tenants, breakers, marks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, LineGauge, Paragraph, Row, Sparkline, Table};

use super::course::{Course, Past};
use super::plain::clean;
use crate::record::Tally;
use crate::report::{breaker, figures, label_of, units};

/// Lines for the breakers and marks, with their frame.
const EVENTS: u16 = 6;

/// Draws the whole of it.
pub fn render(frame: &mut Frame<'_>, course: &Course, colour: bool) {
    let look = Look { colour };
    let area = frame.area();
    let graphs = if area.height >= 20 { 5 } else { 0 };
    let events = if area.height >= 32 { EVENTS } else { 0 };
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(graphs),
        // With title and header: seven percentiles, or seven outcomes and the causes of failures.
        Constraint::Length(9 + course.whole.failures.len() as u16),
        Constraint::Min(0),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .split(area);
    head(frame, rows[0], course, look);
    if graphs > 0 {
        small_graphs(frame, rows[1], course, look);
    }
    let columns = Layout::horizontal([Constraint::Length(30), Constraint::Min(0)]).spacing(2).split(rows[2]);
    latency(frame, columns[0], course, look);
    outcomes(frame, columns[1], course, look);
    tenants(frame, rows[3], course, look);
    if events > 0 {
        let columns =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).spacing(2).split(rows[4]);
        breakers(frame, columns[0], course, look);
        marks(frame, columns[1], course, look);
    }
    frame.render_widget(Line::styled(foot(course, events == 0), look.dim()), rows[5]);
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Look {
    colour: bool,
}

impl Look {
    fn of(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Only where there is something bad to see.
    fn bad(self, count: u64, colour: Color) -> Style {
        if count > 0 { self.of(colour).add_modifier(Modifier::BOLD) } else { Style::new() }
    }

    fn block(self, title: &str) -> Block<'_> {
        Block::new().borders(Borders::TOP).border_style(self.dim()).title(Span::styled(title, self.strong()))
    }
}

fn head(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let (elapsed, length) = (course.elapsed.as_secs_f64(), course.length.as_secs_f64());
    let time = format!(
        "{} of {}, {} left",
        units::clock(elapsed.floor()),
        units::clock(length),
        units::clock(course.left().as_secs_f64().ceil())
    );
    let [title, gauge] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(
        Line::from(vec![Span::styled("sluis bench ", look.dim()), Span::styled(clean(&course.name), look.strong())]),
        title,
    );
    frame.render_widget(Line::from(time).right_aligned(), title);
    let part = if length > 0.0 { (elapsed / length).clamp(0.0, 1.0) } else { 1.0 };
    let bar = LineGauge::default()
        .ratio(part)
        .label(format!("{:>3.0} %", (part * 100.0).floor()))
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .unfilled_symbol(symbols::line::HORIZONTAL)
        .filled_style(look.of(Color::Blue))
        .unfilled_style(look.dim());
    frame.render_widget(bar, gauge);
}

/// A small graph's title, its colour and what it shows of a second.
type Graph<'a> = (&'a str, Color, fn(&Past) -> u64);

fn small_graphs(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let last = course.history.back().copied().unwrap_or(Past { offered: 0, answered: 0, p99_us: 0 });
    let (offered, planned) = (units::count(last.offered), units::value(course.planned_rate));
    let planned = if planned == offered { String::new() } else { format!(", planned {planned}") };
    let offered = format!("Offered {offered}/s{planned} ");
    let answered = format!("Answered {}/s ", units::count(last.answered));
    let p99 = format!("p99 {}, log ", units::latency(last.p99_us as f64));
    let graphs: [Graph<'_>; 3] = [
        (&offered, Color::Gray, |past| past.offered),
        (&answered, Color::Blue, |past| past.answered),
        // From 100 µs on, a hundred steps for each factor of ten.
        (&p99, Color::Cyan, |past| ((past.p99_us.max(100) as f64 / 100.0).log10() * 100.0) as u64),
    ];
    // The same scale for what is compared.
    let most = course.history.iter().map(|past| past.offered).max().unwrap_or(1).max(1);
    let areas = Layout::horizontal([Constraint::Ratio(1, 3); 3]).spacing(2).split(area);
    for (n, (title, colour, of)) in graphs.iter().enumerate() {
        let inside = areas[n];
        let skipped = course.history.len().saturating_sub(usize::from(inside.width));
        let data: Vec<u64> = course.history.iter().skip(skipped).map(of).collect();
        let graph = Sparkline::default().data(data).style(look.of(*colour)).block(look.block(title));
        frame.render_widget(if n < 2 { graph.max(most) } else { graph }, inside);
    }
}

fn latency(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let value = |tally: &Tally, quantile: f64| match tally.response.count() {
        0 => "–".to_owned(),
        _ => units::latency(tally.response.at(quantile) as f64),
    };
    let quantiles =
        [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];
    let rows = quantiles.map(|(name, quantile)| {
        let style = if name == "p99" { look.strong() } else { Style::new() };
        row([name.to_owned(), value(&course.last, quantile), value(&course.whole, quantile)], style)
    });
    let header = row(["".to_owned(), "now".to_owned(), "whole run".to_owned()], look.dim());
    let widths = [Constraint::Length(8), Constraint::Length(10), Constraint::Length(10)];
    frame.render_widget(Table::new(rows, widths).header(header).block(look.block("Response time ")), area);
}

fn outcomes(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let (last, whole) = (&course.last, &course.whole);
    let mut rows = vec![
        ("ok", last.ok, whole.ok, Style::new()),
        ("shed", last.shed, whole.shed, look.bad(last.shed, Color::Yellow)),
        ("refused", last.refused, whole.refused, look.bad(last.refused, Color::Red)),
        ("failed", last.failed, whole.failed, look.bad(last.failed, Color::Magenta)),
    ];
    for (cause, count) in &whole.failures {
        let now = last.failures.get(cause).copied().unwrap_or_default();
        rows.push((figures::failure(*cause), now, *count, look.bad(now, Color::Magenta)));
    }
    rows.extend([
        ("wrongly let in", last.wrong, whole.wrong, look.bad(whole.wrong, Color::Red)),
        ("unsent", last.unsent, whole.unsent, look.bad(last.unsent, Color::Red)),
        ("late", last.late, whole.late, look.bad(last.late, Color::Yellow)),
    ]);
    let share = |count: u64| units::share(count as f64 / whole.intended.max(1) as f64);
    let rows = rows
        .into_iter()
        .map(|(name, now, all, style)| row([name.to_owned(), units::count(now), units::count(all), share(all)], style));
    let header = row(["".to_owned(), "now".to_owned(), "whole run".to_owned(), "share".to_owned()], look.dim());
    let widths = [Constraint::Length(16), Constraint::Length(8), Constraint::Length(12), Constraint::Length(9)];
    frame.render_widget(Table::new(rows, widths).header(header).block(look.block("Outcomes ")), area);
}

fn tenants(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    if area.height < 3 {
        return;
    }
    let mut tenants: Vec<(&String, &Tally)> = course.tenants.iter().collect();
    tenants.sort_by(|a, b| b.1.intended.cmp(&a.1.intended).then(a.0.cmp(b.0)));
    let shown = usize::from(area.height).saturating_sub(2);
    let latency = |tally: &Tally, quantile: f64| units::latency(tally.response.at(quantile) as f64);
    let rows = tenants.iter().take(shown).map(|(name, tally)| {
        let errors = figures::errors(tally);
        let cells = [
            clean(name),
            units::count(tally.intended),
            units::count(tally.ok),
            units::share(tally.shed_share()),
            units::share(tally.error_share()),
            latency(tally, 0.5),
            latency(tally, 0.99),
        ];
        row(cells, look.bad(errors, Color::Red))
    });
    let header = row(["", "due", "ok", "shed", "errors", "p50", "p99"].map(str::to_owned), look.dim());
    let mut widths = [10, 12, 12, 9, 9, 9, 9].map(Constraint::Length);
    widths[0] = Constraint::Min(10);
    let hidden = tenants.len().saturating_sub(shown);
    let title = if hidden > 0 { format!("Tenants, {hidden} more ") } else { "Tenants ".to_owned() };
    frame.render_widget(Table::new(rows, widths).header(header).block(look.block(&title)), area);
}

fn breakers(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let mut spans = Vec::new();
    for (name, state) in &course.breakers {
        let word = breaker(*state).0;
        let colour = match word {
            "open" => Color::Red,
            "closed" => Color::Green,
            _ => Color::Yellow,
        };
        spans.extend([
            Span::raw(format!("{} ", clean(label_of(name)))),
            Span::styled(word, look.of(colour).add_modifier(Modifier::BOLD)),
            Span::raw("   "),
        ]);
    }
    if spans.is_empty() {
        spans.push(Span::styled("none known", look.dim()));
    }
    let wrap = ratatui::widgets::Wrap { trim: true };
    frame.render_widget(Paragraph::new(Line::from(spans)).wrap(wrap).block(look.block("Breakers ")), area);
}

fn marks(frame: &mut Frame<'_>, area: Rect, course: &Course, look: Look) {
    let shown = usize::from(area.height).saturating_sub(1);
    let lines = course.marks.iter().rev().take(shown).map(|mark| {
        Line::from(vec![
            Span::styled(format!("{:>7}  ", units::clock(mark.at)), look.dim()),
            Span::raw(clean(&mark.text)),
        ])
    });
    frame.render_widget(
        Paragraph::new(lines.collect::<Vec<_>>()).block(look.block("What happened, the last first ")),
        area,
    );
}

/// Where there is no room for the breakers and marks, those that matter.
fn foot(course: &Course, crowded: bool) -> String {
    let mut foot = String::new();
    if crowded {
        let open = course.breakers.iter().filter(|(_, state)| breaker(*state).0 != "closed");
        for (name, state) in open {
            foot += &format!("breaker {} {} · ", clean(label_of(name)), breaker(*state).0);
        }
        if let Some(mark) = course.marks.last() {
            foot += &format!("{} {} · ", units::clock(mark.at), clean(&mark.text));
        }
    }
    foot + "Ctrl-C ends the run and keeps what was measured"
}

/// A name and figures, those to the right.
fn row<const N: usize>(cells: [String; N], style: Style) -> Row<'static> {
    let cells = cells.into_iter().enumerate();
    Row::new(cells.map(|(n, cell)| if n == 0 { Line::from(cell) } else { Line::from(cell).right_aligned() }))
        .style(style)
}
