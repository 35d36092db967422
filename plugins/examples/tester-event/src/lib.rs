//! Shapes events and judges answers as the event tells it to, rightly and wrongly: its body is JSON with the members
//! `shape` and `judge`.
//!
//! | `shape` | What it does |
//! |---|---|
//! | none | sends it unchanged |
//! | `body/TEXT`, `set/NAME/VALUE` | changes the body, sets a header |
//! | `told` | changes the body to what the plugin was told, as JSON |
//! | `done/REASON`, `dead/REASON` | sends nothing |
//! | `trap`, `trap-first` | panics, always or at the first attempt |
//!
//! | `judge` | What it says |
//! |---|---|
//! | none | nothing |
//! | `done/REASON`, `retry/SECONDS`, `dead/REASON` | so |
//! | `trap` | panics |
//!
//! `STATUS:` before a word of `judge` confines it to answers of that status.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::string::{String, ToString};

use serde_json::Value;
use sluis_plugin::event::{Answer, Event, OnEvent, Preparation, Verdict};

sluis_plugin::plugin! { on_event: Tester }

/// Does what the event's body says.
pub struct Tester;

impl OnEvent for Tester {
    fn shape(event: Event) -> Preparation {
        let directive = directive(&event, "shape");
        let (verb, rest) = split(&directive);
        match verb {
            "body" => Preparation::send().body("text/plain", rest).into(),
            "set" => {
                let (name, value) = split(rest);
                Preparation::send().header(name, value).into()
            }
            "told" => Preparation::send()
                .json(&serde_json::json!({
                    "id": event.id, "event_type": event.event_type, "key": event.key, "sink": event.sink,
                    "route": event.route, "tenant": event.tenant, "correlation_id": event.correlation_id,
                    "accepted_at": event.accepted_at, "attempt": event.attempt, "content_type": event.content_type,
                }))
                .into(),
            "done" => Preparation::Done(rest.to_string()),
            "dead" => Preparation::Dead(rest.to_string()),
            "trap" => panic!("the tester was asked to panic on the event"),
            "trap-first" if event.attempt == 1 => panic!("the tester was asked to panic at first"),
            _ => Preparation::send().into(),
        }
    }

    fn judge(event: Event, answer: Answer) -> Option<Verdict> {
        let directive = directive(&event, "judge");
        let word = match directive.split_once(':') {
            Some((status, word)) if status.parse() == Ok(answer.status) => word,
            Some(_) => return None,
            None => &directive,
        };
        match split(word) {
            ("done", reason) => Some(Verdict::Done(reason.to_string())),
            ("retry", seconds) => Some(Verdict::Retry(seconds.parse().ok())),
            ("dead", reason) => Some(Verdict::Dead(reason.to_string())),
            ("trap", _) => panic!("the tester was asked to panic on the answer"),
            _ => None,
        }
    }
}

fn directive(event: &Event, member: &str) -> String {
    let told: Value = serde_json::from_slice(&event.body).unwrap_or_default();
    told[member].as_str().unwrap_or_default().to_string()
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_do_what_the_tables_say() {
        let event = |told: &str| Event::sample(told.as_bytes());
        let Preparation::Send(shaped) = Tester::shape(event(r#"{"shape":"body/a/b"}"#)) else { panic!() };
        assert_eq!(shaped.body.as_deref(), Some(b"a/b".as_slice()));
        assert!(matches!(Tester::shape(event(r#"{"shape":"done/x"}"#)), Preparation::Done(reason) if reason == "x"));
        let answer = |status| Answer { status, headers: Vec::new(), body: Vec::new(), extra: Vec::new() };
        let judged = |status| Tester::judge(event(r#"{"judge":"422:dead/no"}"#), answer(status));
        assert!(matches!(judged(422), Some(Verdict::Dead(reason)) if reason == "no"));
        assert!(judged(200).is_none() && Tester::judge(event(""), answer(500)).is_none());
    }
}
