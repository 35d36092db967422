//! `sluis:plugin/log`: lines for the tenant's log.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::state::{CallState, LogLevel};

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.instance("sluis:plugin/log@1.0.0")?.func_wrap("write", write)
}

fn write(mut cx: StoreContextMut<'_, CallState>, (level, message): (WasmStr, WasmStr)) -> wasmtime::Result<()> {
    cx.data_mut().host_call()?;
    // `to_str` borrows the store, so what is kept must be copied out; only the first part of it ever shows.
    let max = cx.data().limits.log_line_bytes;
    let level = parse(&level.to_str(&cx)?);
    let message = beginning(&message.to_str(&cx)?, max).to_owned();
    cx.data_mut().log(level, &message);
    Ok(())
}

fn parse(level: &str) -> LogLevel {
    match level {
        "debug" => LogLevel::Debug,
        "warn" => LogLevel::Warn,
        "error" => LogLevel::Error,
        _ => LogLevel::Info,
    }
}

/// A prefix with one character more than `max` bytes, so that the cut still shows.
fn beginning(text: &str, max: usize) -> &str {
    &text[..text.ceil_char_boundary(max.saturating_add(1).min(text.len()))]
}
