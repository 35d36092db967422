//! Runs a plugin's fixtures in the very sandbox that serves it later: same engine, same limits, same checks at the
//! door.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluis_model::config::default_call_limits;
use sluis_model::hook::{RequestView, ResponseView, Usage};
use sluis_model::plan::{CallLimits, Grant, Secret};
use sluis_sandbox::{KvScope, LoadError, LogLine, Outcome, Plugin, Sandbox, SandboxSettings, Scope, WorkerCommand};

use super::PluginError;
use super::build;
use super::fixture::{self, Ceilings, Fixture, Input, Named};
use super::project::{Folder, Project};
use super::stand_in::{MemoryKv, Systems};
use super::word::{Word, differences};
use crate::failure::Failure;

/// Body of a request, an answer or a decision; a route's own limit where it says nothing.
const BODY: usize = 1 << 20;
/// What a plugin's state may weigh.
const KV: u64 = 16 << 20;

/// Build the component and run its fixtures
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Run what was built before
    #[arg(long)]
    no_build: bool,
    /// Only fixtures whose name contains one of these
    names: Vec<String>,
}

/// Builds, runs, prints.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let project = Project::open(&args.folder.dir)?;
    if !args.no_build {
        build::build(&project)?;
    }
    test(&project, &args.names).await
}

/// Runs the fixtures of what was built.
pub async fn test(project: &Project, names: &[String]) -> Result<(), Failure> {
    let plugin = load(&project.component()).await?;
    let fixtures = fixture::read(&project.fixtures(), names)?;
    let width = fixtures.iter().map(|named| named.name.chars().count()).max().unwrap_or(0);
    let mut failed = 0;
    for Named { name, input, fixture } in &fixtures {
        // The first call pays for what every later one finds ready; the second is the one to look at.
        call(&plugin, input, fixture).await;
        let called = call(&plugin, input, fixture).await;
        let complaints = complaints(fixture, &called);
        let Usage { cpu, memory, host_calls, .. } = called.usage;
        let mark = if complaints.is_empty() { '✔' } else { '✘' };
        let (cpu, memory) = (cpu.as_micros(), memory >> 10);
        crate::say(&format!("{mark} {name:<width$}  {cpu:>6} µs  {memory:>6} KiB  {host_calls:>3} host calls"))?;
        for complaint in &complaints {
            crate::say(&format!("    {complaint}"))?;
        }
        if !complaints.is_empty() {
            failed += 1;
            for line in &called.logs {
                crate::say(&format!("    log {}: {}", line.level.label(), line.message))?;
            }
        }
    }
    let all = fixtures.len();
    match failed {
        0 => Ok(crate::say(&format!("{all} fixtures hold"))?),
        _ => Err(PluginError::Fixtures { failed, all }.into()),
    }
}

/// Loads a component as the gateway would, with every capability granted.
pub async fn load(component: &Path) -> Result<Arc<Plugin>, PluginError> {
    let artefacts = component.with_file_name(".artefacts");
    let sandbox = Sandbox::new(settings(artefacts))?;
    let rejected = |error: LoadError| PluginError::Rejected { help: help(&error), error };
    sandbox.load(component, &Grant::ALL).await.map_err(rejected)
}

fn settings(artefact_dir: PathBuf) -> SandboxSettings {
    SandboxSettings {
        instances: 4,
        long_calls: 1,
        memory: default_call_limits().memory,
        component_bytes: 256 << 20,
        compile_timeout: Duration::from_secs(60),
        compile_memory: 4 << 30,
        artefact_dir,
        worker: WorkerCommand::this_program("compile-worker"),
    }
}

/// What removes the reason for which a component is refused.
fn help(error: &LoadError) -> String {
    let LoadError::UndeclaredCapability(imports) = error else { return String::new() };
    let any = |prefix: &str| imports.iter().any(|import| import.starts_with(prefix));
    let mut help = String::new();
    if any("wasi:http") {
        help.push_str("\n  wasi:http: ask other systems through the capability `http-client` of the SDK");
    }
    if any("wasi:filesystem") || any("wasi:sockets") {
        help.push_str("\n  wasi:filesystem, wasi:sockets: there are no files and no sockets; in Rust a crate that opens them is in the tree (`cargo tree`)");
    }
    if any("sluis:") {
        help.push_str("\n  sluis: this gateway speaks another version of the contract; `sluis plugin new` has its own");
    }
    help
}

/// What came of a call, with what to look at when it is not as expected.
struct Called {
    word: Word,
    usage: Usage,
    logs: Vec<LogLine>,
    systems: Arc<Systems>,
}

async fn call(plugin: &Plugin, input: &Input, fixture: &Fixture) -> Called {
    let systems = Arc::new(Systems::answering(&fixture.http));
    let scope = Arc::new(Scope {
        tenant: "test".into(),
        config: fixture.config.iter().map(|(key, value)| (key.clone(), Secret::new(value.as_str()))).collect(),
        metrics: [].into(),
        kv: Some(KvScope { store: Arc::new(MemoryKv::holding(fixture.kv.iter())), quota: KV }),
        http: Some(systems.clone()),
    });
    let limits = default_call_limits();
    let (word, usage, logs) = match input {
        Input::Request(request) => split(on_request(plugin, request, &scope, &limits).await, Word::Decision),
        Input::Answer(answer) => split(on_response(plugin, answer, &scope, &limits).await, Word::Change),
    };
    Called { word, usage, logs, systems }
}

fn split<T>(outcome: Outcome<T>, word: impl FnOnce(T) -> Word) -> (Word, Usage, Vec<LogLine>) {
    (outcome.result.map_or_else(Word::Fault, word), outcome.usage, outcome.logs)
}

async fn on_request(
    plugin: &Plugin,
    request: &fixture::RequestPart,
    scope: &Arc<Scope>,
    limits: &CallLimits,
) -> Outcome<sluis_model::hook::Decision> {
    let (parameters, headers) = (borrowed(&request.parameters), borrowed(&request.headers));
    let body = request.body.as_ref().map(fixture::Content::bytes).unwrap_or_default();
    let claims = request.claims.to_string();
    let view = RequestView {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        route: &request.route,
        parameters: &parameters,
        headers: &headers,
        tenant: &request.tenant,
        subject: &request.subject,
        claims: &claims,
        correlation_id: &request.correlation_id,
        body: &body,
    };
    plugin.on_request(view, scope, limits, BODY).await
}

async fn on_response(
    plugin: &Plugin,
    answer: &fixture::AnswerPart,
    scope: &Arc<Scope>,
    limits: &CallLimits,
) -> Outcome<sluis_model::hook::ResponseChange> {
    let headers = borrowed(&answer.headers);
    let body = answer.body.as_ref().map(fixture::Content::bytes).unwrap_or_default();
    let view = ResponseView {
        status: answer.status,
        headers: &headers,
        body: &body,
        route: &answer.route,
        tenant: &answer.tenant,
        correlation_id: "fixture",
    };
    plugin.on_response(view, scope, limits, BODY).await
}

fn borrowed(pairs: &std::collections::BTreeMap<String, String>) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// Everything in which a call was not as its fixture says.
fn complaints(fixture: &Fixture, called: &Called) -> Vec<String> {
    let mut complaints = differences(&fixture.expect, &called.word);
    complaints.extend(called.systems.complaints());
    let Ceilings { cpu_us, memory_kib, host_calls } = fixture.limits;
    let used = called.usage;
    let cpu = u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX);
    let mut past = |what: &str, used: u64, limit: Option<u64>| {
        if let Some(limit) = limit.filter(|limit| used > *limit) {
            complaints.push(format!("{what}: {used}, at most {limit}"));
        }
    };
    past("limits.cpu_us", cpu, cpu_us);
    past("limits.memory_kib", used.memory as u64 >> 10, memory_kib.map(|limit| limit as u64));
    past("limits.host_calls", u64::from(used.host_calls), host_calls.map(u64::from));
    complaints
}
