//! What is not to be kept: it is taken out of what the plugin was told, and out of whatever it made of that.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sluis_fixture::{Content, Exchange, RequestPart};
use sluis_model::hook::{Decision, EnqueueDecision, Forward, RequestView, ResponseChange};
use sluis_model::plan::{Record, Secret};

use super::heard::HeardExchange;

/// Stands for what is not kept.
const REDACTED: &str = "[redacted]";
/// A shorter value could be any part of any text: where the plugin copied it to is not looked for.
const SHORTEST: usize = 3;

/// What one call's redaction has taken out so far.
pub(super) struct Redaction<'a> {
    record: &'a Record,
    /// Values that must not turn up again.
    taken: Vec<String>,
}

impl<'a> Redaction<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        Redaction { record, taken: Vec::new() }
    }

    fn take(&mut self, value: &str) {
        if value.len() >= SHORTEST && value != REDACTED {
            self.taken.push(value.to_owned());
        }
    }

    /// The request; none where its body is no text.
    pub(super) fn request(&mut self, view: &RequestView<'_>) -> Option<RequestPart> {
        let headers = view.headers.iter().map(|(name, value)| {
            let redacted = self.record.redact_headers.iter().any(|redacted| redacted == name);
            if redacted {
                self.take(value);
            }
            ((*name).to_owned(), if redacted { REDACTED } else { value }.to_owned())
        });
        let headers: BTreeMap<String, String> = headers.collect();
        let mut claims: Value = serde_json::from_str(view.claims).unwrap_or_default();
        for name in &self.record.redact_claims {
            if let Some(claim) = claims.get_mut(name) {
                self.empty(claim);
            }
        }
        let body = if view.body.is_empty() { None } else { Some(Content::Text(self.body(view.body)?)) };
        let owned = |text: &str| text.to_owned();
        let part = RequestPart {
            method: owned(view.method),
            path: self.text(view.path),
            query: self.text(view.query),
            route: owned(view.route),
            parameters: view.parameters.iter().map(|(name, value)| (owned(name), self.text(value))).collect(),
            headers: headers.into_iter().map(|(name, value)| (name, self.text(&value))).collect(),
            tenant: owned(view.tenant),
            subject: self.text(view.subject),
            claims,
            correlation_id: owned(view.correlation_id),
            body,
        };
        Some(part)
    }

    /// A body without what its pointers lead to, as it was written where there is nothing of that.
    fn body(&mut self, bytes: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(bytes).ok()?;
        if self.record.redact_body.is_empty() {
            return Some(text.to_owned());
        }
        // What cannot be searched may hold anything.
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Some(REDACTED.to_owned()) };
        let before = self.taken.len();
        let mut found = false;
        for pointer in &self.record.redact_body {
            let segments: Vec<String> = pointer.split('/').skip(1).map(unescaped).collect();
            found |= self.walk(&mut value, &segments);
        }
        match found || self.taken.len() > before {
            true => Some(value.to_string()),
            false => Some(text.to_owned()),
        }
    }

    fn walk(&mut self, value: &mut Value, segments: &[String]) -> bool {
        let Some((segment, rest)) = segments.split_first() else {
            self.empty(value);
            return true;
        };
        match value {
            Value::Object(members) if segment == "*" => {
                members.values_mut().fold(false, |found, member| self.walk(member, rest) | found)
            }
            Value::Array(elements) if segment == "*" => {
                elements.iter_mut().fold(false, |found, element| self.walk(element, rest) | found)
            }
            Value::Object(members) => members.get_mut(segment).is_some_and(|member| self.walk(member, rest)),
            Value::Array(elements) => {
                let index = segment.parse::<usize>().ok();
                index.and_then(|index| elements.get_mut(index)).is_some_and(|element| self.walk(element, rest))
            }
            _ => false,
        }
    }

    /// Takes all that is in `value`; texts stay texts and numbers numbers, so that a plugin can still read it.
    fn empty(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let text = std::mem::replace(text, REDACTED.to_owned());
                self.take(&text);
            }
            Value::Number(number) => {
                self.take(&number.to_string());
                *value = Value::from(0);
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.empty(element)),
            Value::Object(members) => members.values_mut().for_each(|member| self.empty(member)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Settings: those that are named, and of the others that they are there.
    pub(super) fn config(&mut self, config: &HashMap<String, Secret>) -> BTreeMap<String, String> {
        let settings = config.iter().map(|(key, value)| {
            if self.record.config.contains(key) {
                return (key.clone(), value.expose().to_owned());
            }
            self.take(value.expose());
            (key.clone(), REDACTED.to_owned())
        });
        settings.collect()
    }

    /// What `kv` held, as far as it is text.
    pub(super) fn state(&self, before: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
        let texts = before.into_iter().filter_map(|(key, value)| Some((key, String::from_utf8(value).ok()?)));
        texts.map(|(key, value)| (self.text(&key), self.text(&value))).collect()
    }

    /// Exchanges with other systems. A query is where keys are passed: it is not kept.
    pub(super) fn exchanges(&mut self, heard: Vec<HeardExchange>) -> Vec<Exchange> {
        heard.into_iter().map(|exchange| self.exchange(exchange)).collect()
    }

    fn exchange(&mut self, HeardExchange { method, url, answer }: HeardExchange) -> Exchange {
        let url = match url.split_once('?') {
            Some((url, _)) => format!("{}?{REDACTED}", self.text(url)),
            None => self.text(&url),
        };
        let (status, headers, body, fault) = match answer {
            Ok(answer) => {
                let body = self.body(&answer.body).map(|text| Content::Text(self.text(&text)));
                let kept = answer.headers.into_iter().filter(|(name, _)| name != "set-cookie");
                let headers = kept.map(|(name, value)| (name, self.text(&value))).collect();
                (Some(answer.status), headers, body, None)
            }
            Err(fault) => (None, BTreeMap::new(), None, Some(fault.label().to_owned())),
        };
        Exchange { method: Some(method), url, status, headers, body, fault }
    }

    /// What the plugin said, without what was taken.
    pub(super) fn decision(&self, decision: Decision) -> Decision {
        let optional = |text: Option<String>| text.map(|text| self.text(&text));
        match decision {
            Decision::Forward(forward) => Decision::Forward(Forward {
                upstream: forward.upstream,
                path: optional(forward.path),
                set_headers: self.pairs(forward.set_headers),
                remove_headers: forward.remove_headers,
                body: self.bytes(forward.body),
            }),
            Decision::Enqueue(enqueue) => Decision::Enqueue(EnqueueDecision {
                key: optional(enqueue.key),
                body: self.bytes(enqueue.body),
                ..enqueue
            }),
            Decision::Respond(respond) => Decision::Respond(ResponseChange {
                set_headers: self.pairs(respond.set_headers),
                body: self.bytes(respond.body),
                ..respond
            }),
            Decision::Refuse(mut problem) => {
                problem.title = self.text(&problem.title);
                problem.detail = self.text(&problem.detail);
                Decision::Refuse(problem)
            }
        }
    }

    fn pairs(&self, pairs: Vec<(String, String)>) -> Vec<(String, String)> {
        pairs.into_iter().map(|(name, value)| (name, self.text(&value))).collect()
    }

    fn bytes(&self, body: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let body = body?;
        match std::str::from_utf8(&body) {
            Ok(text) if !self.taken.is_empty() => Some(self.text(text).into_bytes()),
            _ => Some(body),
        }
    }

    fn text(&self, text: &str) -> String {
        self.taken.iter().fold(text.to_owned(), |text, taken| match text.contains(taken.as_str()) {
            true => text.replace(taken.as_str(), REDACTED),
            false => text,
        })
    }
}

/// A segment of a JSON pointer (RFC 6901 §4).
fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}
