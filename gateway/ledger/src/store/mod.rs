//! The store: what the ledger needs of a database, in its own words. SQLite is behind it; nothing outside this folder
//! names it.

pub(crate) mod backup;
mod browse;
mod changes;
mod checkpoint;
mod claims;
mod connection;
mod digest;
mod files;
mod inbox;
mod kv;
mod line;
mod news;
mod open;
mod operate;
mod questions;
mod reader;
mod readers;
mod recover;
mod registry;
pub(crate) mod repair;
mod schema;
mod stable;
mod statements;
mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use dashmap::DashMap;
use sluis_model::event::NewEvent;
use sluis_model::kv::{Edit, Edited, Entry, KvFault};
use sluis_model::rollout::Rollout;
use sluis_model::schedule::Pick;
use sluis_model::shedding::{Disk, Shedding};
use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

pub(crate) use claims::{ClaimChange, ClaimEdit};
pub(crate) use digest::{Digested, attributes_text, digest};
pub(crate) use operate::OperateEdit;
pub(crate) use questions::{FailureRow, Move};
pub(crate) use reader::{Damaged, Due, Look, Pages, Purgeable};
pub(crate) use registry::{Change, Changed, RegistryEdit};

use crate::backlog::{Reservation, Room};
use crate::claims::{ClaimFault, Found, NewClaim, Place};
use crate::clock::Clock;
use crate::error::{AcceptError, OpenError, OperateError, ReadError, RegistryError, WorkError};
use crate::observer::Observer;
use crate::operate::{Cursor, Filter, OperateEntry, Operated, Page};
use crate::registry::{AuditEntry, PluginId, PluginVersion};
use crate::status::EventStatus;
use connection::{configure, connect, open_error};
use digest::attributes;
use files::Home;
use inbox::Inbox;
use kv::KvEdit;
use open::Opened;
use questions::{Accept, Asked, Work};
use readers::Readers;

/// A delivery: position of its event, and its number among that event's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeliveryId {
    pub event: i64,
    pub n: i64,
}

/// What the store is opened with.
pub(crate) struct Settings {
    /// Bytes of undelivered events.
    pub max_bytes: u64,
    /// Who is refused before that.
    pub shedding: Shedding,
    pub max_batch: usize,
    /// Accepts that may wait for the writer.
    pub queue: usize,
    pub observer: Arc<dyn Observer>,
    pub clock: Clock,
    /// By how many pages the write-ahead log grows until it begins anew.
    pub checkpoint_pages: i32,
    /// Upper bound of the main file, in pages; the database's own where none.
    pub max_pages: Option<u32>,
    pub tuning: Tuning,
}

/// Settings of the database, chosen by measuring with `examples/accept.rs`: pages of 8 KiB hold five events of 1 KB and
/// write less than larger ones where a commit is small; a cache that holds the upper levels of every index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub page_size: u32,
    pub cache_kib: u32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { page_size: 8192, cache_kib: 32 << 10 }
    }
}

/// What the writer, the readers and the callers share.
pub(crate) struct Shared {
    pub room: Arc<Room>,
    pub inbox: Inbox,
    /// One bell per sink that has a worker.
    bells: DashMap<Arc<str>, Arc<Notify>>,
    /// Rung for sinks that have none.
    pub dispatch: Notify,
    /// Number of the last transaction that was written, or is about to be.
    pub written: AtomicU64,
    /// Number of the last one that is on stable storage: changes whenever something may have changed for those who look.
    pub commits: watch::Sender<u64>,
    pub observer: Arc<dyn Observer>,
    /// The last accept met a full disk.
    pub disk_full: AtomicBool,
}

impl Shared {
    /// Nothing is known yet of what waits.
    fn new(settings: &Settings) -> Shared {
        Shared {
            room: Arc::new(Room::new(settings.max_bytes, settings.shedding)),
            inbox: Inbox::new(settings.queue),
            bells: DashMap::new(),
            dispatch: Notify::new(),
            written: AtomicU64::new(0),
            commits: watch::Sender::new(0),
            observer: Arc::clone(&settings.observer),
            disk_full: AtomicBool::new(false),
        }
    }

    /// All that was written up to this number is on stable storage.
    pub fn settled(&self, number: u64) {
        self.commits.send_replace(number);
    }

    /// Waits until all that was written by now is on stable storage; false where storage failed meanwhile.
    pub async fn wait_settled(&self) -> bool {
        let written = self.written.load(Ordering::Acquire);
        if *self.commits.borrow() >= written {
            return true;
        }
        let is_over = |settled: &u64| *settled >= written || self.inbox.is_poisoned();
        // The sender lives as long as we do.
        self.commits.subscribe().wait_for(is_over).await.is_ok_and(|settled| *settled >= written)
    }

    /// The bell of a sink's worker.
    pub fn bell(&self, sink: &Arc<str>) -> Arc<Notify> {
        Arc::clone(&self.bells.entry(Arc::clone(sink)).or_default())
    }

    /// The sink has no worker any more.
    pub fn unhang(&self, sink: &str) {
        self.bells.remove(sink);
    }

    /// The sink's worker has something to do, or whoever looks after sinks without one.
    pub fn ring(&self, sink: &str) {
        match self.bells.get(sink) {
            Some(bell) => bell.notify_one(),
            None => self.dispatch.notify_one(),
        }
    }
}

/// The open store: one writer thread and a few readers.
pub(crate) struct Store {
    pub shared: Arc<Shared>,
    dir: PathBuf,
    readers: Readers,
    /// Gives the directory back.
    writer: Mutex<Option<JoinHandle<Home>>>,
}

impl Store {
    pub fn open(dir: &Path, settings: Settings) -> Result<Store, OpenError> {
        let home = Home::take(dir)?;
        let (dir, path) = (home.dir().to_owned(), home.database());
        let failed = |error: rusqlite::Error| open_error(&path, &error);
        let Opened { conn, tally, shared } = open::open(&home, &settings)?;
        let readers = Readers::start(&path, &settings.tuning, &shared).map_err(failed)?;
        let log = home.open_log()?;
        let mover = connect(&path, &settings.tuning).map_err(failed)?;
        configure(&mover, &settings).map_err(failed)?;
        let thread = std::thread::Builder::new().name("ledger-writer".to_owned());
        let writer = thread
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    writer::run(&home, (conn, mover), log, &shared, tally, &settings);
                    home
                }
            })
            .map_err(|source| OpenError::Io { path, source })?;
        Ok(Store { shared, dir, readers, writer: Mutex::new(Some(writer)) })
    }

    /// Queues an event; the answer comes when its transaction is on stable storage, or will never be.
    pub fn accept(
        &self,
        event: NewEvent,
        claim: Option<NewClaim>,
        bytes: u64,
        tenant_max: u64,
    ) -> Result<oneshot::Receiver<Result<(), AcceptError>>, AcceptError> {
        self.shared.inbox.check()?;
        let reservation = self.shared.room.reserve(&event.tenant, tenant_max, bytes, event.lane)?;
        let digest = digest(&Digested::of(&event));
        let (done, answer) = oneshot::channel();
        self.shared.inbox.accept(Accept { event, claim, bytes, digest, reservation, done })?;
        Ok(answer)
    }

    pub async fn lease(&self, ids: Vec<DeliveryId>, at: u64) -> Result<Vec<(DeliveryId, u32)>, WorkError> {
        self.work(|done| Work::Lease { ids, at, done }).await
    }

    pub async fn record(&self, change: Move) -> Result<(), WorkError> {
        self.work(|done| Work::Record { change: Box::new(change), done }).await
    }

    pub async fn hold(&self, sink: &str, at: u64, actor: &str, reason: String) -> Result<(), WorkError> {
        self.work(|done| Work::Hold { sink: sink.to_owned(), at, actor: actor.to_owned(), reason, done }).await
    }

    pub async fn release(&self, sink: &str, at: u64, actor: &str) -> Result<(), WorkError> {
        self.work(|done| Work::Release { sink: sink.to_owned(), at, actor: actor.to_owned(), done }).await
    }

    pub async fn purge(&self, events: Vec<i64>, at: u64) -> Result<usize, WorkError> {
        self.work(|done| Work::Purge { events, at, done }).await
    }

    async fn work<T>(&self, work: impl FnOnce(oneshot::Sender<Result<T, WorkError>>) -> Work) -> Result<T, WorkError> {
        let (done, answer) = oneshot::channel();
        self.shared.inbox.work(work(done));
        answer.await.unwrap_or(Err(WorkError::Storage))
    }

    pub async fn status(&self, tenant: &str, id: Uuid) -> Result<Option<EventStatus>, ReadError> {
        let tenant = tenant.to_owned();
        self.readers.ask(move |statements| statements.status(&tenant, id)).await
    }

    /// Deliveries of a sink that are due, of the tenants that were picked: about `max_bytes` of bodies.
    pub async fn due(&self, sink: &Arc<str>, now: u64, picks: Vec<Pick>, max_bytes: usize) -> Result<Due, ReadError> {
        let sink = Arc::clone(sink);
        // Without waiting: nothing is sent before its lease is on stable storage, and all that was written before.
        self.readers.ask_now(move |statements| statements.due(&sink, now, &picks, max_bytes)).await
    }

    pub async fn pages(&self) -> Result<Pages, ReadError> {
        self.readers.ask(|statements| statements.pages()).await
    }

    /// Gives a few free pages back to the file system.
    pub async fn shrink(&self) -> Result<(), WorkError> {
        self.work(|done| Work::Shrink { done }).await
    }

    pub async fn purgeable(&self, ask: Purgeable) -> Result<(Vec<i64>, Option<i64>), ReadError> {
        self.readers.ask(move |statements| statements.purgeable(&ask)).await
    }

    /// What a tenant keeps under `key`, unless it has expired.
    pub async fn kv_get(&self, tenant: &str, key: &str, now: u64) -> Result<Option<Entry>, ReadError> {
        let (tenant, key) = (tenant.to_owned(), key.to_owned());
        self.readers.ask(move |statements| statements.kv.get(&tenant, &key, now)).await
    }

    /// Queues an edit and waits until it is on stable storage.
    pub async fn kv_edit(&self, tenant: &str, key: &str, edit: Edit, quota: u64, at: u64) -> Result<Edited, KvFault> {
        let (tenant, key) = (tenant.to_owned(), key.to_owned());
        let (asked, answer) = Asked::new(KvEdit { tenant, key, edit, quota, at });
        self.shared.inbox.edit(questions::Edit::Kv(asked));
        answer.await.unwrap_or(Err(KvFault::Unavailable))
    }

    /// Queues a change of a claim and waits until it is on stable storage.
    pub async fn claim(&self, edit: ClaimEdit) -> Result<(), ClaimFault> {
        let (asked, answer) = Asked::new(edit);
        self.shared.inbox.edit(questions::Edit::Claim(Box::new(asked)));
        answer.await.unwrap_or(Err(ClaimFault::Unavailable))
    }

    /// The same without waiting.
    pub fn claim_later(&self, edit: ClaimEdit) {
        self.shared.inbox.edit(questions::Edit::Claim(Box::new(Asked::new(edit).0)));
    }

    pub async fn find_claim(&self, tenant: &str, place: &Place) -> Result<Option<Found>, ReadError> {
        let (tenant, place) = (tenant.to_owned(), place.clone());
        self.readers.ask(move |statements| statements.claims.get(&tenant, &place)).await
    }

    /// Tenants with idempotency keys.
    pub async fn claim_tenants(&self) -> Result<Vec<String>, ReadError> {
        self.readers.ask(|statements| statements.claims.tenants()).await
    }

    pub async fn forget_claims(&self, tenant: String, at: u64) -> Result<usize, WorkError> {
        self.work(|done| Work::ForgetClaims { tenant, at, done }).await
    }

    /// Queues an order of somebody's, with the room for an event that may come of it, and waits until it is on stable
    /// storage.
    pub async fn operate(&self, edit: OperateEdit, room: Option<Reservation>) -> Result<Operated, OperateError> {
        let (asked, answer) = Asked::new(edit);
        self.shared.inbox.edit(questions::Edit::Operate(Box::new(asked), room));
        answer.await.unwrap_or(Err(OperateError::Unavailable))
    }

    pub async fn list(&self, filter: Filter, cursor: Option<Cursor>, limit: usize) -> Result<Page, ReadError> {
        let held: Vec<Arc<str>> = self.shared.room.holds().keys().cloned().collect();
        self.readers.ask(move |statements| statements.browse.list(&filter, &held, cursor, limit)).await
    }

    pub async fn event(&self, id: Uuid) -> Result<Option<NewEvent>, ReadError> {
        self.readers.ask(move |statements| statements.browse.event(id)).await
    }

    pub async fn operations(
        &self,
        tenant: Option<Arc<str>>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<OperateEntry>, ReadError> {
        self.readers.ask(move |statements| statements.browse.audit(tenant.as_deref(), before, limit)).await
    }

    /// Queues a change of the registry and waits until it is on stable storage.
    pub async fn registry(&self, edit: RegistryEdit) -> Result<Changed, RegistryError> {
        let (asked, answer) = Asked::new(edit);
        self.shared.inbox.edit(questions::Edit::Registry(Box::new(asked)));
        answer.await.unwrap_or(Err(RegistryError::Unavailable))
    }

    /// Digests of all components that a version has.
    pub async fn plugin_digests(&self) -> Result<Vec<[u8; 32]>, ReadError> {
        self.readers.ask(|statements| statements.registry.digests()).await
    }

    pub async fn plugin_versions(&self, plugin: &PluginId) -> Result<Vec<PluginVersion>, ReadError> {
        let plugin = plugin.clone();
        self.readers.ask(move |statements| statements.registry.versions(&plugin)).await
    }

    /// Of one plugin, or of all.
    pub async fn plugin_rollouts(&self, of: Option<&PluginId>) -> Result<Vec<(PluginId, Rollout)>, ReadError> {
        let of = of.cloned();
        self.readers.ask(move |statements| statements.registry.rollouts(of.as_ref())).await
    }

    /// The last `limit` entries of a tenant before the one with the number `before`.
    pub async fn plugin_audit(
        &self,
        tenant: &str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ReadError> {
        let tenant = tenant.to_owned();
        self.readers.ask(move |statements| statements.registry.audit(&tenant, before, limit)).await
    }

    /// Up to `limit` entries of the tenants' state that have expired, by tenant and key.
    pub async fn kv_expired(&self, now: u64, limit: usize) -> Result<Vec<(String, String)>, ReadError> {
        self.readers.ask(move |statements| statements.kv.expired(now, limit)).await
    }

    pub async fn kv_forget(&self, keys: Vec<(String, String)>, at: u64) -> Result<usize, WorkError> {
        self.work(|done| Work::ForgetKv { keys, at, done }).await
    }

    /// `accepted_at` of the oldest open event from `from` on, and where the next search may start.
    pub async fn oldest(&self, from: i64) -> Result<(Option<u64>, i64), ReadError> {
        self.readers.ask(move |statements| statements.oldest(from)).await
    }

    /// Writes what waits, and ends. Blocks until that is done.
    pub fn close(&self) {
        // Before the writer, as the last connection tidies up and only the writer's may; and while the directory is held.
        self.readers.close();
        self.shared.inbox.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the writer was already answered by its guard.
        let _ = writer.map(JoinHandle::join);
    }

    pub fn is_disk_full(&self) -> bool {
        self.shared.disk_full.load(Ordering::Relaxed) || self.shared.room.is_disk_full()
    }

    /// The file system that the ledger is on.
    pub fn disk(&self) -> std::io::Result<Disk> {
        let seen = rustix::fs::statvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        Ok(Disk { used: bytes(seen.f_blocks.saturating_sub(seen.f_bfree)), free: bytes(seen.f_bavail) })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
