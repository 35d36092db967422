//! What a plugin said, held against what it must say.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;
use sluis_model::hook::{CallFault, Decision, ResponseChange};

use super::fixture::{Content, Expect};

/// Differences that are told.
const TOLD: usize = 10;
/// Longest text that is shown of a body, characters.
const SHOWN: usize = 120;

/// What came of a call.
pub enum Word {
    /// Of `on-request`.
    Decision(Decision),
    /// Of `on-response`.
    Change(ResponseChange),
    /// Nothing.
    Fault(CallFault),
}

/// In what the word is not as expected; empty where it is.
pub fn differences(expect: &Expect, word: &Word) -> Vec<String> {
    let mut found = Found(Vec::new());
    match (expect, word) {
        (Expect::Forward(expected), Word::Decision(Decision::Forward(got))) => {
            found.optional("upstream", &expected.upstream, got.upstream.as_ref());
            found.optional("path", &expected.path, got.path.as_ref());
            found.headers(&expected.set_headers, &got.set_headers);
            found.removed(&expected.remove_headers, &got.remove_headers);
            found.body(expected.body.as_ref(), got.body.as_deref());
        }
        (Expect::Enqueue(expected), Word::Decision(Decision::Enqueue(got))) => {
            found.optional("event_type", &expected.event_type, got.event_type.as_ref());
            found.optional("key", &expected.key, got.key.as_ref());
            found.optional("content_type", &expected.content_type, got.content_type.as_ref());
            let sinks = |sinks: &[String]| sinks.join(", ");
            found.optional("sinks", &expected.sinks.as_deref().map(sinks), Some(&sinks(&got.sinks)));
            found.body(expected.body.as_ref(), got.body.as_deref());
        }
        (Expect::Respond(expected), Word::Decision(Decision::Respond(got)))
        | (Expect::Change(expected), Word::Change(got)) => {
            found.optional("status", &expected.status, got.status.as_ref());
            found.headers(&expected.set_headers, &got.set_headers);
            found.removed(&expected.remove_headers, &got.remove_headers);
            found.body(expected.body.as_ref(), got.body.as_deref());
        }
        (Expect::Refuse(expected), Word::Decision(Decision::Refuse(got))) => {
            found.optional("status", &expected.status, Some(&got.status));
            found.optional("kind", &expected.kind, Some(&got.kind));
            found.optional("title", &expected.title, Some(&got.title));
            found.optional("detail", &expected.detail, Some(&got.detail));
            found.optional("pointer", &expected.pointer, got.pointer.as_ref());
        }
        (Expect::Fault(expected), Word::Fault(got)) if expected == got.label() => {}
        _ => found.0.push(format!("expected {}, got {}", name(expect), described(word))),
    }
    found.0.truncate(TOLD);
    found.0
}

fn name(expect: &Expect) -> String {
    match expect {
        Expect::Forward(_) => "forward".to_owned(),
        Expect::Enqueue(_) => "enqueue".to_owned(),
        Expect::Respond(_) => "respond".to_owned(),
        Expect::Refuse(_) => "refuse".to_owned(),
        Expect::Change(_) => "a change of the answer".to_owned(),
        Expect::Fault(fault) => format!("the fault `{fault}`"),
    }
}

fn described(word: &Word) -> String {
    match word {
        Word::Decision(Decision::Forward(forward)) => {
            format!("forward {}", forward.path.as_deref().unwrap_or("(path unchanged)"))
        }
        Word::Decision(Decision::Enqueue(_)) => "enqueue".to_owned(),
        Word::Decision(Decision::Respond(respond)) => format!("respond {}", respond.status.unwrap_or_default()),
        Word::Decision(Decision::Refuse(problem)) => {
            let pointer = problem.pointer.as_deref().map(|pointer| format!(" at {pointer}")).unwrap_or_default();
            format!("refuse {} ({}: {}{pointer})", problem.status, problem.title, problem.detail)
        }
        Word::Change(_) => "a change of the answer".to_owned(),
        Word::Fault(CallFault::Trap(text)) => format!("a trap: {text}"),
        Word::Fault(fault) => format!("the fault `{}`", fault.label()),
    }
}

struct Found(Vec<String>);

impl Found {
    fn optional<T: PartialEq + Display>(&mut self, what: &str, expected: &Option<T>, got: Option<&T>) {
        let Some(expected) = expected else { return };
        match got {
            Some(got) if got == expected => {}
            Some(got) => self.0.push(format!("{what}: expected {expected}, got {got}")),
            None => self.0.push(format!("{what}: expected {expected}, got none")),
        }
    }

    fn headers(&mut self, expected: &BTreeMap<String, String>, got: &[(String, String)]) {
        for (name, value) in expected {
            let found = got.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            self.optional(&format!("header {name}"), &Some(value.clone()), found);
        }
    }

    fn removed(&mut self, expected: &[String], got: &[String]) {
        for name in expected.iter().filter(|name| !got.iter().any(|other| other.eq_ignore_ascii_case(name))) {
            self.0.push(format!("header {name}: expected to be removed"));
        }
    }

    fn body(&mut self, expected: Option<&Content>, got: Option<&[u8]>) {
        let Some(expected) = expected else { return };
        let Some(got) = got else {
            return self.0.push("body: expected a new one, got none".to_owned());
        };
        match (expected, serde_json::from_slice::<Value>(got)) {
            (Content::Json(expected), Ok(got)) => self.json("", expected, &got),
            (expected, _) if expected.bytes() == got => {}
            (expected, _) => {
                let expected = String::from_utf8_lossy(&expected.bytes()).into_owned();
                let got = String::from_utf8_lossy(got).into_owned();
                self.0.push(format!("body: expected {}, got {}", shortened(&expected), shortened(&got)));
            }
        }
    }

    fn json(&mut self, at: &str, expected: &Value, got: &Value) {
        match (expected, got) {
            (Value::Object(expected), Value::Object(got)) => {
                for (key, value) in expected {
                    let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                    match got.get(key) {
                        Some(got) => self.json(&at, value, got),
                        None => self.0.push(format!("body {at}: expected {}, got none", shortened(&value.to_string()))),
                    }
                }
                for key in got.keys().filter(|key| !expected.contains_key(*key)) {
                    let value = shortened(&got[key].to_string());
                    self.0.push(format!("body {at}/{key}: expected none, got {value}"));
                }
            }
            (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
                for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                    self.json(&format!("{at}/{index}"), expected, got);
                }
            }
            (expected, got) if expected == got => {}
            (expected, got) => {
                let (expected, got) = (shortened(&expected.to_string()), shortened(&got.to_string()));
                let at = if at.is_empty() { "(whole)" } else { at };
                self.0.push(format!("body {at}: expected {expected}, got {got}"));
            }
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use sluis_model::hook::Forward;

    use super::super::fixture::ForwardPart;
    use super::*;

    fn forward(body: &str) -> Word {
        Word::Decision(Decision::Forward(Forward {
            path: Some("/b".to_owned()),
            set_headers: vec![("X-A".to_owned(), "1".to_owned())],
            body: Some(body.as_bytes().to_vec()),
            ..Forward::default()
        }))
    }

    fn expected(body: Value) -> Expect {
        Expect::Forward(ForwardPart { body: Some(Content::Json(body)), ..ForwardPart::default() })
    }

    #[test]
    fn json_is_compared_by_value_and_told_by_pointer() {
        let word = forward("{ \"b\": [1, {\"c/d\": \"x\"}], \"a\": 1.50 }");
        assert_eq!(differences(&expected(json!({ "a": 1.5, "b": [1, { "c/d": "x" }] })), &word), [""; 0]);
        let told = differences(&expected(json!({ "b": [1, { "c/d": "y" }], "e": null })), &word);
        let wanted = [
            "body /b/1/c~1d: expected \"y\", got \"x\"",
            "body /e: expected null, got none",
            "body /a: expected none, got 1.5",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn only_what_is_named_is_looked_at() {
        let part = ForwardPart { path: Some("/b".to_owned()), ..ForwardPart::default() };
        assert_eq!(differences(&Expect::Forward(part), &forward("x")), [""; 0]);
        let part = ForwardPart {
            upstream: Some("erp".to_owned()),
            set_headers: [("x-a".to_owned(), "2".to_owned())].into(),
            remove_headers: vec!["cookie".to_owned()],
            ..ForwardPart::default()
        };
        let told = differences(&Expect::Forward(part), &forward("x"));
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn another_verb_and_a_trap_are_told_with_what_was_said() {
        let trap = Word::Fault(CallFault::Trap("src/lib.rs:7:9: no total".into()));
        let told = differences(&Expect::Forward(ForwardPart::default()), &trap);
        assert_eq!(told, ["expected forward, got a trap: src/lib.rs:7:9: no total"]);
        assert_eq!(differences(&Expect::Fault("trap".to_owned()), &trap), [""; 0]);
        assert_eq!(differences(&Expect::Fault("cpu".to_owned()), &trap).len(), 1);
    }
}
