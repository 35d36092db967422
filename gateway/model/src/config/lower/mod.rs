//! As written → as checked. Types and ranges hold already; here names are resolved, and things that exclude each
//! other are found.

mod behind;
mod idempotency;
mod maintenance;
mod routes;
mod server;
mod tenants;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::problem::{MAX_PROBLEMS, did_you_mean};
use super::tree::at;
use super::{ConfigError, Places, Problem, Step, written::Written};
use crate::plan::{self, Plan, Secret};

/// What a plugin call may use where a configuration says nothing about it.
pub fn default_call_limits() -> plan::CallLimits {
    server::call_limits(&super::written::Plugins::default())
}

/// What is found on the way.
struct Check<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Makes the plan; with it come the warnings.
pub(super) fn lower(written: &Written, digest: String, places: &Places) -> Result<(Plan, Vec<Problem>), ConfigError> {
    let mut check = Check { places, problems: Vec::new(), warnings: Vec::new() };
    let listeners = check.listeners(written);
    let admin = check.admin(written);
    let server = server::server(&written.server);
    let ledger = check.ledger(&written.ledger);
    let issuers = check.issuers(written);
    let upstreams = check.upstreams(written);
    let sinks = check.sinks(written);
    let plugins = check.plugins(&written.plugins);
    let tenants = check.tenants(written);
    let routes = check.routes(written, &upstreams, &sinks);
    let router = check.router(routes);
    let Check { mut problems, mut warnings, .. } = check;
    Problem::sort(&mut problems);
    Problem::sort(&mut warnings);
    match router {
        Some(router) if problems.is_empty() => {
            let plan = Plan {
                digest,
                listeners,
                admin,
                server,
                issuers,
                upstreams,
                sinks,
                router,
                tenants,
                plugins,
                ledger,
                resolved: serde_json::to_value(written).unwrap_or_default(),
            };
            Ok((plan, warnings))
        }
        _ => Err(ConfigError { problems, warnings }),
    }
}

impl Check<'_> {
    fn error(&mut self, path: &[Step], message: impl fmt::Display) {
        self.error_with(path, message, None);
    }

    fn error_with(&mut self, path: &[Step], message: impl fmt::Display, help: Option<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.places.problem(path, message, help));
        }
    }

    fn error_of_key(&mut self, path: &[Step], message: impl fmt::Display, help: Option<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.places.problem_of_key(path, message, help));
        }
    }

    fn warn(&mut self, path: &[Step], message: impl fmt::Display) {
        if self.warnings.len() < MAX_PROBLEMS {
            self.warnings.push(self.places.problem(path, message, None));
        }
    }

    fn is_put_in(&self, word: &str) -> bool {
        self.places.put_in.contains(word)
    }

    /// What `name` refers to, or an error that says what there is.
    fn refer<T: Clone>(&mut self, path: &[Step], kind: &str, name: &str, known: &HashMap<Arc<str>, T>) -> Option<T> {
        let found = known.get(name).cloned();
        if found.is_none() {
            let (message, help) = self.unknown(kind, name, known);
            self.error_with(path, message, help);
        }
        found
    }

    /// How to say that no `kind` is named `name`, and what there is.
    fn unknown<T>(&self, kind: &str, name: &str, known: &HashMap<Arc<str>, T>) -> (String, Option<String>) {
        let message = format!("no {kind} is named {}", self.places.quoted(name));
        let mut names: Vec<&str> = known.keys().map(|name| &**name).filter(|name| !self.is_put_in(name)).collect();
        names.sort_unstable();
        let help = match names.len() {
            _ if self.is_put_in(name) => None,
            0 => Some(format!("there is no {kind} that could be meant")),
            n => did_you_mean(name, names.iter().copied()).or_else(|| {
                Some(format!("there is {}{}", names[..n.min(8)].join(", "), if n > 8 { ", …" } else { "" }))
            }),
        };
        (message, help)
    }

    /// Refuses an empty list.
    fn some<T>(&mut self, path: &[Step], items: &[T], what: &str) {
        if items.is_empty() {
            self.error(path, format!("at least one {what} belongs here"));
        }
    }

    /// Refuses a list that is too long.
    fn at_most<T>(&mut self, path: &[Step], items: &[T], most: usize) {
        if items.len() > most {
            self.error(path, format!("at most {most} are allowed, not {}", items.len()));
        }
    }

    /// Refuses an item whose `key` an earlier item has. `field` is where the key stands in an item.
    fn unique<'k>(&mut self, list: &str, field: &str, keys: impl Iterator<Item = &'k str>) {
        let mut seen = HashMap::new();
        for (index, key) in keys.enumerate() {
            if let Some(first) = seen.insert(key, index) {
                let path = at![list, index, field];
                let place = self.places.problem(&at![list, first, field], "", None);
                let message = format!("{} is there already ({}:{})", self.places.quoted(key), place.file, place.line);
                self.error(&path, message);
                seen.insert(key, first);
            }
        }
    }

    fn method(&mut self, path: &[Step], text: &str) -> Option<Method> {
        const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = Method::from_bytes(text.as_bytes()).ok();
        match method {
            Some(method) if [Method::CONNECT, Method::TRACE].contains(&method) => {
                self.error(path, format!("{method} is never served"));
                None
            }
            Some(method) if !text.chars().any(|c| c.is_ascii_lowercase()) => Some(method),
            _ => {
                let help = if self.is_put_in(text) { None } else { did_you_mean(text, USUAL) };
                self.error_with(path, "a method in capital letters belongs here", help);
                None
            }
        }
    }

    /// Fields that we set: well-formed, and ours to set.
    fn headers(
        &mut self,
        path: &[Step],
        written: &std::collections::BTreeMap<String, Secret>,
    ) -> Vec<(String, Secret)> {
        // What belongs to one connection or frames the message (RFC 9110 §7.6.1) is the transport's.
        const OURS: [&str; 12] = [
            "connection",
            "content-length",
            "expect",
            "host",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
        ];
        let mut headers: Vec<(String, Secret)> = Vec::with_capacity(written.len());
        for (name, value) in written {
            let mut path = path.to_vec();
            path.push(Step::from(name.as_str()));
            let lower = name.to_ascii_lowercase();
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.error_of_key(&path, "this is no name of a header field", None);
            } else if OURS.contains(&lower.as_str()) {
                self.error_of_key(&path, "this field is set by the gateway itself", None);
            } else if headers.iter().any(|(other, _)| *other == lower) {
                self.error_of_key(&path, "this field is set twice: case does not tell names apart", None);
            } else if HeaderValue::from_str(value.expose()).is_err() {
                self.error(&path, "this value cannot stand in a header field");
            }
            headers.push((lower, value.clone()));
        }
        headers
    }
}
