//! Text for fields that hold only so much.

use alloc::borrow::Cow;

/// The first `most` characters of `text`.
pub fn cut(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    // No text has more characters than bytes.
    if text.len() <= most {
        return text;
    }
    match text.char_indices().nth(most).map(|(end, _)| end) {
        None => text,
        Some(end) => match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_never_split() {
        for (text, most, is) in
            [("abc", 3, "abc"), ("abcd", 3, "abc"), ("äöü", 3, "äöü"), ("äöü", 2, "äö"), ("日本", 1, "日"), ("", 0, "")]
        {
            assert_eq!(cut(Cow::Borrowed(text), most), is);
            assert_eq!(cut(Cow::Owned(text.into()), most), is);
        }
    }
}
