//! The keys of one issuer and the task that keeps them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sluis_model::identity::KeySet;
use sluis_model::plan::Issuer;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::fetch::{FetchFault, Fetched};
use super::store::{self, Stored};
use super::{FetchOutcome, JwksContext, jittered};

/// What an issuer's `Cache-Control` can ask for.
const FRESH: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
/// A plan's own `refresh` may be shorter, but no busy loop.
const SHORTEST_REFRESH: Duration = Duration::from_millis(100);
/// Part of the fresh lifetime after which the next fetch is due, and how far chance moves that.
const REFRESH_AT: (f64, f64) = (0.8, 0.05);
/// Waits after failures: the first, doubling up to the last, and how far chance moves them.
const RETRY: (Duration, Duration, f64) = (Duration::from_secs(1), Duration::from_secs(30), 0.2);

/// Requests that wait for one issuer's keys at a time; more are answered at once.
const MOST_WAITING: usize = 4_096;

/// Tells every set of keys that this process ever used apart.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// A set of keys in use.
pub(crate) struct Snapshot {
    /// The keys.
    pub keys: KeySet,
    /// Another number for other keys, never 0.
    pub generation: u64,
}

/// How far the task is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    fetching: bool,
    completed: u64,
}

/// What waiting for a fetch led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// A fetch has ended since; look again.
    Completed,
    /// None is under way, and none may be asked for; or too many requests wait already.
    Idle,
    /// One is under way, but not done in time.
    TimedOut,
}

/// One line about an issuer's keys.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    /// The issuer's name in the plan.
    pub issuer: Arc<str>,
    /// Usable keys; `None` while there is no set to serve from.
    pub keys: Option<usize>,
    /// Bumped by every change of the keys; 0 while there are none.
    pub generation: u64,
    /// Since the last successful fetch, of an earlier run perhaps.
    pub age: Option<Duration>,
    /// Why the last fetch failed, if it did.
    pub fault: Option<FetchFault>,
    /// Counters since the start.
    pub counts: SourceCounts,
}

/// Counters of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Fetches that brought other keys.
    pub changed: u64,
    /// Fetches that brought the same keys.
    pub unchanged: u64,
    /// Fetches that brought nothing usable.
    pub failed: u64,
    /// Requests whose unknown `kid` was not fetched for, because of the cooldown.
    pub suppressed: u64,
}

/// The keys of one issuer. Its task ends with the last handle.
pub struct KeySource {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl KeySource {
    /// Begins with the keys of an earlier run, if there are any, and fetches at once, in the background.
    pub(super) fn start(issuer: &Arc<Issuer>, context: &JwksContext) -> Self {
        let shared = Arc::new(Shared {
            issuer: Arc::clone(issuer),
            context: context.clone(),
            snapshot: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            // True from the start, so that the very first requests wait for the first fetch.
            progress: watch::Sender::new(Progress { fetching: true, completed: 0 }),
            wanted: Notify::new(),
            next_unknown_kid: Mutex::new(Instant::now()),
            health: Mutex::default(),
        });
        shared.restore();
        let task = context.runtime.spawn(Arc::clone(&shared).run()).abort_handle();
        KeySource { shared, task }
    }

    /// The keys in use; `None` before the first success and after `stale_if_error`.
    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        self.shared.snapshot.load_full()
    }

    /// Generation of the keys in use, 0 for none. One atomic read, for every request.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Fetches that have ended. Read it *before* [`KeySource::current`], to wait for a newer one.
    pub(crate) fn completed(&self) -> u64 {
        self.shared.progress.borrow().completed
    }

    /// Waits until more than `seen` fetches have ended, if one is under way.
    pub(crate) async fn wait(&self, seen: u64, deadline: Instant) -> Waited {
        self.shared.wait(seen, deadline, false).await
    }

    /// The same, but asks for a fetch where none is under way: at most once per cooldown, for all callers together.
    pub(crate) async fn wait_for_unknown_kid(&self, seen: u64, deadline: Instant) -> Waited {
        self.shared.wait(seen, deadline, true).await
    }

    /// Fetches now.
    pub(super) fn refresh(&self) {
        self.shared.wanted.notify_one();
    }

    pub(super) fn status(&self) -> SourceStatus {
        let health = self.shared.health();
        let snapshot = self.current();
        SourceStatus {
            issuer: Arc::clone(&self.shared.issuer.name),
            keys: snapshot.as_ref().map(|snapshot| snapshot.keys.len()),
            generation: snapshot.as_ref().map_or(0, |snapshot| snapshot.generation),
            age: health.fetched.map(|fetched| fetched.earlier + fetched.at.elapsed()),
            fault: health.fault,
            counts: health.counts,
        }
    }
}

impl Drop for KeySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Health {
    fetched: Option<LastFetch>,
    fault: Option<FetchFault>,
    failures_in_a_row: u32,
    counts: SourceCounts,
}

/// The last successful fetch, on the monotonic clock, which cannot tell times before this process: those are in `earlier`.
#[derive(Clone, Copy)]
struct LastFetch {
    at: Instant,
    earlier: Duration,
    fresh: Duration,
}

struct Shared {
    issuer: Arc<Issuer>,
    context: JwksContext,
    snapshot: ArcSwapOption<Snapshot>,
    generation: AtomicU64,
    progress: watch::Sender<Progress>,
    wanted: Notify,
    next_unknown_kid: Mutex<Instant>,
    health: Mutex<Health>,
}

impl Shared {
    /// The task: fetch, then sleep until the next fetch is due, somebody wants one, or the keys are too old.
    async fn run(self: Arc<Self>) {
        loop {
            self.progress.send_modify(|progress| progress.fetching = true);
            let outcome = self.fetch().await;
            self.report(outcome);
            self.progress.send_modify(|progress| {
                progress.fetching = false;
                progress.completed += 1;
            });
            let due = self.next_fetch();
            loop {
                let expiry = self.expiry();
                tokio::select! {
                    () = tokio::time::sleep_until(due) => break,
                    () = self.wanted.notified() => break,
                    () = sleep_until_some(expiry) => self.expire(),
                }
            }
        }
    }

    async fn fetch(&self) -> Result<FetchOutcome, FetchFault> {
        let jwks = &self.issuer.jwks;
        let Fetched { body, max_age } = self.context.fetch.fetch(jwks).await?;
        let keys = KeySet::parse(&body, &self.issuer.algorithms, jwks.max_keys)?;
        let fresh = max_age.map_or(jwks.refresh.clamp(SHORTEST_REFRESH, FRESH.1), |age| age.clamp(FRESH.0, FRESH.1));
        let outcome = self.adopt(keys, LastFetch { at: Instant::now(), earlier: Duration::ZERO, fresh });
        self.save(&body).await;
        Ok(outcome)
    }

    /// Puts keys to use. The same keys keep their generation, and with it every token verified by them.
    fn adopt(&self, keys: KeySet, fetched: LastFetch) -> FetchOutcome {
        self.health().fetched = Some(fetched);
        let same = |old: &Arc<Snapshot>| old.keys.fingerprint() == keys.fingerprint();
        if self.snapshot.load().as_ref().is_some_and(same) {
            return FetchOutcome::Unchanged;
        }
        for key in keys.skipped() {
            tracing::warn!(issuer = %self.issuer.name, kid = %key.kid, fault = key.fault.label(), "a key was left out");
            self.context.observer.key_skipped(&self.issuer.name, key);
        }
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        self.snapshot.store(Some(Arc::new(Snapshot { keys, generation })));
        // Only now: tokens verified by the new keys are cached under a number that is not current until they are.
        self.generation.store(generation, Ordering::Release);
        FetchOutcome::Changed
    }

    /// The keys were not confirmed for too long.
    fn expire(&self) {
        self.generation.store(0, Ordering::Release);
        self.snapshot.store(None);
        tracing::error!(issuer = %self.issuer.name, "the issuer's keys are too old to be trusted");
        self.context.observer.keys_expired(&self.issuer.name);
    }

    fn expiry(&self) -> Option<Instant> {
        self.snapshot.load().as_ref()?;
        let fetched = self.health().fetched?;
        let trusted = self.issuer.jwks.stale_if_error.max(fetched.fresh).saturating_sub(fetched.earlier);
        fetched.at.checked_add(trusted)
    }

    fn next_fetch(&self) -> Instant {
        let health = self.health();
        let wait = match (health.failures_in_a_row, health.fetched) {
            (0, Some(fetched)) => jittered(fetched.fresh.mul_f64(REFRESH_AT.0), REFRESH_AT.1),
            (failures, _) => {
                let doublings = failures.saturating_sub(1).min(16);
                jittered((RETRY.0 * 2_u32.pow(doublings)).min(RETRY.1), RETRY.2)
            }
        };
        Instant::now() + wait
    }

    fn report(&self, outcome: Result<FetchOutcome, FetchFault>) {
        let outcome = outcome.unwrap_or_else(FetchOutcome::Failed);
        let name = &*self.issuer.name;
        let mut health = self.health();
        match outcome {
            FetchOutcome::Changed => health.counts.changed += 1,
            FetchOutcome::Unchanged => health.counts.unchanged += 1,
            FetchOutcome::Failed(_) => health.counts.failed += 1,
        }
        if let FetchOutcome::Failed(fault) = outcome {
            health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
            health.fault = Some(fault);
            tracing::warn!(issuer = name, reason = fault.label(), "the issuer's keys could not be fetched: {fault}");
        } else {
            health.failures_in_a_row = 0;
            health.fault = None;
            tracing::debug!(issuer = name, ?outcome, "the issuer's keys were fetched");
        }
        drop(health);
        self.context.observer.fetched(name, outcome);
    }

    async fn wait(&self, seen: u64, deadline: Instant, asks: bool) -> Waited {
        let crowded = self.progress.receiver_count() >= MOST_WAITING;
        let mut progress = self.progress.subscribe();
        let now = *progress.borrow_and_update();
        if now.completed > seen {
            return Waited::Completed;
        }
        if crowded {
            return Waited::Idle;
        }
        let under_way = now.fetching || (asks && self.ask());
        if !under_way {
            // Since we looked, another request may have asked, and even been answered.
            let now = *progress.borrow_and_update();
            if now.completed > seen {
                return Waited::Completed;
            }
            if !now.fetching {
                if asks {
                    self.health().counts.suppressed += 1;
                    self.context.observer.unknown_kid_suppressed(&self.issuer.name);
                }
                return Waited::Idle;
            }
        }
        match timeout_at(deadline, progress.wait_for(|progress| progress.completed > seen)).await {
            Ok(Ok(_)) => Waited::Completed,
            _ => Waited::TimedOut,
        }
    }

    /// Takes the one fetch of this cooldown, if it is still there. From then on one is under way for whoever looks: the
    /// task has only to wake up.
    fn ask(&self) -> bool {
        let mut next = self.next_unknown_kid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now < *next {
            return false;
        }
        *next = now + self.issuer.jwks.cooldown;
        self.progress.send_modify(|progress| progress.fetching = true);
        self.wanted.notify_one();
        true
    }

    fn restore(&self) {
        let jwks = &self.issuer.jwks;
        let now = (self.context.wall)();
        let dir = self.context.state_dir.join("jwks");
        let stored = match store::load(&dir, &self.issuer.name, &jwks.url, now, jwks.max_bytes) {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            Err(error) => return self.store_failed(&error),
        };
        let earlier = Duration::from_secs(now.saturating_sub(stored.fetched_at));
        if earlier >= jwks.stale_if_error {
            return;
        }
        match KeySet::parse(stored.jwks.as_bytes(), &self.issuer.algorithms, jwks.max_keys) {
            Ok(keys) => {
                self.adopt(keys, LastFetch { at: Instant::now(), earlier, fresh: Duration::ZERO });
            }
            Err(fault) => self.store_failed(&fault),
        }
    }

    async fn save(&self, body: &[u8]) {
        let dir = self.context.state_dir.join("jwks");
        let issuer = Arc::clone(&self.issuer);
        // It parsed as JSON, so it is UTF-8.
        let jwks = String::from_utf8_lossy(body).into_owned();
        let stored = Stored { url: issuer.jwks.url.clone(), fetched_at: (self.context.wall)(), jwks };
        let saved = tokio::task::spawn_blocking(move || store::save(&dir, &issuer.name, &stored)).await;
        if let Ok(Err(error)) = saved {
            self.store_failed(&error);
        }
    }

    fn store_failed(&self, error: &dyn std::error::Error) {
        tracing::warn!(issuer = %self.issuer.name, %error, "the issuer's stored keys");
        self.context.observer.store_failed(&self.issuer.name, &error.to_string());
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
