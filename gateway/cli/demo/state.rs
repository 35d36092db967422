//! The demo's state directory: certificates, the gateway's configuration, sample orders, the log. A temporary one
//! is removed at the end.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::DemoError;
use crate::certs::{self, CertsError};

/// Components that the demo's tenants need.
const COMPONENTS: [&str; 4] = ["acme-orders.wasm", "globex-orders.wasm", "hooli-orders.wasm", "vandelay-orders.wasm"];
const TEMPLATE: &str = include_str!("gateway.yaml");

/// Orders to try the demo with.
const SAMPLES: [(&str, &str); 4] = [
    ("shopify.json", include_str!("orders/shopify-1001.json")),
    ("shopify-malformed.json", include_str!("orders/shopify-malformed.json")),
    ("woocommerce.json", include_str!("orders/woocommerce-7001.json")),
    ("woocommerce-malformed.json", include_str!("orders/woocommerce-malformed.json")),
];

/// A folder that is there as long as the demo runs.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    /// Removes the folder when dropped.
    _temporary: Option<tempfile::TempDir>,
}

/// What the template's places are filled with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Listener in the clear.
    pub http: SocketAddr,
    /// Listener over TLS.
    pub https: SocketAddr,
    /// Admin listener.
    pub admin: SocketAddr,
    /// Base URL of the ERP.
    pub erp: String,
    /// Base URL, and `iss`, of the issuer.
    pub issuer: String,
    /// Folder of components.
    pub plugins: PathBuf,
}

impl State {
    /// Takes `dir`, or makes a temporary folder.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn open(dir: Option<PathBuf>) -> Result<Self, DemoError> {
        let temporary = match &dir {
            Some(dir) => fs::create_dir_all(dir).map(|()| None).map_err(|error| io_error(dir, error))?,
            None => Some(tempfile::Builder::new().prefix("sluis-demo-").tempdir().map_err(DemoError::Runtime)?),
        };
        let path = temporary.as_ref().map(tempfile::TempDir::path).or(dir.as_deref()).unwrap_or(Path::new("."));
        let root = path.canonicalize().map_err(|error| io_error(path, error))?;
        Ok(State { root, _temporary: temporary })
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether nothing of it outlives the demo.
    pub fn is_temporary(&self) -> bool {
        self._temporary.is_some()
    }

    /// Writes certificates (unless they are there), the configuration and the sample orders; returns where the
    /// configuration is.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn fill(&self, settings: &Settings) -> Result<PathBuf, DemoError> {
        match certs::make(&self.path("certs"), &[], false, OffsetDateTime::now_utc()) {
            Ok(_) | Err(CertsError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let orders = self.path("orders");
        fs::create_dir_all(&orders).map_err(|error| io_error(&orders, error))?;
        for (name, text) in SAMPLES {
            let path = orders.join(name);
            fs::write(&path, text).map_err(|error| io_error(&path, error))?;
        }
        let config = self.path("gateway.yaml");
        fs::write(&config, configuration(settings)).map_err(|error| io_error(&config, error))?;
        Ok(config)
    }
}

/// The template with its places filled.
fn configuration(settings: &Settings) -> String {
    // All places stand between double quotes.
    let quoted = |text: String| text.replace('\\', "\\\\").replace('"', "\\\"");
    let values = [
        ("{{http}}", settings.http.to_string()),
        ("{{https}}", settings.https.to_string()),
        ("{{admin}}", settings.admin.to_string()),
        ("{{erp}}", settings.erp.clone()),
        ("{{issuer}}", settings.issuer.clone()),
        ("{{plugins}}", settings.plugins.display().to_string()),
    ];
    values.into_iter().fold(TEMPLATE.to_owned(), |text, (place, value)| text.replace(place, &quoted(value)))
}

/// The folder of components, made absolute, with the tenants' components in it.
///
/// # Errors
/// When one is not there; says how to build it.
pub fn components(dir: &Path) -> Result<PathBuf, DemoError> {
    for name in COMPONENTS {
        let path = dir.join(name);
        if !path.is_file() {
            return Err(DemoError::Component { path });
        }
    }
    dir.canonicalize().map_err(|error| io_error(dir, error))
}

fn io_error(path: &Path, error: io::Error) -> DemoError {
    DemoError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            http: "127.0.0.1:1".parse().unwrap(),
            https: "127.0.0.1:2".parse().unwrap(),
            admin: "[::1]:3".parse().unwrap(),
            erp: "http://127.0.0.1:4".into(),
            issuer: "http://127.0.0.1:5".into(),
            plugins: "/a \"b\"/c".into(),
        }
    }

    #[test]
    fn every_place_of_the_template_is_filled() {
        let text = configuration(&settings());
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && line.contains("{{")).collect();
        assert!(rest.is_empty(), "{rest:?}");
        assert!(text.contains(r#"dir: "/a \"b\"/c""#) && text.contains(r#"address: "[::1]:3""#));
    }

    #[test]
    fn a_temporary_state_goes_and_a_named_one_stays() {
        let state = State::open(None).unwrap();
        let config = state.fill(&settings()).unwrap();
        assert!(config.is_file() && state.path("certs/server-key.pem").is_file() && state.is_temporary());
        drop(state);
        assert!(!config.exists());

        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("demo");
        let state = State::open(Some(named.clone())).unwrap();
        state.fill(&settings()).unwrap();
        let before = fs::read(state.path("certs/ca.pem")).unwrap();
        drop(state);
        let state = State::open(Some(named)).unwrap();
        state.fill(&settings()).unwrap();
        assert_eq!(fs::read(state.path("certs/ca.pem")).unwrap(), before);
    }

    #[test]
    fn the_written_configuration_holds() {
        let state = State::open(None).unwrap();
        let plugins = state.path("plugins");
        fs::create_dir(&plugins).unwrap();
        for name in COMPONENTS {
            fs::write(plugins.join(name), b"").unwrap();
        }
        let config = state.fill(&Settings { plugins, ..settings() }).unwrap();
        let loaded = sluis_edge::load::load(&config).unwrap_or_else(|error| panic!("{error}"));
        let doubts: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(doubts, Vec::<String>::new());
        assert_eq!((loaded.plan.tenants.len(), loaded.plan.router.routes().len()), (4, 2));
    }

    #[test]
    fn a_missing_component_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(COMPONENTS[0]), b"").unwrap();
        let missing = components(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("globex-orders.wasm") && missing.contains("make plugins"), "{missing}");
        for name in COMPONENTS {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        assert!(components(dir.path()).unwrap().is_absolute());
    }
}
