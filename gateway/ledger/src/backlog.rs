//! How much waits, kept in memory: quotas are checked without asking the database.

use std::collections::{BTreeMap, HashMap};
use std::ops::DerefMut;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use sluis_model::event::{DeliveryState, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::schedule::Schedule;
use sluis_model::shedding::Shedding;

use crate::error::AcceptError;

/// What the rows of one event occupy beside its own text and body, roughly.
const EVENT_OVERHEAD: u64 = 256;
/// The same for each delivery with its history.
const DELIVERY_OVERHEAD: u64 = 256;

/// How far below its bound the store is brought once it is past it.
const PEACE_PERCENT: u64 = 3;

/// What an event counts against the quotas: its bytes, and those of the rows about it.
pub(crate) fn event_bytes(event: &NewEvent) -> u64 {
    let text = event.tenant.len()
        + event.route.len()
        + event.event_type.len()
        + event.key.as_ref().map_or(0, String::len)
        + event.content_type.len()
        + event.correlation_id.len()
        + event.traceparent.as_ref().map_or(0, |t| t.len())
        + event.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    (text + event.body.len()) as u64 + EVENT_OVERHEAD + DELIVERY_OVERHEAD * event.sinks.len() as u64
}

/// A picture of the backlog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Events that not every sink has confirmed; dead ones count until somebody settles them.
    pub events: u64,
    /// Their bytes, those that are being accepted included.
    pub bytes: u64,
    /// Where accepting ends.
    pub max_bytes: u64,
    /// Deliveries by sink and state.
    pub sinks: Vec<SinkDepth>,
    /// Age of the oldest event with a delivery that is not final, since it was accepted, also where it was sent anew;
    /// refreshed every second.
    pub oldest: Option<Duration>,
}

impl Backlog {
    /// Deliveries in a state, all sinks.
    pub fn count(&self, state: DeliveryState) -> u64 {
        self.sinks.iter().map(|sink| sink.count(state)).sum()
    }
}

/// Deliveries of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkDepth {
    /// The sink's name.
    pub sink: Arc<str>,
    counts: [u64; DeliveryState::ALL.len()],
}

impl SinkDepth {
    /// Deliveries in a state. Those of a held sink count as held.
    pub fn count(&self, state: DeliveryState) -> u64 {
        self.counts[state as usize]
    }

    /// (state, deliveries) of every state.
    pub fn counts(&self) -> impl Iterator<Item = (DeliveryState, u64)> + '_ {
        DeliveryState::ALL.into_iter().map(|state| (state, self.count(state)))
    }
}

/// One row per sink: signed, as differences pass through it.
pub(crate) type Counts = [i64; DeliveryState::ALL.len()];

/// The live numbers behind [`Backlog`]; written by the writer after each commit, read by anyone.
#[derive(Debug)]
pub(crate) struct Room {
    max_bytes: u64,
    shedding: Shedding,
    /// The lanes that the disk lets in, most urgent first: how many.
    disk_lanes: AtomicU8,
    bytes: AtomicU64,
    events: AtomicU64,
    /// Bytes of everything that is stored, finished events included.
    stored: AtomicU64,
    tenants: DashMap<Arc<str>, Arc<AtomicU64>>,
    depths: Mutex<HashMap<Arc<str>, Counts>>,
    /// What waits for a worker of each sink, and whose turn it is.
    schedules: DashMap<Arc<str>, Schedule>,
    holds: Mutex<HashMap<Arc<str>, Vec<HoldReason>>>,
    /// `accepted_at` of the oldest open event, 0 for none.
    oldest: AtomicU64,
    /// Position of the first event that was sent anew since the last search for the oldest, `i64::MAX` for none.
    reopened: AtomicI64,
}

/// Why a whole sink is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldReason {
    pub since: u64,
    pub actor: String,
    pub reason: String,
}

impl HoldReason {
    /// An operator's, and not one of the gateway's own.
    fn is_pause(&self) -> bool {
        self.actor.starts_with(OPERATOR)
    }
}

/// How the names of actors who are people begin.
pub const OPERATOR: &str = "operator:";

impl Room {
    pub fn new(max_bytes: u64, shedding: Shedding) -> Room {
        Room {
            max_bytes,
            shedding,
            disk_lanes: AtomicU8::new(Lane::ALL.len() as u8),
            bytes: AtomicU64::new(0),
            events: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            tenants: DashMap::new(),
            depths: Mutex::new(HashMap::new()),
            schedules: DashMap::new(),
            holds: Mutex::new(HashMap::new()),
            oldest: AtomicU64::new(0),
            reopened: AtomicI64::new(i64::MAX),
        }
    }

    /// Whether anything more may come in from this tenant in this lane; one look at three numbers.
    pub fn check(&self, tenant: &str, tenant_max: u64, lane: Lane) -> Result<(), AcceptError> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes >= self.max_bytes {
            return Err(AcceptError::Full);
        }
        self.lets_in(bytes, lane)?;
        let used = self.tenants.get(tenant).map_or(0, |used| used.load(Ordering::Relaxed));
        if used >= tenant_max { Err(AcceptError::TenantFull) } else { Ok(()) }
    }

    /// Whether a lane is taken where `bytes` are used, and with what is left of the disk.
    fn lets_in(&self, bytes: u64, lane: Lane) -> Result<(), AcceptError> {
        match self.disk_lanes.load(Ordering::Relaxed) {
            0 => return Err(AcceptError::DiskFull),
            lanes if lane.number() >= lanes => return Err(AcceptError::Shed),
            _ => {}
        }
        if lane > self.shedding.least(bytes, self.max_bytes) { Err(AcceptError::Shed) } else { Ok(()) }
    }

    /// The least urgent lane that the disk lets in; none where it has nothing left.
    pub fn set_disk(&self, least: Option<Lane>) {
        self.disk_lanes.store(least.map_or(0, |lane| lane.number() + 1), Ordering::Relaxed);
    }

    /// Whether the disk lets nothing in.
    pub fn is_disk_full(&self) -> bool {
        self.disk_lanes.load(Ordering::Relaxed) == 0
    }

    /// Sets bytes aside for an event, before it is queued: many producers at once cannot overshoot.
    pub fn reserve(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        tenant_max: u64,
        bytes: u64,
        lane: Lane,
    ) -> Result<Reservation, AcceptError> {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let room = if all > self.max_bytes { Err(AcceptError::Full) } else { self.lets_in(all, lane) };
        room.inspect_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        })?;
        let used = self.tenant(tenant);
        if used.fetch_add(bytes, Ordering::Relaxed) + bytes > tenant_max {
            used.fetch_sub(bytes, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(AcceptError::TenantFull);
        }
        Ok(Reservation { room: Arc::clone(self), used, bytes, kept: false })
    }

    fn tenant(&self, tenant: &Arc<str>) -> Arc<AtomicU64> {
        if let Some(used) = self.tenants.get(tenant) {
            return Arc::clone(&used);
        }
        Arc::clone(&self.tenants.entry(Arc::clone(tenant)).or_default())
    }

    /// What the database holds, at the start.
    pub fn load_tenant(&self, tenant: &Arc<str>, events: i64, bytes: i64) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.tenant(tenant).fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.add_events(events);
    }

    /// Gives back the bytes of events that are settled.
    pub fn release(&self, tenant: &Arc<str>, bytes: u64) {
        self.tenant(tenant).fetch_sub(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn add_events(&self, events: i64) {
        // Two's complement: adding a negative difference wraps to the right sum.
        self.events.fetch_add(events.cast_unsigned(), Ordering::Relaxed);
    }

    pub fn set_stored(&self, bytes: i64) {
        self.stored.store(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether finished events must make room before their retention is over.
    pub fn is_overfull(&self) -> bool {
        self.stored.load(Ordering::Relaxed) > self.max_bytes
    }

    /// Bytes that they must then give back: down to a few percent below the bound, so that there is peace for a while.
    /// None where there is no need.
    pub fn excess(&self) -> Option<u64> {
        let goal = self.max_bytes - self.max_bytes / 100 * PEACE_PERCENT;
        self.stored.load(Ordering::Relaxed).checked_sub(goal).filter(|more| *more > 0)
    }

    pub fn set_oldest(&self, accepted_at: Option<u64>) {
        self.oldest.store(accepted_at.unwrap_or(0), Ordering::Relaxed);
    }

    /// The event at this position is open again: the search for the oldest may have gone past it.
    pub fn reopen(&self, event: i64) {
        self.reopened.fetch_min(event, Ordering::Release);
    }

    /// Where the search for the oldest goes on that would have gone on at `from`.
    pub fn search_from(&self, from: i64) -> i64 {
        from.min(self.reopened.swap(i64::MAX, Ordering::Acquire))
    }

    pub fn depths(&self) -> MutexGuard<'_, HashMap<Arc<str>, Counts>> {
        self.depths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schedule of a sink; locked while the answer lives.
    pub fn schedule(&self, sink: &Arc<str>) -> impl DerefMut<Target = Schedule> + '_ {
        self.schedules.entry(Arc::clone(sink)).or_default()
    }

    /// How many deliveries wait for a worker of a sink, by lane.
    pub fn waiting_by_lane(&self, sink: &str) -> BTreeMap<Lane, u64> {
        let mut lanes = BTreeMap::new();
        let schedule = self.schedules.get(sink);
        for ((lane, _), count) in schedule.iter().flat_map(|schedule| schedule.waiting_counts()) {
            *lanes.entry(lane).or_default() += count;
        }
        lanes
    }

    pub fn holds(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<HoldReason>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this actor holds the sink.
    pub fn is_held_by(&self, sink: &str, actor: &str) -> bool {
        self.holds().get(sink).is_some_and(|holds| holds.iter().any(|hold| hold.actor == actor))
    }

    /// Whether an operator holds the sink.
    pub fn is_paused(&self, sink: &str) -> bool {
        self.holds().get(sink).is_some_and(|holds| holds.iter().any(HoldReason::is_pause))
    }

    /// The sinks that this actor holds.
    pub fn held_by(&self, actor: &str) -> Vec<Arc<str>> {
        let held = |holds: &[HoldReason]| holds.iter().any(|hold| hold.actor == actor);
        self.holds().iter().filter(|(_, holds)| held(holds)).map(|(sink, _)| Arc::clone(sink)).collect()
    }

    /// Names of sinks with deliveries that wait for a worker.
    pub fn waiting_sinks(&self) -> Vec<Arc<str>> {
        let depths = self.depths();
        let waits = |counts: &Counts| DeliveryState::ALL.iter().any(|s| s.is_waiting() && counts[*s as usize] > 0);
        depths.iter().filter(|(_, counts)| waits(counts)).map(|(sink, _)| Arc::clone(sink)).collect()
    }

    pub fn picture(&self, now: u64) -> Backlog {
        let holds: Vec<Arc<str>> = self.holds().keys().cloned().collect();
        let mut sinks: Vec<SinkDepth> = self
            .depths()
            .iter()
            .map(|(sink, counts)| {
                let mut counts = counts.map(|n| u64::try_from(n).unwrap_or(0));
                if holds.contains(sink) {
                    for state in DeliveryState::ALL.into_iter().filter(|s| s.is_waiting()) {
                        counts[DeliveryState::Held as usize] += std::mem::take(&mut counts[state as usize]);
                    }
                }
                SinkDepth { sink: Arc::clone(sink), counts }
            })
            .collect();
        sinks.sort_by(|a, b| a.sink.cmp(&b.sink));
        let oldest = self.oldest.load(Ordering::Relaxed);
        Backlog {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            max_bytes: self.max_bytes,
            sinks,
            oldest: (oldest > 0).then(|| Duration::from_millis(now.saturating_sub(oldest))),
        }
    }
}

/// Bytes set aside for an event that is being accepted; given back unless kept.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Arc<Room>,
    used: Arc<AtomicU64>,
    bytes: u64,
    kept: bool,
}

impl Reservation {
    /// The event is stored: its bytes stay taken until it is settled.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.used.fetch_sub(self.bytes, Ordering::Relaxed);
            self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
