//! `sluis:plugin/http-client`: requests to other systems.

use std::time::Duration;

use sluis_model::http_client::{Answer, HttpFault, Outgoing, REQUEST_BYTES};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmList};

use crate::state::{self, CallState};

type Pairs = Vec<(String, String)>;

#[derive(ComponentType, Lift)]
#[component(record)]
struct Request {
    method: String,
    url: String,
    headers: Pairs,
    body: WasmList<u8>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Answered {
    status: u16,
    headers: Pairs,
    body: Vec<u8>,
    extra: Pairs,
}

pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut client = linker.instance("sluis:plugin/http-client@1.0.0")?;
    client.func_wrap_async("send", |cx: StoreContextMut<'_, CallState>, (request, timeout): (Request, u32)| {
        Box::new(async move {
            let answer = send(cx, request, Duration::from_millis(timeout.into())).await?;
            Ok((answer.map(Answered::from).map_err(HttpFault::label),))
        })
    })
}

async fn send(
    mut cx: StoreContextMut<'_, CallState>,
    request: Request,
    timeout: Duration,
) -> wasmtime::Result<Result<Answer, HttpFault>> {
    let state = cx.data_mut();
    state.host_call()?;
    if state.http_requests >= state.limits.http_requests {
        return Ok(Err(HttpFault::TooMany));
    }
    state.http_requests += 1;
    let scope = state.scope.clone();
    let Some(client) = &scope.http else { return Ok(Err(HttpFault::NotAllowed)) };
    let Request { method, url, headers, body, extra: _ } = request;
    if body.len() > REQUEST_BYTES {
        return Ok(Err(HttpFault::TooLarge));
    }
    let body = body.as_le_slice(&cx).to_vec();
    Ok(state::wait(&mut cx, client.send(Outgoing { method, url, headers, body }, timeout)).await)
}

impl From<Answer> for Answered {
    fn from(Answer { status, headers, body }: Answer) -> Self {
        Answered { status, headers, body, extra: Vec::new() }
    }
}
