//! Decisions in memory: routes, targets, limits, a plugin's word.

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use http::Method;
use sluis_edge::clock::Clock;
use sluis_model::breaker::{Breaker, BreakerSettings, Outcome};
use sluis_model::hook::{Decision, EnqueueDecision, check_decision};
use sluis_model::lane::Lane;
use sluis_model::limits::{Permits, Rate};
use sluis_model::maintenance::Calendar;
use sluis_model::pacing::PacingSettings;
use sluis_model::plan::{Action, Auth, BodyFormat, Enqueue, HttpSink, Order, Otherwise, Route, Sink, SinkKind};
use sluis_model::retry::RetrySettings;
use sluis_model::route::Router;
use sluis_model::target;

/// Paths asked for in turn, so that not one route alone is warm.
const ASKED: usize = 1_024;

const BREAKER: BreakerSettings = BreakerSettings {
    consecutive_failures: 5,
    failure_percent: 50,
    minimum_outcomes: 20,
    window: Duration::from_secs(10),
    open: Duration::from_secs(10),
    max_open: Duration::from_secs(60),
};

pub fn bench(criterion: &mut Criterion) {
    router(criterion);
    normalise(criterion);
    limits(criterion);
    check(criterion);
}

fn router(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/find");
    for count in [10, 1_000, 100_000] {
        let router = LazyCell::new(|| Router::build((0..count).map(|n| Arc::new(route(n))).collect()).unwrap());
        // A stride that is prime to every count: all routes have their turn, in no order.
        let paths: Vec<String> = (0..ASKED).map(|n| format!("/v1/service-{}/orders/4711", n * 7_919 % count)).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let mut asked = paths.iter().cycle();
            b.iter(|| {
                let path = asked.next().unwrap();
                let found = router.find(Some("api.test"), path, &Method::POST).unwrap();
                assert_eq!(found.parameters.len(), 1);
                black_box(found.index)
            });
        });
    }
    group.finish();
}

fn normalise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("target/normalise");
    for (name, raw) in [
        ("clean", "/v1/orders/4711/lines?expand=customer&limit=50"),
        ("escaped", "/v1/./orders/%7Euser/caf%C3%A9/../lines?q=a%20b"),
    ] {
        group.bench_function(name, |b| b.iter(|| target::normalise(black_box(raw.as_bytes())).unwrap()));
    }
    group.finish();
}

/// What `admit` and the end of an exchange ask, the clock included.
fn limits(criterion: &mut Criterion) {
    let clock = Clock::start();
    let rate = Rate::new(1_000_000_000, 1_000_000_000);
    let [tenant, process, upstream] = [256, 10_000, 1_024].map(|limit| Arc::new(Permits::new(limit)));
    let breaker = Arc::new(Breaker::new(BREAKER));
    criterion.bench_function("limits/rate+permits+breaker", |b| {
        b.iter(|| {
            let now = clock.now();
            rate.try_acquire(now).unwrap();
            let permits = [&tenant, &process, &upstream].map(|permits| permits.try_acquire().unwrap());
            let pass = breaker.admit(now).unwrap();
            black_box(breaker.record(pass, Outcome::Success, clock.now()));
            permits
        });
    });
}

/// An enqueue with every field set: the decision with the most to look at.
fn check(criterion: &mut Criterion) {
    let route = route(0);
    let decision = Decision::Enqueue(EnqueueDecision {
        event_type: Some("erp.order.created".to_owned()),
        key: Some("customer-c-417".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: Some(sluis_bench::ORDER.to_vec()),
        sinks: vec!["erp-orders".to_owned()],
    });
    criterion.bench_function("check_decision/enqueue", |b| {
        b.iter_batched(
            || decision.clone(),
            |decision| check_decision(decision, &route).unwrap(),
            BatchSize::SmallInput,
        );
    });
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
