//! A table for the terminal: columns as wide as their widest cell.

/// How a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A cell without what a terminal would obey: what customers and plugins wrote is only to be read.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lines of a table with a heading and a rule under it. Rows shorter than the heading are filled with nothing.
pub fn render(heading: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize, title: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([title.chars().count()]).max().unwrap_or_default()
    };
    let columns: Vec<(Align, usize)> =
        heading.iter().enumerate().map(|(column, (title, align))| (*align, width(column, title))).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (align, width) in &columns {
            let cell = cells.next().unwrap_or_default();
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut heading.iter().map(|(title, _)| *title));
    let rules: Vec<String> = columns.iter().map(|(_, width)| "─".repeat(*width)).collect();
    text.push_str(&line(&mut rules.iter().map(String::as_str)));
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_commands_no_terminal() {
        let text = render(&[("key", Align::Left)], &[vec!["a\u{1b}[2Jb\nc".to_owned()]]);
        assert_eq!(text, "key\n────────\na\u{fffd}[2Jb\u{fffd}c\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["Żółć".to_owned(), "7".to_owned()], vec!["a".to_owned(), "1234".to_owned(), "end".to_owned()]];
        let text = render(&[("name", Align::Left), ("ms", Align::Right), ("x", Align::Left)], &rows);
        assert_eq!(text, "name    ms  x\n────  ────  ───\nŻółć     7\na     1234  end\n");
    }
}
