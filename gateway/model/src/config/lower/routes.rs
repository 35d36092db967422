//! Routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::super::tree::{Step, at};
use super::super::written::{self, Written};
use super::Check;
use super::behind::is_host;
use crate::lane::Lane;
use crate::plan::{self, Action, Auth, BodyFormat, Route, Sink, Upstream};
use crate::route::{RouteConflict, Router};

type Known<T> = HashMap<Arc<str>, T>;

/// Positions of the issuers by name.
pub(super) fn issuers(written: &Written) -> Known<usize> {
    written.issuers.iter().enumerate().map(|(i, issuer)| (issuer.name.arc(), i)).collect()
}

impl Check<'_> {
    pub(super) fn routes(
        &mut self,
        written: &Written,
        upstreams: &Known<Arc<Upstream>>,
        sinks: &Known<Arc<Sink>>,
    ) -> Vec<Arc<Route>> {
        self.at_most(&at!["routes"], &written.routes, 10_000);
        self.unique("routes", "name", written.routes.iter().map(|r| &*r.name));
        self.slots(written);
        let issuers = issuers(written);
        let tenants = written.tenants.iter().map(|t| (t.id.arc(), t.id.arc())).collect();
        let known = References { issuers, upstreams, sinks, tenants };
        written.routes.iter().enumerate().map(|(i, route)| Arc::new(self.route(i, route, &known))).collect()
    }

    fn route(&mut self, i: usize, written: &written::Route, known: &References) -> Route {
        self.purpose(i, written);
        let tenant = written.tenant.as_ref().map(|tenant| {
            self.refer(&at!["routes", i, "tenant"], "tenant", tenant, &known.tenants).unwrap_or_else(|| tenant.arc())
        });
        let host = written.host.as_ref().map(|host| {
            if !is_host(host) {
                self.error(&at!["routes", i, "host"], "a host without port belongs here");
            }
            host.to_ascii_lowercase()
        });
        self.template(&at!["routes", i, "path"], &written.path);
        Route {
            name: written.name.arc(),
            host,
            path: written.path.clone(),
            methods: self.methods(i, &written.methods),
            auth: self.auth(i, &written.auth, known),
            tenant,
            plugin: written.plugin.as_ref().map(|slot| slot.arc()),
            action: Action {
                upstreams: self.forward(i, written, known),
                enqueue: self.enqueue(i, written, known),
                otherwise: match written.otherwise {
                    written::Otherwise::Refuse => plan::Otherwise::Refuse,
                    written::Otherwise::Enqueue => plan::Otherwise::Enqueue,
                },
                prefer: written.prefer,
            },
            body_limit: written.body_limit.usize(),
            body_format: match written.body_format {
                written::BodyFormat::Any => BodyFormat::Any,
                written::BodyFormat::Json => BodyFormat::Json,
            },
            retry_unsafe: written.retry_unsafe,
            idempotency: self.idempotency(i, written),
        }
    }

    /// A route must lead somewhere, and whoever needs a tenant must have one.
    fn purpose(&mut self, i: usize, written: &written::Route) {
        let public = matches!(written.auth, written::Auth::Public) && written.tenant.is_none();
        let decided = written.plugin.is_some();
        let falls_back = written.otherwise == written::Otherwise::Enqueue;
        match (&written.forward, &written.enqueue) {
            (None, None) if !decided => {
                self.error(&at!["routes", i], "a route needs one of `forward`, `enqueue` and `plugin`");
            }
            (Some(_), Some(_)) if !decided && !falls_back && !written.prefer => {
                let message = "only a `plugin`, `else` or `prefer` can choose between `forward` and `enqueue`";
                self.error(&at!["routes", i, "enqueue"], message);
            }
            (_, Some(_)) if public => {
                let message = "an event belongs to a tenant, and a public route without `tenant` has none";
                self.error(&at!["routes", i, "enqueue"], message);
            }
            _ => {}
        }
        let both = written.forward.is_some() && written.enqueue.is_some();
        let needs_both = [("else", falls_back), ("prefer", written.prefer)];
        for (field, _) in needs_both.into_iter().filter(|(_, on)| *on && !both) {
            self.error(&at!["routes", i, field], "this needs both `forward` and `enqueue`");
        }
        if decided && public {
            let message = "a plugin belongs to a tenant, and a public route without `tenant` has none";
            self.error(&at!["routes", i, "plugin"], message);
        }
    }

    fn methods(&mut self, i: usize, written: &[String]) -> Vec<Method> {
        self.some(&at!["routes", i, "methods"], written, "method");
        let mut methods = Vec::with_capacity(written.len());
        for (j, text) in written.iter().enumerate() {
            let path = at!["routes", i, "methods", j];
            match self.method(&path, text) {
                Some(method) if methods.contains(&method) => self.error(&path, "this method is there already"),
                Some(method) => methods.push(method),
                None => {}
            }
        }
        methods
    }

    fn auth(&mut self, i: usize, written: &written::Auth, known: &References) -> Auth {
        let written::Auth::Tokens(tokens) = written else { return Auth::Public };
        self.some(&at!["routes", i, "auth", "issuers"], &tokens.issuers, "issuer");
        self.at_most(&at!["routes", i, "auth", "scopes"], &tokens.scopes, 64);
        let path = at!["routes", i, "auth", "issuers"];
        let issuers = self.references(&path, "issuer", &tokens.issuers, &known.issuers);
        Auth::Jwt { issuers, scopes: tokens.scopes.iter().map(|scope| scope.arc()).collect() }
    }

    fn forward(&mut self, i: usize, written: &written::Route, known: &References) -> Vec<Arc<Upstream>> {
        let Some(forward) = &written.forward else { return Vec::new() };
        self.some(&at!["routes", i, "forward", "upstreams"], &forward.upstreams, "upstream");
        self.references(&at!["routes", i, "forward", "upstreams"], "upstream", &forward.upstreams, known.upstreams)
    }

    fn enqueue(&mut self, i: usize, written: &written::Route, known: &References) -> Option<plan::Enqueue> {
        let enqueue = written.enqueue.as_ref()?;
        self.some(&at!["routes", i, "enqueue", "sinks"], &enqueue.sinks, "sink");
        let sinks = self.references(&at!["routes", i, "enqueue", "sinks"], "sink", &enqueue.sinks, known.sinks);
        let lane = match enqueue.lane {
            written::Lane::Critical => Lane::Critical,
            written::Lane::High => Lane::High,
            written::Lane::Normal => Lane::Normal,
            written::Lane::Low => Lane::Low,
        };
        Some(plan::Enqueue { sinks, event_type: enqueue.event_type.arc(), lane })
    }

    /// What a list of names refers to; each once.
    pub(super) fn references<T: Clone>(
        &mut self,
        list: &[Step],
        kind: &str,
        names: &[String],
        known: &Known<T>,
    ) -> Vec<T> {
        let mut found = Vec::with_capacity(names.len());
        let mut seen = HashSet::new();
        for (j, name) in names.iter().enumerate() {
            let mut path = list.to_vec();
            path.push(Step::Index(j));
            match self.refer(&path, kind, name, known) {
                Some(_) if !seen.insert(name) => self.error(&path, format!("this {kind} is there already")),
                Some(it) => found.push(it),
                None => {}
            }
        }
        found
    }

    /// The index over the routes, or errors for those that it cannot tell apart.
    pub(super) fn router(&mut self, routes: Vec<Arc<Route>>) -> Option<Router> {
        // Templates that are refused already would only be refused again.
        if !self.problems.is_empty() {
            return None;
        }
        match Router::build(routes) {
            Ok(router) => Some(router),
            Err(RouteConflict::Same { first, second }) => {
                let message = format!("the route {} serves the same requests", self.places.quoted(&first));
                self.error(&at!["routes", second, "path"], message);
                None
            }
            Err(RouteConflict::Template { reason, second }) => {
                // The reason may name another route's path.
                let reason = match self.places.put_in.iter().any(|text| reason.contains(text.as_str())) {
                    true => "this path and another route's cannot be told apart".to_owned(),
                    false => reason,
                };
                self.error(&at!["routes", second, "path"], reason);
                None
            }
        }
    }

    /// Segments, `{name}` for one, `{name...}` at the end for the rest.
    fn template(&mut self, path: &[Step], template: &str) {
        let Some(rest) = template.strip_prefix('/') else {
            return self.error(path, "a path starts with `/`");
        };
        if template.len() > 2048
            || template.contains(['?', '#', '%', '\\'])
            || !template.bytes().all(|b| b.is_ascii_graphic())
        {
            return self.error(path, "a path template is ASCII without space, `?`, `#`, `%` and `\\`");
        }
        let segments: Vec<&str> = rest.split('/').collect();
        let mut names = HashSet::new();
        for (n, segment) in segments.iter().enumerate() {
            let last = n + 1 == segments.len();
            let inner = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            let message = match inner.map(|name| (name, name.strip_suffix("..."))) {
                None if segment.contains(['{', '}']) => "`{name}` stands for a whole segment",
                None if segment.is_empty() && !last => "a segment is empty",
                None if [".", ".."].contains(segment) => "`.` and `..` never arrive: paths are normalised first",
                None => continue,
                Some((_, Some(_))) if !last => "`{name...}` can stand only at the end",
                Some((name, rest)) => {
                    let name = rest.unwrap_or(name);
                    let letters = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    match letters {
                        false => "a name in braces is letters, digits and underscores",
                        true if !names.insert(name.to_owned()) => "a name stands twice",
                        true => continue,
                    }
                }
            };
            return self.error(path, message);
        }
    }

    /// Tenants fill the slots that routes and sinks have.
    fn slots(&mut self, written: &Written) {
        let of_routes = written.routes.iter().filter_map(|route| route.plugin.as_ref());
        let of_sinks = written.sinks.iter().filter_map(|sink| sink.plugin.as_ref());
        let slots: HashMap<Arc<str>, ()> = of_routes.chain(of_sinks).map(|slot| (slot.arc(), ())).collect();
        for (t, tenant) in written.tenants.iter().enumerate() {
            for slot in tenant.plugins.keys().filter(|slot| !slots.contains_key(&***slot)) {
                let path = at!["tenants", t, "plugins", &**slot];
                if slots.is_empty() {
                    // Plugins are switched off as a whole; once is enough to say so.
                    return self.warn(&path, "no route and no sink has a slot, so no plugin is used");
                }
                let (message, help) = self.unknown("route's slot", slot, &slots);
                self.error_of_key(&path, message, help);
            }
        }
        for (i, route) in written.routes.iter().enumerate() {
            let Some(slot) = &route.plugin else { continue };
            let fills = |tenant: &written::Tenant| {
                tenant.plugins.contains_key(slot) && route.tenant.as_ref().is_none_or(|bound| *bound == tenant.id)
            };
            if !written.tenants.iter().any(fills) {
                let message = "no tenant that this route serves has a plugin in this slot";
                self.warn(&at!["routes", i, "plugin"], message);
            }
        }
    }
}

/// What routes can refer to.
struct References<'a> {
    issuers: Known<usize>,
    upstreams: &'a Known<Arc<Upstream>>,
    sinks: &'a Known<Arc<Sink>>,
    tenants: Known<Arc<str>>,
}
