//! `sluis:plugin/panic`: the last words of a guest without standard streams. They are kept where printed ones are.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::state::CallState;

/// Fifteen words of eight bytes; with the length they are as many parameters as pass without memory.
type Text = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.instance("sluis:plugin/panic@1.0.0")?.func_wrap("note", note)
}

fn note(mut cx: StoreContextMut<'_, CallState>, (length, text): (u8, Text)) -> wasmtime::Result<()> {
    cx.data_mut().host_call()?;
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o) = text;
    let bytes = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o].map(u64::to_le_bytes);
    let told: Vec<u8> = bytes.as_flattened().iter().take(length.into()).copied().filter(|byte| *byte != 0).collect();
    cx.data_mut().print(&told);
    Ok(())
}
