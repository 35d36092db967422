//! `sluis:plugin/clock`: what time it is.

use std::time::{Duration, SystemTime};

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::state::CallState;

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.instance("sluis:plugin/clock@1.0.0")?.func_wrap("now", now)
}

fn now(mut cx: StoreContextMut<'_, CallState>, (): ()) -> wasmtime::Result<(u64,)> {
    cx.data_mut().host_call()?;
    Ok((u64::try_from(wall().as_millis()).unwrap_or(u64::MAX),))
}

/// Since the epoch, in whole milliseconds: finer clocks are what side channels are measured with.
pub(super) fn wall() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
