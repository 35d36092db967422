//! `sluis sinks`: what waits for each, and who keeps it waiting.

use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Value, json};

use super::events::say;
use super::{block_on, order, when};
use crate::admin::{Admin, encoded, text};
use crate::failure::Failure;
use crate::table::{Align, render};

/// See what waits for the sinks; pause and resume them. For operators
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    /// Send nothing to a sink until it is resumed; what waits uses up no attempts
    Pause(Order),
    /// Let a sink go on that an operator paused
    Resume(Order),
}

/// List all sinks: what waits by state and lane, and who holds them
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    admin: Admin,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// An order about a sink.
#[derive(Debug, clap::Args)]
struct Order {
    #[command(flatten)]
    admin: Admin,
    /// Which
    sink: String,
    /// For history and audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
}

/// Does what was asked for.
pub fn run(args: &Args) -> Result<(), Failure> {
    block_on(async {
        match &args.command {
            Command::List(args) => say(args.json, &args.admin.look("/v1/sinks").await?, table),
            Command::Pause(args) => act(args, "pause", "paused").await,
            Command::Resume(args) => act(args, "resume", "resumed").await,
        }
    })
}

async fn act(args: &Order, action: &str, done: &str) -> Result<(), Failure> {
    let order = order([("reason", args.reason.as_ref().map(|reason| json!(reason)))]);
    let path = format!("/v1/sinks/{}/{action}", encoded(&args.sink));
    args.admin.ask(Method::POST, &path, Bytes::from(order.to_string())).await?;
    Ok(crate::say(&format!("{} {done}", args.sink))?)
}

fn table(sinks: &Value) -> String {
    const STATES: [&str; 6] = ["ready", "leased", "retry_wait", "held", "blocked", "dead"];
    let mut heading = vec![("sink", Align::Left)];
    heading.extend(STATES.map(|state| (state, Align::Right)));
    heading.extend([("waiting by lane", Align::Left), ("held by", Align::Left)]);
    let row = |sink: &Value| {
        let mut row = vec![text(sink, "sink").to_owned()];
        row.extend(STATES.map(|state| sink["states"][state].as_u64().unwrap_or(0).to_string()));
        let lanes = sink["lanes"].as_object().into_iter().flatten().map(|(lane, count)| format!("{lane} {count}"));
        row.push(lanes.collect::<Vec<_>>().join(", "));
        row.push(holds(sink));
        row
    };
    let rows: Vec<Vec<String>> = sinks["sinks"].as_array().into_iter().flatten().map(row).collect();
    let mut told = render(&heading, &rows);
    if let Some(ms) = sinks["oldest_ms"].as_u64() {
        told.push_str(&format!("the oldest event that is not settled has waited for {}\n", when::distance(ms / 1000)));
    }
    told
}

fn holds(sink: &Value) -> String {
    let told = |hold: &Value| {
        let reason = Some(text(hold, "reason")).filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} since {}{reason}", text(hold, "actor"), when::both(&hold["since"]))
    };
    let mut holds: Vec<String> = sink["holds"].as_array().into_iter().flatten().map(told).collect();
    if sink["configured"] == false {
        holds.push("not in the configuration".to_owned());
    }
    holds.join("; ")
}
