//! Tests of the configuration, on files that live in memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod delivery;
mod example;
mod files;
mod idempotency;
mod mutations;
mod semantics;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::{Checked, ConfigError, ReadFault, World, check};

/// Files and variables in memory, under `/etc/sluis`.
#[derive(Default, Clone)]
struct Memory {
    files: BTreeMap<PathBuf, Vec<u8>>,
    env: BTreeMap<String, String>,
}

impl Memory {
    /// With `gateway.yaml`.
    fn new(root: impl Into<Vec<u8>>) -> Self {
        Memory::default().file("gateway.yaml", root)
    }

    fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(self.identity(Path::new(path)), bytes.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn check(&self) -> Result<Checked, ConfigError> {
        check(Path::new("gateway.yaml"), self)
    }

    /// The errors, which there must be.
    fn errors(&self) -> String {
        self.check().expect_err("an error").to_string()
    }
}

impl World for Memory {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, ReadFault> {
        match self.files.get(&self.identity(path)) {
            Some(bytes) if bytes.len() > limit => Err(ReadFault::TooLarge(limit)),
            Some(bytes) => Ok(bytes.clone()),
            None => Err(ReadFault::Failed("no such file or directory".to_owned())),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, ReadFault> {
        let dir = self.identity(dir);
        let inside = self.files.keys().filter(|path| path.parent() == Some(&dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        Path::new("/etc/sluis").join(path)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        let mut identity = PathBuf::new();
        for component in self.absolute(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    identity.pop();
                }
                other => identity.push(other),
            }
        }
        identity
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
}

/// A small configuration that holds; `{}` in tests stands for what is added.
const SMALL: &str = "\
version: 1
listeners:
  - {name: http, address: 127.0.0.1:8080}
issuers:
  - {name: idp, issuer: https://idp.example, audiences: [erp], jwks: {url: https://idp.example/keys}}
upstreams:
  - {name: erp, endpoints: [http://127.0.0.1:7001]}
sinks:
  - {name: erp-orders, http: {url: http://127.0.0.1:7001/events}}
routes:
  - {name: ping, path: /ping, methods: [GET], auth: public, forward: {upstreams: [erp]}}
  - {name: orders, path: /orders, methods: [POST], auth: {issuers: [idp]}, plugin: orders, forward: {upstreams: [erp]}}
tenants:
  - {id: acme, plugins: {orders: acme-orders}}
";

/// [`SMALL`] with one text in place of another, which must be there.
fn small_with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}
