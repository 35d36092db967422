//! An attempt in which the tenant's plugin has a say (`on-event` of the contract): it shapes the event before it is
//! sent, and judges what the sink answered. The stored event stays as it was accepted, and the next attempt asks anew.
//!
//! A plugin that fails loses no event: before the sending, the attempt failed and is repeated until the plugin is
//! mended or the sink's settings give up; after an answer, its status alone decides, as it does without a plugin, but
//! what would be given up for it is tried again as well.

use std::sync::Arc;
use std::time::Duration;

use sluis_model::breaker::Outcome;
use sluis_model::hook::event::{
    Asking, CheckedPreparation, CheckedShaped, EventFault, EventHook, EventView, SinkAnswer, Verdict,
};
use sluis_model::retry::ErrorClass;

use super::gate::{blames, says};
use super::worker::Target;
use crate::ledger::Ledger;
use crate::sink::{Answered, Delivery, EXCERPT_BYTES, Failure, SendOutcome, Sink};

/// Longest wait for the plugin, a safety net: its own limits, of at most a minute, are kept where it runs.
const PATIENCE: Duration = Duration::from_secs(90);
/// Kind of a failure that the plugin decided on or brought about.
const KIND: &str = "plugin";

/// Who is asked about a sink's events.
pub(super) struct Plugin {
    hook: Arc<dyn EventHook>,
    slot: Arc<str>,
}

impl Plugin {
    /// None where the sink has no plugin, or nobody runs any.
    pub fn of(ledger: &Ledger, target: &Target) -> Option<Plugin> {
        let (hook, slot) = ledger.event_hook.as_ref().zip(target.plan.plugin.as_ref())?;
        Some(Plugin { hook: Arc::clone(hook), slot: Arc::clone(slot) })
    }

    /// One attempt, and what it says about the sink; ends within the sink's timeout and twice [`PATIENCE`].
    pub async fn send(&self, sink: &Sink, delivery: &Delivery) -> (SendOutcome, Outcome) {
        let id = delivery.event_id.to_string();
        let event = view(&id, delivery);
        let unsent = match heard(&event, self.hook.shape(&self.slot, event)).await {
            // The tenant has no plugin for it, so nobody judges either.
            Ok(None) => return plain(sink, delivery).await,
            Ok(Some(CheckedPreparation::Send(shaped))) => return self.exchange(sink, delivery, event, shaped).await,
            Ok(Some(CheckedPreparation::Done(reason))) => SendOutcome::Confirmed(format!("plugin: done: {reason}")),
            Ok(Some(CheckedPreparation::Dead(reason))) => unsent(ErrorClass::Permanent, reason),
            Err(EventFault(word)) => unsent(ErrorClass::Transient, format!("the plugin failed: {word}")),
        };
        // One tenant's plugin must not shut the sink for the others.
        (unsent, Outcome::Ignored)
    }

    async fn exchange(
        &self,
        sink: &Sink,
        delivery: &Delivery,
        event: EventView<'_>,
        shaped: CheckedShaped,
    ) -> (SendOutcome, Outcome) {
        let answered = match sink.ask(delivery, shaped).await {
            Ok(answered) => answered,
            Err(failure) => {
                let blamed = blames(failure.class);
                return (SendOutcome::Failed(failure), blamed);
            }
        };
        let said = says(&answered.outcome);
        let headers: Vec<(&str, &str)> = answered
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?)))
            .collect();
        let answer = SinkAnswer { status: answered.status, headers: &headers, body: &answered.body };
        let outcome = match heard(&event, self.hook.judge(&self.slot, event, answer)).await {
            Ok(None) => answered.outcome,
            Ok(Some(verdict)) => judged(verdict, answered),
            Err(EventFault(word)) => unjudged(word, answered.outcome),
        };
        (outcome, said)
    }
}

/// An attempt that no plugin has a say in.
pub(super) async fn plain(sink: &Sink, delivery: &Delivery) -> (SendOutcome, Outcome) {
    let outcome = sink.send(delivery).await;
    let said = says(&outcome);
    (outcome, said)
}

fn view<'a>(id: &'a str, delivery: &'a Delivery) -> EventView<'a> {
    EventView {
        id,
        event_type: &delivery.event_type,
        key: delivery.key.as_deref(),
        sink: &delivery.sink,
        route: &delivery.route,
        tenant: &delivery.tenant,
        correlation_id: &delivery.correlation_id,
        accepted_at: delivery.accepted_at,
        attempt: delivery.attempt,
        content_type: &delivery.content_type,
        body: &delivery.body,
    }
}

/// What the plugin says, waited for only so long.
async fn heard<T>(event: &EventView<'_>, asking: Asking<'_, T>) -> Result<Option<T>, EventFault> {
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        tracing::error!(event = event.id, sink = event.sink, "the plugin's limits did not end its call");
        Err(EventFault("wall"))
    })
}

/// The attempt ended before anything was sent.
fn unsent(class: ErrorClass, message: String) -> SendOutcome {
    SendOutcome::Failed(Failure { class, kind: KIND, status: None, message, excerpt: Vec::new(), retry_after: None })
}

fn judged(verdict: Verdict, answered: Answered) -> SendOutcome {
    let Answered { status, mut body, outcome, .. } = answered;
    let asked = match outcome {
        SendOutcome::Failed(failure) => failure.retry_after,
        SendOutcome::Confirmed(_) => None,
    };
    let (class, message, retry_after) = match verdict {
        Verdict::Done(reason) => return SendOutcome::Confirmed(format!("http {status}, plugin: done: {reason}")),
        Verdict::Dead(reason) => (ErrorClass::Permanent, reason, None),
        Verdict::Retry(seconds) => {
            let wait = seconds.map(|seconds| Duration::from_secs(seconds.into()));
            // Where the plugin names no time, the one that the sink itself may have asked for holds.
            (ErrorClass::Transient, "the plugin wants it tried again".to_owned(), wait.or(asked))
        }
    };
    body.truncate(EXCERPT_BYTES);
    SendOutcome::Failed(Failure { class, kind: KIND, status: Some(status), message, excerpt: body, retry_after })
}

/// What the status says stands, but for giving up: the plugin may have been there to prevent just that. That it said
/// nothing is told beside it.
fn unjudged(word: &str, mut outcome: SendOutcome) -> SendOutcome {
    let text = match &mut outcome {
        SendOutcome::Confirmed(note) => note,
        SendOutcome::Failed(failure) => {
            if failure.class == ErrorClass::Permanent {
                failure.class = ErrorClass::Transient;
            }
            &mut failure.message
        }
    };
    text.push_str(", the plugin failed to judge: ");
    text.push_str(word);
    outcome
}
