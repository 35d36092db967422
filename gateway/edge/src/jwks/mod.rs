//! The issuers' keys: fetched in the background, kept fresh, kept on disk, and never waited for longer than a moment.
//!
//! Every issuer has one [`source`] with one task, and only that task fetches: single flight holds by construction,
//! and a slow issuer delays nobody else. Requests read a snapshot; when it does not have their `kid` they may ask
//! the task for one fetch per cooldown, whatever the number of requests and `kid`s.
//!
//! ```text
//! fetch ok    → serve, fetch again at about 80 % of the fresh lifetime
//! fetch fails → serve the last good keys, try again after 1 s, 2 s … 30 s, for `stale_if_error` after the last success
//! too old     → no keys: 503 until a fetch succeeds
//! ```
//!
//! Schedules run on the monotonic clock. The wall clock is read only for the date of the file that outlives a restart.

mod clock;
mod fetch;
mod source;
mod store;

#[cfg(test)]
pub(crate) mod test_issuer;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sluis_model::identity::SkippedKey;
use sluis_model::plan::Issuer;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

pub use fetch::{Fetch, FetchFault, Fetched, HttpFetch};
pub(crate) use source::Waited;
pub use source::{KeySource, SourceStatus};

/// Seconds since the epoch; a function, so that tests can let the clock jump.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the sources report while they run; every method may be called from any thread and must not block.
pub trait JwksObserver: Send + Sync {
    /// A fetch ended.
    fn fetched(&self, _issuer: &str, _outcome: FetchOutcome) {}
    /// A new set has a key that cannot be used. [`sluis_model::identity::KeyFault::PrivateMaterial`] is an alarm.
    fn key_skipped(&self, _issuer: &str, _key: &SkippedKey) {}
    /// A request wanted an unknown `kid` fetched, within the cooldown.
    fn unknown_kid_suppressed(&self, _issuer: &str) {}
    /// The keys are older than `stale_if_error`; requests get 503.
    fn keys_expired(&self, _issuer: &str) {}
    /// The keys could not be written to, or read from, the state directory.
    fn store_failed(&self, _issuer: &str, _error: &str) {}
    /// The wall clock moved by this many seconds against the monotonic one.
    fn clock_jumped(&self, _seconds: i64) {}
}

/// Observes nothing.
pub struct Unobserved;

impl JwksObserver for Unobserved {}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Other keys than before; every verified token of this issuer is verified again.
    Changed,
    /// The same keys.
    Unchanged,
    /// No usable answer; the last good keys stay.
    Failed(FetchFault),
}

/// What all sources share.
#[derive(Clone)]
pub struct JwksContext {
    /// Where the background tasks run.
    pub runtime: Handle,
    /// Keys are kept in `jwks/` below this.
    pub state_dir: PathBuf,
    /// How a set is fetched.
    pub fetch: Arc<dyn Fetch>,
    /// The wall clock.
    pub wall: WallClock,
    /// Who is told.
    pub observer: Arc<dyn JwksObserver>,
}

impl JwksContext {
    /// Real network, real clock.
    pub fn new(runtime: Handle, state_dir: PathBuf, observer: Arc<dyn JwksObserver>) -> Self {
        JwksContext {
            runtime,
            state_dir,
            fetch: Arc::new(HttpFetch::default()),
            wall: Arc::new(system_seconds),
            observer,
        }
    }
}

fn system_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An issuer of one plan, and the source of its keys, which may be older than the plan.
pub struct Trusted {
    /// Its settings.
    pub issuer: Arc<Issuer>,
    /// Names these very settings: tokens verified under others are verified again.
    pub policy: u64,
    /// Its keys.
    pub keys: Arc<KeySource>,
}

/// All sources. Lives as long as the process; plans come and go.
pub struct Jwks {
    context: JwksContext,
    current: Mutex<Vec<Arc<Trusted>>>,
    policies: AtomicU64,
    clock_watch: AbortHandle,
}

impl Jwks {
    /// Without issuers until [`Jwks::reconcile`].
    pub fn new(context: JwksContext) -> Self {
        let watch = clock::watch(Arc::clone(&context.wall), Arc::clone(&context.observer));
        let clock_watch = context.runtime.spawn(watch).abort_handle();
        Jwks { context, current: Mutex::default(), policies: AtomicU64::new(0), clock_watch }
    }

    /// The issuers of a plan, position by position.
    ///
    /// A source goes on running if an issuer of that name has the same key settings, whatever else changed. New ones
    /// start with the keys of an earlier run, if the state directory has them, and fetch at once; nothing is waited for.
    /// Sources of issuers that are gone end with the last request that began under their plan.
    pub fn reconcile(&self, issuers: &[Arc<Issuer>]) -> Vec<Arc<Trusted>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let next: Vec<_> = issuers
            .iter()
            .map(|issuer| match current.iter().find(|old| old.issuer.name == issuer.name) {
                Some(old) if old.issuer == *issuer => Arc::clone(old),
                Some(old) if same_keys(&old.issuer, issuer) => self.trusted(issuer, Arc::clone(&old.keys)),
                _ => self.trusted(issuer, Arc::new(KeySource::start(issuer, &self.context))),
            })
            .collect();
        current.clone_from(&next);
        next
    }

    /// One line per issuer, for metrics, the console and readiness.
    pub fn status(&self) -> Vec<SourceStatus> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|trusted| trusted.keys.status())
            .collect()
    }

    /// Fetches an issuer's keys now; for operators, so no cooldown. `false` if there is no such issuer.
    pub fn refresh(&self, issuer: &str) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let found = current.iter().find(|trusted| &*trusted.issuer.name == issuer);
        found.inspect(|trusted| trusted.keys.refresh()).is_some()
    }

    fn trusted(&self, issuer: &Arc<Issuer>, keys: Arc<KeySource>) -> Arc<Trusted> {
        let policy = self.policies.fetch_add(1, Ordering::Relaxed);
        Arc::new(Trusted { issuer: Arc::clone(issuer), policy, keys })
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.clock_watch.abort();
    }
}

/// The algorithms are among the key settings: which keys of a set are usable depends on them.
fn same_keys(old: &Issuer, new: &Issuer) -> bool {
    old.jwks == new.jwks && old.algorithms == new.algorithms
}

/// `duration` times a random factor within `1 ± spread`, so that a fleet does not fetch in step.
fn jittered(duration: Duration, spread: f64) -> Duration {
    let random = f64::from((uuid::Uuid::new_v4().as_u128() & 0xffff_ffff) as u32) / f64::from(u32::MAX);
    duration.mul_f64(1.0 + spread * (2.0 * random - 1.0))
}
