//! Requests that a tenant wants kept: what its plugin was told and said, as a fixture that can be run against any version.
//! In memory, the last ones, without what is not to be kept.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use sluis_fixture::{Ceilings, Expect, Fixture, Input};
use sluis_model::hook::{CallFault, Decision, RequestView};
use sluis_model::plan::Record;
use sluis_sandbox::Scope;

use crate::clock::Clock;
use crate::serving::Served;

mod heard;
mod redact;

use heard::{HeardHttp, HeardKv};
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

    /// Keeps what the plugin was told and said, unless that is too much, or no text.
    pub fn end(self, view: &RequestView<'_>, served: &Served, said: &Result<Decision, CallFault>) {
        let mut redaction = Redaction::new(self.record);
        let Some(request) = redaction.request(view) else { return };
        let config = redaction.config(&self.scope.config);
        let kv = self.kv.map(|kv| redaction.state(kv.before())).unwrap_or_default();
        let http = self.http.map(|http| redaction.exchanges(http.exchanges())).unwrap_or_default();
        let expect = match said {
            Ok(decision) => Expect::of(&redaction.decision(decision.clone())),
            Err(fault) => Expect::Fault(fault.label().to_owned()),
        };
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
