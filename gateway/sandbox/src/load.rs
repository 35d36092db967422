//! From a file to a [`Plugin`]: every step may refuse, none runs guest code before all before it agreed.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluis_model::hook::{Budget, CallFault};
use sluis_model::plan::{CallLimits, Grant};
use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Linker};

use crate::artefact::{ArtefactStore, Kept};
use crate::aside::Aside;
use crate::call;
use crate::capability;
use crate::compile::compile;
use crate::contract::{self, JUDGE, ON_REQUEST, ON_REQUEST_HEAD, ON_RESPONSE, SHAPE};
use crate::engine;
use crate::error::{LoadError, SandboxError};
use crate::imports::{self, Surface};
use crate::lane::Lane;
use crate::plugin::{Core, Facts, Loaded, OnEvent, Plugin};
use crate::state::CallState;
use crate::text;
use crate::ticker::Ticker;

/// Compile workers at once.
const WORKERS: usize = 2;
/// CPU time of a component's start when it is tried; every call pays for it again, within its own budget.
pub(crate) const INIT_CPU: Duration = Duration::from_millis(100);
/// The same by the wall's clock.
pub(crate) const INIT_WALL: Duration = Duration::from_secs(5);

/// How often and after what a slot is asked for to try a component in.
const TRIES: u32 = 50;
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// What a sandbox is made of.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Calls at once: slots of the pool.
    pub instances: u32,
    /// Calls that run at once past their first tick (1 ms); fewer than there are threads, so that short calls and
    /// everything else keep some for themselves.
    pub long_calls: usize,
    /// Largest linear memory of a slot, bytes; `CallLimits::memory` bounds each call's sum below that.
    pub memory: usize,
    /// Largest component file.
    pub component_bytes: usize,
    /// CPU time of a compile worker, in whole seconds; it is killed after twice that by the wall's clock.
    pub compile_timeout: Duration,
    /// Address space of a compile worker, bytes.
    pub compile_memory: u64,
    /// Where artefacts are kept; made with mode 0700. Must allow executable mappings (no `noexec`).
    pub artefact_dir: PathBuf,
    /// How a compile worker is started.
    pub worker: WorkerCommand,
}

/// A program whose `main` does nothing but `compile_worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// Usually the gateway's own executable.
    pub program: PathBuf,
    /// Usually the one word of the hidden subcommand.
    pub args: Vec<String>,
}

impl WorkerCommand {
    /// The executable that runs now, even if its file was replaced or removed since: an artefact must be of the same
    /// wasmtime as what loads it.
    pub fn this_program(subcommand: &str) -> WorkerCommand {
        WorkerCommand { program: "/proc/self/exe".into(), args: vec![subcommand.to_owned()] }
    }
}

/// The place where components are loaded into; one per process.
pub struct Sandbox {
    core: Arc<Core>,
    linker: Linker<CallState>,
    settings: SandboxSettings,
    artefacts: ArtefactStore,
    workers: Semaphore,
    /// What is loaded, by digest, and the right to load it.
    loaded: Mutex<HashMap<blake3::Hash, Entry>>,
}

/// One at a time loads a digest; it lives as long as some plugin holds it.
type Entry = Arc<tokio::sync::Mutex<Weak<Loaded>>>;

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Makes the engine, its pool and its heartbeat, and opens the artefacts.
    ///
    /// The pool reserves about 8 GiB of address space per slot and hardly any memory: a limit on address space
    /// (`RLIMIT_AS`) does not go together with it.
    pub fn new(settings: SandboxSettings) -> Result<Arc<Sandbox>, SandboxError> {
        let engine = engine::serving(settings.instances, settings.memory)?;
        let linker = capability::linker(&engine).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine).map_err(|error| SandboxError::Engine(error.to_string()))?;
        let lane = Lane::new(settings.long_calls);
        let aside = Aside::start(settings.long_calls).map_err(|error| SandboxError::Engine(error.to_string()))?;
        let artefacts = ArtefactStore::open(&settings.artefact_dir)?;
        Ok(Arc::new(Sandbox {
            core: Arc::new(Core { ticker, engine, lane, aside, memory: settings.memory }),
            linker,
            settings,
            artefacts,
            workers: Semaphore::new(WORKERS),
            loaded: Mutex::default(),
        }))
    }

    /// Loads the component in `file` for a tenant with `grants`, under the file's name without its extension.
    pub async fn load(self: &Arc<Self>, file: &Path, grants: &[Grant]) -> Result<Arc<Plugin>, LoadError> {
        let name = text::escape(&file.file_stem().unwrap_or_default().to_string_lossy(), 128);
        let (path, max) = (file.to_owned(), self.settings.component_bytes);
        let bytes = blocking(move || read(&path, max)).await?;
        self.load_bytes(&name, bytes.into(), grants).await
    }

    /// Loads a component for a tenant with `grants`. The same bytes are compiled and loaded once, whatever their name;
    /// the grants are looked at every time.
    pub async fn load_bytes(
        self: &Arc<Self>,
        name: &str,
        bytes: Bytes,
        grants: &[Grant],
    ) -> Result<Arc<Plugin>, LoadError> {
        let max = self.settings.component_bytes;
        if bytes.len() > max {
            return Err(LoadError::TooLarge(max));
        }
        let (bytes, digest, surface) = blocking(move || {
            let surface = imports::surface(&bytes)?;
            let digest = blake3::hash(&bytes);
            Ok((bytes, digest, surface))
        })
        .await?;
        imports::admit(&surface, grants)?;
        let loaded = self.load_once(digest, bytes, surface).await?;
        Ok(Arc::new(Plugin { name: name.into(), loaded }))
    }

    async fn load_once(
        self: &Arc<Self>,
        digest: blake3::Hash,
        bytes: Bytes,
        surface: Surface,
    ) -> Result<Arc<Loaded>, LoadError> {
        let entry = {
            let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            // What no plugin holds and nobody is loading is forgotten; the map stays as small as what is in use.
            loaded.retain(|_, entry| {
                Arc::strong_count(entry) > 1 || entry.try_lock().is_ok_and(|loaded| loaded.strong_count() > 0)
            });
            loaded.entry(digest).or_default().clone()
        };
        let mut entry = entry.lock().await;
        if let Some(loaded) = entry.upgrade() {
            return Ok(loaded);
        }
        let hash = digest;
        let digest: Arc<str> = hash.to_hex().as_str().into();
        let size = bytes.len();
        let (component, compiled) = self.component(&digest, bytes).await?;
        let loaded = self.link(hash, component, surface, Facts { size, compiled })?;
        try_out_patiently(&loaded, self.settings.memory).await?;
        let loaded = Arc::new(loaded);
        *entry = Arc::downgrade(&loaded);
        Ok(loaded)
    }

    /// From the artefacts, or compiled and put there; how long that took.
    async fn component(
        self: &Arc<Self>,
        digest: &Arc<str>,
        bytes: Bytes,
    ) -> Result<(Component, Option<Duration>), LoadError> {
        match self.kept(digest).await? {
            Kept::Component(component) => return Ok((component, None)),
            Kept::Unfit(why) => tracing::info!(%digest, why, "the artefact does not fit; it is compiled anew"),
            Kept::Nothing => {}
        }
        let (artefact, took) = {
            let Ok(_permit) = self.workers.acquire().await else { return Err(LoadError::Capacity) };
            let began = Instant::now();
            (compile(&self.settings, &bytes).await?, began.elapsed())
        };
        drop(bytes);
        let (this, key) = (self.clone(), digest.clone());
        let saved = move || this.artefacts.save(&key, &artefact).map_err(|e| LoadError::Artefact(e.to_string()));
        blocking(saved).await?;
        match self.kept(digest).await? {
            Kept::Component(component) => Ok((component, Some(took))),
            Kept::Unfit(why) => Err(LoadError::DoesNotFit(text::escape(&why, 512))),
            Kept::Nothing => Err(LoadError::Artefact("it was not to be read back".into())),
        }
    }

    async fn kept(self: &Arc<Self>, digest: &Arc<str>) -> Result<Kept, LoadError> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking(move || Ok(this.artefacts.load(&this.core.engine, &digest))).await
    }

    fn link(
        &self,
        hash: blake3::Hash,
        component: Component,
        surface: Surface,
        facts: Facts,
    ) -> Result<Loaded, LoadError> {
        fits(&component, self.settings.memory)?;
        let pre = self.linker.instantiate_pre(&component).map_err(|error| not_linked(&error, &surface))?;
        Ok(Loaded {
            core: self.core.clone(),
            hash: *hash.as_bytes(),
            digest: hash.to_hex().as_str().into(),
            imports: surface.imports.into(),
            facts,
            on_request: hook(&component, ON_REQUEST)?,
            on_request_head: hook(&component, ON_REQUEST_HEAD)?,
            on_response: hook(&component, ON_RESPONSE)?,
            on_event: hook(&component, SHAPE)?
                .zip(hook(&component, JUDGE)?)
                .map(|(shape, judge)| OnEvent { shape, judge }),
            pre,
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LoadError::Artefact(error.to_string())),
    }
}

/// The whole file, if it is one and no larger than `max`.
fn read(path: &Path, max: usize) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error: std::io::Error| LoadError::Unreadable(error.to_string());
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(LoadError::Unreadable("not a regular file".into()));
    }
    let file = OpenOptions::new().read(true).open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(LoadError::TooLarge(max));
    }
    Ok(bytes)
}

/// Against a slot of the pool, before one is taken.
fn fits(component: &Component, memory: usize) -> Result<(), LoadError> {
    let Some(needed) = component.resources_required() else {
        return Err(LoadError::WrongWorld("it imports core modules or components".into()));
    };
    let bytes = needed.max_initial_memory_size.unwrap_or(0).saturating_mul(64 << 10);
    let table = needed.max_initial_table_size.unwrap_or(0);
    let too_much = |what: String| Err(LoadError::DoesNotFit(what));
    if bytes > memory as u64 {
        return too_much(format!("{bytes} bytes of memory, at most {memory}"));
    }
    if table > engine::TABLE_ELEMENTS as u64 {
        return too_much(format!("a table of {table} elements, at most {}", engine::TABLE_ELEMENTS));
    }
    if needed.num_memories > engine::MEMORIES {
        return too_much(format!("{} memories, at most {}", needed.num_memories, engine::MEMORIES));
    }
    if needed.num_tables > engine::TABLES {
        return too_much(format!("{} tables, at most {}", needed.num_tables, engine::TABLES));
    }
    Ok(())
}

/// The linker has every interface that `admit` lets through: what is left is a function or a type that differs.
fn not_linked(error: &wasmtime::Error, surface: &Surface) -> LoadError {
    let text = text::escape(&format!("{error:#}"), 512);
    match surface.imports.iter().find(|import| text.contains(import.as_str())) {
        Some(_) => LoadError::UndeclaredCapability(vec![text]),
        None => LoadError::DoesNotFit(text),
    }
}

fn hook(component: &Component, (interface, function): (&str, &str)) -> Result<Option<ComponentExportIndex>, LoadError> {
    let Some(interface_index) = component.get_export_index(None, interface) else { return Ok(None) };
    match component.get_export_index(Some(&interface_index), function) {
        Some(index) => Ok(Some(index)),
        None => Err(LoadError::WrongWorld(format!("{interface} has no function {function}"))),
    }
}

/// Requests may have every slot for a moment; that is no reason to refuse a component.
async fn try_out_patiently(loaded: &Loaded, memory: usize) -> Result<(), LoadError> {
    for _ in 1..TRIES {
        match try_out(loaded, memory).await {
            Err(LoadError::Capacity) => tokio::time::sleep(TRY_AGAIN).await,
            other => return other,
        }
    }
    try_out(loaded, memory).await
}

/// Instantiates once: what loops or traps at its start is refused now, and not at every request.
async fn try_out(loaded: &Loaded, memory: usize) -> Result<(), LoadError> {
    let limits = CallLimits {
        cpu: INIT_CPU,
        wall: INIT_WALL,
        memory,
        host_calls: 1_000,
        http_requests: 0,
        log_lines: 16,
        log_line_bytes: 256,
    };
    let mut mismatch = None;
    let outcome = call::instantiate(loaded, &limits, |store, instance| {
        mismatch = signatures(loaded, store, instance).err().map(|error| text::escape(&format!("{error:#}"), 512));
        Ok(())
    })
    .await;
    if let Some(mismatch) = mismatch {
        return Err(LoadError::WrongWorld(mismatch));
    }
    outcome.result.map_err(|fault| match fault {
        CallFault::Budget(Budget::Cpu | Budget::Wall | Budget::HostWait) => LoadError::InitTimeout,
        CallFault::Budget(Budget::Memory) => LoadError::DoesNotFit("its start asks for more memory".into()),
        CallFault::Budget(Budget::HostCalls) => LoadError::InitTrap("too many host calls".into()),
        CallFault::Capacity => LoadError::Capacity,
        CallFault::Trap(text) => LoadError::InitTrap(text.to_string()),
        CallFault::Output(_) => LoadError::InitTrap("it returned too much".into()),
    })
}

/// Whether the hooks have the contract's parameters and results.
fn signatures(loaded: &Loaded, store: &mut Store<CallState>, instance: Instance) -> wasmtime::Result<()> {
    for hook in [&loaded.on_request, &loaded.on_request_head].into_iter().flatten() {
        instance.get_typed_func::<(contract::Request<'_>,), (contract::Decision,)>(&mut *store, hook)?;
    }
    if let Some(hook) = &loaded.on_response {
        instance.get_typed_func::<(contract::Response<'_>,), (contract::ResponseChange,)>(&mut *store, hook)?;
    }
    if let Some(OnEvent { shape, judge }) = &loaded.on_event {
        type Judged<'a> = (contract::Event<'a>, contract::Answer<'a>);
        instance.get_typed_func::<(contract::Event<'_>,), (contract::Preparation,)>(&mut *store, shape)?;
        instance.get_typed_func::<Judged<'_>, (Option<contract::Verdict>,)>(&mut *store, judge)?;
    }
    Ok(())
}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Sandbox>();
    shareable::<Plugin>();
    shareable::<InstancePre<CallState>>();
};
