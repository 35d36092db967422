//! The tenants' plugins: upload, deploy, try, promote, roll back, and what was done by whom.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sluis_ledger::PluginId;
use sluis_model::rollout::{self, Candidate, Order, Version};

use super::caller::Caller;
use super::problem::Problem;
use super::strict::{Strict, StrictQuery};
use super::views::{
    AuditQuery, AuditView, Deploy, LogQuery, LogView, PluginView, Reason, RecordedView, RecordingView, Release,
    RollBack, RolloutView, TrialView, Uploaded, VersionView,
};
use crate::clock::Clock;
use crate::rollouts::{Only, Rollouts};
use crate::state::TenantState;
use crate::uploads::Report;

/// Longest time for a component to come in.
const UPLOAD: Duration = Duration::from_secs(60);
/// Entries of the audit in one answer.
const AUDIT_PAGE: usize = 100;
/// Longest trial that judges itself, seconds.
const LONGEST_TRIAL: u64 = 30 * 24 * 3600;

type App = State<Arc<Rollouts>>;

/// All of a tenant's plugins that a slot names, or that were ever deployed.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins", tag = "plugins",
    responses((status = 200, body = Vec<PluginView>), (status = 404, body = Problem)))]
pub async fn list(State(app): App, caller: Caller, Path(tenant): Path<String>) -> Result<Response, Problem> {
    let tenant = caller.tenant(&tenant)?;
    let rollouts = app.components.registry.rollouts().await?;
    let deployed = rollouts.into_iter().filter(|(id, _)| *id.tenant == *tenant.tenant.id).map(|(id, _)| id.name);
    let mut names: Vec<String> = tenant.plugins().map(|plugin| plugin.name.to_string()).chain(deployed).collect();
    names.sort_unstable();
    names.dedup();
    let mut views = Vec::with_capacity(names.len());
    for name in names {
        views.push(view(&app, tenant, name).await?);
    }
    Ok(Json(views).into_response())
}

/// One plugin: its versions, which of them serve, what they do.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/plugins/{plugin}", tag = "plugins",
    responses((status = 200, body = PluginView), (status = 404, body = Problem)))]
pub async fn show(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = caller.tenant(&tenant)?;
    let view = view(&app, tenant, plugin).await?;
    if view.slots.is_empty() && view.versions.is_empty() {
        return Err(Problem::not_found("plugin"));
    }
    Ok(Json(view).into_response())
}

/// Uploads a component as a version that is immutable from then on. It is checked, compiled, tried and kept; it serves
/// nothing before it is deployed.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{version}", tag = "plugins",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses(
        (status = 201, body = Uploaded, description = "Kept"),
        (status = 200, body = Uploaded, description = "These bytes were there already under this version"),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem, description = "Rejected; `code` says why"), (status = 429, body = Problem)))]
pub async fn upload(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin, version)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let result = take(&app, &caller, (&tenant, &plugin, &version), &headers, body).await;
    let label = match &result {
        Ok((true, _)) => "kept",
        Ok((false, _)) => "there",
        Err(problem) => problem.label(),
    };
    app.app().metrics.plugin_uploads.with_label_values(&[label]).inc();
    match result {
        Ok((new, report)) => {
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json(Uploaded { version, report })).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Removes a version that neither serves nor can be gone back to.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/plugins/{plugin}/versions/{version}", tag = "plugins",
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin, version)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let id = id(caller.tenant(&tenant)?, plugin)?;
    app.remove(id, parsed(&version)?, caller.actor(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a version serve: all requests at once, or on trial.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plugins/{plugin}/deploy", tag = "plugins",
    request_body = Deploy,
    responses((status = 200, body = RolloutView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 423, body = Problem)))]
pub async fn deploy(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
    Strict(deploy): Strict<Deploy>,
) -> Result<Json<RolloutView>, Problem> {
    let version = parsed(&deploy.version)?;
    if deploy.promote_after.is_some_and(|after| after > LONGEST_TRIAL) {
        return Err(Problem::malformed(format!("`promote_after` is at most {LONGEST_TRIAL} seconds")));
    }
    let now = Clock::unix_millis();
    let order = match deploy.trial {
        None => Order::Deploy(version),
        Some(share) => Order::Try(Candidate {
            version,
            trial: share.into(),
            since: now,
            until: deploy.promote_after.map(|after| now + after * 1000),
            guard: deploy.guard.unwrap_or_default().into(),
        }),
    };
    follow(&app, &caller, (&tenant, plugin), order, deploy.reason.as_deref()).await
}

/// Ends the trial: the candidate serves all requests.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plugins/{plugin}/promote", tag = "plugins", request_body = Reason,
    responses((status = 200, body = RolloutView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 423, body = Problem)))]
pub async fn promote(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
    Strict(Reason { reason }): Strict<Reason>,
) -> Result<Json<RolloutView>, Problem> {
    follow(&app, &caller, (&tenant, plugin), Order::Promote, reason.as_deref()).await
}

/// Ends the trial: the candidate goes.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plugins/{plugin}/abandon", tag = "plugins", request_body = Reason,
    responses((status = 200, body = RolloutView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn abandon(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
    Strict(Reason { reason }): Strict<Reason>,
) -> Result<Json<RolloutView>, Problem> {
    follow(&app, &caller, (&tenant, plugin), Order::Abandon, reason.as_deref()).await
}

/// Goes back to a version that served before.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plugins/{plugin}/rollback", tag = "plugins", request_body = RollBack,
    responses((status = 200, body = RolloutView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn roll_back(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
    Strict(RollBack { version, reason }): Strict<RollBack>,
) -> Result<Json<RolloutView>, Problem> {
    let to = version.as_deref().map(parsed).transpose()?;
    follow(&app, &caller, (&tenant, plugin), Order::RollBack(to), reason.as_deref()).await
}

/// Lets a version out of quarantine, so that it can be deployed again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plugins/{plugin}/release", tag = "plugins", request_body = Release,
    responses((status = 200, body = RolloutView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn release(
    State(app): App,
    caller: Caller,
    Path((tenant, plugin)): Path<(String, String)>,
    Strict(Release { version, reason }): Strict<Release>,
) -> Result<Json<RolloutView>, Problem> {
    let order = Order::Release(parsed(&version)?);
    follow(&app, &caller, (&tenant, plugin), order, reason.as_deref()).await
}

/// What was done with a tenant's plugins, the last first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", tag = "plugins", params(AuditQuery),
    responses((status = 200, body = Vec<AuditView>), (status = 404, body = Problem)))]
pub async fn audit(
    State(app): App,
    caller: Caller,
    Path(tenant): Path<String>,
    StrictQuery(query): StrictQuery<AuditQuery>,
) -> Result<Json<Vec<AuditView>>, Problem> {
    let tenant = caller.tenant(&tenant)?;
    let entries = app.components.registry.audit(&tenant.tenant.id, query.before, AUDIT_PAGE).await?;
    Ok(Json(entries.into_iter().map(AuditView::from).collect()))
}

/// What a tenant's plugins said last: their log lines, and why they failed. Bounded, and of this process only.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/logs", tag = "plugins", params(LogQuery),
    responses((status = 200, body = Vec<LogView>), (status = 404, body = Problem)))]
pub async fn logs(
    caller: Caller,
    Path(tenant): Path<String>,
    StrictQuery(query): StrictQuery<LogQuery>,
) -> Result<Json<Vec<LogView>>, Problem> {
    let tenant = caller.tenant(&tenant)?;
    Ok(Json(tenant.log.after(query.after.unwrap_or(0)).into_iter().map(LogView::from).collect()))
}

/// Requests that are kept of a tenant that wants that (`record` in its settings), the last first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/recordings", tag = "plugins",
    responses((status = 200, body = Vec<RecordingView>), (status = 404, body = Problem)))]
pub async fn recordings(caller: Caller, Path(tenant): Path<String>) -> Result<Json<Vec<RecordingView>>, Problem> {
    let recorder = &caller.tenant(&tenant)?.recorder;
    Ok(Json(recorder.all().iter().map(|recorded| RecordingView::from(&**recorded)).collect()))
}

/// One of them, as a fixture: what the plugin was told, what stood behind its capabilities, and what it said.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/recordings/{id}", tag = "plugins",
    responses((status = 200, body = RecordedView), (status = 404, body = Problem)))]
pub async fn recording(
    caller: Caller,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Json<RecordedView>, Problem> {
    let recorded = caller.tenant(&tenant)?.recorder.find(&id);
    let recorded = recorded.ok_or_else(|| Problem::not_found("recording"))?;
    let fixture = serde_json::to_value(&recorded.fixture).unwrap_or_default();
    Ok(Json(RecordedView { about: RecordingView::from(&*recorded), fixture }))
}

async fn take(
    app: &Rollouts,
    caller: &Caller,
    (tenant, plugin, version): (&str, &str, &str),
    headers: &HeaderMap,
    body: Body,
) -> Result<(bool, Report), Problem> {
    let tenant = caller.tenant(tenant)?;
    let id = id(tenant, plugin.to_owned())?;
    let version = parsed(version)?;
    let permit = app.begin_upload(tenant)?;
    let limit = caller.generation.plan.plugins.component_bytes;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let read = tokio::time::timeout(UPLOAD, Limited::new(body, limit).collect()).await;
    let component = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Problem::too_large(limit)),
        Ok(Err(_)) => return Err(Problem::unread("the component broke off")),
        Err(_) => return Err(Problem::unread("the component took too long")),
    };
    Ok(app.upload(permit, tenant, &id.name, version, component, caller.actor(None)).await?)
}

async fn follow(
    app: &Arc<Rollouts>,
    caller: &Caller,
    (tenant, plugin): (&str, String),
    order: Order,
    reason: Option<&str>,
) -> Result<Json<RolloutView>, Problem> {
    let id = id(caller.tenant(tenant)?, plugin)?;
    let goes_back = matches!(order, Order::RollBack(_) | Order::Abandon);
    let only = Only { unless_frozen: !goes_back && !caller.operates(), ..Only::default() };
    Ok(Json(app.order(id, order, caller.actor(reason), only).await?.into()))
}

fn id(tenant: &TenantState, plugin: String) -> Result<PluginId, Problem> {
    if !rollout::is_plugin_name(&plugin) {
        return Err(Problem::malformed("a plugin's name is 1 to 63 lower-case letters, digits and dashes"));
    }
    Ok(PluginId { tenant: tenant.tenant.id.to_string(), name: plugin })
}

fn parsed(version: &str) -> Result<Version, Problem> {
    Version::parse(version).map_err(|error| Problem::malformed(format!("not a semantic version: {error}")))
}

async fn view(app: &Rollouts, tenant: &TenantState, name: String) -> Result<PluginView, Problem> {
    let id = PluginId { tenant: tenant.tenant.id.to_string(), name: name.clone() };
    let registry = &app.components.registry;
    let filled = tenant.slots.iter().filter(|(_, slot)| *slot.plugin.name == *name);
    let mut slots: Vec<String> = filled.clone().map(|(slot, _)| slot.to_string()).collect();
    slots.sort_unstable();
    let serving = filled.clone().find_map(|(_, slot)| slot.plugin.serving.load_full());
    let file = serving.as_ref().is_some_and(|serving| serving.stable().version.is_none());
    let trial = serving.and_then(|serving| {
        let (_, candidate, stable) = serving.trial()?;
        Some(TrialView { candidate: candidate.into(), stable: stable.into() })
    });
    Ok(PluginView {
        name,
        slots,
        rollout: registry.rollout(&id).await?.into(),
        file,
        trial,
        versions: registry.versions(&id).await?.into_iter().map(VersionView::from).collect(),
    })
}
