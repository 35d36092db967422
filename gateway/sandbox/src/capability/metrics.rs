//! `sluis:plugin/metrics`: the tenant's own counters.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::state::CallState;

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.instance("sluis:plugin/metrics@1.0.0")?.func_wrap("add", add)
}

fn add(mut cx: StoreContextMut<'_, CallState>, (name, value): (WasmStr, u64)) -> wasmtime::Result<()> {
    cx.data_mut().host_call()?;
    let name = name.to_str(&cx)?;
    let counter = cx.data().scope.metrics.iter().position(|declared| **declared == *name);
    cx.data_mut().count(counter, value);
    Ok(())
}
