//! Does on request what a plugin may do, and what it must not.
//!
//! What to do stands in the header `x-tester`, or where there is none, in the path:
//!
//! | Directive | What it does |
//! |---|---|
//! | `/echo` | forwards the request unchanged |
//! | `/upstream/NAME` | forwards to that upstream |
//! | `/path/REST` | forwards to `/REST` |
//! | `/set/NAME/VALUE`, `/remove/NAME` | forwards with the header set or removed |
//! | `/body/TEXT` | forwards with that body |
//! | `/json` | parses the body as any JSON and forwards it, written again; refuses what is no JSON |
//! | `/respond/STATUS/TEXT` | answers |
//! | `/request` | answers 200 with what the plugin was told, as JSON |
//! | `/config/KEY` | answers 200 with the setting, 404 where there is none |
//! | `/now` | answers 200 with the time in milliseconds |
//! | `/count/NAME/N` | adds N (1 where none) to that counter, forwards |
//! | `/kv/get/KEY`, `/kv/delete/KEY` | answers 200 with the value, or with whether there was one; 404 where there is none |
//! | `/kv/set/KEY/VALUE`, `/kv/add/KEY/N`, `/kv/swap/KEY/OLD/NEW` | edits, answers 200 with what the call answered; an OLD of `-` is none |
//! | `/http/METHOD/URL` | sends the body there, answers with what came back, 502 and the word where nothing did |
//! | `/http-flood/N/URL` | sends N requests there one after the other, answers 200 with what became of each |
//! | `/state` | answers 200 with how often this instance was called: 1, always |
//! | `/refuse/STATUS` | refuses with that status (422 where none) and the pointer `/lines/0` |
//! | `/enqueue/KEY` | enqueues, type `test.event`, with that key where one is given |
//! | `/sink/NAME` | enqueues for that sink only |
//! | `/log/LEVEL/TEXT` | logs, forwards |
//! | `/log-flood` | logs 10,000 lines, one of 1 MiB, and control characters; forwards |
//! | `/host-calls/N` | makes N host calls, forwards |
//! | `/spin` | loops for ever |
//! | `/hog` | takes memory until there is none |
//! | `/trap` | panics |
//! | `/recurse` | overflows its stack |
//! | `/lie/…` | gives back what no gateway may act on: see `lie` |
//! | anything else | refuses with 404 |
//!
//! `REST`, `VALUE` and `TEXT` may contain `/`.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use sluis_plugin::{Decision, Request, clock, config, http_client, kv, log, metrics};

mod lies;

sluis_plugin::plugin! { on_request: decide }

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Does what the directive says.
pub fn decide(request: Request) -> Decision {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let directive = request.header("x-tester").unwrap_or(&request.path).to_string();
    let (verb, rest) = split(directive.strip_prefix('/').unwrap_or(&directive));
    let (first, second) = split(rest);
    let forward = Decision::forward();
    match verb {
        "echo" => forward.into(),
        "upstream" => forward.upstream(rest).into(),
        "path" => forward.path(format!("/{rest}")).into(),
        "set" => forward.header(first, second).into(),
        "remove" => forward.remove_header(rest).into(),
        "body" => forward.body(rest).into(),
        "json" => match serde_json::from_slice::<serde_json::Value>(&request.body) {
            Ok(value) => forward.json(&value).into(),
            Err(error) => {
                Decision::refuse(422, "urn:sluis:tester:not-json", "Not JSON").detail(error.to_string()).into()
            }
        },
        "respond" => text(first.parse().unwrap_or(200), second),
        "request" => Decision::respond(200).json(&told(&request)).into(),
        "config" => config::get(rest).map_or_else(|| text(404, "no such setting"), |value| text(200, &value)),
        "now" => text(200, &clock::now().to_string()),
        "count" => {
            metrics::add(first, second.parse().unwrap_or(1));
            forward.into()
        }
        "http" => match http_client::Request::new(first, second).body(request.body.clone()).send(1_000) {
            Ok(answer) => Decision::respond(answer.status).body(answer.body).into(),
            Err(fault) => text(502, &fault),
        },
        "http-flood" => {
            let sent = (0..first.parse().unwrap_or(0)).map(|_| http_client::Request::new("GET", second).send(1_000));
            let said: Vec<String> =
                sent.map(|sent| sent.map_or_else(|fault| fault, |a| a.status.to_string())).collect();
            text(200, &said.join(" "))
        }
        "kv" => keep(first, second),
        "state" => text(200, &calls.to_string()),
        "refuse" => Decision::refuse(first.parse().unwrap_or(422), "urn:sluis:tester:refused", "The tester refuses")
            .detail("as it was asked to")
            .pointer("/lines/0")
            .into(),
        "enqueue" if rest.is_empty() => Decision::enqueue().event_type("test.event").into(),
        "enqueue" => Decision::enqueue().event_type("test.event").key(rest).into(),
        "sink" => Decision::enqueue().event_type("test.event").sink(rest).into(),
        "log" => {
            log_at(first, second);
            forward.into()
        }
        "log-flood" => {
            flood();
            forward.into()
        }
        "host-calls" => {
            for _ in 0..first.parse().unwrap_or(0u32) {
                black_box(config::get("none"));
            }
            forward.into()
        }
        "spin" => spin(),
        "hog" => hog(),
        "trap" => panic!("the tester was asked to panic"),
        "recurse" => text(200, &recurse(u64::from(calls)).to_string()),
        "lie" => lies::lie(rest),
        _ => Decision::refuse(404, "urn:sluis:tester:unknown", "The tester knows no such directive").into(),
    }
}

/// What the tenant's state answers; 507 and the word where it refuses.
fn keep(verb: &str, rest: &str) -> Decision {
    let (key, value) = split(rest);
    let answer = match verb {
        "get" => match kv::get(key) {
            Ok(None) => return text(404, "no such key"),
            Ok(Some(value)) => Ok(String::from_utf8_lossy(&value).into_owned()),
            Err(fault) => Err(fault),
        },
        "set" => kv::set(key, value.as_bytes(), None).map(|()| String::new()),
        "add" => kv::add(key, value.parse().unwrap_or(1), None).map(|sum| sum.to_string()),
        "swap" => {
            let (expected, value) = split(value);
            let expected = (expected != "-").then_some(expected.as_bytes());
            kv::swap(key, expected, value.as_bytes(), None).map(|done| done.to_string())
        }
        "delete" => kv::delete(key).map(|was| was.to_string()),
        _ => return text(404, "no such verb"),
    };
    match answer {
        Ok(answer) => text(200, &answer),
        Err(fault) => text(507, &fault),
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

fn text(status: u16, text: &str) -> Decision {
    Decision::respond(status).header("content-type", "text/plain; charset=utf-8").body(text).into()
}

/// Everything that the plugin was told, for a test to look at.
fn told(request: &Request) -> serde_json::Value {
    serde_json::json!({
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "route": request.route,
        "parameters": request.parameters,
        "headers": request.headers,
        "tenant": request.tenant,
        "subject": request.subject,
        "claims": request.claims,
        "correlation_id": request.correlation_id,
        "body": String::from_utf8_lossy(&request.body),
        "extra": request.extra,
    })
}

fn log_at(level: &str, message: &str) {
    match level {
        "debug" => log::debug(message),
        "warn" => log::warn(message),
        "error" => log::error(message),
        _ => log::info(message),
    }
}

fn flood() {
    log::info("first\nforged=\"line\" \u{1b}[31mred\u{1b}[0m \0 end");
    log::info(&"x".repeat(1 << 20));
    for n in 0..10_000 {
        log::info(&format!("line {n}"));
    }
}

fn spin() -> ! {
    loop {
        black_box(0);
    }
}

fn hog() -> ! {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(black_box(vec![1; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1).wrapping_add(black_box(frame)[3]) }
}

#[cfg(test)]
mod tests;
