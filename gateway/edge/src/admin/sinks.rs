//! What waits for the sinks, and who keeps it waiting.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sluis_ledger::{OPERATOR, Operation, Subject};

use super::caller::EventsCaller;
use super::event_views::{HoldView, SinkView, SinksView};
use super::problem::Problem;
use super::strict::Strict;
use super::views::Reason;
use crate::rollouts::Rollouts;

type App = State<Arc<Rollouts>>;

/// All sinks: what waits for them by state and lane, and who holds them. For operators only.
#[utoipa::path(get, path = "/v1/sinks", tag = "sinks",
    responses((status = 200, body = SinksView), (status = 403, body = Problem)))]
pub async fn list(State(app): App, caller: EventsCaller) -> Result<Json<SinksView>, Problem> {
    caller.must_operate()?;
    let backlog = app.app().ledger.backlog();
    let names: BTreeSet<&str> = caller
        .generation()
        .plan
        .sinks
        .keys()
        .chain(backlog.sinks.iter().map(|depth| &depth.sink))
        .map(|name| &**name)
        .collect();
    let view = |sink: &str| {
        let depth = backlog.sinks.iter().find(|depth| *depth.sink == *sink);
        let states = depth.into_iter().flat_map(|depth| depth.counts()).filter(|(_, count)| *count > 0);
        let lanes = app.app().ledger.waiting_by_lane(sink).into_iter().filter(|(_, count)| *count > 0);
        SinkView {
            sink: sink.to_owned(),
            configured: caller.generation().plan.sinks.contains_key(sink),
            states: states.map(|(state, count)| (state.label(), count)).collect(),
            lanes: lanes.map(|(lane, count)| (lane.label(), count)).collect(),
            holds: app.app().ledger.sink_holds(sink).into_iter().map(HoldView::from).collect(),
        }
    };
    Ok(Json(SinksView {
        events: backlog.events,
        bytes: backlog.bytes,
        max_bytes: backlog.max_bytes,
        oldest_ms: backlog.oldest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        sinks: names.into_iter().map(view).collect(),
    }))
}

/// Sends nothing to a sink until it is resumed; what waits uses up no attempts. For operators only.
#[utoipa::path(post, path = "/v1/sinks/{sink}/pause", tag = "sinks", params(("sink" = String, Path)),
    request_body = Reason,
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn pause(
    State(app): App,
    caller: EventsCaller,
    Path(sink): Path<String>,
    Strict(Reason { reason }): Strict<Reason>,
) -> Result<StatusCode, Problem> {
    order(&app, &caller, sink, Operation::Pause, reason.as_deref()).await
}

/// Lets a sink go on that an operator paused, whoever it was. For operators only.
#[utoipa::path(post, path = "/v1/sinks/{sink}/resume", tag = "sinks", params(("sink" = String, Path)),
    request_body = Reason,
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "No operator has paused it")))]
pub async fn resume(
    State(app): App,
    caller: EventsCaller,
    Path(sink): Path<String>,
    Strict(Reason { reason }): Strict<Reason>,
) -> Result<StatusCode, Problem> {
    caller.must_operate()?;
    let holds = app.app().ledger.sink_holds(&sink);
    if is_known(&app, &caller, &sink) && !holds.iter().any(|hold| hold.actor.starts_with(OPERATOR)) {
        let others: Vec<&str> = holds.iter().map(|hold| &*hold.actor).collect();
        let detail = match others.as_slice() {
            [] => "the sink is not paused".to_owned(),
            others => format!("no operator has paused the sink; it is held by {}", others.join(", ")),
        };
        return Err(Problem::not_possible(detail));
    }
    order(&app, &caller, sink, Operation::Resume, reason.as_deref()).await
}

async fn order(
    app: &Rollouts,
    caller: &EventsCaller,
    sink: String,
    operation: Operation,
    reason: Option<&str>,
) -> Result<StatusCode, Problem> {
    caller.must_operate()?;
    if !is_known(app, caller, &sink) {
        return Err(Problem::not_found("sink"));
    }
    app.app().ledger.operate(Subject::Sink(sink), operation, caller.by(reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the plan has the sink, or something waits for it.
fn is_known(app: &Rollouts, caller: &EventsCaller, sink: &str) -> bool {
    let waits = || app.app().ledger.backlog().sinks.iter().any(|depth| *depth.sink == *sink);
    caller.generation().plan.sinks.contains_key(sink) || waits()
}
