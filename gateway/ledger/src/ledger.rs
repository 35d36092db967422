//! The ledger as its callers see it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluis_model::event::NewEvent;
use sluis_model::hook::event::EventHook;
use sluis_model::lane::Lane;
use sluis_model::plan;
use tokio::sync::watch;
use uuid::Uuid;

use crate::backlog::{Backlog, event_bytes};
use crate::claims::{Claim, InUse, NewClaim, StoredAnswer};
use crate::clock::Clock;
use crate::error::{AcceptError, OpenError, ReadError};
use crate::observer::{NoObserver, Observer};
use crate::status::EventStatus;
use crate::store::{Settings, Store, Tuning};
use crate::{deliver, housekeeping};

/// What a ledger is opened with beside the plan; the defaults are those of a running gateway.
pub struct Options {
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
    /// Asked about every event of a sink with a plugin; without it they are sent as they were accepted.
    pub event_hook: Option<Arc<dyn EventHook>>,
    /// Where time comes from.
    pub clock: Clock,
    /// An accept that storage does not answer in this time is refused.
    pub accept_timeout: Duration,
    /// With fewer bytes of the disk left than this, nothing is accepted.
    pub min_free: u64,
    /// Upper bound of the database file, in pages; none for the disk's own.
    pub max_pages: Option<u32>,
    /// Pages of the write-ahead log from which it begins anew once it has been moved into the main file.
    pub checkpoint_pages: u32,
    /// Page size of a new file, a power of two from 512 to 65536.
    pub page_size: u32,
    /// Page cache of the writer, in KiB.
    pub cache_kib: u32,
}

impl Default for Options {
    fn default() -> Options {
        let tuning = Tuning::default();
        Options {
            observer: Arc::new(NoObserver),
            event_hook: None,
            clock: Clock::system(),
            accept_timeout: Duration::from_secs(2),
            min_free: 64 << 20,
            max_pages: None,
            // 64 MiB, which a start after a crash has to read.
            checkpoint_pages: 8192,
            page_size: tuning.page_size,
            cache_kib: tuning.cache_kib,
        }
    }
}

/// Whether the ledger can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// The disk is full: accepting is refused until there is room, deliveries go on.
    DiskFull,
    /// Storage failed: nothing is accepted or delivered until a restart.
    Failed,
    /// Closed, or being closed.
    Closed,
}

/// Durable events. One per directory, for the life of the process.
pub struct Ledger {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) event_hook: Option<Arc<dyn EventHook>>,
    pub(crate) settings: plan::Ledger,
    pub(crate) in_use: InUse,
    accept_timeout: Duration,
    pub(crate) min_free: u64,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger in `dir`, which is made where it is missing. Blocks for as long as recovery takes, which does not
    /// depend on the number of events.
    pub fn open(dir: &Path, settings: &plan::Ledger) -> Result<Ledger, OpenError> {
        Ledger::open_with(dir, settings, Options::default())
    }

    /// The same, with more said.
    pub fn open_with(dir: &Path, settings: &plan::Ledger, options: Options) -> Result<Ledger, OpenError> {
        let max_batch = settings.max_batch.max(1);
        let store = Store::open(
            dir,
            Settings {
                max_bytes: settings.max_bytes,
                shedding: settings.shedding,
                max_batch,
                // Two batches beside the one being written: whoever comes later would wait for three commits.
                queue: max_batch.saturating_mul(2).max(2048),
                observer: Arc::clone(&options.observer),
                clock: options.clock.clone(),
                checkpoint_pages: i32::try_from(options.checkpoint_pages).unwrap_or(i32::MAX),
                max_pages: options.max_pages,
                tuning: Tuning { page_size: options.page_size, cache_kib: options.cache_kib },
            },
        )?;
        let Options { observer, event_hook, clock, accept_timeout, min_free, .. } = options;
        Ok(Ledger {
            store,
            clock,
            observer,
            event_hook,
            settings: settings.clone(),
            in_use: InUse::new(),
            accept_timeout,
            min_free,
        })
    }

    /// Milliseconds since the epoch by the clock that schedules go by: what is to be accepted now was accepted then. The
    /// system's own clock may have been set since the start.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Whether an event of this tenant and lane could be accepted now: a cheap look at counters, worth taking before a
    /// body is read. `tenant_queue_bytes` is the tenant's share of the backlog.
    pub fn room(&self, tenant: &str, tenant_queue_bytes: u64, lane: Lane) -> Result<(), AcceptError> {
        self.store.shared.inbox.check()?;
        self.store.shared.room.check(tenant, tenant_queue_bytes, lane)
    }

    /// Keeps an event. `Ok` means that it is on stable storage; only then may a 202 be sent. A caller that stops
    /// waiting takes its event back, unless it was being written already.
    pub async fn accept(&self, event: NewEvent, tenant_queue_bytes: u64) -> Result<(), AcceptError> {
        self.keep(event, None, tenant_queue_bytes).await
    }

    /// The same for a request under an idempotency key: the event, the claim and the answer are one transaction, whether
    /// the claim was begun or not.
    pub async fn accept_claimed(
        &self,
        event: NewEvent,
        claim: &mut Claim,
        answer: StoredAnswer,
        tenant_queue_bytes: u64,
    ) -> Result<(), AcceptError> {
        let new = claim.with_event(answer, event.accepted_at);
        self.keep(event, Some(new), tenant_queue_bytes).await?;
        claim.completed();
        Ok(())
    }

    async fn keep(&self, event: NewEvent, claim: Option<NewClaim>, tenant_queue_bytes: u64) -> Result<(), AcceptError> {
        let bytes = event_bytes(&event);
        let answer = self.store.accept(event, claim, bytes, tenant_queue_bytes)?;
        match tokio::time::timeout(self.accept_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            // The writer is gone without a word, or storage takes its time.
            Ok(Err(_)) | Err(_) => Err(AcceptError::Storage),
        }
    }

    /// What became of an event. None where there is no such event, or it is another tenant's. Sees every event that
    /// was accepted before the question.
    pub async fn status(&self, tenant: &str, id: Uuid) -> Result<Option<EventStatus>, ReadError> {
        self.store.status(tenant, id).await
    }

    /// Changes with every commit: whoever waits for something to become of an event asks again then.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.store.shared.commits.subscribe()
    }

    /// How much waits, from memory.
    pub fn backlog(&self) -> Backlog {
        self.store.shared.room.picture(self.clock.now())
    }

    /// Whether accepting and delivering work.
    pub fn health(&self) -> Health {
        let inbox = &self.store.shared.inbox;
        match () {
            () if inbox.is_poisoned() => Health::Failed,
            () if !inbox.is_open() => Health::Closed,
            () if self.store.is_disk_full() => Health::DiskFull,
            () => Health::Ok,
        }
    }

    /// Delivers what is due, for ever: a worker per sink of the plan, replaced as the plan changes, until `shutdown`
    /// turns true (or its sender is gone). Returns when the attempts under way have ended, or at once where the future
    /// is dropped: what was under way is then repeated after the next start. Also does the housekeeping: the
    /// end of retention, the disk. Call it once.
    pub async fn deliver(
        self: Arc<Self>,
        sinks: watch::Receiver<Arc<HashMap<Arc<str>, Arc<plan::Sink>>>>,
        shutdown: watch::Receiver<bool>,
    ) {
        let housekeeping = housekeeping::run(Arc::clone(&self), shutdown.clone());
        tokio::join!(deliver::run(self, sinks, shutdown), housekeeping);
    }

    /// Ends accepting and reading, writes what waits, and moves it all into the main file. Dropping the ledger does the same.
    pub async fn close(self: &Arc<Self>) {
        let ledger = Arc::clone(self);
        // A panic in there was already answered by the writer.
        let _ = tokio::task::spawn_blocking(move || ledger.store.close()).await;
    }
}
