//! `sluis:plugin/kv`: state of the tenant's own that outlives a call.

use std::time::Duration;

use sluis_model::kv::{Edit, Edited, KvFault, VALUE_BYTES, check_key};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList, WasmStr};

use crate::state::{self, CallState};

type Cx<'a> = StoreContextMut<'a, CallState>;
/// What the contract calls a fault is its word.
type Answer<T> = wasmtime::Result<(Result<T, &'static str>,)>;

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut kv = linker.instance("sluis:plugin/kv@1.0.0")?;
    kv.func_wrap_async("get", |cx: Cx<'_>, (key,): (WasmStr,)| Box::new(get(cx, key)))?;
    kv.func_wrap_async("set", |cx: Cx<'_>, (key, value, ttl): (WasmStr, WasmList<u8>, Option<u32>)| {
        Box::new(async move {
            let set = |cx: &Cx<'_>| Ok(Edit::Set { value: bytes(cx, &value)?, ttl: seconds(ttl) });
            answer(edit(cx, key, set).await?, |_| ())
        })
    })?;
    type Swap = (WasmStr, Option<WasmList<u8>>, WasmList<u8>, Option<u32>);
    kv.func_wrap_async("swap", |cx: Cx<'_>, (key, expected, value, ttl): Swap| {
        Box::new(async move {
            let swap = |cx: &Cx<'_>| {
                let expected = expected.as_ref().map(|expected| bytes(cx, expected)).transpose()?;
                Ok(Edit::Swap { expected, value: bytes(cx, &value)?, ttl: seconds(ttl) })
            };
            answer(edit(cx, key, swap).await?, is_done)
        })
    })?;
    kv.func_wrap_async("add", |cx: Cx<'_>, (key, by, ttl): (WasmStr, i64, Option<u32>)| {
        Box::new(async move {
            let add = |_: &Cx<'_>| Ok(Edit::Add { by, ttl: seconds(ttl) });
            answer(edit(cx, key, add).await?, sum)
        })
    })?;
    kv.func_wrap_async("delete", |cx: Cx<'_>, (key,): (WasmStr,)| {
        Box::new(async move { answer(edit(cx, key, |_| Ok(Edit::Delete)).await?, is_done) })
    })
}

async fn get(mut cx: Cx<'_>, key: WasmStr) -> Answer<Option<Vec<u8>>> {
    let key = match begin(&mut cx, &key)? {
        Ok(key) => key,
        Err(fault) => return Ok((Err(fault.label()),)),
    };
    let scope = cx.data().scope.clone();
    let Some(kv) = &scope.kv else { return Ok((Err(KvFault::Unavailable.label()),)) };
    let value = state::wait(&mut cx, kv.store.get(&scope.tenant, &key)).await;
    Ok((value.map_err(KvFault::label),))
}

/// `what` reads the rest of the parameters, once the key is known to be one.
async fn edit(
    mut cx: Cx<'_>,
    key: WasmStr,
    what: impl FnOnce(&Cx<'_>) -> Result<Edit, KvFault> + Send,
) -> wasmtime::Result<Result<Edited, KvFault>> {
    let (key, edit) = match begin(&mut cx, &key)?.and_then(|key| Ok((key, what(&cx)?))) {
        Ok(read) => read,
        Err(fault) => return Ok(Err(fault)),
    };
    let scope = cx.data().scope.clone();
    let Some(kv) = &scope.kv else { return Ok(Err(KvFault::Unavailable)) };
    Ok(state::wait(&mut cx, kv.store.edit(&scope.tenant, &key, edit, kv.quota)).await)
}

/// Counts the call, and copies the key out if it is one.
fn begin(cx: &mut Cx<'_>, key: &WasmStr) -> wasmtime::Result<Result<String, KvFault>> {
    cx.data_mut().host_call()?;
    let key = key.to_str(&*cx)?;
    Ok(check_key(&key).map(|()| key.into_owned()))
}

/// A copy of what the guest has, unless it is too long.
fn bytes(cx: &Cx<'_>, list: &WasmList<u8>) -> Result<Vec<u8>, KvFault> {
    if list.len() > VALUE_BYTES { Err(KvFault::Value) } else { Ok(list.as_le_slice(cx).to_vec()) }
}

fn seconds(ttl: Option<u32>) -> Option<Duration> {
    ttl.map(|seconds| Duration::from_secs(seconds.into()))
}

fn answer<T>(edited: Result<Edited, KvFault>, f: impl FnOnce(Edited) -> T) -> Answer<T> {
    Ok((edited.map(f).map_err(KvFault::label),))
}

fn is_done(edited: Edited) -> bool {
    matches!(edited, Edited::Done(true))
}

fn sum(edited: Edited) -> i64 {
    match edited {
        Edited::Sum(sum) => sum,
        Edited::Done(_) => 0,
    }
}
