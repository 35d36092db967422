//! The whole list of checks between a head and a body.

use std::hint::black_box;

use criterion::Criterion;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use sluis_edge::admit::{Admitted, Head, Learnt, admit};
use sluis_edge::state::{App, Generation};
use sluis_model::refusal::Refusal;

use crate::house::{House, TENANT};

pub fn bench(criterion: &mut Criterion, house: &House) {
    let generation = house.app.generation.load_full();
    let token = house.issuer.token(TENANT, "user-admit").unwrap();
    let headers = headers(&token);
    let (app, generation) = (&house.app, &*generation);

    let mut group = criterion.benchmark_group("admit");
    group.bench_function("known token", |b| {
        b.to_async(&house.runtime).iter(|| async {
            let admitted = ask(app, generation, "/v1/orders", &Method::POST, &headers).await;
            assert!(black_box(admitted).is_ok());
        });
    });
    group.bench_function("public", |b| {
        b.to_async(&house.runtime).iter(|| async {
            let admitted = ask(app, generation, "/v1/status", &Method::GET, &headers).await;
            assert!(black_box(admitted).is_ok());
        });
    });
    group.bench_function("no such route", |b| {
        b.to_async(&house.runtime).iter(|| async {
            let refused = ask(app, generation, "/wp-login.php", &Method::GET, &headers).await;
            assert!(matches!(black_box(refused), Err(Refusal::RouteNotFound)));
        });
    });
    group.finish();
}

async fn ask<'g>(
    app: &App,
    generation: &'g Generation,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Admitted<'g>, Refusal> {
    let head = Head { host: Some("api.test"), path, method, headers };
    admit(app, generation, head, app.clock.now(), &mut Learnt::default()).await
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    for (name, value) in [
        ("host", "api.test"),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("user-agent", "erp-client/1.0"),
        ("content-length", "993"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}
