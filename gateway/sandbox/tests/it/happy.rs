//! What well-behaved components do.

use std::sync::Arc;
use std::time::Duration;

use sluis_model::hook::{CallFault, Decision, EnqueueDecision, Forward, ResponseChange, ResponseView};
use sluis_model::plan::CallLimits;
use sluis_model::refusal::GuestProblem;
use sluis_sandbox::LogLevel;

use crate::support::*;

#[tokio::test]
async fn a_request_goes_in_and_a_decision_comes_out() {
    let house = House::new();
    let plugin = house.guest("echo").await;
    assert_eq!(&*plugin.name, "guest");
    assert_eq!(plugin.digest().len(), 64);
    assert!(plugin.hooks().on_request && !plugin.hooks().on_request_head && !plugin.hooks().on_response);
    let outcome = call_with(&plugin, b"{\"a\":1}", &limits()).await;
    let expected = Decision::Respond(ResponseChange {
        status: Some(200),
        set_headers: vec![("x-path".into(), "/orders".into())],
        remove_headers: Vec::new(),
        body: Some(b"{\"a\":1}".to_vec()),
    });
    assert_eq!(outcome.result, Ok(expected));
    assert!(!outcome.usage.cpu.is_zero());
    assert_eq!(outcome.usage.memory, 4 * 65536);
}

#[tokio::test]
async fn a_large_body_passes_in_and_out() {
    let house = House::new();
    let plugin = house.guest("echo").await;
    let body = vec![b'x'; 20 * MIB];
    let limits = CallLimits { cpu: Duration::from_secs(5), ..limits() };
    let outcome = plugin.on_request(request(&body), &Arc::default(), &limits, 20 * MIB).await;
    let Ok(Decision::Respond(answer)) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(answer.body, Some(body));
}

/// Every field of every decision comes out where the contract has it.
#[tokio::test]
async fn every_decision_is_read_whole() {
    let house = House::new();
    let plugin = house.guest("decisions").await;
    let text = |s: &str| Some(s.to_owned());
    let pairs = vec![("n1".to_owned(), "v1".to_owned()), ("n2".to_owned(), "v2".to_owned())];
    let expected = [
        Decision::Forward(Forward {
            upstream: text("erp"),
            path: text("/b1s"),
            set_headers: pairs.clone(),
            remove_headers: vec!["n1".into(), "n2".into()],
            body: Some(b"body".to_vec()),
        }),
        Decision::Enqueue(EnqueueDecision {
            event_type: text("order"),
            key: text("key"),
            content_type: text("a/b"),
            body: Some(b"body".to_vec()),
            sinks: vec!["n1".into(), "n2".into()],
        }),
        Decision::Respond(ResponseChange {
            status: Some(299),
            set_headers: pairs,
            remove_headers: Vec::new(),
            body: Some(b"body".to_vec()),
        }),
        Decision::Refuse(GuestProblem {
            status: 422,
            kind: "kind".into(),
            title: "title".into(),
            detail: "detail".into(),
            pointer: text("/a"),
        }),
        Decision::Forward(Forward::default()),
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        let body = [u8::try_from(index).unwrap()];
        assert_eq!(call_with(&plugin, &body, &limits()).await.result, Ok(expected));
    }
}

#[tokio::test]
async fn a_response_can_be_changed() {
    let house = House::new();
    let bytes = component("response", &guest("on-response"));
    let plugin = house.load_bytes("r.wasm", &bytes, &[]).await.unwrap();
    assert_eq!(plugin.hooks().names().collect::<Vec<_>>(), ["on-response"]);
    let view = ResponseView {
        status: 404,
        headers: &[("a", "b")],
        body: b"answer",
        route: "orders",
        tenant: "acme",
        correlation_id: "id",
    };
    let outcome = plugin.on_response(view, &Arc::default(), &limits(), MIB).await;
    let expected = ResponseChange {
        status: Some(405),
        set_headers: Vec::new(),
        remove_headers: Vec::new(),
        body: Some(b"answer".to_vec()),
    };
    assert_eq!(outcome.result, Ok(expected));
    assert!(matches!(call(&plugin).await.result, Err(CallFault::Trap(_))));
}

#[tokio::test]
async fn a_head_hook_never_sees_the_body() {
    let house = House::new();
    let text = guest("echo").replace("on-request@1.0.0#on-request", "on-request-head@1.0.0#on-request-head");
    let plugin = house.load_bytes("h.wasm", &component("request-head", &text), &[]).await.unwrap();
    assert_eq!(plugin.hooks().names().collect::<Vec<_>>(), ["on-request-head"]);
    let Ok(Decision::Respond(answer)) = call_with(&plugin, b"secret", &limits()).await.result else { panic!() };
    assert_eq!(answer.body.as_deref(), Some(&b""[..]));
}

#[tokio::test]
async fn capabilities_answer() {
    let house = House::new();
    let plugin = house.guest("capabilities").await;
    let settings = scope(&[("key", "a secret"), ("other", "x")]);
    let outcome = plugin.on_request(request(b""), &settings, &limits(), MIB).await;
    let Ok(Decision::Respond(answer)) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(answer.body.as_deref(), Some(&b"a secret"[..]));
    assert_eq!(outcome.usage.host_calls, 2);
    assert_eq!(outcome.logs.len(), 1);
    assert_eq!((outcome.logs[0].level, &*outcome.logs[0].message), (LogLevel::Warn, "hello\\nworld"));
    // Without the setting the guest gets none, and says so by an empty body.
    let Ok(Decision::Respond(answer)) = call(&plugin).await.result else { panic!() };
    assert_eq!(answer.body.as_deref(), Some(&b""[..]));
}
