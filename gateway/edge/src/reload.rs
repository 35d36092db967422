//! A new plan while serving: on SIGHUP and when a file changes, all or nothing. A wrong file leaves the old plan in
//! force and is reported; requests in flight finish on the plan that they began with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluis_model::plan::{Plan, Sink};
use tokio::sync::{Mutex, watch};

use crate::components::{self, Components};
use crate::load::{Loaded, load};
use crate::state::{App, Generation};
use crate::tls::Certificates;
use crate::tokens::Tokens;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Replaces the generation in force.
pub struct Reloader {
    app: Arc<App>,
    components: Arc<Components>,
    config: PathBuf,
    certificates: Vec<(Arc<str>, Arc<Certificates>)>,
    sinks: watch::Sender<Arc<HashMap<Arc<str>, Arc<Sink>>>>,
    /// Files of the plan in force, or of the last one tried; one reload at a time.
    watched: Mutex<Watched>,
}

struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
}

/// Tells two versions of a file apart.
type Stamp = (SystemTime, u64, u64);

impl Reloader {
    /// Watches what `loaded` was read from.
    pub fn new(
        app: Arc<App>,
        components: Arc<Components>,
        config: PathBuf,
        loaded: Loaded,
        certificates: Vec<(Arc<str>, Arc<Certificates>)>,
        sinks: watch::Sender<Arc<HashMap<Arc<str>, Arc<Sink>>>>,
    ) -> Self {
        let files = files(&loaded.plan, &loaded.watched);
        let seen = stamps(&files);
        Reloader { app, components, config, certificates, sinks, watched: Mutex::new(Watched { files, seen }) }
    }

    /// Looks at the files until told to stop.
    pub async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut every = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                _ = stop.changed() => return,
            }
            let changed = {
                let watched = self.watched.lock().await;
                stamps(&watched.files) != watched.seen
            };
            if changed {
                self.reload("file change").await;
            }
        }
    }

    /// Reads everything again. Whether the new plan is in force.
    pub async fn reload(&self, why: &str) -> bool {
        let mut watched = self.watched.lock().await;
        // Stamped before reading: what changes in between is seen at the next look.
        watched.seen = stamps(&watched.files);
        let result = self.replace(&mut watched).await;
        let label = if result.is_ok() { "ok" } else { "refused" };
        self.app.metrics.config_reloads.with_label_values(&[label]).inc();
        match result {
            Ok(number) => tracing::info!(why, generation = number, "plan replaced"),
            Err(reason) => tracing::error!(why, reason, "plan refused, the old one stays in force"),
        }
        label == "ok"
    }

    async fn replace(&self, watched: &mut Watched) -> Result<u64, String> {
        let loaded = load(&self.config).map_err(|error| error.to_string())?;
        let current = self.app.generation.load_full();
        needs_no_restart(&current.plan, &loaded.plan)?;
        for (listener, certificates) in &self.certificates {
            let tls = loaded.plan.listeners.iter().find(|l| l.name == *listener).and_then(|l| l.tls.as_ref());
            if let Some(tls) = tls {
                certificates.reload(tls).map_err(|error| error.to_string())?;
            }
        }
        // Until the new generation is in force no order may change what the old one serves: it would be lost.
        let _changing = self.components.changing.lock().await;
        let (plugins, failed) =
            self.components.load(&loaded.plan, Some(&current)).await.map_err(|error| error.to_string())?;
        components::report(&failed);
        let tokens = Tokens::new(self.app.token_cache.clone(), self.app.jwks.reconcile(&loaded.plan.issuers));
        let App { metrics, capabilities, .. } = &*self.app;
        let next = Generation::build(loaded.plan.clone(), &plugins, tokens, metrics, capabilities, Some(&current))
            .map_err(|error| error.to_string())?;
        self.app.in_flight.set_limit(loaded.plan.server.limits.in_flight);
        let number = next.number;
        let _ = self.sinks.send(Arc::new(loaded.plan.sinks.clone()));
        self.app.generation.store(Arc::new(next));
        self.app.metrics.config_generation.set(i64::try_from(number).unwrap_or(i64::MAX));
        watched.files = files(&loaded.plan, &loaded.watched);
        watched.seen = stamps(&watched.files);
        Ok(number)
    }
}

/// What is bound to sockets, threads or directories cannot change under way; said, not ignored.
fn needs_no_restart(current: &Plan, next: &Plan) -> Result<(), String> {
    let listeners =
        |plan: &Plan| plan.listeners.iter().map(|l| (l.name.clone(), l.address, l.tls.is_some())).collect::<Vec<_>>();
    let fixed: [(&str, bool); 4] = [
        ("listeners", listeners(current) != listeners(next)),
        ("admin.address", current.admin.address != next.admin.address),
        ("server.threads", current.server.threads != next.server.threads),
        ("server.state_dir", current.server.state_dir != next.server.state_dir),
    ];
    match fixed.iter().find(|(_, changed)| *changed) {
        None => Ok(()),
        Some((what, _)) => Err(format!("`{what}` cannot change while serving; restart, or start with --upgrade")),
    }
}

/// Every file whose change means a new plan: configuration, certificates, components.
fn files(plan: &Plan, sources: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = sources.to_vec();
    for tls in plan.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        for certificate in &tls.certificates {
            files.push(certificate.certificate.clone());
            files.push(certificate.key.clone());
        }
    }
    for tenant in plan.tenants.values() {
        files.extend(tenant.plugins.values().map(|component| plan.plugins.dir.join(format!("{component}.wasm"))));
    }
    files.sort();
    files.dedup();
    files
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.iter().map(|path| stamp(path)).collect()
}
