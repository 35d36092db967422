//! Reads a configuration from disk. `check`, `run` and a reload all call [`load`], so none is stricter than another.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sluis_model::config::{self, Checked, ConfigError, Places, Problem, ReadFault, Step, World};
use sluis_model::plan::{Plan, SinkKind, Tls};

/// Largest PEM file.
const MAX_PEM: usize = 1 << 20;

/// Missing components that are named.
const MAX_WARNINGS: usize = 100;

/// A configuration that holds, and what it was read from.
#[derive(Debug)]
pub struct Loaded {
    /// What the program runs on.
    pub plan: Arc<Plan>,
    /// Every file that was read, secrets and certificates included, and every directory that was searched: what to
    /// watch for changes.
    pub watched: Vec<PathBuf>,
    /// Doubtful, but no reason to refuse.
    pub warnings: Vec<Problem>,
}

/// Reads and checks the configuration in `path`, and the certificates and keys that it names. A secret that changed
/// gives a new plan with the same digest, so equal digests are no reason to keep the old plan.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let Checked { plan, mut warnings, files, places } = config::check(path, &Disk)?;
    let mut files_checked = Pem { places: &places, problems: Vec::new(), watched: files };
    files_checked.listeners(&plan);
    files_checked.anchors(&plan);
    let Pem { problems, watched, .. } = files_checked;
    warnings.extend(components(&plan, &places));
    match problems.is_empty() {
        true => Ok(Loaded { plan: Arc::new(plan), watched, warnings }),
        false => Err(ConfigError { problems, warnings }),
    }
}

/// The file system and the environment of this process.
struct Disk;

impl World for Disk {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, ReadFault> {
        let failed = |error: std::io::Error| ReadFault::Failed(reason(&error));
        let file = std::fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(ReadFault::Failed("it is a directory".to_owned()));
        }
        let mut bytes = Vec::new();
        // Whatever length the system states: a pipe has none, and a file may grow.
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() > limit {
            true => Err(ReadFault::TooLarge(limit)),
            false => Ok(bytes),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, ReadFault> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            // Nothing matches there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ReadFault::Failed(reason(&error))),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(|error| ReadFault::Failed(reason(&error)))
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    fn identity(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path).unwrap_or_else(|_| self.absolute(path))
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// What the system says, without its error number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Checks the PEM files that a plan names.
struct Pem<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
    watched: Vec<PathBuf>,
}

impl Pem<'_> {
    fn listeners(&mut self, plan: &Plan) {
        for (i, listener) in plan.listeners.iter().enumerate() {
            let Some(Tls { certificates, .. }) = &listener.tls else { continue };
            for (j, files) in certificates.iter().enumerate() {
                let at = |field: &str| {
                    let [list, tls, certificates] = ["listeners", "tls", "certificates"].map(Step::from);
                    vec![list, Step::Index(i), tls, certificates, Step::Index(j), Step::from(field)]
                };
                let chain = self
                    .read(&at("certificate"), &files.certificate)
                    .and_then(|pem| self.chain(&at("certificate"), &pem));
                let key = self.read(&at("key"), &files.key).and_then(|pem| self.key(&at("key"), &pem));
                if let (Some(chain), Some(key)) = (chain, key) {
                    self.pair(&at("key"), chain, key);
                }
            }
        }
    }

    /// Trust anchors of issuers, upstreams and sinks.
    fn anchors(&mut self, plan: &Plan) {
        let places = self.places;
        let positions = ["issuers", "upstreams", "sinks"].map(|list| (list, places.positions(list)));
        let path = |list: &str, name: &str, rest: &[&str]| {
            let (_, positions) = positions.iter().find(|(l, _)| *l == list)?;
            let start = [Step::from(list), Step::Index(*positions.get(name)?)];
            Some(start.into_iter().chain(rest.iter().map(|step| Step::from(*step))).collect())
        };
        let issuers = plan.issuers.iter().map(|i| (path("issuers", &i.name, &["jwks", "ca"]), i.jwks.ca.clone()));
        let upstreams = plan.upstreams.values().map(|u| (path("upstreams", &u.name, &["tls", "ca"]), u.tls.ca.clone()));
        let sinks = plan.sinks.values().map(|sink| {
            let SinkKind::Http(http) = &sink.kind;
            (path("sinks", &sink.name, &["http", "ca"]), http.ca.clone())
        });
        let anchors: Vec<(Option<Vec<Step>>, Option<PathBuf>)> = issuers.chain(upstreams).chain(sinks).collect();
        for (path, file) in anchors {
            let (Some(path), Some(file)) = (path, file) else { continue };
            if let Some(certificates) = self.read(&path, &file).and_then(|pem| self.chain(&path, &pem)) {
                let mut store = rustls::RootCertStore::empty();
                if certificates.into_iter().any(|certificate| store.add(certificate).is_err()) {
                    self.refuse(&path, "a certificate in this file cannot be a trust anchor");
                }
            }
        }
    }

    fn read(&mut self, path: &[Step], file: &Path) -> Option<Vec<u8>> {
        self.watched.push(file.to_owned());
        match Disk.read(file, MAX_PEM) {
            Ok(pem) => Some(pem),
            Err(fault) => {
                self.refuse(path, &format!("the file {fault}"));
                None
            }
        }
    }

    fn chain(&mut self, path: &[Step], pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(chain) if !chain.is_empty() => Some(chain),
            _ => {
                self.refuse(path, "the file holds no certificate in PEM");
                None
            }
        }
    }

    fn key(&mut self, path: &[Step], pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
        match PrivateKeyDer::from_pem_slice(pem) {
            Ok(key) => Some(key),
            Err(_) => {
                self.refuse(path, "the file holds no private key in PEM");
                None
            }
        }
    }

    /// A certificate and a key must be each other's.
    fn pair(&mut self, path: &[Step], chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        if rustls::sign::CertifiedKey::from_der(chain, key, &provider).is_err() {
            self.refuse(path, "this is not the key of the certificate, or of a kind that TLS does not use");
        }
    }

    fn refuse(&mut self, path: &[Step], message: &str) {
        self.problems.push(self.places.problem(path, message, None));
    }
}

/// Components that are not there, each once: their slots refuse until they are, the rest is served.
fn components(plan: &Plan, places: &Places) -> Vec<Problem> {
    let slots: HashSet<&str> = plan.router.routes().iter().filter_map(|route| route.plugin.as_deref()).collect();
    // By component: the first tenant that names it, in the order written.
    let mut missing: HashMap<&str, (usize, &str)> = HashMap::new();
    let positions = places.positions("tenants");
    for tenant in plan.tenants.values() {
        let Some(index) = positions.get(&*tenant.id).copied() else { continue };
        let used = tenant.plugins.iter().filter(|(slot, _)| slots.contains(&***slot));
        for (slot, component) in used {
            let first = missing.entry(component).or_insert((index, slot));
            *first = (*first).min((index, slot));
        }
    }
    missing.retain(|component, _| !plan.plugins.dir.join(format!("{component}.wasm")).is_file());
    let mut warnings: Vec<Problem> = missing
        .into_iter()
        .take(MAX_WARNINGS)
        .map(|(component, (index, slot))| {
            let path = [Step::from("tenants"), Step::Index(index), Step::from("plugins"), Step::from(slot)];
            let message = format!("`plugins.dir` has no component {}: this slot answers 503", places.quoted(component));
            places.problem(&path, message, None)
        })
        .collect();
    Problem::sort(&mut warnings);
    warnings
}
