//! The whole list of checks between a head and a body.

use std::hint::black_box;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use sluis_edge::admit::{Admitted, Head, Learnt, admit};
use sluis_edge::clock::Clock;
use sluis_edge::state::{App, Generation};
use sluis_model::plan::{Route, Tenant};
use sluis_model::refusal::Refusal;
use sluis_model::route::Router;

use crate::decisions::SIZES;
use crate::house::{House, ORDERS, TENANT};
use crate::stage::{Cycle, Prepared, Stage, async_turns};

pub fn stages() -> Vec<Stage> {
    let mut stages = vec![
        Stage::new("admit/known token", |house| one(house, "/v1/orders", Method::POST, |admitted| admitted.is_ok())),
        Stage::new("admit/public", |house| one(house, "/v1/status", Method::GET, |admitted| admitted.is_ok())),
        Stage::new("admit/no such route", |house| {
            one(house, "/wp-login.php", Method::GET, |refused| matches!(refused, Err(Refusal::RouteNotFound)))
        }),
    ];
    stages.extend(
        SIZES
            .into_iter()
            .map(|count| Stage::new(format!("admit/routes and tenants/{count}"), move |house| many(house, count))),
    );
    stages
}

/// The same request again and again.
fn one<'h>(
    house: &'h House,
    path: &'static str,
    method: Method,
    expected: fn(&Result<Admitted<'_>, Refusal>) -> bool,
) -> Prepared<'h> {
    let generation = house.app.generation.load_full();
    let headers = headers(&house.issuer.token(TENANT, "user-admit").unwrap());
    async_turns(&house.runtime, async move || {
        let admitted = ask(&house.app, &generation, path, &method, &headers).await;
        assert!(expected(&black_box(admitted)));
    })
}

/// Requests of many tenants to many routes, in a house that has so many of both.
fn many(house: &House, count: usize) -> Prepared<'_> {
    let generation = generation(house, count);
    let mut asked = Cycle::of(count, |n| {
        let token = house.issuer.token(&tenant(n), "user-admit").unwrap();
        (format!("/v1/service-{n}/orders/4711"), headers(&token))
    });
    house.runtime.block_on(async {
        for (_, headers) in asked.all() {
            let credential = headers[AUTHORIZATION].as_bytes();
            generation.tokens.identify(credential, &[0], Clock::unix_seconds()).await.unwrap();
        }
    });
    async_turns(&house.runtime, async move || {
        let (path, headers) = asked.next();
        let admitted = ask(&house.app, &generation, path, &Method::POST, headers).await;
        assert!(black_box(admitted).is_ok());
    })
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

/// The house's plan with so many routes and tenants: made here, as a file may not name that many routes.
fn generation(house: &House, count: usize) -> Generation {
    let mut plan = house.load();
    let (route, like) = (house.route(ORDERS), plan.tenants[TENANT].clone());
    let routes = (0..count).map(|n| {
        let (name, path) = (format!("service-{n}").into(), format!("/v1/service-{n}/orders/{{order}}"));
        Arc::new(Route { name, path, ..Route::clone(&route) })
    });
    plan.router = Router::build(routes.collect()).unwrap();
    let tenants = (0..count).map(|n| {
        let id: Arc<str> = tenant(n).into();
        (id.clone(), Arc::new(Tenant { id, ..Tenant::clone(&like) }))
    });
    plan.tenants = tenants.collect();
    house.generation(Arc::new(plan))
}

fn tenant(n: usize) -> String {
    format!("org-{n}")
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
