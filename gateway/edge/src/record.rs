//! What is known of a request at its end, for the metrics and the access log. Never a token, never a body.

use std::net::IpAddr;
use std::sync::Arc;

use pingora::protocols::http::ServerSession;
use sluis_model::fields;
use sluis_model::refusal::Refusal;
use uuid::Uuid;

use crate::admit::Learnt;
use crate::head::Inbound;
use crate::metrics::Metrics;
use crate::serving::{Picked, Served};
use crate::state::{App, Generation, TenantState};

/// One of the requests in flight.
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.requests_in_flight.inc();
        InFlight(metrics.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests_in_flight.dec();
    }
}

/// Facts about one request.
pub struct Record {
    /// The client's where it is well-formed, ours otherwise.
    pub correlation_id: Arc<str>,
    /// W3C trace context for whoever comes next.
    pub traceparent: Arc<str>,
    /// The connection's other end.
    pub client: Option<IpAddr>,
    /// By TLS.
    pub tls: bool,
    /// Chunked coding may be used towards the client.
    pub http1_1: bool,
    /// Until dropped, however the request ends: a stream that is reset just drops its future.
    _in_flight: InFlight,
    /// When its head had been read, in monotonic nanoseconds.
    pub began: u64,
    path: String,
    route: Option<usize>,
    tenant: Option<Arc<TenantState>>,
    upstream: Option<Arc<str>>,
    served: Option<Arc<Served>>,
    status: u16,
    outcome: &'static str,
    blame: &'static str,
    reason: &'static str,
}

impl Record {
    /// Begins with a head that has just been read.
    pub fn begin(app: &App, session: &ServerSession) -> Self {
        let request = session.req_header();
        let correlation_id = request
            .headers
            .get("x-correlation-id")
            .and_then(|value| fields::correlation_id(value.as_bytes()))
            .map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from);
        let random = Uuid::new_v4().as_u128();
        let given = request.headers.get("traceparent").map(http::HeaderValue::as_bytes);
        Record {
            correlation_id,
            traceparent: fields::child_traceparent(given, random).into(),
            client: session.client_addr().and_then(|addr| addr.as_inet()).map(std::net::SocketAddr::ip),
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
            http1_1: request.version == http::Version::HTTP_11,
            _in_flight: InFlight::begin(&app.metrics),
            began: app.clock.now(),
            path: String::new(),
            route: None,
            tenant: None,
            upstream: None,
            served: None,
            status: 0,
            outcome: "answered",
            blame: "",
            reason: "",
        }
    }

    /// The head was understood.
    pub fn inbound(&mut self, inbound: &Inbound) {
        inbound.path().clone_into(&mut self.path);
    }

    /// What `admit` found out.
    pub fn learnt(&mut self, learnt: Learnt) {
        self.route = learnt.route;
        self.tenant = learnt.tenant;
    }

    /// Which version of a plugin takes it.
    pub fn picked(&mut self, picked: Option<&Picked>) {
        self.served = picked.map(|picked| picked.serves.clone());
    }

    /// Whether a plugin takes it.
    pub fn has_plugin(&self) -> bool {
        self.served.is_some()
    }

    /// Where it is sent.
    pub fn upstream(&mut self, name: &Arc<str>) {
        self.upstream = Some(name.clone());
    }

    /// An answer's head is about to be written.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// It was refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        let answer = refusal.answer();
        self.status = answer.status;
        self.outcome = answer.slug;
        self.blame = answer.blame.label();
        if let Refusal::InvalidToken(fault) = refusal {
            self.reason = fault.label();
        }
    }

    /// There is nobody to answer.
    pub fn client_gone(&mut self) {
        self.outcome = "client-gone";
        self.blame = "client";
    }

    /// Counts and logs.
    pub fn finish(&self, app: &App, generation: &Generation, bytes: usize, cut: bool) {
        let nanos = app.clock.now() - self.began;
        let refused = !self.blame.is_empty();
        let route = self.route.map(|at| &generation.routes[at]);
        if let Some(route) = route {
            route.metrics.count(self.status);
            route.metrics.duration.observe(nanos as f64 / 1e9);
        } else {
            let class = if self.status >= 500 { "5xx" } else { "4xx" };
            app.metrics.requests.with_label_values(&["", class]).inc();
        }
        if let Some(tenant) = &self.tenant {
            if refused { tenant.metrics.refused.inc() } else { tenant.metrics.served.inc() }
        }
        if let Some(served) = self.served.as_ref().filter(|_| self.status >= 500) {
            served.erred();
        }
        if refused {
            app.metrics.refusals.with_label_values(&[self.outcome, self.blame]).inc();
            if !self.reason.is_empty() {
                app.metrics.token_faults.with_label_values(&[self.reason]).inc();
            }
        }
        if generation.plan.server.access_log {
            tracing::info!(
                target: "sluis::access",
                correlation_id = &*self.correlation_id,
                tenant = self.tenant.as_ref().map_or("", |tenant| &tenant.tenant.id),
                route = route.map_or("", |route| &route.route.name),
                plugin = self.served.as_ref().map_or("", |served| &served.plugin.name),
                upstream = self.upstream.as_deref().unwrap_or(""),
                path = &*self.path,
                status = self.status,
                outcome = self.outcome,
                blame = self.blame,
                reason = self.reason,
                bytes,
                cut,
                micros = nanos / 1000,
            );
        }
    }
}
