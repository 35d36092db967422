//! The road of an event from its acceptance to its sink.

use std::time::Duration;

use sluis_ledger::{By, EventStatus, NewBody, OPERATOR, Operation, Subject};
use sluis_model::event::{DeliveryState, EventSink, EventState, NewEvent};
use sluis_model::plan;

use crate::support::{ErpSink, NEW_YEAR, RETRY, Running, Say, event};

#[tokio::test]
async fn an_accepted_event_reaches_its_sink_as_a_cloudevent() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{\"order\":42}")).await;
    let got = erp.next().await;
    assert_eq!(
        (got.method.as_str(), got.path.as_str(), &got.body[..]),
        ("POST", "/inbox?from=sluis", &b"{\"order\":42}"[..])
    );
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &*id.to_string()),
        ("ce-source", "/tenants/acme/routes/orders"),
        ("ce-type", "erp.order.created"),
        ("ce-time", "2026-01-01T00:00:00Z"),
        ("ce-partitionkey", "order%2042"),
        ("x-correlation-id", "corr-1"),
        ("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
        ("content-type", "application/json"),
        ("x-sluis-attempt", "1"),
        ("authorization", "Bearer erp"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let status = running.until(id, EventState::Completed).await;
    let states: Vec<_> = status.history.iter().map(|entry| (entry.state, entry.actor.as_str())).collect();
    let expected = [("accepted", "gateway"), ("ready", "gateway"), ("leased", "worker"), ("delivered", "worker")];
    assert_eq!(states, expected);
    assert_eq!(running.ledger.backlog().bytes, 0);
    running.stop().await;
}

#[tokio::test]
async fn failures_are_retried_with_backoff_until_the_sink_confirms() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Body(500, "out of paper".to_owned()), Say::HangUp, Say::Status(302)]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    let mut waits = Vec::new();
    for attempt in 1..=3 {
        assert_eq!(erp.next().await.header("x-sluis-attempt"), attempt.to_string());
        let status = running.until_delivery(id, DeliveryState::RetryWait).await;
        let delivery = &status.deliveries[0];
        assert_eq!(delivery.attempts, attempt);
        let now = status.history.last().unwrap().at;
        waits.push(delivery.next_attempt_at.unwrap() - now);
        let error = delivery.last_error.as_ref().unwrap();
        let expected = [
            ("http", "transient", Some(500)),
            ("connection_broken", "ambiguous", None),
            ("http", "transient", Some(302)),
        ];
        assert_eq!((&*error.kind, &*error.class, error.status), expected[attempt as usize - 1]);
        assert!(erp.drain().is_empty(), "not before its time");
        running.clock.advance(Duration::from_millis(*waits.last().unwrap()));
    }
    assert!(
        (500..=1000).contains(&waits[0]) && (1000..=2000).contains(&waits[1]) && (2000..=4000).contains(&waits[2]),
        "{waits:?}"
    );
    assert_eq!(erp.next().await.id(), id, "the same id at every attempt");
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn retry_after_is_observed() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(429, "120"), Say::RetryAfter(503, "Thu, 01 Jan 1970 00:00:10 GMT")]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    erp.next().await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    assert_eq!(status.deliveries[0].next_attempt_at, Some(NEW_YEAR + 120_000));
    assert_eq!(status.deliveries[0].last_error.as_ref().unwrap().class, "throttled");
    running.clock.advance(Duration::from_secs(119));
    assert!(erp.drain().is_empty());
    running.clock.advance(Duration::from_secs(1));
    erp.next().await;
    let status = running
        .until_that(id, |status| {
            status.deliveries[0].attempts == 2 && status.deliveries[0].state == DeliveryState::RetryWait
        })
        .await;
    let wait = status.deliveries[0].next_attempt_at.unwrap() - (NEW_YEAR + 120_000);
    assert!((1000..=2000).contains(&wait), "a date in the past asks for nothing: {wait}");
    running.stop().await;
}

#[tokio::test]
async fn a_refusal_for_good_is_dead_at_once_and_stays_in_the_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(422)]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Failed).await;
    assert_eq!(status.history.last().unwrap().reason, "permanent_error: http 422");
    assert_eq!(erp.next().await.id(), id);
    let backlog = running.ledger.backlog();
    assert_eq!((backlog.events, backlog.count(DeliveryState::Dead)), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn age_ends_the_retries_and_attempts_are_the_safety_net() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(500), 64));
    let mut plan = erp.plan();
    plan.retry.max_age = Duration::from_secs(10);
    let few = plan::Sink {
        name: "few".into(),
        retry: sluis_model::retry::RetrySettings { max_attempts: 2, ..RETRY },
        ..plan.clone()
    };
    let running = Running::start(dir.path(), [plan, few]);
    let mut both = event("{}");
    both.sinks.push(EventSink::unordered("few"));
    let id = running.accept(both).await;
    for second in 1..=10 {
        running
            .until_that(id, |status| {
                status.deliveries.iter().all(|d| d.state.is_final() || d.next_attempt_at > Some(running.clock_now()))
            })
            .await;
        assert!(erp.drain().len() <= 3, "in second {second}");
        running.clock.advance(Duration::from_secs(1));
    }
    let status = running.until(id, EventState::Failed).await;
    let reason = |sink: &str| status.history.iter().rfind(|e| e.sink.as_deref() == Some(sink)).unwrap().reason.clone();
    assert_eq!(
        (reason("erp"), reason("few")),
        ("max_age: http 500".to_owned(), "retries_exhausted: http 500".to_owned())
    );
    assert_eq!(status.deliveries[0].finished_at, Some(NEW_YEAR + 10_000));
    assert_eq!(status.deliveries[1].attempts, 2);
    running.stop().await;
}

#[tokio::test]
async fn each_sink_of_an_event_lives_its_own_life() {
    let dir = tempfile::tempdir().unwrap();
    let (mut erp, mut crm) = (ErpSink::start().await, ErpSink::start().await);
    erp.say([Say::Status(404)]);
    let running = Running::start(dir.path(), [erp.plan(), plan::Sink { name: "crm".into(), ..crm.plan() }]);
    let mut both = event("{}");
    both.sinks = ["erp", "crm", "erp"].map(EventSink::unordered).to_vec();
    let id = running.accept(both).await;
    let status = running.until(id, EventState::PartiallyFailed).await;
    assert_eq!(
        status.deliveries.iter().map(|d| d.state).collect::<Vec<_>>(),
        [DeliveryState::Dead, DeliveryState::Delivered]
    );
    assert_eq!((erp.next().await.id(), crm.next().await.id()), (id, id));
    assert!(erp.drain().is_empty(), "a sink named twice gets it once");
    running.stop().await;
}

#[tokio::test]
async fn a_sink_that_leaves_the_plan_holds_its_events_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), []);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::Held).await;
    assert_eq!(status.history.last().unwrap().reason, "sink_not_configured");
    assert_eq!(status.state, EventState::Accepted);
    assert_eq!(running.ledger.backlog().count(DeliveryState::Held), 1);
    running.clock.advance(Duration::from_secs(3 * 86_400));
    running.replan([erp.plan()]);
    assert_eq!(erp.next().await.header("x-sluis-attempt"), "1", "waiting consumed no attempt, and age does not bind");
    let status = running.until(id, EventState::Completed).await;
    let states: Vec<_> = status.history.iter().map(|entry| entry.state).collect();
    assert_eq!(states, ["accepted", "ready", "held", "ready", "leased", "delivered"]);
    let broken = |mut plan: plan::Sink| {
        let plan::SinkKind::Http(http) = &mut plan.kind;
        http.ca = Some("/nonexistent/ca.pem".into());
        plan
    };
    running.replan([broken(erp.plan())]);
    // The worker of before goes on until the new plan is looked at.
    let status = loop {
        let id = running.accept(event("{}")).await;
        let settled = |status: &EventStatus| {
            [DeliveryState::Held, DeliveryState::Delivered].contains(&status.deliveries[0].state)
        };
        let status = running.until_that(id, settled).await;
        if status.deliveries[0].state == DeliveryState::Held {
            break status;
        }
    };
    assert!(status.history.last().unwrap().reason.starts_with("sink_unusable: the trust anchors in"));
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_ambiguous_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Nothing]);
    let mut plan = erp.plan();
    let plan::SinkKind::Http(http) = &mut plan.kind;
    http.timeout = Duration::from_millis(50);
    let running = Running::start(dir.path(), [plan]);
    let id = running.accept(event("{}")).await;
    erp.next().await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    let error = status.deliveries[0].last_error.as_ref().unwrap();
    assert_eq!((&*error.kind, &*error.class), ("timeout", "ambiguous"));
    running.clock.advance(Duration::from_secs(1));
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn an_answer_whose_body_does_not_end_counts_by_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Unfinished(201, "booked as "), Say::Unfinished(422, "no such customer: ")]);
    let mut plan = erp.plan();
    let plan::SinkKind::Http(http) = &mut plan.kind;
    http.timeout = Duration::from_millis(200);
    let running = Running::start(dir.path(), [plan]);
    let taken = running.accept(event("{}")).await;
    running.until(taken, EventState::Completed).await;
    let refused = running.accept(event("{}")).await;
    let status = running.until(refused, EventState::Failed).await;
    let error = status.deliveries[0].last_error.as_ref().unwrap();
    assert_eq!((&*error.kind, error.status), ("http", Some(422)));
    assert_eq!(erp.drain().len(), 2, "neither was asked twice");
    running.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_not_there_is_transient() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let mut plan = erp.plan();
    let plan::SinkKind::Http(http) = &mut plan.kind;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    http.url = format!("http://{free}/");
    let running = Running::start(dir.path(), [plan]);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    let error = status.deliveries[0].last_error.as_ref().unwrap();
    assert_eq!((&*error.kind, &*error.class, error.status), ("connect", "transient", None));
    running.stop().await;
}

#[tokio::test]
async fn a_thousand_events_arrive_once_each_and_the_ledger_is_empty_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let ledger = std::sync::Arc::clone(&running.ledger);
        waiting.spawn(async move {
            let event = event(&format!("{{\"n\":{n}}}"));
            let id = event.id;
            ledger.accept(event, u64::MAX).await.unwrap();
            assert!(ledger.status("acme", id).await.unwrap().is_some(), "read your writes");
            id
        });
    }
    let accepted: std::collections::BTreeSet<_> = waiting.join_all().await.into_iter().collect();
    let mut arrived = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        assert!(arrived.insert(erp.next().await.id()));
    }
    assert_eq!(arrived, accepted);
    for id in accepted {
        running.until(id, EventState::Completed).await;
    }
    let backlog = running.ledger.backlog();
    assert_eq!((backlog.events, backlog.bytes, backlog.count(DeliveryState::Delivered)), (0, 0, 1000));
    running.stop().await;
}

#[tokio::test]
async fn what_is_sent_anew_says_so_and_names_its_cause_where_it_was_edited() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(422), Say::Status(422)]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let attributes = vec![("subject".to_owned(), "order 42".to_owned())];
    let id = running.accept(NewEvent { attributes, ..event("{}") }).await;
    let first = erp.next().await;
    assert_eq!((first.header("ce-subject"), first.header("x-replay")), ("order%2042", ""));
    running.until(id, EventState::Failed).await;
    running.clock.advance(Duration::from_secs(60));
    let subject = Subject::Event { id, tenant: None, sink: None };
    let by = || By { actor: format!("{OPERATOR}ann"), reason: "mended".to_owned() };
    running.ledger.operate(subject, Operation::Replay { force: false }, by()).await.unwrap();
    let again = erp.next().await;
    assert_eq!((again.id(), again.header("x-replay"), again.header("ce-causationid")), (id, "true", ""));
    running.until(id, EventState::Failed).await;
    let body = NewBody { content_type: None, body: "{\"n\":1}".into() };
    let sink = EventSink::unordered("erp");
    let edited = running.ledger.replay_edited(id, None, sink, body, false, by()).await.unwrap().event.unwrap();
    let third = erp.next().await;
    assert_eq!((third.id(), third.header("x-replay")), (edited, "true"));
    assert_eq!((third.header("ce-causationid"), third.header("ce-subject")), (&*id.to_string(), "order%2042"));
    running.stop().await;
}
