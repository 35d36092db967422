use proptest::prelude::*;

use super::super::{KEY_BYTES, Key, KeyFault};

fn read(value: &str) -> Option<String> {
    Key::from_field(value.as_bytes()).ok().map(|key| key.to_string())
}

#[test]
fn a_key_is_a_string_of_the_field_or_a_bare_word() {
    for (value, key) in [
        (r#""8e03978e-40d5-43dd-bc93-6894a57f9324""#, "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r#"" a, b; c ""#, " a, b; c "),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        (r#"a\b"#, r#"a\b"#),
        (r#"  "a"  "#, "a"),
        ("#1/2:3=4", "#1/2:3=4"),
        (r#""a";b"#, "a"),
        (r#""a";b; c=1;d=-1.5;e="x\"y";f=?1;g=:aGk=:;*h=tok/en:x;b=2"#, "a"),
    ] {
        assert_eq!(read(value).as_deref(), Some(key), "{value}");
    }
}

#[test]
fn anything_else_is_malformed() {
    for value in [
        "",
        " ",
        r#""""#,
        r#"""#,
        r#""a"#,
        r#"a""#,
        r#""a"b"#,
        r#""a" b"#,
        r#""a","b""#,
        r#""a" ;b"#,
        r#""a\b""#,
        r#""a\"#,
        "\"a\tb\"",
        "\"é\"",
        "é",
        "a b",
        "a,b",
        "a;b",
        "a\tb",
        r#""a";"#,
        r#""a";;b"#,
        r#""a";B"#,
        r#""a";1"#,
        r#""a";b="#,
        r#""a";b=?2"#,
        r#""a";b=-"#,
        r#""a";b=1."#,
        r#""a";b=1.2345"#,
        r#""a";b=1234567890123456"#,
        r#""a";b=1234567890123.1"#,
        r#""a";b=:a"#,
        r#""a";b=:a-:"#,
        r#""a";b=(1 2)"#,
        r#""a";b="c"#,
    ] {
        assert_eq!(read(value), None, "{value}");
    }
    assert_eq!(Key::from_field(b"\"\xff\""), Err(KeyFault::Malformed));
}

#[test]
fn a_key_has_1_to_255_printable_characters() {
    let longest = "~".repeat(KEY_BYTES);
    assert_eq!(read(&longest).as_deref(), Some(&*longest));
    assert_eq!(read(&format!("\"{longest}\"")).as_deref(), Some(&*longest));
    assert_eq!(read(&format!("{longest}~")), None);
    assert_eq!(read(&format!("\"{longest}~\"")), None);
    for text in ["", "a\n", "\u{7f}", "é", &format!("{longest}~")] {
        assert_eq!(Key::new(text), Err(KeyFault::Malformed), "{text:?}");
    }
}

proptest! {
    #[test]
    fn every_key_can_be_sent_quoted(text in "[ -~]{1,255}") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(read(&quoted), Some(text));
    }

    /// What begins with a quote is read as an independent reader of structured fields reads it.
    #[test]
    fn a_quoted_value_is_what_another_reader_makes_of_it(rest in any_rest()) {
        let value = format!("\"{rest}");
        let expected = sfv::Parser::parse_item(value.as_bytes()).ok().and_then(|item| match item.bare_item {
            sfv::BareItem::String(text) => Key::new(&text).ok(),
            _ => None,
        });
        prop_assert_eq!(Key::from_field(value.as_bytes()).ok(), expected, "{}", value);
    }

    #[test]
    fn nothing_makes_it_fail_otherwise(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(key) = Key::from_field(&value) {
            prop_assert_eq!(Key::new(key.as_str()), Ok(key));
        }
    }
}

/// Pieces of what follows the first quote, mostly well-formed. The content of byte sequences is left out: whether their
/// last bits must be zero is where readers differ.
fn any_rest() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "\"", "\"", ";a", ";a=", "; *b-", "1", "-1.5", "?0", "tok", "\\\"", "\\\\", "\\", " ", ";", ",", "=", ".", "é",
    ];
    let piece = prop_oneof![4 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => "[ -~]{0,3}"];
    let whole = |text: Vec<String>| text.concat().replace(':', "");
    proptest::collection::vec(piece, 0..8).prop_map(whole)
}
