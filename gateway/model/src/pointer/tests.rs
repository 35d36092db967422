use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn at<'b>(pointer: &str, text: &'b str) -> Option<&'b str> {
    Pointer::parse(pointer).unwrap().find(text).unwrap().map(RawValue::get)
}

#[test]
fn what_stands_at_a_place_is_found_as_it_is_written() {
    let text = r#"{"a": {"b/c": [10, {"~": 1.50}, "x\u0041"]}, "": 7, "é": null, "e": 12345678901234567890123}"#;
    for (pointer, found) in [
        ("", Some(text)),
        ("/", Some("7")),
        ("/é", Some("null")),
        ("/e", Some("12345678901234567890123")),
        ("/a/b~1c/0", Some("10")),
        ("/a/b~1c/1/~0", Some("1.50")),
        ("/a/b~1c/2", Some(r#""x\u0041""#)),
        ("/a/b~1c/3", None),
        ("/a/b~1c/-", None),
        ("/a/b~1c/00", None),
        ("/a/b~1c/+1", None),
        ("/a/b", None),
        ("/é/x", None),
        ("/a/b~1c/0/x", None),
        ("/a/b~1c/2/0", None),
    ] {
        assert_eq!(at(pointer, text), found, "{pointer}");
    }
}

#[test]
fn a_text_that_is_no_pointer_is_none() {
    for text in ["a", "#/a", "/~", "/a~2", "/a/~/b", " /a"] {
        assert_eq!(Pointer::parse(text), None, "{text}");
    }
}

#[test]
fn what_two_readers_could_take_differently_is_no_place() {
    let pointer = Pointer::parse("/a/b").unwrap();
    for text in [
        r#"{"a": {"b": 1, "b": 1}}"#,
        r#"{"a": {"b": 1}, "a": {}}"#,
        r#"{"a": {"b": 1, "\u0062": 2}}"#,
        r#"{"a": {"b": 1}} {}"#,
        r#"{"a": {"b": 01}}"#,
        r#"{"a": {"b": 1}, }"#,
        "",
        " ",
    ] {
        assert!(pointer.find(text).is_err(), "{text}");
    }
    // Beside the way it is nobody's business.
    assert!(pointer.find(r#"{"c": {"d": 1, "d": 2}, "a": {"b": 1}}"#).is_ok());
}

#[test]
fn a_place_deeper_than_any_reader_goes_is_refused_instead_of_followed() {
    let steps = 200;
    let text = format!("{}1{}", r#"{"a":"#.repeat(steps), "}".repeat(steps));
    assert!(Pointer::parse(&"/a".repeat(steps)).unwrap().find(&text).is_err());
}

proptest! {
    #[test]
    fn a_place_is_the_one_that_a_tree_has_there(value in any_value(), pointer in "(/[ab01]){0,3}") {
        let text = value.to_string();
        let found = at(&pointer, &text).map(|text| serde_json::from_str::<Value>(text).unwrap());
        prop_assert_eq!(found.as_ref(), value.pointer(&pointer));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[a-z\"é]{0,3}".prop_map(Value::from)];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[ab01]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
