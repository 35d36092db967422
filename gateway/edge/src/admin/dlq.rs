//! What was given up: listed, and sent anew or discarded by the filter.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sluis_ledger::{Filter, Ledger, Listed, Operation};
use uuid::Uuid;

use super::caller::EventsCaller;
use super::event_views::{DeadOrder, JobView, PageView, Rehearsal};
use super::events::page;
use super::filter::EventsQuery;
use super::jobs::{Job, Jobs, Task};
use super::problem::Problem;
use super::strict::{Id, Strict, StrictQuery};
use crate::rollouts::Rollouts;

/// Deliveries of a job that names no maximum.
const MAX: usize = 1_000;
/// Deliveries of a job at most.
const LARGEST_MAX: usize = 10_000;
/// Deliveries a second of a job that names no rate.
const RATE: u32 = 50;
/// Deliveries a second at most.
const FASTEST: u32 = 1_000;
/// Deliveries that one question to the ledger answers.
const PART: usize = 500;
/// Deliveries that are shown of a rehearsal.
const SHOWN: usize = 20;

type App = State<Arc<Rollouts>>;

/// Deliveries that were given up, newest event first, with what went wrong last.
#[utoipa::path(get, path = "/v1/dlq", tag = "dlq", params(EventsQuery),
    responses((status = 200, body = PageView), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    State(app): App,
    caller: EventsCaller,
    StrictQuery(query): StrictQuery<EventsQuery>,
) -> Result<Json<PageView>, Problem> {
    page(&app.app().ledger, query.dead_filter(&caller)?, &query).await
}

/// Sends all of them anew that pass a filter, as a job: oldest first, so many a second.
#[utoipa::path(post, path = "/v1/dlq/replay", tag = "dlq", request_body = DeadOrder,
    responses((status = 202, body = JobView), (status = 200, body = Rehearsal, description = "With `dry_run`"),
        (status = 400, body = Problem), (status = 409, body = Problem, description = "A job is under way")))]
pub async fn replay(
    State(app): App,
    State(jobs): State<Arc<Jobs>>,
    caller: EventsCaller,
    Strict(order): Strict<DeadOrder>,
) -> Result<Response, Problem> {
    let operation = Operation::Replay { force: order.force };
    start(&app.app().ledger, &jobs, &caller, operation, order).await
}

/// Gives all of them up for good that pass a filter, as a job.
#[utoipa::path(post, path = "/v1/dlq/discard", tag = "dlq", request_body = DeadOrder,
    responses((status = 202, body = JobView), (status = 200, body = Rehearsal, description = "With `dry_run`"),
        (status = 400, body = Problem), (status = 409, body = Problem, description = "A job is under way")))]
pub async fn discard(
    State(app): App,
    State(jobs): State<Arc<Jobs>>,
    caller: EventsCaller,
    Strict(order): Strict<DeadOrder>,
) -> Result<Response, Problem> {
    if order.force {
        return Err(Problem::malformed("`force` is for what is sent anew"));
    }
    start(&app.app().ledger, &jobs, &caller, Operation::Discard, order).await
}

/// The last jobs, the last first.
#[utoipa::path(get, path = "/v1/jobs", tag = "dlq", responses((status = 200, body = Vec<JobView>)))]
pub async fn jobs(State(jobs): State<Arc<Jobs>>, caller: EventsCaller) -> Json<Vec<JobView>> {
    Json(jobs.seen_by(caller.only()).iter().map(|job| job.view()).collect())
}

/// How far a job is.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "dlq", params(("id" = String, Path)),
    responses((status = 200, body = JobView), (status = 404, body = Problem)))]
pub async fn job(State(jobs): State<Arc<Jobs>>, caller: EventsCaller, Id(id): Id) -> Result<Json<JobView>, Problem> {
    Ok(Json(find(&jobs, &caller, id)?.view()))
}

/// Ends a job: what it has moved stays moved.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "dlq", params(("id" = String, Path)),
    responses((status = 202, body = JobView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has ended")))]
pub async fn cancel(State(jobs): State<Arc<Jobs>>, caller: EventsCaller, Id(id): Id) -> Result<Response, Problem> {
    let job = find(&jobs, &caller, id)?;
    match job.cancel() {
        true => Ok((StatusCode::ACCEPTED, Json(job.view())).into_response()),
        false => Err(Problem::not_possible("the job has ended")),
    }
}

fn find(jobs: &Jobs, caller: &EventsCaller, id: Uuid) -> Result<Arc<Job>, Problem> {
    let found = jobs.seen_by(caller.only()).into_iter().find(|job| job.id() == id);
    found.ok_or_else(|| Problem::not_found("job"))
}

async fn start(
    ledger: &Arc<Ledger>,
    jobs: &Jobs,
    caller: &EventsCaller,
    operation: Operation,
    order: DeadOrder,
) -> Result<Response, Problem> {
    let (max, rate) = (order.max.unwrap_or(MAX), order.rate.unwrap_or(RATE));
    if !(1..=LARGEST_MAX).contains(&max) {
        return Err(Problem::malformed(format!("`max` is 1 to {LARGEST_MAX}")));
    }
    if !(1..=FASTEST).contains(&rate) {
        return Err(Problem::malformed(format!("`rate` is 1 to {FASTEST}")));
    }
    let filter = EventsQuery::from(order.filter.clone()).dead_filter(caller)?;
    let (found, more) = collect(ledger, Filter { oldest_first: true, ..filter }, max).await?;
    if order.dry_run {
        let matched = found.len();
        let deliveries = found.into_iter().take(SHOWN).map(Into::into).collect();
        return Ok(Json(Rehearsal { dry_run: true, matched, more, deliveries }).into_response());
    }
    let (reach, by) = (caller.only().cloned(), caller.by(order.reason.as_deref()));
    let job = jobs.start(ledger.clone(), Task { reach, operation, by, filter: order.filter, rate, found, more })?;
    let location = format!("/v1/jobs/{}", job.id());
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(job.view())).into_response())
}

/// What passes the filter, up to `max`, and whether there is more. A delivery that dies while it is being looked for is
/// not among it twice.
async fn collect(ledger: &Ledger, filter: Filter, max: usize) -> Result<(Vec<Listed>, bool), Problem> {
    let (mut found, mut seen, mut cursor) = (Vec::new(), HashSet::new(), None);
    loop {
        let page = ledger.list(filter.clone(), cursor, PART).await?;
        for listed in page.deliveries {
            if found.len() == max {
                return Ok((found, true));
            }
            if seen.insert((listed.event, listed.sink.clone())) {
                found.push(listed);
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok((found, false)),
        }
    }
}
