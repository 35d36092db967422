//! `sluis dlq`: what was given up, all at once.

use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Value, json};

use super::events::say;
use super::filter::{Filter, Part};
use super::{block_on, deliveries, order, show, when};
use crate::admin::{Admin, encoded, text};
use crate::failure::Failure;
use crate::table::{Align, render};

/// See what was given up; send it anew or discard it, all that passes a filter
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    /// Send all that passes the filter anew, the oldest first, as a job
    Replay(Replay),
    /// Give up for good all that passes the filter, as a job
    Discard(Bulk),
    Job(Job),
}

/// List what was given up, the newest event first
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    part: Part,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Send what was given up anew.
#[derive(Debug, clap::Args)]
struct Replay {
    #[command(flatten)]
    bulk: Bulk,
    /// Those, too, of whose key a newer event was delivered after they were given up
    #[arg(long)]
    force: bool,
}

/// An order about all that passes a filter.
#[derive(Debug, clap::Args)]
struct Bulk {
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    filter: Filter,
    /// Deliveries at most, the oldest, 1 to 10,000
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    max: u32,
    /// Deliveries a second, 1 to 1,000
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    rate: u32,
    /// For history and audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
    /// Say what would be moved, and move nothing
    #[arg(long)]
    dry_run: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Say how far a job is, or all that the gateway keeps
#[derive(Debug, clap::Args)]
struct Job {
    #[command(flatten)]
    admin: Admin,
    /// Which
    id: Option<String>,
    /// End it; what it has moved stays moved
    #[arg(long, requires = "id")]
    cancel: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Does what was asked for.
pub fn run(args: &Args) -> Result<(), Failure> {
    block_on(async {
        match &args.command {
            Command::List(args) => list(args).await,
            Command::Replay(args) => bulk(&args.bulk, "replay", args.force).await,
            Command::Discard(args) => bulk(args, "discard", false).await,
            Command::Job(args) => job(args).await,
        }
    })
}

async fn list(args: &List) -> Result<(), Failure> {
    let page = args.admin.look(&format!("/v1/dlq?{}", args.filter.query(&args.part, None))).await?;
    say(args.json, &page, show::page)
}

async fn bulk(args: &Bulk, action: &str, force: bool) -> Result<(), Failure> {
    let order = order([
        ("filter", Some(args.filter.json())),
        ("max", Some(json!(args.max))),
        ("rate", Some(json!(args.rate))),
        ("reason", args.reason.as_ref().map(|reason| json!(reason))),
        ("force", force.then_some(json!(true))),
        ("dry_run", args.dry_run.then_some(json!(true))),
    ]);
    let answer = args.admin.order(&format!("/v1/dlq/{action}"), &order).await?;
    if args.dry_run {
        return say(args.json, &answer, |rehearsal| {
            let more = if rehearsal["more"] == true { ", and there are more" } else { "" };
            format!("{}{} match{more}\n", show::page(rehearsal), deliveries(&rehearsal["matched"]))
        });
    }
    say(args.json, &answer, |job| {
        let id = text(job, "id");
        format!("the job {id} is about {}; see `sluis dlq job {id}`\n", deliveries(&job["matched"]))
    })
}

async fn job(args: &Job) -> Result<(), Failure> {
    let Some(id) = &args.id else {
        let jobs = args.admin.look("/v1/jobs").await?;
        return say(args.json, &jobs, |jobs| table(jobs.as_array().map(Vec::as_slice).unwrap_or_default()));
    };
    let path = format!("/v1/jobs/{}", encoded(id));
    let method = if args.cancel { Method::DELETE } else { Method::GET };
    let job = args.admin.ask(method, &path, Bytes::new()).await?.json();
    say(args.json, &job, |job| table(std::slice::from_ref(job)))
}

fn table(jobs: &[Value]) -> String {
    let heading = [
        ("job", Align::Left),
        ("what", Align::Left),
        ("state", Align::Left),
        ("matched", Align::Right),
        ("moved", Align::Right),
        ("skipped", Align::Right),
        ("overtaken", Align::Right),
        ("started", Align::Left),
        ("by", Align::Left),
        ("why", Align::Left),
    ];
    let row = |job: &Value| {
        let mut row: Vec<String> = ["id", "action", "state"].map(|field| text(job, field).to_owned()).into();
        row.extend(["matched", "moved", "skipped", "overtaken"].map(|field| job[field].to_string()));
        // Why it failed is more than why it was begun.
        let why = Some(text(job, "error")).filter(|error| !error.is_empty()).unwrap_or(text(job, "reason"));
        row.extend([when::relative(&job["started_at"]), text(job, "actor").to_owned(), why.to_owned()]);
        row
    };
    render(&heading, &jobs.iter().map(row).collect::<Vec<_>>())
}
