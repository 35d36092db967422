//! Runs a tenant's plugin and checks what it returned before anyone acts on it.

use std::sync::Arc;

use http::header::HeaderMap;
use sluis_model::fields;
use sluis_model::hook::{
    CallFault, CheckedDecision, CheckedResponse, RequestView, ResponseView, Usage, check_decision, check_response,
};
use sluis_model::refusal::Refusal;
use sluis_sandbox::{LogLine, Outcome, Plugin};

use crate::state::{App, Context, RouteState, TenantState};

/// Asks `on-request`, or `on-request-head`.
pub async fn on_request(
    cx: Context<'_>,
    route: &RouteState,
    tenant: &TenantState,
    plugin: &Plugin,
    view: RequestView<'_>,
) -> Result<CheckedDecision, Refusal> {
    let _permit = tenant.plugin_calls.try_acquire().ok_or(Refusal::PluginCapacity)?;
    let outcome =
        plugin.on_request(view, &tenant.scope, &cx.generation.plan.plugins.call, route.route.body_limit).await;
    tenant.metrics.on_request.observe(outcome.usage.cpu.as_secs_f64());
    let correlation_id = view.correlation_id;
    let decision = settle(cx.app, tenant, plugin, correlation_id, outcome)?;
    check_decision(decision, &route.route)
        .map_err(|fault| refuse(cx.app, tenant, plugin, correlation_id, &CallFault::Output(fault)))
}

/// Asks `on-response`.
pub async fn on_response(
    cx: Context<'_>,
    route: &RouteState,
    tenant: &TenantState,
    plugin: &Plugin,
    view: ResponseView<'_>,
) -> Result<CheckedResponse, Refusal> {
    let _permit = tenant.plugin_calls.try_acquire().ok_or(Refusal::PluginCapacity)?;
    let outcome =
        plugin.on_response(view, &tenant.scope, &cx.generation.plan.plugins.call, route.route.body_limit).await;
    tenant.metrics.on_response.observe(outcome.usage.cpu.as_secs_f64());
    let correlation_id = view.correlation_id;
    let change = settle(cx.app, tenant, plugin, correlation_id, outcome)?;
    check_response(change, route.route.body_limit)
        .map_err(|fault| refuse(cx.app, tenant, plugin, correlation_id, &CallFault::Output(fault)))
}

fn settle<T>(
    app: &App,
    tenant: &TenantState,
    plugin: &Plugin,
    correlation_id: &str,
    outcome: Outcome<T>,
) -> Result<T, Refusal> {
    let Outcome { result, usage, logs, counts } = outcome;
    add_counts(tenant, &counts, &usage);
    write_logs(tenant, plugin, correlation_id, &logs, &usage);
    result.map_err(|fault| refuse(app, tenant, plugin, correlation_id, &fault))
}

fn add_counts(tenant: &TenantState, counts: &[u64], usage: &Usage) {
    for (counter, value) in tenant.metrics.counters.iter().zip(counts) {
        counter.inc_by(*value);
    }
    if usage.counts_dropped > 0 {
        tenant.metrics.counts_dropped.inc_by(u64::from(usage.counts_dropped));
    }
}

fn write_logs(tenant: &TenantState, plugin: &Plugin, correlation_id: &str, logs: &[LogLine], usage: &Usage) {
    if usage.log_lines_dropped > 0 {
        tenant.metrics.log_dropped.inc_by(u64::from(usage.log_lines_dropped));
    }
    for line in logs {
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

/// The refusal for a fault; its reason goes to the log and the metrics, never to the client.
fn refuse(app: &App, tenant: &TenantState, plugin: &Plugin, correlation_id: &str, fault: &CallFault) -> Refusal {
    let (kind, reason, refusal): (&str, Arc<str>, Refusal) = match fault {
        CallFault::Trap(text) => ("trap", text.clone(), Refusal::PluginFault),
        CallFault::Budget(budget) => (budget.label(), budget.label().into(), Refusal::PluginBudgetExceeded),
        CallFault::Capacity => ("capacity", "no free slot".into(), Refusal::PluginCapacity),
        CallFault::Output(output) => ("output", output.label().into(), Refusal::PluginOutputInvalid),
    };
    app.metrics.plugin_faults.with_label_values(&[&*tenant.tenant.id, kind]).inc();
    tracing::warn!(
        tenant = &*tenant.tenant.id,
        plugin = &*plugin.name,
        correlation_id,
        blame = refusal.answer().blame.label(),
        kind,
        reason = &*reason,
        "plugin gave no decision"
    );
    refusal
}

/// The fields that a plugin may see, as text; what is not UTF-8 is left out.
pub fn visible_fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut visible = Vec::with_capacity(headers.len());
    visible.extend(
        headers
            .iter()
            .filter(|(name, _)| !fields::ends_at_gateway(name) && !fields::is_hop_by_hop(name))
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))),
    );
    visible
}
