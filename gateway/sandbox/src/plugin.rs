//! A loaded component and what its hooks return.

use std::sync::Arc;
use std::time::Duration;

use sluis_model::hook::event::{EventView, Preparation, SinkAnswer, Verdict};
use sluis_model::hook::{
    CallFault, Decision, OwnedRequest, OwnedResponse, RequestView, ResponseChange, ResponseView, Usage, borrowed,
};
use sluis_model::plan::CallLimits;
use wasmtime::Engine;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::aside::Aside;
use crate::call::{Call, call};
use crate::contract;
use crate::lane::Lane;
use crate::state::{CallState, LogLine, Scope};
use crate::ticker::Ticker;

/// The engine and its heartbeat; they live as long as the sandbox or any plugin of it.
#[derive(Debug)]
pub(crate) struct Core {
    // Dropped first: the heartbeat holds the engine only weakly.
    pub(crate) ticker: Ticker,
    pub(crate) engine: Engine,
    pub(crate) lane: Arc<Lane>,
    pub(crate) aside: Aside,
    /// Bytes of one slot's memory.
    pub(crate) memory: usize,
}

/// One component, compiled and linked; shared by everything that names the same bytes.
pub(crate) struct Loaded {
    pub(crate) core: Arc<Core>,
    pub(crate) hash: [u8; 32],
    pub(crate) digest: Arc<str>,
    pub(crate) imports: Arc<[String]>,
    pub(crate) facts: Facts,
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) on_request: Option<ComponentExportIndex>,
    pub(crate) on_request_head: Option<ComponentExportIndex>,
    pub(crate) on_response: Option<ComponentExportIndex>,
    pub(crate) on_event: Option<OnEvent>,
}

/// The functions of `on-event`.
pub(crate) struct OnEvent {
    pub(crate) shape: ComponentExportIndex,
    pub(crate) judge: ComponentExportIndex,
}

/// What was found out about a component on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the component.
    pub size: usize,
    /// How long compiling took; none where it was compiled before.
    pub compiled: Option<Duration>,
}

/// A component under the name of its file; cheap to make from one that is loaded already.
#[derive(Clone)]
pub struct Plugin {
    /// The file's name without its extension: the label in logs and metrics.
    pub name: Arc<str>,
    pub(crate) loaded: Arc<Loaded>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("digest", &self.loaded.digest).finish_non_exhaustive()
    }
}

/// The hooks that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks {
    /// Decides with the whole body.
    pub on_request: bool,
    /// Decides by the head alone; not called where `on_request` is there too.
    pub on_request_head: bool,
    /// Changes answers.
    pub on_response: bool,
    /// Shapes events and judges the answers of sinks.
    pub on_event: bool,
}

impl Hooks {
    /// The names of those that are there, as wit/ has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = [
            (self.on_request, "on-request"),
            (self.on_request_head, "on-request-head"),
            (self.on_response, "on-response"),
            (self.on_event, "on-event"),
        ];
        named.into_iter().filter_map(|(there, name)| there.then_some(name))
    }
}

/// What came of a call. `usage` and `logs` are facts for the caller to count and write; they are there after a fault
/// too.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What the guest returned, unchecked, or why it returned nothing.
    pub result: Result<T, CallFault>,
    /// What it took.
    pub usage: Usage,
    /// What the guest logged: escaped, bounded by the call's limits.
    pub logs: Vec<LogLine>,
    /// What the guest added to the counters of its scope, by their position there; empty where it added nothing.
    pub counts: Vec<u64>,
}

impl Plugin {
    /// Which hooks it has.
    pub fn hooks(&self) -> Hooks {
        Hooks {
            on_request: self.loaded.on_request.is_some(),
            on_request_head: self.loaded.on_request_head.is_some(),
            on_response: self.loaded.on_response.is_some(),
            on_event: self.loaded.on_event.is_some(),
        }
    }

    /// The interfaces that it imports, each with its version.
    pub fn imports(&self) -> &[String] {
        &self.loaded.imports
    }

    /// What was found out about it when it was loaded.
    pub fn facts(&self) -> Facts {
        self.loaded.facts
    }

    /// BLAKE3 of the component's bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.loaded.hash
    }

    /// BLAKE3 of the component's bytes, in hex.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// Calls `on-request`, or else `on-request-head` without the body, in a fresh instance.
    ///
    /// `output_bytes` bounds what the decision may carry (body and fields); a larger one is [`CallFault::Output`].
    /// [`CallFault::Capacity`] comes at once where no slot is free, and at the wall's limit where a long call still
    /// waited for a turn. May be dropped at any await.
    pub async fn on_request(
        &self,
        view: RequestView<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
        output_bytes: usize,
    ) -> Outcome<Decision> {
        if !scope.manner.is_heavy() {
            return self.decide(view, scope, limits, output_bytes).await;
        }
        let (plugin, owned, scope, limits) = (self.clone(), OwnedRequest::from(view), scope.clone(), *limits);
        let call = async move {
            let (parameters, headers) = (borrowed(&owned.parameters), borrowed(&owned.headers));
            plugin.decide(owned.view(&parameters, &headers), &scope, &limits, output_bytes).await
        };
        self.aside(call).await
    }

    async fn decide(
        &self,
        view: RequestView<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
        output_bytes: usize,
    ) -> Outcome<Decision> {
        let (hook, view) = match (&self.loaded.on_request, &self.loaded.on_request_head) {
            (Some(hook), _) => (hook, view),
            (None, Some(hook)) => (hook, RequestView { body: &[], ..view }),
            (None, None) => return Outcome::without_hook(),
        };
        let request = contract::Request::from(view);
        let call_settings = Call { loaded: &self.loaded, hook, scope, limits, output_bytes };
        call::<_, contract::Decision>(call_settings, (request,)).await.map(Decision::from)
    }

    /// Calls `on-response` in a fresh instance; otherwise as [`Plugin::on_request`].
    pub async fn on_response(
        &self,
        view: ResponseView<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
        output_bytes: usize,
    ) -> Outcome<ResponseChange> {
        if !scope.manner.is_heavy() {
            return self.change(view, scope, limits, output_bytes).await;
        }
        let (plugin, owned, scope, limits) = (self.clone(), OwnedResponse::from(view), scope.clone(), *limits);
        let call = async move {
            let headers = borrowed(&owned.headers);
            plugin.change(owned.view(&headers), &scope, &limits, output_bytes).await
        };
        self.aside(call).await
    }

    async fn change(
        &self,
        view: ResponseView<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
        output_bytes: usize,
    ) -> Outcome<ResponseChange> {
        let Some(hook) = &self.loaded.on_response else { return Outcome::without_hook() };
        let response = contract::Response::from(view);
        let call_settings = Call { loaded: &self.loaded, hook, scope, limits, output_bytes };
        call::<_, contract::ResponseChange>(call_settings, (response,)).await.map(ResponseChange::from)
    }

    /// A call of a heavy tenant, on the threads that are for those.
    async fn aside<T: Send + 'static>(&self, call: impl Future<Output = Outcome<T>> + Send + 'static) -> Outcome<T> {
        let outcome = self.loaded.core.aside.run(call).await;
        // Not by anything that the guest did.
        outcome.unwrap_or_else(|| Outcome::without_call(CallFault::Capacity))
    }
}

impl Plugin {
    /// Calls `shape` of `on-event` in a fresh instance; otherwise as [`Plugin::on_request`].
    pub async fn shape(
        &self,
        event: EventView<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
        output_bytes: usize,
    ) -> Outcome<Preparation> {
        let Some(OnEvent { shape: hook, .. }) = &self.loaded.on_event else { return Outcome::without_hook() };
        let call_settings = Call { loaded: &self.loaded, hook, scope, limits, output_bytes };
        call::<_, contract::Preparation>(call_settings, (contract::Event::from(event),)).await.map(Preparation::from)
    }

    /// Calls `judge` of `on-event` in a fresh instance; otherwise as [`Plugin::on_request`].
    pub async fn judge(
        &self,
        event: EventView<'_>,
        answer: SinkAnswer<'_>,
        scope: &Arc<Scope>,
        limits: &CallLimits,
    ) -> Outcome<Option<Verdict>> {
        let Some(OnEvent { judge: hook, .. }) = &self.loaded.on_event else { return Outcome::without_hook() };
        let told = (contract::Event::from(event), contract::Answer::from(answer));
        let call_settings = Call { loaded: &self.loaded, hook, scope, limits, output_bytes: 0 };
        call::<_, Option<contract::Verdict>>(call_settings, told).await.map(|verdict| verdict.map(Verdict::from))
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome { result: self.result.map(f), usage: self.usage, logs: self.logs, counts: self.counts }
    }

    fn without_hook() -> Outcome<T> {
        Outcome::without_call(CallFault::Trap("the component does not export this hook".into()))
    }

    /// Its time passed in line.
    pub(crate) fn without_turn() -> Outcome<T> {
        Outcome::without_call(CallFault::Capacity)
    }

    fn without_call(fault: CallFault) -> Outcome<T> {
        Outcome { result: Err(fault), usage: Usage::default(), logs: Vec::new(), counts: Vec::new() }
    }
}
