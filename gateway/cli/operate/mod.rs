//! `sluis events`, `sluis dlq` and `sluis sinks`: what became of every order, and what to do about it.

pub mod dlq;
pub mod events;
mod filter;
mod show;
pub mod sinks;
mod when;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::admin::AdminError;
use crate::failure::Failure;

/// Runs what a command asks of a gateway.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Runtime)?;
    runtime.block_on(command)
}

/// An answer as programs read it.
fn say_json(value: &Value) -> std::io::Result<()> {
    crate::say(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// An order of what is there.
fn order<const N: usize>(parts: [(&str, Option<Value>); N]) -> Value {
    let there = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<String, Value>>())
}

/// The bytes of a file as a body in an order: text where it is that; `-` is standard input.
fn body(path: &Path) -> Result<Value, AdminError> {
    let file = |error| AdminError::File { path: path.to_owned(), error };
    let bytes = match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => std::fs::read(path),
    };
    Ok(match String::from_utf8(bytes.map_err(file)?) {
        Ok(text) => json!({ "text": text }),
        Err(not_text) => {
            json!({ "base64": STANDARD.encode(not_text.as_bytes()) })
        }
    })
}

/// Bytes on standard output as they are; a terminal gets a line break after them.
fn say_bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(bytes)?;
    if out.is_terminal() {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// `1 delivery`, `2 deliveries`.
fn deliveries(count: &Value) -> String {
    match count.as_u64().unwrap_or(0) {
        1 => "1 delivery".to_owned(),
        count => format!("{count} deliveries"),
    }
}
