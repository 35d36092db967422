//! Text of guests made fit for a log: no control character, no change of direction, bounded.

/// What a cut text ends with.
const CUT: char = '…';

/// `text` with control and direction-changing characters written as escapes, cut to `max` bytes at a character.
pub(crate) fn escape(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hostile(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        if out.len() > max {
            out.truncate(before);
            while out.len() + CUT.len_utf8() > max && out.pop().is_some() {}
            if max >= CUT.len_utf8() {
                out.push(CUT);
            }
            break;
        }
    }
    out
}

/// Characters that move a terminal's cursor, end a line, or make text read other than it is.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a188_control_characters_become_escapes() {
        assert_eq!(escape("a\nb\u{1b}[31mred\0", 100), "a\\nb\\u{1b}[31mred\\u{0}");
        assert_eq!(escape("safe\u{202e}gpj.exe", 100), "safe\\u{202e}gpj.exe");
        assert_eq!(escape("\u{9b}31m\u{2028}", 100), "\\u{9b}31m\\u{2028}");
        assert_eq!(escape("grüße, 世界", 100), "grüße, 世界");
    }

    #[test]
    fn a180_long_text_is_cut_at_a_character() {
        for max in 0..40 {
            let cut = escape("grüße an alle \u{1b} und noch viel mehr Text dahinter", max);
            assert!(cut.len() <= max, "{max}: {cut:?}");
        }
        assert_eq!(escape("abcdef", 6), "abcdef");
        assert_eq!(escape("abcdefg", 6), "abc…");
    }
}
