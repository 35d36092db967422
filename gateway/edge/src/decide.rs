//! Runs a tenant's plugin and checks what it returned before anyone acts on it.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderMap};
use sluis_model::fields;
use sluis_model::hook::{
    Budget, CallFault, CheckedDecision, CheckedResponse, OutputFault, RequestView, ResponseView, Usage, check_decision,
    check_response,
};
use sluis_model::refusal::Refusal;
use sluis_sandbox::{LogLine, Outcome, Plugin};

use crate::clock::Clock;
use crate::recorder::Recording;
use crate::rollouts::Trouble;
use crate::serving::{Picked, Served};
use crate::shadow;
use crate::state::{App, Context, RouteState, TenantState};

/// Who is asked for a request, on whose behalf.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The request's route.
    pub route: &'a RouteState,
    /// Whose plugin it is.
    pub tenant: &'a Arc<TenantState>,
    /// The versions that were picked for the request.
    pub picked: &'a Picked,
}

/// Asks `on-request`, or `on-request-head`. `headers` are all that the client sent, of which the plugin sees those in
/// `view`.
pub async fn on_request(
    cx: Context<'_>,
    asked: Asked<'_>,
    view: RequestView<'_>,
    headers: &HeaderMap,
) -> Result<CheckedDecision, Refusal> {
    let Asked { route, tenant, picked } = asked;
    let _permit = tenant.plugin_calls.try_acquire().ok_or(Refusal::PluginCapacity)?;
    let limits = &cx.generation.plan.plugins.call;
    let recording =
        tenant.tenant.record.as_deref().map(|record| Recording::begin(record, &tenant.recorder, &tenant.scope));
    let scope = recording.as_ref().map_or(&tenant.scope, |recording| &recording.scope);
    let outcome = picked.serves.plugin.on_request(view, scope, limits, route.route.body_limit).await;
    if let Some(recording) = recording {
        recording.end(&view, headers, &picked.serves, &outcome.result);
    }
    tenant.metrics.on_request.observe(outcome.usage.cpu.as_secs_f64());
    let correlation_id = view.correlation_id;
    let decision = settle(cx.app, tenant, &picked.serves, correlation_id, outcome).map_err(|fault| refusal(&fault))?;
    if let Some(shadow) = &picked.shadow {
        shadow::compare(cx, asked, shadow, view, decision.clone());
    }
    check_decision(decision, &route.route)
        .map_err(|fault| refusal(&invalid(cx.app, tenant, &picked.serves, correlation_id, fault)))
}

/// Asks `on-response`.
pub async fn on_response(
    cx: Context<'_>,
    asked: Asked<'_>,
    view: ResponseView<'_>,
) -> Result<CheckedResponse, Refusal> {
    let Asked { route, tenant, picked } = asked;
    let _permit = tenant.plugin_calls.try_acquire().ok_or(Refusal::PluginCapacity)?;
    let limits = &cx.generation.plan.plugins.call;
    let outcome = picked.serves.plugin.on_response(view, &tenant.scope, limits, route.route.body_limit).await;
    tenant.metrics.on_response.observe(outcome.usage.cpu.as_secs_f64());
    let correlation_id = view.correlation_id;
    let change = settle(cx.app, tenant, &picked.serves, correlation_id, outcome).map_err(|fault| refusal(&fault))?;
    check_response(change, route.route.body_limit)
        .map_err(|fault| refusal(&invalid(cx.app, tenant, &picked.serves, correlation_id, fault)))
}

/// Counts and writes what came of a call; what it returned is still to be checked.
pub fn settle<T>(
    app: &App,
    tenant: &TenantState,
    served: &Served,
    correlation_id: &str,
    outcome: Outcome<T>,
) -> Result<T, CallFault> {
    let Outcome { result, usage, logs, counts } = outcome;
    served.called(usage.cpu);
    add_counts(tenant, &counts, &usage);
    write_logs(tenant, &served.plugin, correlation_id, &logs, &usage);
    result.inspect_err(|fault| note(app, tenant, served, correlation_id, fault))
}

/// Notes that what a call returned may not be acted on.
pub fn invalid(
    app: &App,
    tenant: &TenantState,
    served: &Served,
    correlation_id: &str,
    fault: OutputFault,
) -> CallFault {
    let fault = CallFault::Output(fault);
    note(app, tenant, served, correlation_id, &fault);
    fault
}

fn add_counts(tenant: &TenantState, counts: &[u64], usage: &Usage) {
    for (counter, value) in tenant.metrics.counters.iter().zip(counts) {
        counter.inc_by(*value);
    }
    if usage.counts_dropped > 0 {
        tenant.metrics.counts_dropped.inc_by(u64::from(usage.counts_dropped));
    }
}

/// What the guest said.
pub fn write_logs(tenant: &TenantState, plugin: &Plugin, correlation_id: &str, logs: &[LogLine], usage: &Usage) {
    if usage.log_lines_dropped > 0 {
        tenant.metrics.log_dropped.inc_by(u64::from(usage.log_lines_dropped));
    }
    for line in logs {
        tenant.log.push(Clock::unix_millis(), &plugin.name, line.level.label(), correlation_id, &line.message);
        tracing::info!(
            target: "sluis::plugin",
            tenant = &*tenant.tenant.id,
            plugin = &*plugin.name,
            correlation_id,
            severity = line.level.label(),
            message = &*line.message,
        );
    }
}

/// What the client is told of a fault; its reason is for the log and the metrics.
fn refusal(fault: &CallFault) -> Refusal {
    match fault {
        CallFault::Trap(_) => Refusal::PluginFault,
        CallFault::Budget(_) => Refusal::PluginBudgetExceeded,
        CallFault::Capacity => Refusal::PluginCapacity,
        CallFault::Output(_) => Refusal::PluginOutputInvalid,
    }
}

fn note(app: &App, tenant: &TenantState, served: &Served, correlation_id: &str, fault: &CallFault) {
    let kind = fault.label();
    app.metrics.plugin_faults.with_label_values(&[&*tenant.tenant.id, kind]).inc();
    tracing::warn!(
        tenant = &*tenant.tenant.id,
        plugin = &*served.plugin.name,
        correlation_id,
        blame = refusal(fault).answer().blame.label(),
        kind,
        reason = fault.reason(),
        "plugin gave no decision"
    );
    tenant.log.push(Clock::unix_millis(), &served.plugin.name, "fault", correlation_id, fault.reason());
    // That no slot was free, or the host did not answer in time, is no fault of the component's.
    if !matches!(fault, CallFault::Capacity | CallFault::Budget(Budget::HostWait)) {
        faulted(app, tenant, served);
    }
}

/// Counts a fault of a version, and says so where there were too many.
pub fn faulted(app: &App, tenant: &TenantState, served: &Served) {
    if served.faulted(Clock::unix_millis())
        && let Some(version) = &served.version
    {
        let trouble =
            Trouble { tenant: tenant.tenant.id.clone(), plugin: served.name.clone(), version: version.clone() };
        // Where there is no room the next fault says it again.
        let _ = app.trouble.try_send(trouble);
    }
}

/// The fields that a plugin may see, as text; what is not UTF-8 is left out.
pub fn visible_fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut visible = Vec::with_capacity(headers.len());
    visible.extend(
        headers
            .iter()
            .filter(|(name, _)| !fields::ends_at_gateway(name) && !fields::is_hop_by_hop(name))
            // Framing is the gateway's own; a guest has the body.
            .filter(|(name, _)| **name != CONTENT_LENGTH)
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))),
    );
    visible
}
