//! What is sent anew stands where it stood in the line of its key: younger ones that still wait go after it, whatever kept
//! them.

use std::sync::Arc;

use sluis_ledger::{NewBody, OperateError, Operation, Subject};
use sluis_model::event::EventState;
use sluis_model::plan::{self, Order};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::order::{all_of, ann, keyed, ordered, states};
use crate::support::{ErpSink, Running, Say};

const REPLAY: Operation = Operation::Replay { force: false };
const FORCED: Operation = Operation::Replay { force: true };

/// A ledger whose sink has given up the first event of a key.
async fn first_given_up(plan: &plan::Sink, dir: &tempfile::TempDir, erp: &mut ErpSink) -> (Running, Uuid) {
    erp.say([Say::Status(422)]);
    let running = Running::start(dir.path(), [plan.clone()]);
    let dead = running.accept(keyed(plan, "a")).await;
    running.until(dead, EventState::Failed).await;
    assert_eq!(erp.next().await.id(), dead);
    (running, dead)
}

async fn operate(running: &Running, id: Uuid, operation: Operation) -> Result<(), OperateError> {
    running.ledger.operate(all_of(id), operation, ann()).await.map(drop)
}

async fn pause(running: &Running, operation: Operation) {
    running.ledger.operate(Subject::Sink("erp".to_owned()), operation, ann()).await.unwrap();
}

async fn edit(running: &Running, id: Uuid, plan: &plan::Sink, force: bool) -> Result<Uuid, OperateError> {
    let body = NewBody { content_type: None, body: "{\"mended\":true}".into() };
    let edited = running.ledger.replay_edited(id, None, plan.of_event(), body, force, ann()).await;
    edited.map(|operated| operated.event.unwrap())
}

#[tokio::test]
async fn a_younger_one_that_waits_goes_after_it() {
    for edits in [false, true] {
        for compact_by_key in [false, true] {
            let (dir, mut erp) = (tempfile::tempdir().unwrap(), ErpSink::start().await);
            let plan = plan::Sink { compact_by_key, ..ordered(&erp, Order::DlqAndContinue) };
            let (running, old) = first_given_up(&plan, &dir, &mut erp).await;
            pause(&running, Operation::Pause).await;
            let newer = running.accept(keyed(&plan, "a")).await;
            let first = match edits {
                true => edit(&running, old, &plan, false).await.unwrap(),
                false => operate(&running, old, REPLAY).await.map(|()| old).unwrap(),
            };
            // A pause holds it as it waits, and whoever is blocked stays so.
            assert_eq!(states(&running, &[first, newer]).await, ["held", "blocked"]);
            let history = running.status(newer).await.history;
            assert!(history.iter().any(|entry| entry.reason == "an earlier event of its key is sent anew"));
            pause(&running, Operation::Resume).await;
            assert_eq!((erp.next().await.id(), erp.next().await.id()), (first, newer));
            running.until_backlog(|backlog| backlog.events == 0 && backlog.bytes == 0).await;
            running.stop().await;
        }
    }
}

#[tokio::test]
async fn a_younger_one_under_way_lets_nothing_older_follow_but_by_force() {
    let (dir, mut erp) = (tempfile::tempdir().unwrap(), ErpSink::start().await);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let (running, old) = first_given_up(&plan, &dir, &mut erp).await;
    let gate = Arc::new(Semaphore::new(0));
    erp.say([Say::When(Arc::clone(&gate))]);
    let newer = running.accept(keyed(&plan, "a")).await;
    assert_eq!(erp.next().await.id(), newer);
    assert_eq!(operate(&running, old, REPLAY).await, Err(OperateError::Overtaken));
    assert_eq!(edit(&running, old, &plan, false).await, Err(OperateError::Overtaken));
    assert_eq!(states(&running, &[old, newer]).await, ["dead", "leased"]);
    operate(&running, old, FORCED).await.unwrap();
    assert_eq!(states(&running, &[old, newer]).await, ["blocked", "leased"], "one at a time all the same");
    gate.add_permits(1);
    assert_eq!(erp.next().await.id(), old);
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn an_edited_one_that_is_given_up_again_has_its_old_place() {
    let (dir, mut erp) = (tempfile::tempdir().unwrap(), ErpSink::start().await);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let (running, oldest) = first_given_up(&plan, &dir, &mut erp).await;
    erp.say([Say::Status(422), Say::Status(422)]);
    let old = running.accept(keyed(&plan, "a")).await;
    running.until(old, EventState::Failed).await;
    let edited = edit(&running, old, &plan, false).await.unwrap();
    running.until(edited, EventState::Failed).await;
    erp.drain();
    // What is older than the place it has does not overtake it, though its event is younger.
    operate(&running, oldest, REPLAY).await.unwrap();
    assert_eq!(erp.next().await.id(), oldest);
    running.until(oldest, EventState::Completed).await;
    assert!(!running.status(edited).await.deliveries[0].overtaken);
    pause(&running, Operation::Pause).await;
    let newer = running.accept(keyed(&plan, "a")).await;
    operate(&running, edited, REPLAY).await.unwrap();
    pause(&running, Operation::Resume).await;
    assert_eq!((erp.next().await.id(), erp.next().await.id()), (edited, newer));
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_younger_one_that_is_released_meanwhile_waits_for_it() {
    let (dir, mut erp) = (tempfile::tempdir().unwrap(), ErpSink::start().await);
    let plan = ordered(&erp, Order::DlqAndContinue);
    let (running, old) = first_given_up(&plan, &dir, &mut erp).await;
    pause(&running, Operation::Pause).await;
    let newer = running.accept(keyed(&plan, "a")).await;
    operate(&running, newer, Operation::Hold).await.unwrap();
    operate(&running, old, REPLAY).await.unwrap();
    operate(&running, newer, Operation::Release).await.unwrap();
    assert_eq!(states(&running, &[old, newer]).await, ["held", "blocked"], "by the pause, by the line");
    pause(&running, Operation::Resume).await;
    assert_eq!((erp.next().await.id(), erp.next().await.id()), (old, newer));
    running.until_backlog(|backlog| backlog.events == 0).await;
    running.stop().await;
}
