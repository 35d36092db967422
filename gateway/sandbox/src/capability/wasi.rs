//! The part of WASI 0.2 that standard libraries pull in whether they use it or not: streams that end in a bounded
//! buffer (a guest's panic message comes that way), an empty environment, clocks of one millisecond, bounded random.
//! No file, no socket, no wait, no HTTP; what is not here is refused by name when a component is loaded.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};

use crate::state::CallState;

type Cx<'a> = StoreContextMut<'a, CallState>;

/// Interfaces with at least one function here, or with types only.
const INTERFACES: [&str; 18] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Whether an import is of WASI 0.2 and here; any patch release of it, they are compatible.
pub(crate) fn offers(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let patch = version.strip_prefix("0.2.");
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
        && INTERFACES.contains(&interface)
}

pub(crate) fn link(linker: &mut Linker<CallState>) -> Result<()> {
    streams(linker)?;
    cli(linker)?;
    terminals(linker)?;
    clocks(linker)?;
    random(linker)
}

struct OutputStream;
struct InputStream;
struct IoError;
struct Pollable;
struct Terminal<const OUTPUT: bool>;

/// A write is accepted up to this many bytes at once; what the buffer has no room for is dropped.
const WRITE_BYTES: u64 = 4 << 10;

#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "no operation here fails, and the contract names the case")]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

fn streams(linker: &mut Linker<CallState>) -> Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.0")?;
    error.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))?;

    poll(linker)?;
    let mut io = linker.instance("wasi:io/streams@0.2.0")?;
    io.resource("output-stream", ResourceType::host::<OutputStream>(), |_, _| Ok(()))?;
    io.resource("input-stream", ResourceType::host::<InputStream>(), |_, _| Ok(()))?;
    io.func_wrap("[method]output-stream.check-write", |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
        cx.data_mut().host_call()?;
        Ok((Ok::<_, StreamError>(WRITE_BYTES),))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        io.func_wrap(name, |mut cx: Cx<'_>, (_, bytes): (Resource<OutputStream>, WasmList<u8>)| {
            cx.data_mut().host_call()?;
            let bytes = bytes.as_le_slice(&cx);
            let kept = bytes[..bytes.len().min(WRITE_BYTES as usize)].to_vec();
            cx.data_mut().print(&kept);
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        io.func_wrap(name, |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
            cx.data_mut().host_call()?;
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        io.func_wrap(name, |mut cx: Cx<'_>, (_, _): (Resource<InputStream>, u64)| {
            cx.data_mut().host_call()?;
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    io.func_wrap("[method]output-stream.subscribe", |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
        cx.data_mut().host_call()?;
        Ok((Resource::<Pollable>::new_own(0),))
    })?;
    io.func_wrap("[method]input-stream.subscribe", |mut cx: Cx<'_>, (_,): (Resource<InputStream>,)| {
        cx.data_mut().host_call()?;
        Ok((Resource::<Pollable>::new_own(0),))
    })
}

/// Streams are always ready, and there is nothing else to wait for.
fn poll(linker: &mut Linker<CallState>) -> Result<()> {
    let mut poll = linker.instance("wasi:io/poll@0.2.0")?;
    poll.resource("pollable", ResourceType::host::<Pollable>(), |_, _| Ok(()))?;
    poll.func_wrap("[method]pollable.ready", |mut cx: Cx<'_>, (_,): (Resource<Pollable>,)| {
        cx.data_mut().host_call()?;
        Ok((true,))
    })?;
    poll.func_wrap("[method]pollable.block", |mut cx: Cx<'_>, (_,): (Resource<Pollable>,)| cx.data_mut().host_call())?;
    poll.func_wrap("poll", |mut cx: Cx<'_>, (waiting,): (Vec<Resource<Pollable>>,)| {
        cx.data_mut().host_call()?;
        Ok(((0..waiting.len() as u32).collect::<Vec<_>>(),))
    })
}

fn cli(linker: &mut Linker<CallState>) -> Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.0")?;
    environment.func_wrap("get-environment", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    environment.func_wrap("get-arguments", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((Vec::<String>::new(),))
    })?;
    environment.func_wrap("initial-cwd", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((None::<String>,))
    })?;

    let mut exit = linker.instance("wasi:cli/exit@0.2.0")?;
    exit.func_wrap("exit", |_: Cx<'_>, (_,): (Result<(), ()>,)| -> Result<()> { bail!("the plugin called exit") })?;
    exit.func_wrap("exit-with-code", |_: Cx<'_>, (_,): (u8,)| -> Result<()> { bail!("the plugin called exit") })?;

    let own = Resource::<InputStream>::new_own;
    linker.instance("wasi:cli/stdin@0.2.0")?.func_wrap("get-stdin", move |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((own(0),))
    })?;
    for (instance, name) in [("wasi:cli/stdout@0.2.0", "get-stdout"), ("wasi:cli/stderr@0.2.0", "get-stderr")] {
        linker.instance(instance)?.func_wrap(name, |mut cx: Cx<'_>, (): ()| {
            cx.data_mut().host_call()?;
            Ok((Resource::<OutputStream>::new_own(0),))
        })?;
    }
    Ok(())
}

/// Nothing is a terminal.
fn terminals(linker: &mut Linker<CallState>) -> Result<()> {
    let input = ResourceType::host::<Terminal<false>>();
    linker.instance("wasi:cli/terminal-input@0.2.0")?.resource("terminal-input", input, |_, _| Ok(()))?;
    let output = ResourceType::host::<Terminal<true>>();
    linker.instance("wasi:cli/terminal-output@0.2.0")?.resource("terminal-output", output, |_, _| Ok(()))?;
    terminal::<false>(linker, "wasi:cli/terminal-stdin@0.2.0", "get-terminal-stdin")?;
    terminal::<true>(linker, "wasi:cli/terminal-stdout@0.2.0", "get-terminal-stdout")?;
    terminal::<true>(linker, "wasi:cli/terminal-stderr@0.2.0", "get-terminal-stderr")
}

fn terminal<const OUTPUT: bool>(linker: &mut Linker<CallState>, instance: &str, name: &str) -> Result<()> {
    linker.instance(instance)?.func_wrap(name, |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((None::<Resource<Terminal<OUTPUT>>>,))
    })
}

/// Clocks tell whole milliseconds: finer ones are what side channels are measured with.
const RESOLUTION: Duration = Duration::from_millis(1);

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

fn clocks(linker: &mut Linker<CallState>) -> Result<()> {
    let mut monotonic = linker.instance("wasi:clocks/monotonic-clock@0.2.0")?;
    monotonic.func_wrap("now", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((monotonic_millis() * 1_000_000,))
    })?;
    monotonic.func_wrap("resolution", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((RESOLUTION.as_nanos() as u64,))
    })?;
    let mut wall = linker.instance("wasi:clocks/wall-clock@0.2.0")?;
    wall.func_wrap("now", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        let now = super::clock::wall();
        Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
    })?;
    wall.func_wrap("resolution", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok((Datetime { seconds: 0, nanoseconds: RESOLUTION.subsec_nanos() },))
    })
}

/// Milliseconds since the process first asked: never the host's uptime.
fn monotonic_millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// Random bytes in one call.
const RANDOM_BYTES: u64 = 64 << 10;

fn random(linker: &mut Linker<CallState>) -> Result<()> {
    for (instance, bytes, number) in [
        ("wasi:random/random@0.2.0", "get-random-bytes", "get-random-u64"),
        ("wasi:random/insecure@0.2.0", "get-insecure-random-bytes", "get-insecure-random-u64"),
    ] {
        let mut random = linker.instance(instance)?;
        random.func_wrap(bytes, |mut cx: Cx<'_>, (len,): (u64,)| {
            cx.data_mut().host_call()?;
            if len > RANDOM_BYTES {
                bail!("more than {RANDOM_BYTES} random bytes at once");
            }
            let mut buffer = vec![0; len as usize];
            fill(&mut buffer)?;
            Ok((buffer,))
        })?;
        random.func_wrap(number, |mut cx: Cx<'_>, (): ()| {
            cx.data_mut().host_call()?;
            Ok((random_u64()?,))
        })?;
    }
    linker.instance("wasi:random/insecure-seed@0.2.0")?.func_wrap("insecure-seed", |mut cx: Cx<'_>, (): ()| {
        cx.data_mut().host_call()?;
        Ok(((random_u64()?, random_u64()?),))
    })
}

fn random_u64() -> Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn fill(mut buffer: &mut [u8]) -> Result<()> {
    while !buffer.is_empty() {
        let filled = rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty())?;
        buffer = &mut buffer[filled..];
    }
    Ok(())
}
