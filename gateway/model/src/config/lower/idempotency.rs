//! What routes do about requests that are sent again.

use http::header::{self, HeaderName};

use super::super::tree::{Step, at};
use super::super::written;
use super::Check;
use crate::fields;
use crate::idempotency::{ENQUEUE_TTL, FORWARD_TTL, FingerprintMode, Idempotency, KeySource};
use crate::pointer::Pointer;

/// The field that is made for keys.
const FIELD: &str = "idempotency-key";

impl Check<'_> {
    pub(super) fn idempotency(&mut self, i: usize, route: &written::Route) -> Option<Idempotency> {
        let written = route.idempotency.as_ref()?;
        let path = at!["routes", i, "idempotency"];
        if matches!(route.auth, written::Auth::Public) && route.tenant.is_none() {
            let message = "an idempotency key belongs to a tenant, and a public route without `tenant` has none";
            self.error(&path, message);
        }
        let is_safe = |method: &String| ["GET", "HEAD", "OPTIONS"].contains(&&**method);
        if !route.methods.is_empty() && route.methods.iter().all(is_safe) {
            self.error(&path, "the methods of this route change nothing, so no request is done twice");
        }
        let source = self.key_source(&at!["routes", i, "idempotency", "key"], &written.key)?;
        let ttl = written.ttl.map(|ttl| ttl.get());
        Some(Idempotency {
            source,
            required: written.required,
            ttl: ttl.unwrap_or(if route.enqueue.is_some() { ENQUEUE_TTL } else { FORWARD_TTL }),
            fingerprint: match written.fingerprint {
                written::Fingerprint::Bytes => FingerprintMode::Bytes,
                written::Fingerprint::CanonicalJson => FingerprintMode::CanonicalJson,
            },
        })
    }

    fn key_source(&mut self, path: &[Step], text: &str) -> Option<KeySource> {
        match text.split_once(':') {
            None if text.eq_ignore_ascii_case(FIELD) => Some(KeySource::Field(HeaderName::from_static(FIELD))),
            None if text == "cloudevents" => Some(KeySource::CloudEvent),
            Some(("header", name)) => self.key_field(path, name).map(KeySource::PlainField),
            Some(("json", pointer)) => {
                let pointer = Some(pointer).filter(|pointer| pointer.starts_with('/')).and_then(Pointer::parse);
                if pointer.is_none() {
                    self.error(path, "behind `json:` a JSON pointer belongs, such as `/order/id`");
                }
                pointer.map(KeySource::Body)
            }
            _ => {
                self.error(
                    path,
                    "one of `idempotency-key`, `header:NAME`, `json:/POINTER` and `cloudevents` belongs here",
                );
                None
            }
        }
    }

    /// A field by which a client can name a request.
    fn key_field(&mut self, path: &[Step], name: &str) -> Option<HeaderName> {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            self.error(path, "behind `header:` the name of a header field belongs");
            return None;
        };
        let is_credential = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION].contains(&name);
        match is_credential || fields::is_hop_by_hop(&name) {
            true if is_credential => self.error(path, "credentials say who asks, not what for: they are no key"),
            true => self.error(path, "this field belongs to a connection, not to a request"),
            false => return Some(name),
        }
        None
    }
}
