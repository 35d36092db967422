//! What people do to events and sinks: each order is carried out as a whole and written down, or refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sluis_ledger::{
    AcceptError, By, Cursor, EventStatus, Filter, Listed, NewBody, OperateError, Operation, Page, Subject,
};
use sluis_model::event::{DeliveryState, EventSink, EventState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::plan;
use uuid::Uuid;

use crate::support::{ErpSink, NEW_YEAR, Running, Say, event};

fn by(who: &str) -> By {
    By { actor: format!("operator:{who}"), reason: "looked at it".to_owned() }
}

fn of_acme(id: Uuid, sink: Option<&str>) -> Subject {
    Subject::Event { id, tenant: Some("acme".into()), sink: sink.map(str::to_owned) }
}

fn states(status: &EventStatus) -> Vec<(&str, &str)> {
    status.deliveries.iter().map(|delivery| (&*delivery.sink, delivery.state.label())).collect()
}

/// Two sinks that both refused an event.
async fn refused_twice() -> (tempfile::TempDir, [ErpSink; 2], Running, Uuid) {
    let dir = tempfile::tempdir().unwrap();
    let (erp, crm) = (ErpSink::start().await, ErpSink::start().await);
    erp.say([Say::Status(422)]);
    crm.say([Say::Status(404)]);
    let running = Running::start(dir.path(), [erp.plan(), plan::Sink { name: "crm".into(), ..crm.plan() }]);
    let both = NewEvent { sinks: ["erp", "crm"].map(EventSink::unordered).to_vec(), ..event("{}") };
    let id = running.accept(both).await;
    running.until(id, EventState::Failed).await;
    (dir, [erp, crm], running, id)
}

#[tokio::test]
async fn all_dead_deliveries_are_sent_anew_or_those_to_one_sink() {
    let (_dir, [mut erp, mut crm], running, id) = refused_twice().await;
    erp.drain();
    crm.drain();
    running.clock.advance(Duration::from_secs(60));
    crm.say([Say::Status(404)]);
    let done =
        running.ledger.operate(of_acme(id, Some("crm")), Operation::Replay { force: false }, by("ann")).await.unwrap();
    assert_eq!((done.tenant.as_deref(), done.deliveries, done.event), (Some("acme"), 1, None));
    let got = crm.next().await;
    assert_eq!((got.id(), got.header("x-sluis-attempt")), (id, "1"), "the same event, another delivery");
    let again = |status: &EventStatus| status.deliveries.len() == 3 && status.state == EventState::Failed;
    let status = running.until_that(id, again).await;
    assert_eq!(states(&status), [("erp", "dead"), ("crm", "replayed"), ("crm", "dead")]);
    let replayed = status.history.iter().find(|entry| entry.state == "replayed").unwrap();
    assert_eq!((&*replayed.actor, &*replayed.reason), ("operator:ann", "looked at it"));
    assert_eq!(replayed.at, NEW_YEAR + 60_000);
    let begun = status.history.iter().filter(|entry| entry.state == "ready" && entry.at == NEW_YEAR + 60_000).count();
    assert_eq!(begun, 1, "the new delivery begins when it was ordered: {:#?}", status.history);
    assert!(erp.drain().is_empty());
    let done = running.ledger.operate(of_acme(id, None), Operation::Replay { force: false }, by("ann")).await.unwrap();
    assert_eq!(done.deliveries, 2);
    assert_eq!((erp.next().await.id(), crm.next().await.id()), (id, id));
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(status.deliveries.len(), 5);
    let nothing = running.ledger.operate(of_acme(id, None), Operation::Replay { force: false }, by("ann")).await;
    assert_eq!(nothing, Err(OperateError::NotPossible));
    let backlog = running.ledger.backlog();
    assert_eq!((backlog.events, backlog.bytes), (0, 0));
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_is_sent_anew_is_the_oldest_again_until_it_is_settled() {
    let (_dir, [erp, _crm], running, id) = refused_twice().await;
    running.clock.advance(Duration::from_secs(60));
    let sinks = vec![EventSink::unordered("nobody")];
    running.accept(NewEvent { sinks, accepted_at: NEW_YEAR + 50_000, ..event("{}") }).await;
    let oldest = async |secs: u64| running.until_backlog(|b| b.oldest == Some(Duration::from_secs(secs))).await;
    // The search for the oldest has gone past the one that was given up.
    oldest(10).await;
    erp.say([Say::RetryAfter(503, "3600")]);
    running.ledger.operate(of_acme(id, Some("erp")), Operation::Replay { force: false }, by("ann")).await.unwrap();
    oldest(60).await;
    running.until_that(id, |status| status.deliveries.iter().any(|d| d.state == DeliveryState::RetryWait)).await;
    running.ledger.operate(of_acme(id, Some("erp")), Operation::Discard, by("ann")).await.unwrap();
    oldest(10).await;
    running.stop().await;
}

#[tokio::test]
async fn an_edited_event_is_a_new_one_that_names_the_old_one_as_its_cause() {
    let (_dir, [mut erp, mut crm], running, id) = refused_twice().await;
    erp.drain();
    crm.drain();
    let body = || NewBody { content_type: Some("text/plain".to_owned()), body: "mended".into() };
    let sink = || EventSink::unordered("erp");
    let edit = |tenant: &str| running.ledger.replay_edited(id, Some(tenant.into()), sink(), body(), false, by("ann"));
    assert_eq!(edit("umbrella").await, Err(OperateError::NotFound));
    let done = edit("acme").await.unwrap();
    let new = done.event.unwrap();
    let got = erp.next().await;
    assert_eq!((got.id(), &got.body[..], got.header("content-type")), (new, &b"mended"[..], "text/plain"));
    running.until(new, EventState::Completed).await;
    let kept = running.ledger.event(Some("acme"), new).await.unwrap().unwrap();
    assert_eq!((kept.causation_id, kept.key), (Some(id), Some("order 42".to_owned())));
    let old = running.ledger.event(Some("acme"), id).await.unwrap().unwrap();
    assert_eq!((&old.body[..], old.causation_id), (&b"{}"[..], None), "the old one is as it was");
    assert_eq!(states(&running.status(id).await), [("erp", "replayed"), ("crm", "dead")]);
    assert_eq!(edit("acme").await, Err(OperateError::NotPossible), "once");
    assert_eq!(running.ledger.backlog().events, 1, "the refused order left nothing behind");
    running.ledger.operate(of_acme(id, None), Operation::Discard, by("ann")).await.unwrap();
    let backlog = running.ledger.backlog();
    assert_eq!((backlog.events, backlog.bytes), (0, 0));
    assert!(crm.drain().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn what_waits_and_what_is_dead_can_be_given_up() {
    let (_dir, [_erp, _crm], running, dead) = refused_twice().await;
    let parked = NewEvent { sinks: vec![EventSink::unordered("nobody")], ..event("{}") };
    let waiting = running.accept(parked).await;
    for (id, deliveries) in [(dead, 2), (waiting, 1)] {
        let done = running.ledger.operate(of_acme(id, None), Operation::Discard, by("ann")).await.unwrap();
        assert_eq!(done.deliveries, deliveries);
        let status = running.status(id).await;
        assert_eq!(status.state, EventState::Discarded);
        assert!(status.deliveries.iter().all(|delivery| delivery.finished_at.is_some()));
        let again = running.ledger.operate(of_acme(id, None), Operation::Discard, by("ann")).await;
        assert_eq!(again, Err(OperateError::NotPossible));
    }
    let backlog = running.ledger.backlog();
    assert_eq!((backlog.events, backlog.bytes), (0, 0), "its bytes are the tenant's again");
    running.stop().await;
}

#[tokio::test]
async fn settled_bytes_go_back_to_the_quota_of_their_tenant() {
    let (_dir, _sinks, running, id) = refused_twice().await;
    let quota = running.ledger.backlog().bytes;
    let more = || running.ledger.accept(event("{}"), quota);
    assert_eq!(more().await, Err(AcceptError::TenantFull), "dead ones count");
    running.ledger.operate(of_acme(id, Some("erp")), Operation::Discard, by("ann")).await.unwrap();
    assert_eq!(more().await, Err(AcceptError::TenantFull), "as long as one is left");
    running.ledger.operate(of_acme(id, Some("crm")), Operation::Discard, by("ann")).await.unwrap();
    assert_eq!(more().await, Ok(()));
    running.stop().await;
}

#[tokio::test]
async fn one_event_is_held_while_the_others_go_and_released_without_a_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::RetryAfter(429, "3600")]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    running.until_delivery(id, DeliveryState::RetryWait).await;
    erp.drain();
    running.ledger.operate(of_acme(id, None), Operation::Hold, by("ann")).await.unwrap();
    let status = running.status(id).await;
    assert_eq!((status.deliveries[0].state, status.deliveries[0].next_attempt_at), (DeliveryState::Held, None));
    let twice = running.ledger.operate(of_acme(id, None), Operation::Hold, by("ann")).await;
    assert_eq!(twice, Err(OperateError::NotPossible));
    running.clock.advance(Duration::from_secs(7_200));
    let other = running.accept(event("{}")).await;
    assert_eq!(erp.next().await.id(), other);
    running.until(other, EventState::Completed).await;
    assert_eq!(running.status(id).await.deliveries[0].attempts, 1, "held, it consumes no attempt");
    running.ledger.operate(of_acme(id, None), Operation::Release, by("bob")).await.unwrap();
    assert_eq!(erp.next().await.id(), id);
    running.until(id, EventState::Completed).await;
    let again = running.ledger.operate(of_acme(id, None), Operation::Release, by("bob")).await;
    assert_eq!(again, Err(OperateError::NotPossible));
    running.stop().await;
}

#[tokio::test]
async fn an_attempt_under_way_is_neither_held_nor_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    erp.say([Say::When(Arc::clone(&gate))]);
    let running = Running::start(dir.path(), [erp.plan()]);
    let id = running.accept(event("{}")).await;
    erp.next().await;
    for operation in [Operation::Hold, Operation::Discard, Operation::Release, Operation::Replay { force: false }] {
        let refused = running.ledger.operate(of_acme(id, None), operation, by("ann")).await;
        assert_eq!(refused, Err(OperateError::NotPossible), "{operation:?}");
    }
    gate.add_permits(1);
    running.until(id, EventState::Completed).await;
    assert!(running.ledger.operations(None, None, 10).await.unwrap().is_empty(), "nothing was done");
    running.stop().await;
}

#[tokio::test]
async fn a_paused_sink_sends_nothing_until_it_is_resumed_and_both_are_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    let erp_itself = || Subject::Sink("erp".to_owned());
    running.ledger.operate(erp_itself(), Operation::Pause, by("ann")).await.unwrap();
    running.ledger.operate(erp_itself(), Operation::Pause, by("bob")).await.unwrap();
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::Held).await;
    let hold = status.history.last().unwrap();
    assert_eq!((hold.state, &*hold.reason), ("held", "looked at it"));
    running.clock.advance(Duration::from_secs(3_600));
    running.stop().await;
    let running = Running::start(dir.path(), [erp.plan()]);
    assert_eq!(running.ledger.sink_holds("erp").len(), 2, "a pause outlives the process");
    running.until_delivery(id, DeliveryState::Held).await;
    assert!(erp.drain().is_empty());
    for operation in [Operation::Replay { force: false }, Operation::Discard, Operation::Hold, Operation::Release] {
        let refused = running.ledger.operate(erp_itself(), operation, by("ann")).await;
        assert_eq!(refused, Err(OperateError::NotPossible), "{operation:?}");
    }
    running.ledger.operate(erp_itself(), Operation::Resume, by("eve")).await.unwrap();
    assert_eq!(erp.next().await.header("x-sluis-attempt"), "1");
    running.until(id, EventState::Completed).await;
    let audit = running.ledger.operations(None, None, 10).await.unwrap();
    let lines: Vec<_> = audit.iter().map(|line| (&*line.actor, &*line.action, line.sink.as_deref())).collect();
    let sink = Some("erp");
    let expected = [("operator:eve", "resume", sink), ("operator:bob", "pause", sink), ("operator:ann", "pause", sink)];
    assert_eq!(lines, expected, "newest first");
    assert!(running.ledger.operations(Some("acme".into()), None, 10).await.unwrap().is_empty());
    assert_eq!(running.ledger.operations(None, Some(audit[0].seq), 1).await.unwrap(), audit[1..2]);
    running.stop().await;
}

#[tokio::test]
async fn another_tenants_event_is_not_there() {
    let (_dir, _sinks, running, id) = refused_twice().await;
    let theirs =
        |sink: Option<&str>| Subject::Event { id, tenant: Some("umbrella".into()), sink: sink.map(str::to_owned) };
    for operation in [Operation::Replay { force: false }, Operation::Discard, Operation::Hold, Operation::Release] {
        assert_eq!(running.ledger.operate(theirs(None), operation, by("eve")).await, Err(OperateError::NotFound));
    }
    assert_eq!(
        running.ledger.operate(of_acme(id, Some("wms")), Operation::Replay { force: false }, by("ann")).await,
        Err(OperateError::NotFound)
    );
    assert_eq!(
        running.ledger.operate(of_acme(Uuid::now_v7(), None), Operation::Replay { force: false }, by("ann")).await,
        Err(OperateError::NotFound)
    );
    assert!(running.ledger.event(Some("umbrella"), id).await.unwrap().is_none());
    assert!(running.ledger.operations(None, None, 10).await.unwrap().is_empty());
    running.stop().await;
}

/// All pages of a list, and how many there were.
async fn pages(running: &Running, filter: &Filter, limit: usize) -> (Vec<Listed>, usize) {
    let (mut all, mut count, mut cursor): (Vec<Listed>, usize, Option<Cursor>) = (Vec::new(), 0, None);
    loop {
        let Page { deliveries, next } = running.ledger.list(filter.clone(), cursor, limit).await.unwrap();
        assert!(deliveries.len() <= limit);
        (count, cursor) = (count + 1, next);
        all.extend(deliveries);
        if cursor.is_none() {
            return (all, count);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_fifty_thousand_deliveries_are_read_in_bounded_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), []);
    let mut accepting = tokio::task::JoinSet::new();
    for part in 0..100_u64 {
        let ledger = Arc::clone(&running.ledger);
        accepting.spawn(async move {
            for n in 0..250 {
                let number = part * 250 + n;
                let rare = number % 5_000 == 0;
                let one = NewEvent {
                    tenant: if rare { "umbrella" } else { "acme" }.into(),
                    event_type: if number % 2 == 0 { "even" } else { "odd" }.into(),
                    route: if rare { "stock" } else { "orders" }.into(),
                    key: Some(format!("key-{}", number % 1_000)),
                    correlation_id: format!("corr-{number}").into(),
                    lane: Lane::ALL[(number % 4) as usize],
                    sinks: ["erp", "crm"].map(EventSink::unordered).to_vec(),
                    accepted_at: NEW_YEAR + number,
                    ..event("{}")
                };
                ledger.accept(one, u64::MAX).await.unwrap();
            }
        });
    }
    accepting.join_all().await;
    let (all, count) = pages(&running, &Filter::default(), 1_000).await;
    assert!((50..=51).contains(&count));
    let distinct: BTreeSet<(Uuid, &str)> = all.iter().map(|one| (one.event, &*one.sink)).collect();
    assert_eq!(distinct.len(), 50_000, "each once");
    let umbrella = Filter { tenant: Some("umbrella".into()), ..Filter::default() };
    let (theirs, count) = pages(&running, &umbrella, 100).await;
    assert_eq!((theirs.len(), count), (10, 3), "no question looks at more than twenty thousand");
    assert!(theirs.iter().all(|one| one.tenant == "umbrella" && one.route == "stock"));
    let found = async |filter: Filter| pages(&running, &filter, 60_000).await.0.len();
    let base = Filter::default();
    assert_eq!(found(Filter { sink: Some("crm".to_owned()), ..base.clone() }).await, 25_000);
    assert_eq!(found(Filter { event_type: Some("even".to_owned()), ..base.clone() }).await, 25_000);
    assert_eq!(found(Filter { route: Some("stock".to_owned()), ..base.clone() }).await, 10);
    assert_eq!(found(Filter { key: Some("key-7".to_owned()), ..base.clone() }).await, 50);
    assert_eq!(found(Filter { correlation_id: Some("corr-7".to_owned()), ..base.clone() }).await, 2);
    let (since, until) = (Some(NEW_YEAR + 100), Some(NEW_YEAR + 200));
    assert_eq!(found(Filter { since, until, ..base.clone() }).await, 200);
    assert_eq!(found(Filter { states: vec![DeliveryState::Dead], ..base.clone() }).await, 0);
    for one in all.iter().step_by(500) {
        running.ledger.operate(of_any(one.event), Operation::Discard, by("ann")).await.unwrap_or_default();
    }
    let discarded = found(Filter { states: vec![DeliveryState::Discarded], ..base.clone() }).await;
    let rest = vec![DeliveryState::Ready, DeliveryState::Held];
    assert!(discarded >= 100);
    assert_eq!(found(Filter { states: rest, ..base }).await, 50_000 - discarded);
    running.stop().await;
}

fn of_any(id: Uuid) -> Subject {
    Subject::Event { id, tenant: None, sink: None }
}

#[tokio::test]
async fn a_list_of_the_dead_looks_at_nothing_else() {
    let (_dir, _sinks, running, id) = refused_twice().await;
    running.accept(event("{}")).await;
    let dead = Filter { states: vec![DeliveryState::Dead], ..Filter::default() };
    let (found, _) = pages(&running, &dead, 1).await;
    let told: Vec<_> = found.iter().map(|one| (one.event, &*one.sink, one.attempts)).collect();
    assert_eq!(told, [(id, "crm", 1), (id, "erp", 1)]);
    let error = found[0].last_error.as_ref().unwrap();
    assert_eq!((error.status, &*error.class), (Some(404), "permanent"));
    running.stop().await;
}

#[tokio::test]
async fn a_list_says_held_of_what_a_sink_holds_as_the_status_does() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), []);
    let id = running.accept(event("{}")).await;
    running.until_delivery(id, DeliveryState::Held).await;
    let held = Filter { states: vec![DeliveryState::Held], ..Filter::default() };
    let (found, _) = pages(&running, &held, 10).await;
    assert_eq!(found.iter().map(|one| (one.event, one.state)).collect::<Vec<_>>(), [(id, DeliveryState::Held)]);
    let ready = Filter { states: vec![DeliveryState::Ready], ..Filter::default() };
    assert!(pages(&running, &ready, 10).await.0.is_empty());
    running.stop().await;
}
