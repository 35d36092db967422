//! Orders about many deliveries at once, carried out in the background: oldest first, so that keys keep their order, and
//! at a rate, so that a sink that has just come back is not run over. In memory: a restart ends them, and what they have
//! not moved stays as it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sluis_ledger::{By, Ledger, Listed, OperateError, Operation, Subject, rfc3339};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::event_views::JobView;
use super::filter::DeadFilter;
use super::problem::Problem;
use crate::clock::Clock;

/// Jobs that are kept, those under way included.
const KEPT: usize = 16;

/// The last jobs.
#[derive(Default)]
pub struct Jobs(Mutex<VecDeque<Arc<Job>>>);

/// What a job is to do.
pub struct Task {
    /// The only tenant whose events whoever ordered it may see; none for those who may see all.
    pub reach: Option<Arc<str>>,
    /// Replay or discard.
    pub operation: Operation,
    /// Who ordered it, and why.
    pub by: By,
    /// Which deliveries, in the words of the order.
    pub filter: DeadFilter,
    /// Deliveries a second, at least one.
    pub rate: u32,
    /// The deliveries, oldest first.
    pub found: Vec<Listed>,
    /// There were more than could be taken.
    pub more: bool,
}

/// A job, and how far it is.
pub struct Job {
    id: Uuid,
    started_at: u64,
    task: Task,
    canceled: AtomicBool,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    moved: usize,
    skipped: usize,
    overtaken: usize,
    end: Option<End>,
}

struct End {
    state: &'static str,
    at: u64,
    error: Option<String>,
}

impl Jobs {
    /// Starts a job; each caller's reach has one at a time.
    pub fn start(&self, ledger: Arc<Ledger>, task: Task) -> Result<Arc<Job>, Problem> {
        let mut kept = self.0.lock();
        if let Some(running) = kept.iter().find(|job| job.task.reach == task.reach && job.is_running()) {
            return Err(Problem::job_running(running.id));
        }
        if kept.len() >= KEPT {
            let finished = kept.iter().position(|job| !job.is_running()).ok_or_else(Problem::too_many_jobs)?;
            kept.remove(finished);
        }
        let job = Arc::new(Job {
            id: Uuid::now_v7(),
            started_at: Clock::unix_millis(),
            task,
            canceled: AtomicBool::new(false),
            progress: Mutex::default(),
        });
        kept.push_back(job.clone());
        tokio::spawn(run(job.clone(), ledger));
        Ok(job)
    }

    /// The jobs that somebody may see, the last first; `reach` is the only tenant whose events they may see.
    pub fn seen_by(&self, reach: Option<&Arc<str>>) -> Vec<Arc<Job>> {
        let jobs = self.0.lock();
        let seen = |job: &&Arc<Job>| reach.is_none() || job.task.reach.as_ref() == reach;
        jobs.iter().rev().filter(seen).cloned().collect()
    }
}

impl Job {
    /// Which it is.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Moves nothing more; answers whether that ends it.
    pub fn cancel(&self) -> bool {
        self.canceled.store(true, Ordering::Relaxed);
        self.is_running()
    }

    /// As it stands.
    pub fn view(&self) -> JobView {
        let progress = self.progress.lock();
        let end = progress.end.as_ref();
        JobView {
            id: self.id.to_string(),
            action: self.task.operation.label(),
            state: end.map_or("running", |end| end.state),
            actor: self.task.by.actor.clone(),
            reason: self.task.by.reason.clone(),
            filter: self.task.filter.clone(),
            rate: self.task.rate,
            matched: self.task.found.len(),
            more: self.task.more,
            moved: progress.moved,
            skipped: progress.skipped,
            overtaken: progress.overtaken,
            started_at: rfc3339(self.started_at),
            finished_at: end.map(|end| rfc3339(end.at)),
            error: end.and_then(|end| end.error.clone()),
        }
    }

    fn is_running(&self) -> bool {
        self.progress.lock().end.is_none()
    }

    fn end(&self, state: &'static str, error: Option<String>) {
        self.progress.lock().end = Some(End { state, at: Clock::unix_millis(), error });
    }
}

async fn run(job: Arc<Job>, ledger: Arc<Ledger>) {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / job.task.rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for listed in &job.task.found {
        pace.tick().await;
        if job.canceled.load(Ordering::Relaxed) {
            return job.end("canceled", None);
        }
        let tenant = Some(listed.tenant.as_str().into());
        let subject = Subject::Event { id: listed.event, tenant, sink: Some(listed.sink.clone()) };
        match ledger.operate(subject, job.task.operation, job.task.by.clone()).await {
            Ok(_) => job.progress.lock().moved += 1,
            // Somebody else was faster.
            Err(OperateError::NotFound | OperateError::NotPossible) => job.progress.lock().skipped += 1,
            Err(OperateError::Overtaken) => job.progress.lock().overtaken += 1,
            Err(error @ (OperateError::Full | OperateError::Unavailable)) => {
                return job.end("failed", Some(error.to_string()));
            }
        }
    }
    job.end("done", None);
}
