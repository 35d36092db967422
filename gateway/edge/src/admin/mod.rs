//! The operators' listener, never the customers'.
//!
//! | path | answers |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when requests can be served, 503 with the reasons when not |
//! | `GET /metrics` | Prometheus text |
//! | `GET /plan` | the plan in force, secrets redacted; for operators with a token, where `admin.auth` says who they are |
//! | `GET /upstreams` | breaker, requests in flight; for the same |
//! | `/v1/tenants/{tenant}/plugins` … | the tenants' plugins, see [`plugins`]; for callers with a token |
//! | `/v1/events` … | events: found, shown, sent anew, given up, held, see [`events`]; for callers with a token |
//! | `/v1/dlq` …, `/v1/jobs` … | what was given up, and orders about many of it, see [`dlq`] and [`jobs`] |
//! | `/v1/sinks` … | what waits for the sinks; pause and resume, see [`sinks`] |
//! | `/v1/audit/events` | what was done to events and sinks, by whom and why |
//! | `GET /openapi.json` | all of it as OpenAPI 3.1 |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use sluis_ledger::Health;
use utoipa::openapi::Info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::rollouts::Rollouts;
use crate::state::App;

mod caller;
pub mod dlq;
mod event_views;
pub mod events;
mod filter;
pub mod jobs;
pub mod plugins;
mod problem;
pub mod sinks;
mod strict;
mod views;

use caller::Viewer;
use jobs::Jobs;
use problem::Problem;

/// Largest JSON body.
const JSON: usize = 64 << 10;
/// Largest JSON body with an event's body in it.
const EDITED: usize = 8 << 20;

/// What the routes with a token stand on.
#[derive(Clone)]
struct Office {
    rollouts: Arc<Rollouts>,
    jobs: Arc<Jobs>,
}

impl FromRef<Office> for Arc<Rollouts> {
    fn from_ref(office: &Office) -> Self {
        office.rollouts.clone()
    }
}

impl FromRef<Office> for Arc<Jobs> {
    fn from_ref(office: &Office) -> Self {
        office.jobs.clone()
    }
}

/// All routes.
pub fn router(rollouts: Arc<Rollouts>) -> Router {
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/plan", get(plan))
        .route("/upstreams", get(upstreams))
        .with_state(rollouts.app().clone());
    let (router, mut description) = OpenApiRouter::new()
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::show))
        .routes(routes!(plugins::upload, plugins::remove))
        .routes(routes!(plugins::deploy))
        .routes(routes!(plugins::promote))
        .routes(routes!(plugins::abandon))
        .routes(routes!(plugins::roll_back))
        .routes(routes!(plugins::release))
        .routes(routes!(plugins::audit))
        .routes(routes!(plugins::logs))
        .routes(routes!(plugins::recordings))
        .routes(routes!(plugins::recording))
        .routes(routes!(events::list))
        .routes(routes!(events::show))
        .routes(routes!(events::body))
        .routes(routes!(events::discard))
        .routes(routes!(events::hold))
        .routes(routes!(events::release))
        .routes(routes!(events::audit))
        .routes(routes!(dlq::list))
        .routes(routes!(dlq::replay))
        .routes(routes!(dlq::discard))
        .routes(routes!(dlq::jobs))
        .routes(routes!(dlq::job, dlq::cancel))
        .routes(routes!(sinks::list))
        .routes(routes!(sinks::pause))
        .routes(routes!(sinks::resume))
        .layer(DefaultBodyLimit::max(JSON))
        .merge(OpenApiRouter::new().routes(routes!(events::replay)).layer(DefaultBodyLimit::max(EDITED)))
        .with_state(Office { rollouts, jobs: Arc::default() })
        .split_for_parts();
    description.info = Info::new("Sluis, the operators' listener", env!("CARGO_PKG_VERSION"));
    let description = description.to_json().unwrap_or_default();
    let described = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], description) });
    router
        .merge(app)
        .route("/openapi.json", described)
        .fallback(|| async { Problem::not_found("path") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
}

/// What keeps the gateway from serving; empty when ready. An upstream that is down is no reason: its breaker answers.
pub fn not_ready(app: &App) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if app.draining.load(Ordering::Relaxed) {
        reasons.push("draining");
    }
    if app.ledger.health() == Health::Failed {
        reasons.push("ledger storage fault");
    }
    reasons
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let reasons = not_ready(&app);
    if reasons.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reasons": reasons }))).into_response()
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let backlog = app.ledger.backlog();
    app.metrics.backlog_events.set(i64::try_from(backlog.events).unwrap_or(i64::MAX));
    app.metrics.backlog_bytes.set(i64::try_from(backlog.bytes).unwrap_or(i64::MAX));
    app.metrics.set_tokens(&app.token_cache.counts());
    for source in app.jwks.status() {
        app.metrics
            .jwks_keys
            .with_label_values(&[&*source.issuer])
            .set(i64::try_from(source.keys.unwrap_or(0)).unwrap_or(i64::MAX));
    }
    let generation = app.generation.load();
    let now = app.clock.now();
    for entry in generation.upstreams.values() {
        entry.metrics.breaker.set(i64::from(entry.state.breaker.state(now).code()));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

async fn plan(Viewer { generation }: Viewer) -> Response {
    let plan = &generation.plan;
    Json(json!({ "generation": generation.number, "digest": plan.digest, "plan": plan.resolved })).into_response()
}

async fn upstreams(State(app): State<Arc<App>>, Viewer { generation }: Viewer) -> Response {
    let now = app.clock.now();
    let all: serde_json::Map<String, serde_json::Value> = generation
        .upstreams
        .iter()
        .map(|(name, entry)| {
            let state = &entry.state;
            let about = json!({ "breaker": state.breaker.state(now).label(), "in_flight": state.permits.in_use() });
            (name.to_string(), about)
        })
        .collect();
    Json(all).into_response()
}
