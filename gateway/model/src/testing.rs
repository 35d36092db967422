//! Plans in miniature for this crate's tests.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::BreakerSettings;
use crate::lane::Lane;
use crate::maintenance::Calendar;
use crate::pacing::PacingSettings;
use crate::plan::{
    Action, Auth, BodyFormat, Endpoint, Enqueue, HttpSink, Order, Route, Sink, SinkKind, Upstream, UpstreamProtocol,
    UpstreamTls,
};
use crate::retry::RetrySettings;

/// A public route that does nothing.
pub(crate) fn route(name: &str, host: Option<&str>, path: &str, methods: &[http::Method]) -> Route {
    Route {
        name: name.into(),
        host: host.map(str::to_owned),
        path: path.to_owned(),
        methods: methods.to_vec(),
        auth: Auth::Public,
        tenant: None,
        plugin: None,
        action: Action::default(),
        body_limit: 1024,
        body_format: BodyFormat::Any,
        retry_unsafe: false,
        idempotency: None,
    }
}

/// A route that forwards to `upstreams` and enqueues for `sinks`, where there are any.
pub(crate) fn both_journeys(upstreams: &[&str], sinks: &[&str]) -> Route {
    let mut route = route("orders", None, "/v1/orders", &[http::Method::POST]);
    route.action.upstreams = upstreams.iter().map(|name| upstream(name)).collect();
    if !sinks.is_empty() {
        let sinks = sinks.iter().map(|name| sink(name)).collect();
        route.action.enqueue = Some(Enqueue { sinks, event_type: "order.created".into(), lane: Lane::Normal });
    }
    route
}

fn upstream(name: &str) -> Arc<Upstream> {
    let second = Duration::from_secs(1);
    Arc::new(Upstream {
        name: name.into(),
        endpoints: vec![Endpoint { host: "127.0.0.1".into(), port: 1, tls: false, base_path: String::new() }],
        protocol: UpstreamProtocol::Http1,
        tls: UpstreamTls::default(),
        headers: Vec::new(),
        connect_timeout: second,
        first_byte_timeout: second,
        total_timeout: second,
        idle_timeout: second,
        pool_idle_timeout: second,
        pool_size: 1,
        retries: 1,
        retry_budget_percent: 20,
        in_flight: 1,
        response_head_bytes: 1024,
        breaker: breaker(),
        maintenance: Calendar::default(),
    })
}

fn sink(name: &str) -> Arc<Sink> {
    let second = Duration::from_secs(1);
    Arc::new(Sink {
        name: name.into(),
        kind: SinkKind::Http(HttpSink {
            url: "http://127.0.0.1:1/".into(),
            method: http::Method::POST,
            timeout: second,
            headers: Vec::new(),
            ca: None,
            format: crate::plan::EventFormat::Binary,
        }),
        plugin: None,
        retry: RetrySettings { initial: second, factor: 2.0, max: second, max_age: second, max_attempts: 1 },
        concurrency: 1,
        order: Order::None,
        compact_by_key: false,
        pacing: PacingSettings { rate: None, retry_percent: 20, retry_floor_per_second: 10, slow_start: second },
        breaker: breaker(),
        maintenance: Calendar::default(),
    })
}

fn breaker() -> BreakerSettings {
    let second = Duration::from_secs(1);
    BreakerSettings {
        consecutive_failures: 5,
        failure_percent: 50,
        minimum_outcomes: 20,
        window: second,
        open: second,
        max_open: second,
    }
}
