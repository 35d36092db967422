//! From a checked plan to a running gateway, and back down again: nothing accepted is dropped on the way.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::listeners::tls::TlsSettings;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use sluis_ledger::{Ledger, Registry};
use sluis_model::limits::Permits;
use sluis_model::plan::{Listener, Plan};
use sluis_sandbox::{Sandbox, SandboxSettings, WorkerCommand};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::components::Components;
use crate::events::EventPlugins;
use crate::guard::Guard;
use crate::http_client::HttpConnections;
use crate::jwks::{Jwks, JwksContext};
use crate::load::Loaded;
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::reload::Reloader;
use crate::rollouts::Rollouts;
use crate::serve::Ingress;
use crate::state::{App, Capabilities, Generation};
use crate::tls::{Certificates, Resolver};
use crate::tokens::{TokenCache, Tokens};
use crate::{admin, components, event_status, rollouts, tokens};

/// How a gateway is started.
pub struct Options {
    /// The configuration's file, read again on reload.
    pub config: PathBuf,
    /// Runs the compile worker.
    pub worker: WorkerCommand,
    /// Take the listening sockets over from a running gateway.
    pub upgrade: bool,
}

/// What keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket.
    #[error("cannot listen on {address} ({name}): {reason}")]
    Listen {
        /// The listener's name.
        name: Arc<str>,
        /// As configured.
        address: SocketAddr,
        /// Of the operating system.
        reason: std::io::Error,
    },
    /// The state directory.
    #[error("cannot make the state directory {path}: {reason}")]
    StateDir {
        /// As configured.
        path: PathBuf,
        /// Of the operating system.
        reason: std::io::Error,
    },
    /// Sockets of the running gateway.
    #[error("cannot take over the sockets at {path}: {reason}")]
    Upgrade {
        /// As configured.
        path: PathBuf,
        /// Of the operating system.
        reason: String,
    },
    /// Certificates.
    #[error(transparent)]
    Certificate(#[from] crate::tls::CertificateError),
    /// Upstreams.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::UpstreamError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] sluis_ledger::OpenError),
    /// What was deployed.
    #[error("what was deployed cannot be read: {0}")]
    Registry(#[from] sluis_ledger::RegistryError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] sluis_sandbox::SandboxError),
    /// Threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// TLS towards the systems that plugins ask.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// A gateway that serves.
pub struct Running {
    app: Arc<App>,
    /// Address of every listener, by name, with the port that was really bound.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    stop_accepting: watch::Sender<bool>,
    stop_working: watch::Sender<bool>,
    reloader: Arc<Reloader>,
    sockets: ListenFds,
    upgrade_socket: PathBuf,
    drain: Duration,
    /// Those of the process, where it is this gateway's.
    signals: Option<Signals>,
    ingress: tokio::runtime::Runtime,
    control: tokio::runtime::Runtime,
}

/// Starts a gateway, and serves until SIGTERM or SIGINT (drains), or SIGQUIT (hands the sockets to a successor, then
/// drains). SIGHUP reloads. A third signal ends the drain at once. Until it serves, signals do what they always do.
pub fn run(loaded: Loaded, options: Options) -> Result<(), StartError> {
    start_with(loaded, options, true)?.run_until_signalled();
    Ok(())
}

/// Starts a gateway; returns once it listens. Signals are the caller's.
pub fn start(loaded: Loaded, options: Options) -> Result<Running, StartError> {
    start_with(loaded, options, false)
}

fn start_with(loaded: Loaded, options: Options, signals: bool) -> Result<Running, StartError> {
    let plan = loaded.plan.clone();
    make_state_dir(&plan)?;
    // Sockets first: an address in use is told before anything else is done, and callers wait in the backlog.
    let sockets = sockets(&plan, options.upgrade)?;
    let ingress = runtime("ingress", plan.server.threads)?;
    let control = runtime("control", 2)?;

    let metrics = Metrics::new()?;
    let observed = Observed::new(metrics.clone());
    let sandbox = Sandbox::new(sandbox_settings(&plan, &options))?;
    let event_plugins = Arc::new(EventPlugins::default());
    let ledger = Arc::new(open_ledger(&plan, observed.clone(), event_plugins.clone(), options.upgrade)?);
    let registry = control.block_on(Registry::open(ledger.clone(), &plan.server.state_dir.join("components")))?;
    let components = Components::new(sandbox, registry);
    let (plugins, failed) = control.block_on(components.load(&plan, None))?;
    components::report(&failed);
    let jwks = Jwks::new(JwksContext::new(control.handle().clone(), plan.server.state_dir.clone(), observed));
    let token_cache = Arc::new(TokenCache::new(tokens::DEFAULT_CAPACITY));
    let tokens = Tokens::new(token_cache.clone(), jwks.reconcile(&plan.issuers));
    let capabilities = Capabilities { kv: ledger.clone(), http: HttpConnections::new(&metrics)? };
    let generation = Generation::build(plan.clone(), &plugins, tokens, &metrics, &capabilities, None)?;
    metrics.config_generation.set(1);
    let (trouble, in_trouble) = mpsc::channel(rollouts::TROUBLE);
    let app = Arc::new(App {
        generation: ArcSwap::from_pointee(generation),
        clock: Clock::start(),
        jwks,
        token_cache,
        ledger: ledger.clone(),
        trouble,
        capabilities,
        metrics: metrics.clone(),
        in_flight: Arc::new(Permits::new(plan.server.limits.in_flight)),
        waiting: Arc::new(Permits::new(event_status::WAITING)),
        draining: AtomicBool::new(false),
    });
    event_plugins.attach(&app);

    let (stop_accepting, accepting) = watch::channel(false);
    let (stop_working, working) = watch::channel(false);
    let (sinks, sinks_in_force) = watch::channel(Arc::new(plan.sinks.clone()));
    control.spawn(ledger.deliver(sinks_in_force, working.clone()));

    let mut service = Service::new(
        "ingress".to_owned(),
        Guard::new(Arc::new(Ingress::new(app.clone(), plan.server.limits)), &plan.server.limits, metrics),
    );
    let mut certificates = Vec::new();
    for (listener, bound) in plan.listeners.iter().zip(&sockets.bound) {
        match &listener.tls {
            None => service.add_tcp(&bound.key),
            Some(tls) => {
                let loaded = Arc::new(Certificates::load(tls)?);
                certificates.push((listener.name.clone(), loaded.clone()));
                service.add_tls_with_settings(&bound.key, None, tls_settings(loaded, tls.h2)?);
            }
        }
    }
    // Before anyone can see that it serves, and rely on it.
    let signals = signals.then(|| control.block_on(async { Signals::new() })).transpose();
    let signals = signals.map_err(StartError::Threads)?;
    let table = sockets.table.clone();
    ingress.spawn(async move { service.start_service(Some(table), accepting, 1).await });
    let rollouts = Rollouts::new(app.clone(), components.clone());
    control.spawn(rollouts.clone().watch(in_trouble, working.clone()));
    let reloader = Arc::new(Reloader::new(app.clone(), components, options.config, loaded, certificates, sinks));
    control.spawn(reloader.clone().watch(working.clone()));
    control.spawn(sweep_pools(app.clone(), working));
    let admin = serve_admin(&control, rollouts, sockets.admin)?;
    tracing::info!(
        listeners = ?sockets.bound.iter().map(|b| b.address).collect::<Vec<_>>(),
        %admin,
        tenants = plan.tenants.len(),
        routes = plan.router.routes().len(),
        "serving"
    );
    Ok(Running {
        app,
        listeners: plan.listeners.iter().zip(&sockets.bound).map(|(l, b)| (l.name.clone(), b.address)).collect(),
        admin,
        stop_accepting,
        stop_working,
        reloader,
        sockets: sockets.table,
        upgrade_socket: plan.server.upgrade_socket.clone(),
        drain: plan.server.drain,
        signals,
        ingress,
        control,
    })
}

impl Running {
    fn run_until_signalled(mut self) {
        let signals = self.signals.take();
        if let Some(mut signals) = signals {
            if self.control.block_on(self.signalled(&mut signals)) {
                self.hand_over();
            }
            self.control.spawn(async move {
                signals.next().await;
                signals.next().await;
                tracing::error!("forced to stop by a third signal");
                #[allow(clippy::disallowed_methods, reason = "asked for: the ledger survives it, as it does a crash")]
                std::process::exit(1);
            });
        }
        self.shutdown();
    }

    /// Reloads until it is to end. Whether a successor takes over.
    async fn signalled(&self, signals: &mut Signals) -> bool {
        loop {
            match signals.next().await {
                Signal::Reload => {
                    self.reloader.reload("SIGHUP").await;
                }
                Signal::Stop => return false,
                Signal::HandOver => return true,
            }
        }
    }

    /// Sends the listening sockets to the successor that waits for them. Its connections queue in the kernel until it
    /// accepts, which it does once this process has let go of the ledger.
    fn hand_over(&self) {
        let path = self.upgrade_socket.display().to_string();
        match self.sockets.lock().send_to_sock(path.as_str()) {
            Ok(_) => tracing::info!(path, "listening sockets handed over"),
            Err(error) => tracing::error!(path, %error, "listening sockets not handed over"),
        }
    }

    /// Stops accepting, waits for requests in flight (at most the plan's `drain`), then for the ledger.
    pub fn shutdown(self) {
        const QUIET: Duration = Duration::from_millis(500);
        self.app.draining.store(true, Ordering::Relaxed);
        tracing::info!(longest = ?self.drain, "draining");
        let _ = self.stop_accepting.send(true);
        let deadline = Instant::now() + self.drain;
        self.control.block_on(async {
            // A connection that was accepted a moment ago has no request in flight yet, but one on the way.
            let mut quiet = Instant::now();
            while quiet.elapsed() < QUIET && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if self.app.metrics.requests_in_flight.get() > 0 {
                    quiet = Instant::now();
                }
            }
        });
        let left = self.app.metrics.requests_in_flight.get();
        if left > 0 {
            tracing::warn!(left, "drain deadline passed with requests in flight");
        }
        let _ = self.stop_working.send(true);
        self.ingress.shutdown_timeout(Duration::from_secs(1));
        self.control.block_on(self.app.ledger.close());
        self.control.shutdown_timeout(Duration::from_secs(1));
        tracing::info!("stopped");
    }
}

enum Signal {
    Reload,
    Stop,
    HandOver,
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::HandOver,
        }
    }
}

struct Sockets {
    table: ListenFds,
    bound: Vec<Bound>,
    admin: TcpListener,
}

/// A listening socket in pingora's table.
struct Bound {
    key: String,
    address: SocketAddr,
}

/// Binds every listener ourselves: pingora panics where an address is in use.
fn sockets(plan: &Plan, upgrade: bool) -> Result<Sockets, StartError> {
    let mut fds = Fds::new();
    if upgrade {
        let path = &plan.server.upgrade_socket;
        let text = path.display().to_string();
        let fail = |reason: String| StartError::Upgrade { path: path.clone(), reason };
        fds.get_from_sock(text.as_str()).map_err(|e| fail(e.to_string()))?;
    }
    let mut bound = Vec::new();
    for listener in &plan.listeners {
        let key = socket_key(listener);
        if fds.get(&key).is_some() {
            bound.push(Bound { key, address: listener.address });
            continue;
        }
        let socket = bind(&listener.name, listener.address, false)?;
        let address = socket.local_addr().unwrap_or(listener.address);
        fds.add(key.clone(), socket.into_raw_fd());
        bound.push(Bound { key, address });
    }
    // The predecessor still answers on the admin address while it drains; both are bound for that time.
    let admin = bind(&"admin".into(), plan.admin.address, true)?;
    Ok(Sockets { table: Arc::new(Mutex::new(fds)), bound, admin })
}

/// A listener's name in the table. Any free port is another one for each listener that asks for it.
fn socket_key(listener: &Listener) -> String {
    match listener.address.port() {
        0 => format!("{}#{}", listener.address, listener.name),
        _ => listener.address.to_string(),
    }
}

fn bind(name: &Arc<str>, address: SocketAddr, shared: bool) -> Result<TcpListener, StartError> {
    const BACKLOG: i32 = 4096;
    let listen = || {
        let domain = if address.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|reason| StartError::Listen { name: name.clone(), address, reason })
}

fn make_state_dir(plan: &Plan) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = &plan.server.state_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|reason| StartError::StateDir { path: path.clone(), reason })
}

/// A successor waits for its predecessor to let go of the ledger, which it does at the end of its drain.
fn open_ledger(
    plan: &Plan,
    observer: Arc<Observed>,
    event_plugins: Arc<EventPlugins>,
    upgrade: bool,
) -> Result<Ledger, StartError> {
    const MARGIN: Duration = Duration::from_secs(10);
    const AGAIN: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + plan.server.drain + MARGIN;
    loop {
        let options = sluis_ledger::Options {
            observer: observer.clone(),
            event_hook: Some(event_plugins.clone()),
            ..Default::default()
        };
        match Ledger::open_with(&plan.server.state_dir.join("ledger"), &plan.ledger, options) {
            Err(sluis_ledger::OpenError::InUse { .. }) if upgrade && Instant::now() < deadline => {
                std::thread::park_timeout(AGAIN);
            }
            opened => return Ok(opened?),
        }
    }
}

fn runtime(name: &'static str, threads: usize) -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        // Looks for input, and lets those go on who let others go first, after so many tasks, however much else is
        // ready. More of them write together the larger this is (2 % less CPU a request than at 16); at tokio's 61 a
        // neighbour of a spinning guest waits for it.
        .event_interval(32)
        .build()
        .map_err(StartError::Threads)
}

fn sandbox_settings(plan: &Plan, options: &Options) -> SandboxSettings {
    SandboxSettings {
        instances: plan.plugins.instances,
        long_calls: (plan.server.threads / 2).max(1),
        memory: plan.plugins.call.memory,
        component_bytes: plan.plugins.component_bytes,
        compile_timeout: plan.plugins.compile_timeout,
        compile_memory: plan.plugins.compile_memory,
        artefact_dir: plan.server.state_dir.join("artefacts"),
        worker: options.worker.clone(),
    }
}

fn tls_settings(certificates: Arc<Certificates>, h2: bool) -> Result<TlsSettings, StartError> {
    let mut settings =
        TlsSettings::intermediate("", "").map_err(|e| StartError::Threads(std::io::Error::other(e.to_string())))?;
    settings.set_cert_resolver(Arc::new(Resolver(certificates)));
    if h2 {
        settings.enable_h2();
    }
    Ok(settings)
}

fn serve_admin(
    control: &tokio::runtime::Runtime,
    rollouts: Arc<Rollouts>,
    socket: TcpListener,
) -> Result<SocketAddr, StartError> {
    let address = socket.local_addr().map_err(StartError::Threads)?;
    let _control = control.enter();
    let socket = tokio::net::TcpListener::from_std(socket).map_err(StartError::Threads)?;
    let router = admin::router(rollouts);
    control.spawn(async move {
        if let Err(error) = axum::serve(socket, router).await {
            tracing::error!(%error, "admin listener");
        }
    });
    Ok(address)
}

/// Closes upstream connections that were idle for too long.
async fn sweep_pools(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = every.tick() => {
                for entry in app.generation.load().upstreams.values() {
                    entry.state.sweep(Instant::now());
                }
            }
            _ = stop.changed() => return,
        }
    }
}
