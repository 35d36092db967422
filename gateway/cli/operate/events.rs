//! `sluis events`: single events, found and acted on.

use std::path::PathBuf;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Value, json};

use super::filter::{Filter, Part};
use super::{block_on, body, deliveries, order, say_bytes, say_json, show};
use crate::admin::{Admin, encoded};
use crate::failure::Failure;

/// Find events, see what became of them, send them anew, give them up, hold them
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Body(Body),
    Replay(Replay),
    /// Give deliveries up for good that wait or are dead
    Discard(Order),
    /// Let deliveries that wait do so until they are released
    Hold(Order),
    /// Let deliveries go on that were held
    Release(Order),
    Audit(Audit),
}

/// List deliveries, the newest event first
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    filter: Filter,
    /// In one of these states, with commas between them (dead,held)
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    #[command(flatten)]
    part: Part,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Say what became of an event: head, deliveries, history
#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    admin: Admin,
    /// Its id
    id: String,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Write an event's body to standard output
#[derive(Debug, clap::Args)]
struct Body {
    #[command(flatten)]
    admin: Admin,
    /// Its id
    id: String,
}

/// Send what was given up anew: as it is, or with another body as a new event
#[derive(Debug, clap::Args)]
struct Replay {
    #[command(flatten)]
    order: Order,
    /// With the body in this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Media type of that body; the old one's where absent
    #[arg(long, value_name = "TYPE", requires = "body")]
    content_type: Option<String>,
    /// Although a newer event of its key was delivered after it was given up
    #[arg(long)]
    force: bool,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// An order about an event.
#[derive(Debug, clap::Args)]
struct Order {
    #[command(flatten)]
    admin: Admin,
    /// The event's id
    id: String,
    /// Only the delivery to this sink
    #[arg(long)]
    sink: Option<String>,
    /// For history and audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Say what was done to events and sinks, by whom and why, the last first
#[derive(Debug, clap::Args)]
struct Audit {
    #[command(flatten)]
    admin: Admin,
    /// About this tenant's events
    #[arg(long)]
    tenant: Option<String>,
    /// Before the line of this number (`seq`)
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Does what was asked for.
pub fn run(args: &Args) -> Result<(), Failure> {
    block_on(async {
        match &args.command {
            Command::List(args) => list(args).await,
            Command::Show(args) => show(args).await,
            Command::Body(args) => write_body(args).await,
            Command::Replay(args) => replay(args).await,
            Command::Discard(args) => act(args, "discard", "given up for good").await,
            Command::Hold(args) => act(args, "hold", "held until released").await,
            Command::Release(args) => act(args, "release", "released").await,
            Command::Audit(args) => audit(args).await,
        }
    })
}

async fn list(args: &List) -> Result<(), Failure> {
    let query = args.filter.query(&args.part, args.state.as_deref());
    let page = args.admin.look(&format!("/v1/events?{query}")).await?;
    say(args.json, &page, show::page)
}

async fn show(args: &Show) -> Result<(), Failure> {
    let event = args.admin.look(&path(&args.id, "")).await?;
    say(args.json, &event, show::event)
}

async fn write_body(args: &Body) -> Result<(), Failure> {
    let answer = args.admin.ask(Method::GET, &path(&args.id, "/body"), Bytes::new()).await?;
    Ok(say_bytes(&answer.body)?)
}

async fn replay(args: &Replay) -> Result<(), Failure> {
    let Order { admin, id, sink, reason, json } = &args.order;
    let order = order([
        ("sink", sink.as_ref().map(|sink| json!(sink))),
        ("reason", reason.as_ref().map(|reason| json!(reason))),
        ("body", args.body.as_deref().map(body).transpose()?),
        ("content_type", args.content_type.as_ref().map(|media_type| json!(media_type))),
        ("force", args.force.then_some(json!(true))),
        ("dry_run", args.dry_run.then_some(json!(true))),
    ]);
    let moved = admin.order(&path(id, "/replay"), &order).await?;
    say(*json, &moved, |moved| {
        let new = moved["replaced_by"].as_str().map(|new| format!(" as the event {new}")).unwrap_or_default();
        let would = if args.dry_run { "would be " } else { "" };
        format!("{} {would}sent anew{new}\n", deliveries(&moved["deliveries"]))
    })
}

async fn act(args: &Order, action: &str, done: &str) -> Result<(), Failure> {
    let order = order([
        ("sink", args.sink.as_ref().map(|sink| json!(sink))),
        ("reason", args.reason.as_ref().map(|reason| json!(reason))),
    ]);
    let moved = args.admin.order(&path(&args.id, &format!("/{action}")), &order).await?;
    say(args.json, &moved, |moved| format!("{} {done}\n", deliveries(&moved["deliveries"])))
}

async fn audit(args: &Audit) -> Result<(), Failure> {
    let tenant = args.tenant.as_ref().map(|tenant| format!("tenant={}", encoded(tenant)));
    let before = args.before.map(|before| format!("before={before}"));
    let query: Vec<String> = tenant.into_iter().chain(before).collect();
    let lines = args.admin.look(&format!("/v1/audit/events?{}", query.join("&"))).await?;
    say(args.json, &lines, show::audit)
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/events/{}{rest}", encoded(id))
}

/// For programs, or for people.
pub fn say(json: bool, answer: &Value, told: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
    Ok(if json { say_json(answer) } else { crate::say(told(answer).trim_end()) }?)
}
