//! Requests that a tenant wants kept: what its plugin was told and said, as a fixture that can be run against any version.
//! In memory, the last ones, without what is not to be kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use http::header::HeaderMap;
use parking_lot::Mutex;
use sluis_fixture::{Ceilings, Expect, Fixture, Input};
use sluis_model::hook::{CallFault, Decision, RequestView};
use sluis_model::plan::Record;
use sluis_sandbox::Scope;

use crate::clock::Clock;
use crate::serving::Served;

mod heard;
mod redact;

use heard::{HeardExchange, HeardHttp, HeardKv};
use redact::Redaction;

/// Bytes of all that is kept of one tenant.
const KEPT: usize = 4 << 20;
/// Bytes of one request with what belongs to it; a larger one is not kept.
const LARGEST: usize = 512 << 10;

/// A request that was kept.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request's correlation id.
    pub id: Arc<str>,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// The plugin, with its version where it has one.
    pub plugin: Arc<str>,
    /// What it was told and said.
    pub fixture: Fixture,
    size: usize,
}

/// The last requests of one tenant.
#[derive(Debug, Default)]
pub struct Recorder {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    all: VecDeque<Arc<Recorded>>,
}

impl Recorder {
    /// What is kept, the last first.
    pub fn all(&self) -> Vec<Arc<Recorded>> {
        self.kept.lock().all.iter().rev().cloned().collect()
    }

    /// The last one of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Recorded>> {
        self.kept.lock().all.iter().rev().find(|recorded| *recorded.id == *id).cloned()
    }

    fn keep(&self, recorded: Recorded, most: usize) {
        let mut kept = self.kept.lock();
        kept.bytes += recorded.size;
        kept.all.push_back(Arc::new(recorded));
        while (kept.bytes > KEPT || kept.all.len() > most)
            && let Some(oldest) = kept.all.pop_front()
        {
            kept.bytes -= oldest.size;
        }
    }
}

/// One call that is listened to.
pub struct Recording<'a> {
    record: &'a Record,
    recorder: &'a Recorder,
    kv: Option<Arc<HeardKv>>,
    http: Option<Arc<HeardHttp>>,
    /// What the call is made with.
    pub scope: Arc<Scope>,
}

impl<'a> Recording<'a> {
    /// Listens to a call that would be made with `scope`.
    pub fn begin(record: &'a Record, recorder: &'a Recorder, scope: &Scope) -> Self {
        let kv = scope.kv.as_ref().map(|kv| Arc::new(HeardKv::new(kv.store.clone())));
        let http = scope.http.as_ref().map(|http| Arc::new(HeardHttp::new(http.clone())));
        let mut heard = scope.clone();
        if let (Some(scope), Some(kv)) = (&mut heard.kv, &kv) {
            scope.store = kv.clone();
        }
        heard.http = http.clone().map(|http| http as _);
        Recording { record, recorder, kv, http, scope: Arc::new(heard) }
    }

    /// Keeps what the plugin was told and said, unless that is too much, or no text. `headers` are all that the client
    /// sent: its credentials are among them, and must not be kept wherever else they stand.
    pub fn end(self, view: &RequestView<'_>, headers: &HeaderMap, served: &Served, said: &Result<Decision, CallFault>) {
        let before = self.kv.map(|kv| kv.before()).unwrap_or_default();
        let exchanges = self.http.map(|http| http.exchanges()).unwrap_or_default();
        let config = &self.scope.config;
        let settings: usize = config.iter().map(|(key, value)| key.len() + value.expose().len()).sum();
        // Before any of it is searched.
        let heard = told_bytes(view) + settings + asked_bytes(&before, &exchanges);
        if heard + said.as_ref().map_or(0, said_bytes) > LARGEST {
            return;
        }
        let mut redaction = Redaction::new(self.record);
        // What is taken from settings and credentials may be anywhere, and what is taken from the request or from the
        // exchanges, anywhere in itself and in what comes after it.
        let config = redaction.config(config);
        redaction.credentials(headers);
        let Some(request) = redaction.request(view) else { return };
        let http = redaction.exchanges(exchanges);
        let kv = redaction.state(before);
        let expect = match said {
            Ok(decision) => Expect::of(&redaction.decision(decision.clone())),
            Err(fault) => Expect::Fault(fault.label().to_owned()),
        };
        if redaction.is_past() {
            return;
        }
        let limits = Ceilings::default();
        let fixture = Fixture { input: Input::Request(request), config, kv, http, expect, limits };
        let size = serde_json::to_vec(&fixture).map_or(usize::MAX, |text| text.len());
        if size > LARGEST {
            return;
        }
        let (id, plugin) = (view.correlation_id.into(), served.plugin.name.clone());
        let recorded = Recorded { id, at: Clock::unix_millis(), plugin, fixture, size };
        self.recorder.keep(recorded, self.record.requests);
    }
}

/// Of what a plugin was told; what has no more than a name's length is not counted.
fn told_bytes(view: &RequestView<'_>) -> usize {
    let pairs = view.parameters.iter().chain(view.headers);
    let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    pairs + view.path.len() + view.query.len() + view.subject.len() + view.claims.len() + view.body.len()
}

/// Of what its state and other systems answered.
fn asked_bytes(before: &BTreeMap<String, Vec<u8>>, exchanges: &[HeardExchange]) -> usize {
    let state: usize = before.iter().map(|(key, value)| key.len() + value.len()).sum();
    let answered = exchanges.iter().map(|exchange| {
        let answer = exchange.answer.as_ref().map_or(0, |answer| answer.body.len() + pair_bytes(&answer.headers));
        exchange.url.len() + answer
    });
    state + answered.sum::<usize>()
}

/// Of what the plugin said.
fn said_bytes(decision: &Decision) -> usize {
    let (rest, body) = match decision {
        Decision::Forward(forward) => (pair_bytes(&forward.set_headers), &forward.body),
        Decision::Enqueue(enqueue) => (enqueue.key.as_ref().map_or(0, String::len), &enqueue.body),
        Decision::Respond(respond) => (pair_bytes(&respond.set_headers), &respond.body),
        Decision::Refuse(problem) => return problem.title.len() + problem.detail.len(),
    };
    rest + body.as_ref().map_or(0, Vec::len)
}

fn pair_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
