#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use std::string::ToString;
use std::vec::Vec;

use super::*;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Order<'a> {
    #[serde(borrow)]
    id: Field<'a>,
    #[serde(borrow)]
    name: Field<'a>,
    #[serde(borrow)]
    buyer: Option<Object<Buyer<'a>>>,
    #[serde(borrow)]
    lines: Vec<Object<Line<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Buyer<'a> {
    #[serde(borrow)]
    email: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    price: Field<'a>,
    #[serde(rename = "a/b~c", borrow)]
    odd: Vec<Object<Line<'a>>>,
}

fn pointer_of(text: &str) -> String {
    parse::<Order<'_>>(text.as_bytes()).map(|_| ()).unwrap_err().pointer
}

#[test]
fn a_value_of_the_wrong_shape_is_pointed_at() {
    for (text, pointer) in [
        (r#"[]"#, ""),
        (r#""order""#, ""),
        (r#"{"lines":{}}"#, "/lines"),
        (r#"{"lines":"none"}"#, "/lines"),
        (r#"{"id":1,"lines":7}"#, "/lines"),
        (r#"{"id":{"a":[1]},"lines":[{"price":"1"},{"price":[",",{}]},3]}"#, "/lines/2"),
        ("{\n \"id\": 1,\n \"lines\": [\n  {},\n  true\n ]}", "/lines/1"),
        (r#"{"lines":[{"a/b~c":[{},{"a/b~c":{}}]}]}"#, "/lines/0/a~1b~0c/1/a~1b~0c"),
        (r#"{"buyer":[],"id":2}"#, "/buyer"),
        (r#"{"x":"\"}],{","buyer":false}"#, "/buyer"),
    ] {
        assert_eq!(pointer_of(text), pointer, "{text}");
    }
}

#[test]
fn what_is_not_json_is_wrong_as_a_whole() {
    for text in
        ["", " ", "{", "{\"id\":}", "{\"id\":1}x", "{'id':1}", "\u{feff}{}", "{\"lines\":[{\"price\":1,}]}", "<order/>"]
    {
        assert_eq!(pointer_of(text), "", "{text:?}");
    }
    assert_eq!(parse::<Order<'_>>(b"{\"id\":\"\xff\"}").map(|_| ()).unwrap_err().pointer, "");
}

#[test]
fn leaves_say_what_they_are_or_where_they_stand() {
    let text = r#"{"id": 820982911946154508, "name": "caf\u00e9 \"1\"", "buyer": {"email": null}, "lines": [{"price": "12.50"}, {"price": 12.50}, {"price": true}, {}]}"#;
    let order: Order<'_> = parse(text.as_bytes()).unwrap();
    let at = At::ROOT;
    assert_eq!(order.id.integer(&at.key("id")), Ok(820_982_911_946_154_508));
    assert_eq!(order.name.text(&at.key("name")).unwrap(), "café \"1\"");
    assert_eq!(order.buyer.unwrap().0.email.optional_text(&at.key("email")), Ok(None));
    let lines_at = at.key("lines");
    let price = |index: usize| order.lines[index].0.price.decimal(&lines_at.index(index).key("price"));
    assert_eq!(price(0).unwrap().to_string(), "12.50");
    assert_eq!(price(1).unwrap().to_string(), "12.50");
    assert_eq!(price(2).unwrap_err().pointer, "/lines/2/price");
    assert_eq!(price(3).unwrap_err().pointer, "/lines/3/price");
    assert_eq!(order.id.text(&at.key("id")).unwrap_err().pointer, "/id");
}

#[test]
fn deep_nesting_in_what_nobody_reads_is_skipped() {
    let deep = format!("{{\"other\":{}{},\"id\":1}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(parse::<Order<'_>>(deep.as_bytes()).unwrap().id.integer(&At::ROOT), Ok(1));
}

#[test]
fn compact_json_has_no_space_but_in_its_texts() {
    for (written, compact_is) in [
        (" { \"a b\" :\t[ 1 ,\n2.50 ] } ", r#"{"a b":[1,2.50]}"#),
        (r#"[ "\" , " , "\\" , " \\\" " ]"#, r#"["\" , ","\\"," \\\" "]"#),
        ("  \" \"", "\" \""),
    ] {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(written).unwrap();
        assert_eq!(super::compact(&raw).get(), compact_is);
    }
}
