//! Deliveries and events for the terminal.

use serde_json::Value;

use super::when;
use crate::admin::text;
use crate::table::{Align, plain, render};

/// A list of deliveries, and how it goes on.
pub fn page(page: &Value) -> String {
    let heading = [
        ("event", Align::Left),
        ("tenant", Align::Left),
        ("sink", Align::Left),
        ("state", Align::Left),
        ("type", Align::Left),
        ("key", Align::Left),
        ("attempts", Align::Right),
        ("accepted", Align::Left),
        ("last error", Align::Left),
    ];
    let rows = rows(&page["deliveries"]);
    let mut told = match rows.is_empty() {
        true => "nothing found\n".to_owned(),
        false => render(&heading, &rows),
    };
    if let Some(next) = page["next"].as_str() {
        told.push_str(&format!("more with --cursor {next}\n"));
    }
    told
}

fn rows(deliveries: &Value) -> Vec<Vec<String>> {
    let row = |delivery: &Value| {
        let mut row: Vec<String> = ["event", "tenant", "sink"].map(|field| text(delivery, field).to_owned()).into();
        row.push(state(delivery));
        row.extend(["type", "key"].map(|field| text(delivery, field).to_owned()));
        row.extend([delivery["attempts"].to_string(), when::relative(&delivery["accepted_at"]), error(delivery)]);
        row
    };
    deliveries.as_array().into_iter().flatten().map(row).collect()
}

/// Where it stands, and whether what is newer than it was delivered.
fn state(delivery: &Value) -> String {
    let overtaken = if delivery["overtaken"] == true { ", overtaken" } else { "" };
    format!("{}{overtaken}", text(delivery, "state"))
}

/// What went wrong last, in one cell.
fn error(delivery: &Value) -> String {
    let error = &delivery["last_error"];
    if error.is_null() {
        return String::new();
    }
    let status = error["status"].as_u64().map(|status| format!(" {status}")).unwrap_or_default();
    format!("{}{status}, {}: {}", text(error, "kind"), text(error, "class"), text(error, "message"))
}

/// An event: head, deliveries, history.
pub fn event(event: &Value) -> String {
    let mut told = String::new();
    let body = format!("{} bytes, {}", event["size"], text(event, "content_type"));
    let accepted = when::both(&event["accepted_at"]);
    let head = [
        ("event", text(event, "id")),
        ("state", text(event, "state")),
        ("tenant", text(event, "tenant")),
        ("type", text(event, "type")),
        ("route", text(event, "route")),
        ("key", text(event, "key")),
        ("lane", text(event, "lane")),
        ("accepted", &accepted),
        ("correlation", text(event, "correlation_id")),
        ("sent anew for", text(event, "causation_id")),
        ("body", &body),
    ];
    for (name, value) in head.into_iter().filter(|(_, value)| !value.is_empty()) {
        told.push_str(&format!("{name:<14} {}\n", plain(value)));
    }
    told.push('\n');
    let heading = [
        ("sink", Align::Left),
        ("state", Align::Left),
        ("attempts", Align::Right),
        ("next", Align::Left),
        ("last error", Align::Left),
    ];
    let row = |delivery: &Value| {
        let next = when::relative(&delivery["next_attempt_at"]);
        let (sink, state) = (text(delivery, "sink").to_owned(), state(delivery));
        vec![sink, state, delivery["attempts"].to_string(), next, error(delivery)]
    };
    let rows: Vec<Vec<String>> = event["deliveries"].as_array().into_iter().flatten().map(row).collect();
    told.push_str(&render(&heading, &rows));
    told.push('\n');
    told.push_str(&history(&event["history"]));
    told
}

fn history(history: &Value) -> String {
    let heading = [
        ("when (UTC)", Align::Left),
        ("sink", Align::Left),
        ("state", Align::Left),
        ("by", Align::Left),
        ("took", Align::Right),
        ("why", Align::Left),
    ];
    let row = |entry: &Value| {
        let [sink, state, actor, reason] =
            ["sink", "state", "actor", "reason"].map(|field| text(entry, field).to_owned());
        let took = entry["took_ms"].as_u64().map(|ms| format!("{ms} ms")).unwrap_or_default();
        vec![when::exact(&entry["at"]), sink, state, actor, took, reason]
    };
    render(&heading, &history.as_array().into_iter().flatten().map(row).collect::<Vec<_>>())
}

/// Lines of the audit.
pub fn audit(lines: &Value) -> String {
    let heading = [
        ("when (UTC)", Align::Left),
        ("by", Align::Left),
        ("what", Align::Left),
        ("event", Align::Left),
        ("sink", Align::Left),
        ("why", Align::Left),
    ];
    let row = |line: &Value| {
        let mut row = vec![when::exact(&line["at"])];
        row.extend(["actor", "action", "event", "sink", "reason"].map(|field| text(line, field).to_owned()));
        row
    };
    render(&heading, &lines.as_array().into_iter().flatten().map(row).collect::<Vec<_>>())
}
