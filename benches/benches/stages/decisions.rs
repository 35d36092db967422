//! Decisions in memory: routes, targets, limits, a plugin's word.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sluis_edge::clock::Clock;
use sluis_model::breaker::{Breaker, BreakerSettings, Outcome};
use sluis_model::hook::{Decision, EnqueueDecision, Forward, check_decision};
use sluis_model::lane::Lane;
use sluis_model::limits::{Permits, Rate};
use sluis_model::maintenance::Calendar;
use sluis_model::pacing::PacingSettings;
use sluis_model::plan::{Action, Auth, BodyFormat, Enqueue, HttpSink, Order, Otherwise, Route, Sink, SinkKind};
use sluis_model::retry::RetrySettings;
use sluis_model::route::Router;
use sluis_model::target;

use crate::house::MAPPED;
use crate::stage::{Cycle, Prepared, Stage, turns};

const BREAKER: BreakerSettings = BreakerSettings {
    consecutive_failures: 5,
    failure_percent: 50,
    minimum_outcomes: 20,
    window: Duration::from_secs(10),
    open: Duration::from_secs(10),
    max_open: Duration::from_secs(60),
};

/// Routes in one table, and tenants in one house: a look-up may not depend on them.
pub const SIZES: [usize; 3] = [10, 1_000, 100_000];

pub fn stages() -> Vec<Stage> {
    let mut stages: Vec<Stage> = SIZES.into_iter().map(find).collect();
    stages.extend([
        normalise("clean", "/v1/orders/4711/lines?expand=customer&limit=50"),
        normalise("escaped", "/v1/./orders/%7Euser/caf%C3%A9/../lines?q=a%20b"),
        Stage::new("limits/rate", |_| rate()),
        Stage::new("limits/permits", |_| permits()),
        Stage::new("limits/breaker", |_| breaker()),
        Stage::new("check_decision/forward", |house| check(forward(), house.route(MAPPED))),
        Stage::new("check_decision/enqueue", |_| check(enqueue(), Arc::new(route(0)))),
    ]);
    stages
}

fn find(count: usize) -> Stage {
    Stage::new(format!("router/find/{count}"), move |_| {
        let router = Router::build((0..count).map(|n| Arc::new(route(n))).collect()).unwrap();
        let mut asked = Cycle::of(count, |n| format!("/v1/service-{n}/orders/4711"));
        turns(move || {
            let found = router.find(Some("api.test"), asked.next(), &Method::POST).unwrap();
            assert_eq!(found.parameters.len(), 1);
            black_box(found.index);
        })
    })
}

fn normalise(name: &str, raw: &'static str) -> Stage {
    Stage::new(format!("target/normalise/{name}"), move |_| {
        turns(move || {
            black_box(target::normalise(black_box(raw.as_bytes())).unwrap());
        })
    })
}

/// A tenant's rate, the clock included.
fn rate<'h>() -> Prepared<'h> {
    let (clock, rate) = (Clock::start(), Rate::new(1_000_000_000, 1_000_000_000));
    turns(move || rate.try_acquire(clock.now()).unwrap())
}

/// A request's three, taken and given back.
fn permits<'h>() -> Prepared<'h> {
    let permits = [256, 10_000, 1_024].map(|limit| Arc::new(Permits::new(limit)));
    turns(move || {
        drop(black_box(permits.each_ref().map(|permits| permits.try_acquire().unwrap())));
    })
}

/// Asked and told, the clock included for each.
fn breaker<'h>() -> Prepared<'h> {
    let (clock, breaker) = (Clock::start(), Arc::new(Breaker::new(BREAKER)));
    turns(move || {
        let pass = breaker.admit(clock.now()).unwrap();
        black_box(breaker.record(pass, Outcome::Success, clock.now()));
    })
}

/// A decision held against its route. It is used up, so a copy of it is made in each turn.
fn check<'h>(decision: Decision, route: Arc<Route>) -> Prepared<'h> {
    turns(move || {
        black_box(check_decision(decision.clone(), &route).unwrap());
    })
}

/// As order-map decides.
fn forward() -> Decision {
    Decision::Forward(Forward {
        body: Some(sluis_bench::ORDER.to_vec()),
        set_headers: vec![("x-canonical".to_owned(), "order.v1".to_owned())],
        remove_headers: vec!["user-agent".to_owned()],
        ..Forward::default()
    })
}

/// Every field set: the decision with the most to look at.
fn enqueue() -> Decision {
    Decision::Enqueue(EnqueueDecision {
        event_type: Some("erp.order.created".to_owned()),
        key: Some("customer-c-417".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: Some(sluis_bench::ORDER.to_vec()),
        sinks: vec!["erp-orders".to_owned()],
    })
}

fn route(n: usize) -> Route {
    Route {
        name: format!("service-{n}").into(),
        host: None,
        path: format!("/v1/service-{n}/orders/{{order}}"),
        methods: vec![Method::POST],
        auth: Auth::Public,
        tenant: None,
        plugin: None,
        action: Action {
            upstreams: Vec::new(),
            enqueue: Some(Enqueue {
                sinks: vec![Arc::new(sink())],
                event_type: "erp.order".into(),
                lane: Lane::Normal,
            }),
            otherwise: Otherwise::Refuse,
            prefer: false,
        },
        body_limit: 1 << 20,
        body_format: BodyFormat::Any,
        retry_unsafe: false,
        idempotency: None,
    }
}

fn sink() -> Sink {
    Sink {
        name: "erp-orders".into(),
        kind: SinkKind::Http(HttpSink {
            url: "http://127.0.0.1:7001/events".to_owned(),
            method: Method::POST,
            timeout: Duration::from_secs(30),
            headers: Vec::new(),
            ca: None,
            format: sluis_model::plan::EventFormat::Binary,
        }),
        plugin: None,
        retry: RetrySettings {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(900),
            max_age: Duration::from_secs(86_400),
            max_attempts: 1_000,
        },
        concurrency: 16,
        order: Order::None,
        compact_by_key: false,
        pacing: PacingSettings {
            rate: None,
            retry_percent: 20,
            retry_floor_per_second: 10,
            slow_start: Duration::ZERO,
        },
        breaker: BREAKER,
        maintenance: Calendar::default(),
    }
}
