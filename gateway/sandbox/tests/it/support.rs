//! A sandbox in a temporary directory, guests as components, and requests to call them with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluis_model::hook::{Decision, RequestView};
use sluis_model::plan::{CallLimits, Grant, Secret};
use sluis_sandbox::{LoadError, Outcome, Plugin, Sandbox, SandboxSettings, Scope, WorkerCommand};

pub const MIB: usize = 1 << 20;
pub const ALL: [Grant; 6] = Grant::ALL;

/// A sandbox and the directory that its files are in.
pub struct House {
    pub sandbox: Arc<Sandbox>,
    pub dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> House {
        House::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut SandboxSettings)) -> House {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings);
        House { sandbox: Sandbox::new(settings).unwrap(), dir }
    }

    /// Writes `bytes` as `name` and loads it.
    pub async fn load_bytes(&self, name: &str, bytes: &[u8], grants: &[Grant]) -> Result<Arc<Plugin>, LoadError> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        self.sandbox.load(&path, grants).await
    }

    /// Loads a core module in text as a plugin of the world `request`.
    pub async fn load(&self, text: &str) -> Result<Arc<Plugin>, LoadError> {
        self.load_bytes("guest.wasm", &component("request", text), &ALL).await
    }

    /// As [`House::load`], of a file in `guests/`.
    pub async fn guest(&self, name: &str) -> Arc<Plugin> {
        self.load(&guest(name)).await.unwrap()
    }

    pub fn artefacts(&self) -> PathBuf {
        self.dir.path().join("artefacts")
    }
}

pub fn settings(dir: &Path) -> SandboxSettings {
    SandboxSettings {
        instances: 16,
        long_calls: 4,
        memory: 64 * MIB,
        component_bytes: 8 * MIB,
        compile_timeout: Duration::from_secs(30),
        compile_memory: 1 << 30,
        artefact_dir: dir.join("artefacts"),
        worker: worker(),
    }
}

/// The example `compile-worker`, which is built beside the tests.
pub fn worker() -> WorkerCommand {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/compile-worker");
    assert!(program.exists(), "{program:?} is not built");
    WorkerCommand { program, args: Vec::new() }
}

pub fn guest(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests").join(name).with_extension("wat");
    std::fs::read_to_string(path).unwrap()
}

/// A core module in text as a component of a world of `wit/`.
pub fn component(world: &str, text: &str) -> Vec<u8> {
    component_with(world, text, &[])
}

/// As [`component`], with further worlds, each by its name and its own text.
pub fn component_with(world: &str, text: &str, further: &[(&str, &str)]) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    let mut embed = |resolve: &wit_parser::Resolve, package, world| {
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, resolve, world, encoding, false).unwrap();
    };
    embed(&resolve, package, world);
    for (world, wit) in further {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("further.wit", wit).unwrap();
        embed(&resolve, package, world);
    }
    wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

pub fn limits() -> CallLimits {
    CallLimits {
        cpu: Duration::from_millis(10),
        // Tests share their machine with others; what is about the wall's clock sets it.
        wall: Duration::from_secs(20),
        memory: 64 * MIB,
        host_calls: 1_000,
        http_requests: 8,
        log_lines: 64,
        log_line_bytes: 1024,
    }
}

pub fn request<'a>(body: &'a [u8]) -> RequestView<'a> {
    RequestView {
        method: "POST",
        path: "/orders",
        query: "",
        route: "orders",
        parameters: &[],
        headers: &[("content-type", "application/json")],
        tenant: "acme",
        subject: "user-1",
        claims: "{}",
        correlation_id: "0190-test",
        body,
    }
}

/// Calls `on-request` with an empty body, no settings and the usual limits.
pub async fn call(plugin: &Plugin) -> Outcome<Decision> {
    call_with(plugin, b"", &limits()).await
}

pub async fn call_with(plugin: &Plugin, body: &[u8], limits: &CallLimits) -> Outcome<Decision> {
    plugin.on_request(request(body), &Arc::default(), limits, MIB).await
}

/// A tenant with these settings.
pub fn scope(pairs: &[(&str, &str)]) -> Arc<Scope> {
    let config = pairs.iter().map(|(key, value)| (key.to_string(), Secret::new(*value))).collect();
    Arc::new(Scope { tenant: "acme".into(), config, ..Scope::default() })
}

/// A core module for [`component`]: `imports` first, then memory and an allocator, then `items`, then `on-request` with
/// `body` (its parameter is `$request`; memory below 16,384 is the guest's own).
pub fn module(imports: &str, items: &str, body: &str) -> String {
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 16384))
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  {items}
  (func $on-request (export "sluis:plugin/on-request@1.0.0#on-request") (param $request i32) (result i32)
    {body}))"#
    )
}

pub const LOG: &str = r#"(import "sluis:plugin/log@1.0.0" "write" (func $log (param i32 i32 i32 i32)))"#;
pub const CONFIG: &str = r#"(import "sluis:plugin/config@1.0.0" "get" (func $get (param i32 i32 i32)))"#;

/// A body of `on-request` that answers with this status and nothing else.
pub fn respond(status: &str) -> String {
    format!("(i32.store8 (i32.const 0) (i32.const 2)) (i32.store16 (i32.const 4) {status}) (i32.const 0)")
}

/// The status of an answer made with [`respond`].
pub fn status(outcome: &Outcome<Decision>) -> u16 {
    match &outcome.result {
        Ok(Decision::Respond(answer)) => answer.status.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The text of a trap.
pub fn trap(outcome: &Outcome<Decision>) -> String {
    match &outcome.result {
        Err(sluis_model::hook::CallFault::Trap(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}
