//! Host + path + method → route. Built once per plan; matching walks the path's segments down a tree, whatever the
//! number of routes, and allocates nothing for up to four parameters.
//!
//! A path template is a list of segments: fixed ones, `{name}` for exactly one segment that is not empty, and
//! `{name...}` at the end for all that follow, also nothing: `/files/{path...}` serves `/files/` and `/files/a/b`, not
//! `/files`. Values are the path's own text, escapes included.
//!
//! One template serves a path: that of the request's own host before that of any host, and, segment by segment from
//! the left, a fixed segment before `{name}` before `{name...}`. Methods come after that: if the template serves the
//! path for other methods only, the answer is 405, and no less specific template is asked. A `GET` route serves `HEAD`
//! (RFC 9110 §9.3.2); `CONNECT`, `TRACE` and `TRACK` are never served.

mod host;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use smallvec::SmallVec;

use crate::plan::Route;
use crate::refusal::Refusal;

pub use host::host_of;
use tree::{Template, Tree};

/// The routes of one plan and the index over them.
pub struct Router {
    routes: Vec<Arc<Route>>,
    /// Parameter names of each route.
    names: Vec<Box<[Box<str>]>>,
    by_host: HashMap<String, Tree>,
    any_host: Tree,
    /// What the trees' leaves stand for.
    groups: Vec<Group>,
}

/// Routes of one host and template, for different methods.
#[derive(Default)]
struct Group {
    by_method: SmallVec<[(Method, usize); 2]>,
    allow: Arc<str>,
}

/// Values of a path template by name, in order.
pub type Parameters<'r, 'p> = SmallVec<[(&'r str, &'p str); 4]>;

/// A route and the values of its template.
#[derive(Debug)]
pub struct Found<'r, 'p> {
    /// Position in [`Router::routes`].
    pub index: usize,
    /// The route.
    pub route: &'r Arc<Route>,
    /// Values of the path template, in order.
    pub parameters: Parameters<'r, 'p>,
}

/// A route that cannot stand beside the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteConflict {
    /// Same host, template (whatever its parameters are called) and method as an earlier one.
    #[error("serves the same requests as the route `{first}`")]
    Same {
        /// The earlier one's name.
        first: Arc<str>,
        /// Position of the later one.
        second: usize,
    },
    /// Not a path template.
    #[error("the path {reason}")]
    Template {
        /// What is wrong with it.
        reason: String,
        /// Position of the route.
        second: usize,
    },
}

impl Router {
    /// Builds the index.
    pub fn build(routes: Vec<Arc<Route>>) -> Result<Self, RouteConflict> {
        let (by_host, any_host) = (HashMap::new(), Tree::default());
        let mut router = Router { routes: Vec::new(), names: Vec::new(), by_host, any_host, groups: Vec::new() };
        for (index, route) in routes.iter().enumerate() {
            let names = router.add(index, route, &routes)?;
            router.names.push(names);
        }
        for group in &mut router.groups {
            group.allow = allow(&group.by_method);
        }
        router.routes = routes;
        Ok(router)
    }

    /// The routes in the order written.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route that serves `method` on `path` at `host`. `host` is as [`host_of`] gives it, `path` as
    /// [`crate::target::normalise`] does.
    pub fn find<'r, 'p>(
        &'r self,
        host: Option<&str>,
        path: &'p str,
        method: &Method,
    ) -> Result<Found<'r, 'p>, Refusal> {
        let mut values = SmallVec::new();
        let own = host.and_then(|host| self.by_host.get(host));
        let found = own
            .and_then(|tree| tree.find(path, &mut values))
            .or_else(|| self.any_host.find(path, &mut values))
            .map(|group| &self.groups[group]);
        let Some(group) = found else {
            let never =
                if is_never_served(method) { Refusal::MethodNotAllowed("".into()) } else { Refusal::RouteNotFound };
            return Err(never);
        };
        let Some(index) = group.serving(method) else {
            return Err(Refusal::MethodNotAllowed(group.allow.clone()));
        };
        let parameters = self.names[index].iter().map(|name| &**name).zip(values).collect();
        Ok(Found { index, route: &self.routes[index], parameters })
    }

    fn add(&mut self, index: usize, route: &Route, routes: &[Arc<Route>]) -> Result<Box<[Box<str>]>, RouteConflict> {
        let refuse = |reason: &str| RouteConflict::Template { reason: reason.to_owned(), second: index };
        let template = Template::parse(&route.path).map_err(refuse)?;
        let tree = match &route.host {
            Some(host) => {
                let host = host_of(host.as_bytes()).unwrap_or_else(|_| host.to_ascii_lowercase());
                self.by_host.entry(host).or_default()
            }
            None => &mut self.any_host,
        };
        let leaf = tree.leaf(&template);
        let at = *leaf.get_or_insert_with(|| {
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        for method in &route.methods {
            match group.by_method.iter().find(|(served, _)| served == method) {
                Some((_, other)) if *other == index => {}
                Some((_, other)) => {
                    return Err(RouteConflict::Same { first: routes[*other].name.clone(), second: index });
                }
                None => group.by_method.push((method.clone(), index)),
            }
        }
        Ok(template.names())
    }
}

/// The routes; the index says nothing that they do not.
impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl Group {
    fn serving(&self, method: &Method) -> Option<usize> {
        if is_never_served(method) {
            return None;
        }
        let serving = |wanted: &Method| self.by_method.iter().find(|(served, _)| served == wanted).map(|(_, at)| *at);
        serving(method).or_else(|| if method == Method::HEAD { serving(&Method::GET) } else { None })
    }
}

/// Methods that a gateway has no business with: a tunnel, and two that read the gateway's own fields back to the client.
fn is_never_served(method: &Method) -> bool {
    *method == Method::CONNECT || *method == Method::TRACE || method.as_str() == "TRACK"
}

/// The `Allow` field (RFC 9110 §10.2.1).
fn allow(by_method: &[(Method, usize)]) -> Arc<str> {
    let mut names: Vec<&str> =
        by_method.iter().filter(|(method, _)| !is_never_served(method)).map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.join(", ").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
