//! The order of keys: of one key, one sink and one tenant, first come is first gone, whatever fails on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sluis_ledger::{By, NewBody, OperateError, Operation, Subject};
use sluis_model::event::{DeliveryState, EventState, NewEvent};
use sluis_model::plan::{self, Order};
use sluis_model::retry::RetrySettings;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{ErpSink, Got, RETRY, Running, Say, event};

const ORDERS: [Order; 3] = [Order::Block, Order::DlqAndContinue, Order::ParkKey];

pub fn ordered(erp: &ErpSink, order: Order) -> plan::Sink {
    plan::Sink { order, ..erp.plan() }
}

pub fn keyed(plan: &plan::Sink, key: &str) -> NewEvent {
    NewEvent { key: Some(key.to_owned()), sinks: vec![plan.of_event()], ..event("{}") }
}

pub fn ann() -> By {
    By { actor: "operator:ann".to_owned(), reason: "looked at it".to_owned() }
}

pub fn all_of(id: Uuid) -> Subject {
    Subject::Event { id, tenant: None, sink: None }
}

pub async fn states(running: &Running, ids: &[Uuid]) -> Vec<&'static str> {
    let mut states = Vec::new();
    for id in ids {
        states.push(running.status(*id).await.deliveries.last().unwrap().state.label());
    }
    states
}

#[tokio::test]
async fn one_of_a_key_is_in_flight_while_other_keys_go_on() {
    for order in ORDERS {
        let dir = tempfile::tempdir().unwrap();
        let mut erp = ErpSink::start().await;
        let gate = Arc::new(Semaphore::new(0));
        erp.say([Say::When(Arc::clone(&gate))]);
        let plan = ordered(&erp, order);
        let running = Running::start(dir.path(), [plan.clone()]);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(running.accept(keyed(&plan, "a")).await);
        }
        assert_eq!(erp.next().await.id(), ids[0]);
        for key in ["b", "c", "b"] {
            let other = running.accept(keyed(&plan, key)).await;
            assert_eq!(erp.next().await.id(), other);
            running.until(other, EventState::Completed).await;
        }
        assert_eq!(states(&running, &ids).await, ["leased", "blocked", "blocked"]);
        let blocked = running.status(ids[1]).await;
        assert_eq!(blocked.state, EventState::Accepted);
        let told: Vec<_> = blocked.history.iter().map(|entry| (entry.state, &*entry.actor)).collect();
        assert_eq!(told, [("accepted", "gateway"), ("ready", "gateway"), ("blocked", "order")]);
        gate.add_permits(1);
        for id in &ids[1..] {
            assert_eq!(erp.next().await.id(), *id);
        }
        running.until_backlog(|backlog| backlog.events == 0).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_head_that_fails_for_now_is_tried_until_it_goes() {
    for order in ORDERS {
        let dir = tempfile::tempdir().unwrap();
        let mut erp = ErpSink::start().await;
        erp.say([Say::Status(503), Say::HangUp, Say::RetryAfter(429, "5")]);
        let plan = ordered(&erp, order);
        let running = Running::start(dir.path(), [plan.clone()]);
        let (head, next) = (running.accept(keyed(&plan, "a")).await, running.accept(keyed(&plan, "a")).await);
        for attempt in 1..=3 {
            assert_eq!(erp.next().await.id(), head);
            let failed = running.until_that(head, |status| {
                status.deliveries[0].attempts == attempt && status.deliveries[0].state == DeliveryState::RetryWait
            });
            failed.await;
            assert_eq!(states(&running, &[next]).await, ["blocked"]);
            running.clock.advance(Duration::from_secs(5));
        }
        assert_eq!((erp.next().await.id(), erp.next().await.id()), (head, next));
        running.until_backlog(|backlog| backlog.events == 0).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_head_that_is_refused_for_good_blocks_its_key_until_it_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(422), 20));
    let retry = sluis_model::retry::RetrySettings { max_age: Duration::from_secs(10), ..RETRY };
    let plan = plan::Sink { retry, ..ordered(&erp, Order::Block) };
    let running = Running::start(dir.path(), [plan.clone()]);
    let (head, next) = (running.accept(keyed(&plan, "a")).await, running.accept(keyed(&plan, "a")).await);
    for _ in 0..10 {
        running.until_backlog(|backlog| backlog.count(DeliveryState::RetryWait) == 1).await;
        assert_eq!(states(&running, &[next]).await, ["blocked"]);
        running.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(3)).await;
        running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 0).await;
    }
    let status = running.until(head, EventState::Failed).await;
    assert!(status.deliveries[0].attempts > 2);
    let last = status.history.last().unwrap();
    assert_eq!(last.reason, "max_age: http 422");
    // As old as the head, it has one attempt.
    erp.drain();
    let status = running.until(next, EventState::Failed).await;
    assert_eq!(status.deliveries[0].attempts, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_dead_head_lets_the_next_one_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(422)]);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let running = Running::start(dir.path(), [plan.clone()]);
    let (head, next) = (running.accept(keyed(&plan, "a")).await, running.accept(keyed(&plan, "a")).await);
    running.until(head, EventState::Failed).await;
    running.until(next, EventState::Completed).await;
    assert_eq!((erp.next().await.id(), erp.next().await.id()), (head, next));
    running.stop().await;
}

#[tokio::test]
async fn what_a_newer_one_of_its_key_has_overtaken_is_sent_anew_by_force_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(422)]);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let running = Running::start(dir.path(), [plan.clone()]);
    let old = running.accept(keyed(&plan, "a")).await;
    running.until(old, EventState::Failed).await;
    let other = running.accept(keyed(&plan, "b")).await;
    running.until(other, EventState::Completed).await;
    assert!(!running.status(old).await.deliveries[0].overtaken, "of another key");
    let newer = running.accept(keyed(&plan, "a")).await;
    running.until(newer, EventState::Completed).await;
    assert!(running.status(old).await.deliveries[0].overtaken);
    // Whatever becomes of the newer one.
    running.stop().await;
    let running = Running::start(dir.path(), [plan.clone()]);
    let replay = |force| running.ledger.operate(all_of(old), Operation::Replay { force }, ann());
    assert_eq!(replay(false).await, Err(OperateError::Overtaken));
    let edit = |force| {
        let body = NewBody { content_type: None, body: "{\"mended\":true}".into() };
        running.ledger.replay_edited(old, None, plan.of_event(), body, force, ann())
    };
    assert_eq!(edit(false).await, Err(OperateError::Overtaken));
    erp.drain();
    erp.say([Say::Status(422), Say::Status(422)]);
    replay(true).await.unwrap();
    assert_eq!(erp.next().await.id(), old);
    running.until_that(old, |status| status.deliveries.len() == 2 && status.state == EventState::Failed).await;
    assert_eq!(replay(false).await, Err(OperateError::Overtaken), "it is as old as before");
    let edited = edit(true).await.unwrap().event.unwrap();
    running.until(edited, EventState::Failed).await;
    let again = running.ledger.operate(all_of(edited), Operation::Replay { force: false }, ann()).await;
    assert_eq!(again, Err(OperateError::Overtaken), "and so is what took its place");
    running.stop().await;
}

#[tokio::test]
async fn a234_a_poison_event_is_given_up_after_its_attempts_and_the_next_of_its_key_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say(std::iter::repeat_n(Say::Status(500), 3));
    let plan = ordered(&erp, Order::DlqAndContinue);
    let plan = plan::Sink { retry: RetrySettings { max_attempts: 3, ..RETRY }, ..plan };
    let running = Running::start(dir.path(), [plan.clone()]);
    let (poison, next) = (running.accept(keyed(&plan, "a")).await, running.accept(keyed(&plan, "a")).await);
    let mut waits = Vec::new();
    for attempt in 1..=3 {
        assert_eq!(erp.next().await.id(), poison, "attempt {attempt}");
        if attempt < 3 {
            let status = running.until_delivery(poison, DeliveryState::RetryWait).await;
            waits.push(status.deliveries[0].next_attempt_at.unwrap() - running.clock_now());
            running.clock.advance(Duration::from_secs(60));
        }
    }
    assert!((500..=1_000).contains(&waits[0]) && (1_000..=2_000).contains(&waits[1]), "{waits:?}");
    let status = running.until(poison, EventState::Failed).await;
    assert_eq!(status.deliveries[0].attempts, 3);
    running.until(next, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a_dead_head_parks_its_key_until_somebody_settles_it() {
    for settled in ["replay", "edited", "discard"] {
        let dir = tempfile::tempdir().unwrap();
        let mut erp = ErpSink::start().await;
        erp.say([Say::Status(422)]);
        let plan = ordered(&erp, Order::ParkKey);
        let running = Running::start(dir.path(), [plan.clone()]);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(running.accept(keyed(&plan, "a")).await);
        }
        running.until(ids[0], EventState::Failed).await;
        let other = running.accept(keyed(&plan, "b")).await;
        running.until(other, EventState::Completed).await;
        ids.push(running.accept(keyed(&plan, "a")).await);
        assert_eq!(states(&running, &ids).await, ["dead", "blocked", "blocked", "blocked"]);
        assert_eq!(erp.drain().len(), 2);
        let first = match settled {
            "replay" => {
                running.ledger.operate(all_of(ids[0]), Operation::Replay { force: false }, ann()).await.unwrap();
                vec![ids[0]]
            }
            "edited" => {
                let body = NewBody { content_type: None, body: "{\"mended\":true}".into() };
                let sink = plan.of_event();
                vec![{
                    let edited = running.ledger.replay_edited(ids[0], None, sink, body, false, ann()).await;
                    edited.unwrap().event.unwrap()
                }]
            }
            _ => {
                running.ledger.operate(all_of(ids[0]), Operation::Discard, ann()).await.unwrap();
                Vec::new()
            }
        };
        for id in first.iter().chain(&ids[1..]) {
            assert_eq!(erp.next().await.id(), *id, "{settled}");
        }
        running.until_backlog(|backlog| backlog.events == 0 && backlog.bytes == 0).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn keys_of_two_tenants_and_of_two_sinks_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut erp, mut crm) = (ErpSink::start().await, ErpSink::start().await);
    erp.say([Say::Nothing]);
    let plan = ordered(&erp, Order::Block);
    let second = plan::Sink { name: "crm".into(), ..ordered(&crm, Order::Block) };
    let running = Running::start(dir.path(), [plan.clone(), second.clone()]);
    let both = NewEvent { sinks: vec![plan.of_event(), second.of_event()], ..keyed(&plan, "a") };
    let (first, next) = (both.clone(), NewEvent { id: Uuid::now_v7(), ..both.clone() });
    running.accept(first.clone()).await;
    running.accept(next.clone()).await;
    assert_eq!(erp.next().await.id(), first.id);
    assert_eq!((crm.next().await.id(), crm.next().await.id()), (first.id, next.id));
    let theirs = NewEvent { id: Uuid::now_v7(), tenant: "umbrella".into(), ..both };
    running.accept(theirs.clone()).await;
    assert_eq!(erp.next().await.id(), theirs.id);
    running.drop_dead().await;
}

#[tokio::test]
async fn the_order_outlives_the_process_and_its_sudden_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Nothing]);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let running = Running::start(dir.path(), [plan.clone()]);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(running.accept(keyed(&plan, "a")).await);
    }
    assert_eq!(erp.next().await.id(), ids[0]);
    running.drop_dead().await;
    let running = Running::start(dir.path(), []);
    assert_eq!(states(&running, &ids).await[1..], ["blocked", "blocked", "blocked"]);
    running.stop().await;
    let running = Running::start(dir.path(), [plan]);
    for id in ids {
        assert_eq!(erp.next().await.id(), id);
    }
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn the_last_value_of_a_key_takes_the_place_of_those_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let gate = Arc::new(Semaphore::new(0));
    erp.say([Say::When(Arc::clone(&gate))]);
    let plan = plan::Sink { compact_by_key: true, ..erp.plan() };
    let running = Running::start(dir.path(), [plan.clone()]);
    let mut ids = vec![running.accept(keyed(&plan, "stock")).await];
    assert_eq!(erp.next().await.id(), ids[0]);
    for _ in 0..4 {
        ids.push(running.accept(keyed(&plan, "stock")).await);
    }
    assert_eq!(states(&running, &ids).await, ["leased", "superseded", "superseded", "superseded", "blocked"]);
    let status = running.status(ids[1]).await;
    assert_eq!((status.state, status.deliveries[0].attempts), (EventState::Superseded, 0));
    assert_eq!(status.history.last().unwrap().reason, "a newer event of its key");
    assert_eq!(running.ledger.backlog().events, 2, "what was superseded counts no more");
    gate.add_permits(1);
    assert_eq!(erp.next().await.id(), ids[4]);
    running.until_backlog(|backlog| backlog.events == 0 && backlog.bytes == 0).await;
    assert!(erp.drain().is_empty());
    running.stop().await;
}

#[derive(Debug, Clone)]
enum Op {
    Accept { key: u8 },
    Say { status: u16 },
    Wait { seconds: u64 },
    Replay { which: usize },
    Restart,
    Kill,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0u8..3).prop_map(|key| Op::Accept { key }),
        4 => proptest::sample::select(vec![200u16, 422, 503, 404]).prop_map(|status| Op::Say { status }),
        3 => (1u64..20).prop_map(|seconds| Op::Wait { seconds }),
        1 => any::<usize>().prop_map(|which| Op::Replay { which }),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
    ]
}

/// What a sink got first of each key, in its order.
#[derive(Default)]
struct Log {
    firsts: BTreeMap<String, Vec<Uuid>>,
}

impl Log {
    fn read(&mut self, got: Vec<Got>) {
        for one in got {
            let ids = self.firsts.entry(one.header("ce-partitionkey").to_owned()).or_default();
            if !ids.contains(&one.id()) {
                ids.push(one.id());
            }
        }
    }
}

async fn play(order: Order, ops: &[Op]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let plan = ordered(&erp, order);
    let mut running = Running::start(dir.path(), [plan.clone()]);
    let (mut accepted, mut ids, mut log) = (BTreeMap::<String, Vec<Uuid>>::new(), Vec::new(), Log::default());
    for op in ops {
        match op {
            Op::Accept { key } => {
                let key = format!("key-{key}");
                let id = running.accept(keyed(&plan, &key)).await;
                accepted.entry(key).or_default().push(id);
                ids.push(id);
            }
            Op::Say { status } => erp.say([Say::Status(*status)]),
            Op::Wait { seconds } => {
                running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 0).await;
                running.clock.advance(Duration::from_secs(*seconds));
            }
            Op::Replay { which } if !ids.is_empty() => {
                let replay = Operation::Replay { force: false };
                let _ = running.ledger.operate(all_of(ids[which % ids.len()]), replay, ann()).await;
            }
            Op::Replay { .. } => {}
            Op::Restart | Op::Kill => {
                let clock = running.clock.clone();
                if matches!(op, Op::Kill) {
                    running.drop_dead().await
                } else {
                    running.stop().await
                }
                running = Running::start_at(dir.path(), [plan.clone()], clock);
            }
        }
        log.read(erp.drain());
    }
    // Everything goes in the end, once the dead are sent anew.
    erp.say([]);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        running.until_backlog(|backlog| backlog.count(DeliveryState::Leased) == 0).await;
        let backlog = running.ledger.backlog();
        if backlog.events == 0 {
            break;
        }
        if backlog.count(DeliveryState::Dead) > 0 {
            for id in &ids {
                let _ = running.ledger.operate(all_of(*id), Operation::Replay { force: true }, ann()).await;
            }
        }
        running.clock.advance(Duration::from_secs(30));
    }
    prop_assert_eq!(running.ledger.backlog().events, 0, "{:#?}", running.ledger.backlog());
    log.read(erp.drain());
    running.stop().await;
    prop_assert_eq!(log.firsts, accepted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_a_sink_gets_first_of_a_key_is_in_the_order_of_its_acceptance(
        order in proptest::sample::select(ORDERS.to_vec()),
        ops in proptest::collection::vec(any_op(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(order, &ops))?;
    }
}
