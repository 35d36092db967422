//! What is wrong, where, and what was probably meant; rendered with the line in question and a caret.

use std::fmt;

use super::tree::{Place, Source, shown};

/// Problems, and warnings, that are kept; whoever reads more has repaired the first.
pub(crate) const MAX_PROBLEMS: usize = 100;
/// Longest part of a source line that is shown, in characters.
const EXCERPT: usize = 120;

/// One thing wrong (or doubtful) with the configuration. Never carries a value that came from the environment or
/// from another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, as named on the way to it.
    pub file: String,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// What is wrong, with the path of the setting.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: Option<Excerpt>,
    /// Files in the order of reading.
    order: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    indent: usize,
    carets: usize,
}

impl Problem {
    /// A problem at `place`; `hidden` are the places in the same file whose text must not be shown.
    pub(crate) fn new(
        sources: &[Source],
        place: Place,
        hidden: &[Place],
        message: String,
        help: Option<String>,
    ) -> Problem {
        let source = sources.get(place.file);
        Problem {
            file: source.map(|s| shown(&s.shown)).unwrap_or_default(),
            line: place.line,
            column: place.column,
            message,
            help,
            excerpt: source.and_then(|s| excerpt(s, place, hidden)),
            order: place.file,
        }
    }

    /// A problem on a line of which nothing is known but its text: values might be secrets, so only a leading key and
    /// what gives YAML its structure is shown.
    pub(crate) fn of_syntax(sources: &[Source], place: Place, message: String) -> Problem {
        let mut problem = Problem::new(sources, place, &[], message, None);
        if let Some(excerpt) = &mut problem.excerpt {
            let key = excerpt.text.find(": ").or_else(|| excerpt.text.ends_with(':').then_some(excerpt.text.len()));
            let start = key.filter(|at| !excerpt.text[..*at].contains(['"', '\'', '{'])).unwrap_or(0);
            let masked = excerpt.text[start..].chars().map(|c| if " :,-[]{}\"'&*|>#".contains(c) { c } else { '•' });
            excerpt.text = excerpt.text[..start].chars().chain(masked).collect();
        }
        problem
    }

    /// Sorts by file in the order of reading, then by place.
    pub fn sort(problems: &mut [Problem]) {
        problems.sort_by_key(|problem| (problem.order, problem.line, problem.column));
    }

    /// A problem with a file that could not be read as text.
    pub(crate) fn of_file(file: String, line: u32, column: u32, message: String) -> Problem {
        Problem { file, line, column, message, help: None, excerpt: None, order: 0 }
    }
}

fn excerpt(source: &Source, place: Place, hidden: &[Place]) -> Option<Excerpt> {
    let line = source.text.lines().nth(place.line as usize - 1)?;
    let column = place.column as usize - 1;
    let mut characters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = characters.len();
    // A secret may span lines: its first line is hidden from its column on, the others whole.
    for secret in hidden.iter().filter(|s| s.file == place.file && s.line <= place.line) {
        let from = if secret.line == place.line { secret.column as usize - 1 } else { 0 };
        let to = if secret.line == place.line { from + secret.length as usize } else { end };
        let spans = secret.line == place.line || last_line(source, secret) >= place.line;
        if spans {
            for c in characters.iter_mut().take(to).skip(from) {
                *c = '•';
            }
        }
    }
    let start = column.saturating_sub(EXCERPT * 2 / 3);
    end = end.min(start + EXCERPT);
    if start > end {
        return None;
    }
    let text: String = characters.get(start..end)?.iter().collect();
    let carets = (place.length as usize).min(end.saturating_sub(column)).max(1);
    Some(Excerpt { text: text.trim_end().to_owned(), indent: column - start, carets })
}

/// The last line that a value of `place.length` characters reaches.
fn last_line(source: &Source, place: &Place) -> u32 {
    let mut line = place.line;
    let mut left = place.length.saturating_add(place.column) as usize;
    for text in source.text.lines().skip(place.line as usize - 1) {
        let length = text.chars().count() + 1;
        if length >= left {
            break;
        }
        left -= length;
        line += 1;
    }
    line
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}:{}  {}", self.file, self.line, self.column, self.message)?;
        match (&self.excerpt, &self.help) {
            (Some(excerpt), help) => {
                let gutter = self.line.to_string().len().max(5);
                write!(f, "\n{:>gutter$} │ {}", self.line, excerpt.text)?;
                write!(f, "\n{:>gutter$} │ {:indent$}{}", "", "", "^".repeat(excerpt.carets), indent = excerpt.indent)?;
                help.as_ref().map_or(Ok(()), |help| write!(f, " {help}"))
            }
            (None, Some(help)) => write!(f, "\n      {help}"),
            (None, None) => Ok(()),
        }
    }
}

/// A configuration that cannot be used: everything found wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the files.
    pub problems: Vec<Problem>,
    /// Doubtful, but no reason to refuse.
    pub warnings: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let more = if self.problems.len() >= MAX_PROBLEMS { "at least " } else { "" };
        write!(f, "{more}{}", count(self.problems.len(), "error"))?;
        match self.warnings.len() {
            0 => Ok(()),
            n => write!(f, ", {}", count(n, "warning")),
        }
    }
}

/// `1 error`, `2 errors`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The candidates that were probably meant: the nearest one, or those of which `word` is nearly a part, as `timout` of
/// `total_timeout`.
fn meant<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let distance = |a: &str| strsim::damerau_levenshtein(&word, &a.to_lowercase());
    let candidates: Vec<&str> = candidates.into_iter().collect();
    // A typo keeps most letters; a guess beyond a third of them would mislead.
    let near = |candidate: &&&str| distance(candidate) <= (length.max(candidate.chars().count()) / 3).max(1);
    if let Some(nearest) = candidates.iter().filter(near).min_by_key(|candidate| distance(candidate)) {
        return vec![nearest];
    }
    let is_part = |candidate: &&str| candidate.split(['_', '-']).any(|part| distance(part) <= 1);
    if length < 4 { Vec::new() } else { candidates.into_iter().filter(is_part).take(4).collect() }
}

/// `did you mean …?`, if there is something near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let quoted: Vec<String> = meant(word, candidates).iter().map(|candidate| format!("`{candidate}`")).collect();
    let (last, others) = quoted.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    })
}
