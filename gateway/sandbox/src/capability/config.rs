//! `sluis:plugin/config`: the tenant's own settings and secrets, as configured.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::state::CallState;

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.instance("sluis:plugin/config@1.0.0")?.func_wrap("get", get)
}

fn get(mut cx: StoreContextMut<'_, CallState>, (key,): (WasmStr,)) -> wasmtime::Result<(Option<String>,)> {
    cx.data_mut().host_call()?;
    let key = key.to_str(&cx)?;
    let value = cx.data().scope.config.get(key.as_ref()).map(|secret| secret.expose().to_owned());
    Ok((value,))
}
