//! A version on trial that is asked beside the one that serves: its word is compared and never acted on.

use std::sync::Arc;

use sluis_model::hook::{CallFault, Decision, OwnedRequest, RequestView, borrowed};
use sluis_model::plan::CallLimits;

use crate::decide::{Asked, faulted, write_logs};
use crate::serving::Served;
use crate::state::Context;

/// Asks `shadow` for the same request in a task of its own, and counts and logs where it decides otherwise than the
/// version whose decision is `acted_on`. It has neither `kv` nor `http-client`: what it would do there would be done.
/// Where the tenant has no plugin call left it is not asked.
pub fn compare(cx: Context<'_>, asked: Asked<'_>, shadow: &Arc<Served>, view: RequestView<'_>, acted_on: Decision) {
    let Some(permit) = asked.tenant.plugin_calls.try_acquire() else { return };
    let kept = OwnedRequest::from(view);
    let limits = cx.generation.plan.plugins.call;
    let output_bytes = asked.route.route.body_limit;
    let (app, tenant, shadow) = (cx.app.clone(), asked.tenant.clone(), shadow.clone());
    tokio::spawn(async move {
        let _permit = permit;
        let outcome = ask(&shadow, &kept, &tenant.shadow_scope, &limits, output_bytes).await;
        shadow.called(outcome.usage.cpu);
        write_logs(&tenant, &shadow.plugin, &kept.correlation_id, &outcome.logs, &outcome.usage);
        let (difference, reason) = match outcome.result {
            Ok(decision) => (decision.difference(&acted_on), String::new()),
            Err(CallFault::Capacity) => return,
            Err(fault) => {
                faulted(&app, &tenant, &shadow);
                (Some(fault.label()), fault.reason().to_owned())
            }
        };
        if let Some(difference) = difference {
            shadow.erred();
            tracing::info!(
                tenant = &*tenant.tenant.id,
                plugin = &*shadow.plugin.name,
                correlation_id = &*kept.correlation_id,
                difference,
                reason = &*reason,
                "the version on trial decides otherwise"
            );
        }
    });
}

async fn ask(
    shadow: &Served,
    kept: &OwnedRequest,
    scope: &Arc<sluis_sandbox::Scope>,
    limits: &CallLimits,
    output_bytes: usize,
) -> sluis_sandbox::Outcome<Decision> {
    let parameters = borrowed(&kept.parameters);
    let headers = borrowed(&kept.headers);
    let view = kept.view(&parameters, &headers);
    shadow.plugin.on_request(view, scope, limits, output_bytes).await
}
