//! The sums of the backlog, as the writer keeps them: differences gather during a transaction, go into it before its
//! commit, and into the shared numbers once it is on stable storage.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Statement};
use sluis_model::event::DeliveryState;
use sluis_model::lane::Lane;

use super::statements::lane_at;
use crate::backlog::{Counts, Room};

#[derive(Debug)]
struct TenantSum {
    name: Arc<str>,
    events: i64,
    bytes: i64,
    /// Differences of the running transaction.
    more_events: i64,
    more_bytes: i64,
    settled_bytes: u64,
    changed: bool,
}

#[derive(Debug)]
struct SinkSum {
    name: Arc<str>,
    counts: Counts,
    /// Differences of the running transaction.
    more: Counts,
    /// Those that began and ceased to wait for a worker, by lane and position of their tenant.
    waiting: HashMap<(Lane, usize), Waits>,
    changed: bool,
}

#[derive(Debug)]
struct Waits {
    came: u64,
    went: u64,
    /// The earliest due time of those that came.
    due: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Waits { came: 0, went: 0, due: u64::MAX }
    }
}

impl Waits {
    fn come(&mut self, due: u64) {
        self.came += 1;
        self.due = self.due.min(due);
    }
}

/// A delivery as the sums need to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub sink: &'a str,
    pub tenant: &'a str,
    pub lane: Lane,
}

/// What a committed transaction means to the shared numbers.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Bytes that no longer count against a tenant.
    settled: Vec<(Arc<str>, u64)>,
    events: i64,
    sinks: Vec<SinkNews>,
    stored: i64,
    /// Position of the first event that is sent anew.
    reopened: Option<i64>,
}

#[derive(Debug)]
struct SinkNews {
    name: Arc<str>,
    counts: Counts,
    waits: Vec<(Lane, Arc<str>, Waits)>,
}

impl News {
    /// The transaction is on stable storage: publishes it. Answers the sinks that have more to do.
    pub fn publish(self, room: &Room) -> Vec<Arc<str>> {
        for (tenant, bytes) in self.settled {
            room.release(&tenant, bytes);
        }
        room.add_events(self.events);
        self.reopened.into_iter().for_each(|event| room.reopen(event));
        let mut woken = Vec::new();
        for SinkNews { name, counts, waits } in self.sinks {
            room.depths().insert(Arc::clone(&name), counts);
            if waits.iter().any(|(.., waits)| waits.came > 0) {
                woken.push(Arc::clone(&name));
            }
            let mut schedule = room.schedule(&name);
            for (lane, tenant, waits) in waits {
                // One after the other: that something came is news, also where as much went.
                schedule.came(lane, &tenant, waits.came, waits.due);
                schedule.went(lane, &tenant, waits.went);
            }
        }
        room.set_stored(self.stored);
        woken
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tenants: Vec<TenantSum>,
    tenant_at: HashMap<Arc<str>, usize>,
    changed_tenants: Vec<usize>,
    sinks: Vec<SinkSum>,
    sink_at: HashMap<Arc<str>, usize>,
    changed_sinks: Vec<usize>,
    stored: i64,
    more_stored: i64,
    reopened: Option<i64>,
}

impl Tally {
    /// Reads the sums and publishes them.
    pub fn load(conn: &Connection, room: &Room) -> rusqlite::Result<Tally> {
        let mut tally = Tally::default();
        let mut tenants = conn.prepare("SELECT tenant, events, bytes FROM tenant_backlog")?;
        let mut rows = tenants.query(())?;
        while let Some(row) = rows.next()? {
            let (name, events, bytes): (Arc<str>, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            room.load_tenant(&name, events, bytes);
            let at = tally.tenant(&name);
            (tally.tenants[at].events, tally.tenants[at].bytes) = (events, bytes);
        }
        let mut sinks = conn.prepare("SELECT sink, state, deliveries FROM sink_depth")?;
        let mut rows = sinks.query(())?;
        while let Some(row) = rows.next()? {
            let (name, state, deliveries): (Arc<str>, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let at = tally.sink(&name);
            if let Some(count) = tally.sinks[at].counts.get_mut(state as usize) {
                *count = deliveries;
            }
        }
        load_schedules(conn, room)?;
        tally.stored = conn.query_row("SELECT bytes FROM stored", (), |row| row.get(0))?;
        room.set_stored(tally.stored);
        let mut depths = room.depths();
        for sink in &tally.sinks {
            depths.insert(Arc::clone(&sink.name), sink.counts);
        }
        drop(depths);
        Ok(tally)
    }

    fn tenant(&mut self, name: &str) -> usize {
        if let Some(at) = self.tenant_at.get(name) {
            return *at;
        }
        let (name, at): (Arc<str>, _) = (name.into(), self.tenants.len());
        self.tenants.push(TenantSum {
            name: Arc::clone(&name),
            events: 0,
            bytes: 0,
            more_events: 0,
            more_bytes: 0,
            settled_bytes: 0,
            changed: false,
        });
        self.tenant_at.insert(name, at);
        at
    }

    fn sink(&mut self, name: &str) -> usize {
        if let Some(at) = self.sink_at.get(name) {
            return *at;
        }
        let (name, at): (Arc<str>, _) = (name.into(), self.sinks.len());
        let sum = SinkSum {
            name: Arc::clone(&name),
            counts: Counts::default(),
            more: Counts::default(),
            waiting: HashMap::new(),
            changed: false,
        };
        self.sinks.push(sum);
        self.sink_at.insert(name, at);
        at
    }

    /// An event is new. Its bytes were reserved in the shared numbers before it came here.
    pub fn open(&mut self, tenant: &str, bytes: u64) {
        let at = self.tenant(tenant);
        let sum = &mut self.tenants[at];
        sum.more_events += 1;
        sum.more_bytes += bytes.cast_signed();
        if !std::mem::replace(&mut sum.changed, true) {
            self.changed_tenants.push(at);
        }
    }

    /// An event needs nothing more: its bytes no longer count against the quotas.
    pub fn settle(&mut self, tenant: &str, bytes: u64) {
        let at = self.tenant(tenant);
        let sum = &mut self.tenants[at];
        sum.more_events -= 1;
        sum.more_bytes -= bytes.cast_signed();
        sum.settled_bytes += bytes;
        if !std::mem::replace(&mut sum.changed, true) {
            self.changed_tenants.push(at);
        }
    }

    /// An event that was given up is sent anew.
    pub fn reopened(&mut self, event: i64) {
        self.reopened = Some(self.reopened.map_or(event, |first| first.min(event)));
    }

    /// Bytes come in or are purged.
    pub fn stored(&mut self, bytes: i64) {
        self.more_stored += bytes;
    }

    /// A delivery leaves one state (none: it is new) for another (none: it is purged). `due` is there where it waits for a
    /// worker then.
    pub fn delivery(
        &mut self,
        of: Counted<'_>,
        from: Option<DeliveryState>,
        to: Option<DeliveryState>,
        due: Option<u64>,
    ) {
        let (at, tenant) = (self.sink(of.sink), self.tenant(of.tenant));
        let sum = &mut self.sinks[at];
        if let Some(from) = from {
            sum.more[from as usize] -= 1;
        }
        if let Some(to) = to {
            sum.more[to as usize] += 1;
        }
        let waited = from.is_some_and(DeliveryState::is_waiting);
        if waited || due.is_some() {
            let waits = sum.waiting.entry((of.lane, tenant)).or_default();
            waits.went += u64::from(waited);
            due.into_iter().for_each(|due| waits.come(due));
        }
        self.touch(at);
    }

    /// A delivery that waits for a worker until `due` goes on in another lane.
    pub fn lane(&mut self, of: Counted<'_>, to: Lane, due: u64) {
        let (at, tenant) = (self.sink(of.sink), self.tenant(of.tenant));
        let waiting = &mut self.sinks[at].waiting;
        waiting.entry((of.lane, tenant)).or_default().went += 1;
        waiting.entry((to, tenant)).or_default().come(due);
        self.touch(at);
    }

    fn touch(&mut self, sink: usize) {
        if !std::mem::replace(&mut self.sinks[sink].changed, true) {
            self.changed_sinks.push(sink);
        }
    }

    /// Writes the new sums into the running transaction.
    pub fn write(&self, statements: &mut TallyStatements<'_>) -> rusqlite::Result<()> {
        for at in &self.changed_tenants {
            let sum = &self.tenants[*at];
            statements.tenant.execute((&sum.name, sum.events + sum.more_events, sum.bytes + sum.more_bytes))?;
        }
        for at in &self.changed_sinks {
            let sum = &self.sinks[*at];
            for (state, more) in sum.more.iter().enumerate().filter(|(_, more)| **more != 0) {
                statements.sink.execute((&sum.name, state as i64, sum.counts[state] + more))?;
            }
        }
        if self.more_stored != 0 {
            statements.stored.execute((self.stored + self.more_stored,))?;
        }
        Ok(())
    }

    /// The transaction is committed: what the shared numbers are to hear of it.
    pub fn news(&mut self) -> News {
        let mut news = News::default();
        for at in self.changed_tenants.drain(..) {
            let sum = &mut self.tenants[at];
            news.settled.push((Arc::clone(&sum.name), std::mem::take(&mut sum.settled_bytes)));
            news.events += sum.more_events;
            sum.events += std::mem::take(&mut sum.more_events);
            sum.bytes += std::mem::take(&mut sum.more_bytes);
            sum.changed = false;
        }
        for at in self.changed_sinks.drain(..) {
            let sum = &mut self.sinks[at];
            for (count, more) in sum.counts.iter_mut().zip(&mut sum.more) {
                *count += std::mem::take(more);
            }
            sum.changed = false;
            let waits = sum.waiting.drain();
            let waits = waits.map(|((lane, tenant), waits)| (lane, Arc::clone(&self.tenants[tenant].name), waits));
            news.sinks.push(SinkNews { name: Arc::clone(&sum.name), counts: sum.counts, waits: waits.collect() });
        }
        self.stored += std::mem::take(&mut self.more_stored);
        news.stored = self.stored;
        news.reopened = self.reopened.take();
        news
    }

    /// The transaction was rolled back.
    pub fn forget(&mut self) {
        for at in self.changed_tenants.drain(..) {
            let sum = &mut self.tenants[at];
            (sum.more_events, sum.more_bytes, sum.settled_bytes, sum.changed) = (0, 0, 0, false);
        }
        for at in self.changed_sinks.drain(..) {
            let sum = &mut self.sinks[at];
            sum.waiting.clear();
            (sum.more, sum.changed) = (Counts::default(), false);
        }
        self.more_stored = 0;
        self.reopened = None;
    }
}

/// Counts what waits for a worker, by sink, lane and tenant: the index of what is due holds no more than this asks for,
/// and has the earliest of each tenant first.
fn load_schedules(conn: &Connection, room: &Room) -> rusqlite::Result<()> {
    // Of each tenant: how many, and the earliest due time.
    type Tenants = HashMap<Arc<str>, (u64, u64)>;
    let mut waiting: HashMap<(Arc<str>, Lane), Tenants> = HashMap::new();
    let mut statement = conn.prepare(
        "SELECT sink, lane, tenant, due FROM deliveries INDEXED BY deliveries_due
         WHERE due IS NOT NULL ORDER BY sink, lane, part, due",
    )?;
    let mut rows = statement.query(())?;
    let mut at: Option<(Arc<str>, Lane)> = None;
    while let Some(row) = rows.next()? {
        let (sink, lane) = (row.get_ref(0)?.as_str()?, lane_at(row, 1)?);
        let of = match at.take() {
            Some((same, of_lane)) if &*same == sink && of_lane == lane => (same, of_lane),
            _ => (sink.into(), lane),
        };
        let tenants = match waiting.get_mut(&of) {
            Some(tenants) => tenants,
            None => waiting.entry(of.clone()).or_default(),
        };
        at = Some(of);
        let tenant = row.get_ref(2)?.as_str()?;
        match tenants.get_mut(tenant) {
            Some((count, _)) => *count += 1,
            None => drop(tenants.insert(tenant.into(), (1, row.get::<_, i64>(3)?.cast_unsigned()))),
        }
    }
    for ((sink, lane), tenants) in waiting {
        let mut schedule = room.schedule(&sink);
        for (tenant, (count, due)) in tenants {
            schedule.came(lane, &tenant, count, due);
        }
    }
    Ok(())
}

/// The statements that [`Tally::write`] needs.
pub(crate) struct TallyStatements<'c> {
    tenant: Statement<'c>,
    sink: Statement<'c>,
    stored: Statement<'c>,
}

impl<'c> TallyStatements<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<TallyStatements<'c>> {
        Ok(TallyStatements {
            tenant: conn.prepare(
                "INSERT INTO tenant_backlog (tenant, events, bytes) VALUES (?1, ?2, ?3)
                 ON CONFLICT (tenant) DO UPDATE SET events = excluded.events, bytes = excluded.bytes",
            )?,
            sink: conn.prepare(
                "INSERT INTO sink_depth (sink, state, deliveries) VALUES (?1, ?2, ?3)
                 ON CONFLICT (sink, state) DO UPDATE SET deliveries = excluded.deliveries",
            )?,
            stored: conn.prepare("UPDATE stored SET bytes = ?1")?,
        })
    }
}
