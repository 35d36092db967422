//! The tenants' plugins behind the slots of sinks: they shape events on their way and judge what sinks answer.

use std::sync::{Arc, OnceLock, Weak};

use sluis_model::hook::CallFault;
use sluis_model::hook::event::{
    Asking, CheckedPreparation, EventFault, EventHook, EventView, SinkAnswer, Verdict, check_preparation, check_verdict,
};
use sluis_model::limits::Permit;
use sluis_model::plan::OnError;
use sluis_sandbox::Plugin;

use crate::decide::{invalid, settle};
use crate::serving::Served;
use crate::state::{App, Generation, TenantState};

/// Bytes of a shaped body; of a larger event's, as many as it has.
const BODY: usize = 1 << 20;
/// Who should be asked is not there: the event waits for it.
const UNAVAILABLE: EventFault = EventFault("unavailable");

/// Asks whoever serves at that moment.
#[derive(Default)]
pub struct EventPlugins(OnceLock<Weak<App>>);

impl std::fmt::Debug for EventPlugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventPlugins")
    }
}

/// Who is asked, and what becomes of the event where that fails.
struct Asked {
    app: Arc<App>,
    generation: Arc<Generation>,
    tenant: Arc<TenantState>,
    serves: Arc<Served>,
    fallback: Option<Arc<Served>>,
    on_error: OnError,
    _permit: Permit,
}

impl EventPlugins {
    /// The process whose plans say who is asked.
    pub fn attach(&self, app: &Arc<App>) {
        // Called once; a second process there is not.
        let _ = self.0.set(Arc::downgrade(app));
    }

    /// None where the tenant has nothing in the slot that shapes events.
    fn asked(&self, slot: &str, event: &EventView<'_>) -> Result<Option<Asked>, EventFault> {
        let app = self.0.get().and_then(Weak::upgrade).ok_or(UNAVAILABLE)?;
        let generation = app.generation.load_full();
        let tenant = generation.tenants.get(event.tenant).cloned().ok_or(UNAVAILABLE)?;
        let Some(filled) = tenant.slots.get(slot) else { return Ok(None) };
        let on_error = filled.on_error;
        let Some(serving) = filled.plugin.serving.load_full() else {
            return if on_error == OnError::Bypass { Ok(None) } else { Err(UNAVAILABLE) };
        };
        let picked = serving.pick();
        if !picked.serves.plugin.hooks().on_event {
            return Ok(None);
        }
        let (serves, fallback) = (picked.serves, picked.fallback);
        let _permit = tenant.plugin_calls.try_acquire().ok_or(EventFault("capacity"))?;
        Ok(Some(Asked { app, generation, tenant, serves, fallback, on_error, _permit }))
    }
}

impl Asked {
    /// The version before, where the one that serves has failed and the slot wants that.
    fn second<T>(&self, first: &Result<T, CallFault>) -> Option<&Served> {
        let wanted = first.is_err() && self.on_error == OnError::Previous;
        self.fallback.as_deref().filter(|_| wanted)
    }

    /// What was said; nothing, where nothing was and the slot can do without.
    fn said<T>(&self, said: Result<T, CallFault>) -> Result<Option<T>, EventFault> {
        match said {
            Ok(said) => Ok(Some(said)),
            Err(_) if self.on_error == OnError::Bypass => Ok(None),
            Err(fault) => Err(EventFault(fault.label())),
        }
    }

    async fn shape(&self, served: &Served, event: EventView<'_>) -> Result<CheckedPreparation, CallFault> {
        let (limits, most) = (&self.generation.plan.plugins.call, BODY.max(event.body.len()));
        let plugin: &Plugin = &served.plugin;
        let outcome = plugin.shape(event, &self.tenant.scope, limits, most).await;
        self.tenant.metrics.on_event.observe(outcome.usage.cpu.as_secs_f64());
        let said = settle(&self.app, &self.tenant, served, event.correlation_id, outcome)?;
        check_preparation(said, most)
            .map_err(|fault| invalid(&self.app, &self.tenant, served, event.correlation_id, fault))
    }

    async fn judge(
        &self,
        served: &Served,
        event: EventView<'_>,
        answer: SinkAnswer<'_>,
    ) -> Result<Option<Verdict>, CallFault> {
        let limits = &self.generation.plan.plugins.call;
        let outcome = served.plugin.judge(event, answer, &self.tenant.scope, limits).await;
        self.tenant.metrics.on_event.observe(outcome.usage.cpu.as_secs_f64());
        let said = settle(&self.app, &self.tenant, served, event.correlation_id, outcome)?;
        said.map(check_verdict)
            .transpose()
            .map_err(|fault| invalid(&self.app, &self.tenant, served, event.correlation_id, fault))
    }
}

impl EventHook for EventPlugins {
    fn shape<'a>(&'a self, slot: &'a str, event: EventView<'a>) -> Asking<'a, CheckedPreparation> {
        Box::pin(async move {
            let Some(asked) = self.asked(slot, &event)? else { return Ok(None) };
            let mut said = asked.shape(&asked.serves, event).await;
            if let Some(second) = asked.second(&said) {
                said = asked.shape(second, event).await;
            }
            asked.said(said)
        })
    }

    fn judge<'a>(&'a self, slot: &'a str, event: EventView<'a>, answer: SinkAnswer<'a>) -> Asking<'a, Verdict> {
        Box::pin(async move {
            let Some(asked) = self.asked(slot, &event)? else { return Ok(None) };
            let mut said = asked.judge(&asked.serves, event, answer).await;
            if let Some(second) = asked.second(&said) {
                said = asked.judge(second, event, answer).await;
            }
            Ok(asked.said(said)?.flatten())
        })
    }
}
