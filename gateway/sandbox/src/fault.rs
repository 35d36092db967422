//! What a failed call says: which budget ran out, or the trap in the words of the guest's own tool chain.

use sluis_model::hook::{Budget, CallFault, OutputFault};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::state::{CallState, HostCallsUsedUp, LogLevel};
use crate::text;

/// Bytes of a trap's text.
const TRAP_BYTES: usize = 1 << 10;
/// Bytes of it that the guest's own words may take.
const MESSAGE_BYTES: usize = 512;
/// Bytes of one function's name.
const FRAME_BYTES: usize = 96;

/// The fault that `error` means, after a call that left `state`.
pub(crate) fn classify(error: &wasmtime::Error, state: &CallState) -> CallFault {
    if error.is::<PoolConcurrencyLimitError>() {
        return CallFault::Capacity;
    }
    if error.is::<HostCallsUsedUp>() {
        return CallFault::Budget(Budget::HostCalls);
    }
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
        return CallFault::Budget(Budget::Cpu);
    }
    if state.meter.refused() {
        return CallFault::Budget(Budget::Memory);
    }
    if is_oversized_result(error) {
        return CallFault::Output(OutputFault::Body);
    }
    CallFault::Trap(describe(error, state).into())
}

/// The result was larger than it may be. Only the text tells (the type is private to wasmtime), and only where no guest
/// frame is on the stack: a host call that hands over too much is a trap.
fn is_oversized_result(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<WasmBacktrace>().is_none() && cause(error).starts_with("too much data is being copied")
}

fn describe(error: &wasmtime::Error, state: &CallState) -> String {
    let mut text = cause(error);
    if let Some(said) = last_words(state) {
        text.push_str(": ");
        text.push_str(&said);
    }
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for (index, frame) in backtrace.frames().iter().enumerate() {
            text.push_str(if index == 0 { "; in " } else { " < " });
            match frame.func_name() {
                Some(name) => {
                    let name = format!("{:#}", rustc_demangle::demangle(name));
                    text.push_str(&text::escape(&name, FRAME_BYTES));
                }
                None => text.push_str(&format!("function {}", frame.func_index())),
            }
            if let Some(offset) = frame.module_offset() {
                text.push_str(&format!(" at {offset:#x}"));
            }
        }
    }
    text::escape(&text, TRAP_BYTES)
}

/// The root of the error in one line.
fn cause(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => text::escape(&error.root_cause().to_string(), MESSAGE_BYTES),
    }
}

/// What the guest said before it fell: its stderr where it has one, else its last line at level `error`.
fn last_words(state: &CallState) -> Option<String> {
    let printed = String::from_utf8_lossy(&state.stdio);
    let printed = printed.trim();
    if !printed.is_empty() {
        return Some(text::escape(printed, MESSAGE_BYTES));
    }
    let line = state.logs.iter().rev().find(|line| line.level == LogLevel::Error)?;
    Some(text::escape(&line.message, MESSAGE_BYTES))
}
