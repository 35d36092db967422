//! Delivery: one worker per sink of the plan, and somebody who starts and stops them as the plan changes.

mod ahead;
mod attempt;
mod gate;
mod hook;
mod refill;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluis_model::plan;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::sink::Sink;
use gate::Gate;
use worker::{Target, Worker};

/// Who holds a sink that the plan does not have, or not in a usable form.
const CONFIG: &str = "config";

type Sinks = Arc<HashMap<Arc<str>, Arc<plan::Sink>>>;

/// Runs until `shutdown` turns true or its sender is gone; then waits for the attempts under way.
pub(crate) async fn run(ledger: Arc<Ledger>, mut sinks: watch::Receiver<Sinks>, mut shutdown: watch::Receiver<bool>) {
    let mut crew = Crew {
        ledger: Arc::clone(&ledger),
        workers: HashMap::new(),
        tasks: JoinSet::new(),
        shutdown: shutdown.clone(),
    };
    let mut plan_lives = true;
    loop {
        let plan = Arc::clone(&sinks.borrow_and_update());
        crew.follow(&plan).await;
        tokio::select! {
            changed = sinks.changed(), if plan_lives => plan_lives = changed.is_ok(),
            // An event for a sink without a worker.
            () = ledger.store.shared.dispatch.notified() => {}
            Some(_) = crew.tasks.join_next(), if !crew.tasks.is_empty() => {
                if ledger.store.shared.inbox.is_poisoned() {
                    break;
                }
                // A worker ends only when it was told to; whatever else it was, it is started again, not at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            () = down(&mut shutdown) => break,
        }
    }
    while crew.tasks.join_next().await.is_some() {}
}

/// Returns once the shutdown is asked for, or nobody is left who could ask.
pub(crate) async fn down(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

struct Crew {
    ledger: Arc<Ledger>,
    workers: HashMap<Arc<str>, Running>,
    tasks: JoinSet<()>,
    shutdown: watch::Receiver<bool>,
}

struct Running {
    plan: Arc<plan::Sink>,
    target: watch::Sender<Arc<Target>>,
    task: tokio::task::AbortHandle,
}

impl Crew {
    /// Starts, changes and stops workers, and holds and releases sinks, so that both agree with the plan.
    async fn follow(&mut self, plan: &Sinks) {
        self.workers.retain(|_, running| !running.task.is_finished());
        let (mut ready, mut unusable) = (Vec::new(), HashMap::new());
        for (name, sink) in plan.iter() {
            if self.workers.get(name).is_some_and(|running| Arc::ptr_eq(&running.plan, sink)) {
                continue;
            }
            match Sink::new(sink) {
                Ok(usable) => {
                    let before = self.workers.get(name).map(|running| Arc::clone(&running.target.borrow().gate));
                    let (plan, gate) = (Arc::clone(sink), Arc::new(Gate::new(sink, before.as_deref())));
                    ready.push((name, Target { plan, sink: usable, gate }));
                }
                Err(error) => {
                    tracing::warn!(sink = %name, %error, "the sink cannot be used; its events are held");
                    unusable.insert(Arc::clone(name), error.to_string());
                }
            }
        }
        let gone = |name: &Arc<str>| !plan.contains_key(name) || unusable.contains_key(name);
        // A worker whose channel is gone takes nothing new and ends with its attempts.
        for (name, _) in self.workers.extract_if(|name, _| gone(name)) {
            self.ledger.store.shared.unhang(&name);
        }
        // Before the workers start, so that the history has the release before the lease.
        self.hold(plan, &unusable).await;
        for (name, target) in ready {
            self.put(name, target);
        }
    }

    fn put(&mut self, name: &Arc<str>, target: Target) {
        let (plan, target) = (Arc::clone(&target.plan), Arc::new(target));
        if let Some(running) = self.workers.get_mut(name) {
            running.plan = plan;
            running.target.send_replace(target);
            return;
        }
        let (sender, receiver) = watch::channel(target);
        let bell = self.ledger.store.shared.bell(name);
        let worker = Worker::new(Arc::clone(&self.ledger), Arc::clone(name), receiver, bell, self.shutdown.clone());
        let task = self.tasks.spawn(worker.run());
        self.workers.insert(Arc::clone(name), Running { plan, target: sender, task });
    }

    /// Events of a sink without a worker are held, with the reason; those of a sink that is back are released.
    async fn hold(&self, plan: &Sinks, unusable: &HashMap<Arc<str>, String>) {
        let store = &self.ledger.store;
        let held = store.shared.room.held_by(CONFIG);
        let now = self.ledger.clock.now();
        for sink in store.shared.room.waiting_sinks() {
            let reason = match (plan.contains_key(&sink), unusable.get(&sink)) {
                (false, _) => "sink_not_configured".to_owned(),
                (true, Some(error)) => format!("sink_unusable: {error}"),
                (true, None) => continue,
            };
            if !held.contains(&sink) && store.hold(&sink, now, CONFIG, reason).await.is_err() {
                tracing::warn!(%sink, "the hold was not recorded");
            }
        }
        for sink in held {
            if plan.contains_key(&sink)
                && !unusable.contains_key(&sink)
                && store.release(&sink, now, CONFIG).await.is_err()
            {
                tracing::warn!(%sink, "the release was not recorded");
            }
        }
    }
}
