//! What is not to be kept: it is taken out of what the plugin was told, and out of whatever it made of that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use serde_json::Value;
use sluis_fixture::{Content, Exchange, RequestPart};
use sluis_model::hook::{Decision, EnqueueDecision, Forward, RequestView, ResponseChange};
use sluis_model::plan::{Record, Secret};

use super::heard::HeardExchange;

/// Stands for what is not kept.
const REDACTED: &str = "[redacted]";
/// A shorter value could be any part of any text: where the plugin copied it to is not looked for.
const SHORTEST: usize = 3;
/// Values that are looked for in one recording.
const VALUES: usize = 1_000;
/// Bytes of all of them: what finds them grows with these.
const VALUE_BYTES: usize = 64 << 10;

/// What one call's redaction has taken out so far.
pub(super) struct Redaction<'a> {
    record: &'a Record,
    /// Values that must not turn up again.
    taken: HashSet<String>,
    taken_bytes: usize,
    /// More was to be taken than is looked for.
    is_past: bool,
    /// Finds what had been taken when it was made.
    finder: Finder,
}

impl<'a> Redaction<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        let finder = Finder::of(std::iter::empty());
        Redaction { record, taken: HashSet::new(), taken_bytes: 0, is_past: false, finder }
    }

    /// Whether some values were not looked for: then nothing of this may be kept.
    pub(super) fn is_past(&self) -> bool {
        self.is_past
    }

    /// What stands for what was taken is left alone wherever it is, so it is no part of a value either.
    fn take(&mut self, value: &str) {
        for part in value.split(REDACTED).filter(|part| part.len() >= SHORTEST) {
            if self.is_past || self.taken.contains(part) {
                continue;
            }
            self.taken_bytes += part.len();
            self.is_past = self.taken.len() >= VALUES || self.taken_bytes > VALUE_BYTES;
            if !self.is_past {
                self.taken.insert(part.to_owned());
            }
        }
        // What is itself JSON may turn up read, and written anew.
        if value.trim_start().starts_with(['{', '[', '"'])
            && let Ok(mut read) = serde_json::from_str::<Value>(value)
        {
            self.empty(&mut read);
        }
    }

    /// To be called when values were taken, before a text is searched for them.
    fn seal(&mut self) {
        self.finder = Finder::of(self.taken.iter().map(String::as_str));
    }

    /// What the client proves with who it is. No plugin is told, but bodies and paths may repeat it.
    pub(super) fn credentials(&mut self, headers: &HeaderMap) {
        fn text(value: &HeaderValue) -> Option<&str> {
            std::str::from_utf8(value.as_bytes()).ok()
        }
        for value in headers.get_all(AUTHORIZATION).iter().filter_map(text) {
            // The scheme is no secret.
            self.take(value.split_once(' ').map_or(value, |(_, credentials)| credentials.trim()));
        }
        for cookie in headers.get_all(COOKIE).iter().filter_map(text).flat_map(|value| value.split(';')) {
            self.take(cookie.split_once('=').map_or(cookie, |(_, value)| value).trim());
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
        let body = if view.body.is_empty() { None } else { Some(self.body(view.body)?) };
        self.seal();
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
            claims: serde_json::from_str(&self.content(&claims.to_string())).unwrap_or_default(),
            correlation_id: owned(view.correlation_id),
            body: body.map(|text| Content::Text(self.content(&text))),
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
        let mut found = false;
        for pointer in &self.record.redact_body {
            let segments: Vec<String> = pointer.split('/').skip(1).map(unescaped).collect();
            found |= self.walk(&mut value, &segments);
        }
        match found {
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
        let settings = settings.collect();
        self.seal();
        settings
    }

    /// What `kv` held, as far as it is text.
    pub(super) fn state(&self, before: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
        let texts = before.into_iter().filter_map(|(key, value)| Some((key, String::from_utf8(value).ok()?)));
        texts.map(|(key, value)| (self.text(&key), self.content(&value))).collect()
    }

    /// Exchanges with other systems. A query is where keys are passed: it is not kept.
    pub(super) fn exchanges(&mut self, heard: Vec<HeardExchange>) -> Vec<Exchange> {
        let bodies = heard.iter().map(|exchange| self.body(&exchange.answer.as_ref().ok()?.body));
        let bodies: Vec<Option<String>> = bodies.collect();
        self.seal();
        heard.into_iter().zip(bodies).map(|(exchange, body)| self.exchange(exchange, body)).collect()
    }

    fn exchange(&self, HeardExchange { method, url, answer }: HeardExchange, body: Option<String>) -> Exchange {
        let url = match url.split_once('?') {
            Some((url, _)) => format!("{}?{REDACTED}", self.text(url)),
            None => self.text(&url),
        };
        let (status, headers, body, fault) = match answer {
            Ok(answer) => {
                let body = body.map(|text| Content::Text(self.content(&text)));
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

    /// What is no text in a body would be kept as text all the same.
    fn bytes(&self, body: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let body = body?;
        match self.taken.is_empty() {
            true => Some(body),
            false => Some(self.content(&String::from_utf8_lossy(&body)).into_bytes()),
        }
    }

    /// The same of a body: what is JSON stays JSON, and is searched for what its texts say, however they are written.
    fn content(&self, text: &str) -> String {
        if self.taken.is_empty() || serde_json::from_str::<Value>(text).is_err() {
            return self.text(text);
        }
        let mut covered = String::with_capacity(text.len());
        let mut rest = text;
        // Nothing else of JSON has one of these in it: what is between texts and numbers stays as it was written.
        while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
            let (before, scalar) = rest.split_at(start);
            let (scalar, after) = scalar.split_at(scalar_end(scalar));
            covered.push_str(before);
            covered.push_str(&self.scalar(scalar));
            rest = after;
        }
        covered.push_str(rest);
        covered
    }

    /// A text or a number of JSON.
    fn scalar<'t>(&self, written: &'t str) -> Cow<'t, str> {
        match serde_json::from_str::<String>(written) {
            Ok(text) => {
                let covered = self.text(&text);
                if covered == text { written.into() } else { Value::from(covered).to_string().into() }
            }
            Err(_) if self.finder.found(written.as_bytes()).is_empty() => written.into(),
            Err(_) => "0".into(),
        }
    }

    /// Searches what was there, and never what was put in a value's place.
    fn text(&self, text: &str) -> String {
        let parts: Vec<String> = text.split(REDACTED).map(|part| self.finder.cover(part)).collect();
        parts.join(REDACTED)
    }
}

/// Finds many values in one pass (Aho and Corasick, 1975): the work grows with the text and not with how many they are.
/// The crate of that name finds either no match that overlaps another, which would leave a value's end, or all of them, which
/// has no bound.
struct Finder {
    /// Beginnings of values; the first is the empty one.
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// What it becomes with one byte more, by that byte.
    next: Vec<(u8, usize)>,
    /// The longest other beginning that it ends with.
    fallback: usize,
    /// Bytes of the longest value that it ends with; 0 where it ends with none.
    longest: usize,
}

impl Finder {
    fn of<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut finder = Finder { nodes: vec![Node::default()] };
        values.for_each(|value| finder.insert(value.as_bytes()));
        finder.link();
        finder
    }

    fn insert(&mut self, value: &[u8]) {
        let mut at = 0_usize;
        for &byte in value {
            let new = self.nodes.len();
            let next = &mut self.nodes[at].next;
            at = match next.binary_search_by_key(&byte, |(byte, _)| *byte) {
                Ok(place) => next[place].1,
                Err(place) => {
                    next.insert(place, (byte, new));
                    self.nodes.push(Node::default());
                    new
                }
            };
        }
        self.nodes[at].longest = value.len();
    }

    /// Shorter beginnings before longer ones: a fallback is shorter.
    fn link(&mut self) {
        let mut queue = VecDeque::from([0_usize]);
        while let Some(at) = queue.pop_front() {
            for (byte, child) in self.nodes[at].next.clone() {
                let fallback = if at == 0 { 0 } else { self.step(self.nodes[at].fallback, byte) };
                let longest = self.nodes[fallback].longest;
                let node = &mut self.nodes[child];
                node.fallback = fallback;
                node.longest = node.longest.max(longest);
                queue.push_back(child);
            }
        }
    }

    /// The longest beginning that `at` ends with once `byte` follows it.
    fn step(&self, mut at: usize, byte: u8) -> usize {
        loop {
            let node = &self.nodes[at];
            match node.next.binary_search_by_key(&byte, |(byte, _)| *byte) {
                Ok(place) => return node.next[place].1,
                Err(_) if at == 0 => return 0,
                Err(_) => at = node.fallback,
            }
        }
    }

    /// Where values are, in order; where they overlap, as one.
    fn found(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        for (end, &byte) in (1..).zip(text) {
            at = self.step(at, byte);
            let longest = self.nodes[at].longest;
            if longest == 0 {
                continue;
            }
            let mut start = end - longest;
            while let Some(last) = found.pop_if(|last| start < last.end) {
                start = start.min(last.start);
            }
            found.push(start..end);
        }
        found
    }

    /// The text with [`REDACTED`] in the place of what is found.
    fn cover(&self, text: &str) -> String {
        let mut covered = String::with_capacity(text.len());
        let mut at = 0;
        for Range { start, end } in self.found(text.as_bytes()) {
            covered.push_str(text.get(at..start).unwrap_or_default());
            covered.push_str(REDACTED);
            at = end;
        }
        covered.push_str(text.get(at..).unwrap_or_default());
        covered
    }
}

/// Where the text or the number ends that JSON begins with.
fn scalar_end(json: &str) -> usize {
    let Some(text) = json.strip_prefix('"') else {
        return json.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(json.len());
    };
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// A segment of a JSON pointer (RFC 6901 §4).
fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}
