//! The sums of the backlog, as the writer keeps them: differences gather during a transaction, go into it before its
//! commit, and into the shared numbers after it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Statement};
use sluis_model::event::DeliveryState;
use sluis_model::lane::Lane;

use super::changes::lane_at;
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
    waiting: HashMap<(Lane, usize), (i64, i64)>,
    changed: bool,
}

/// A delivery as the sums need to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub sink: &'a str,
    pub tenant: &'a str,
    pub lane: Lane,
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
        // The index of what is due holds no more than this asks for.
        let mut waiting = conn.prepare(
            "SELECT sink, lane, tenant, count(*) FROM deliveries INDEXED BY deliveries_due
             WHERE due IS NOT NULL GROUP BY sink, lane, tenant",
        )?;
        let mut rows = waiting.query(())?;
        while let Some(row) = rows.next()? {
            let (sink, tenant): (Arc<str>, Arc<str>) = (row.get(0)?, row.get(2)?);
            room.schedule(&sink).add(lane_at(row, 1)?, &tenant, row.get(3)?);
        }
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

    /// Bytes come in or are purged.
    pub fn stored(&mut self, bytes: i64) {
        self.more_stored += bytes;
    }

    /// A delivery leaves one state (none: it is new) for another (none: it is purged).
    pub fn delivery(&mut self, of: Counted<'_>, from: Option<DeliveryState>, to: Option<DeliveryState>) {
        let (at, tenant) = (self.sink(of.sink), self.tenant(of.tenant));
        let sum = &mut self.sinks[at];
        let waits = |state: Option<DeliveryState>| state.is_some_and(DeliveryState::is_waiting);
        if let Some(from) = from {
            sum.more[from as usize] -= 1;
        }
        if let Some(to) = to {
            sum.more[to as usize] += 1;
        }
        if waits(from) || waits(to) {
            let (came, went) = sum.waiting.entry((of.lane, tenant)).or_default();
            *came += i64::from(waits(to));
            *went += i64::from(waits(from));
        }
        self.touch(at);
    }

    /// A delivery that waits for a worker goes on in another lane.
    pub fn lane(&mut self, of: Counted<'_>, to: Lane) {
        let (at, tenant) = (self.sink(of.sink), self.tenant(of.tenant));
        let waiting = &mut self.sinks[at].waiting;
        waiting.entry((of.lane, tenant)).or_default().1 += 1;
        waiting.entry((to, tenant)).or_default().0 += 1;
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

    /// The transaction is committed: publishes the differences. Answers the sinks that have more to do.
    pub fn publish(&mut self, room: &Room) -> Vec<Arc<str>> {
        for at in self.changed_tenants.drain(..) {
            let sum = &mut self.tenants[at];
            room.release(&sum.name, std::mem::take(&mut sum.settled_bytes));
            room.add_events(sum.more_events);
            sum.events += std::mem::take(&mut sum.more_events);
            sum.bytes += std::mem::take(&mut sum.more_bytes);
            sum.changed = false;
        }
        let mut woken = Vec::new();
        for at in self.changed_sinks.drain(..) {
            let sum = &mut self.sinks[at];
            for (count, more) in sum.counts.iter_mut().zip(&mut sum.more) {
                *count += std::mem::take(more);
            }
            sum.changed = false;
            room.depths().insert(Arc::clone(&sum.name), sum.counts);
            if sum.waiting.values().any(|(came, _)| *came > 0) {
                woken.push(Arc::clone(&sum.name));
            }
            let mut schedule = room.schedule(&sum.name);
            for ((lane, tenant), (came, went)) in sum.waiting.drain() {
                // One after the other: that something came is news, also where as much went.
                schedule.add(lane, &self.tenants[tenant].name, came);
                schedule.add(lane, &self.tenants[tenant].name, -went);
            }
        }
        self.stored += std::mem::take(&mut self.more_stored);
        room.set_stored(self.stored);
        woken
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
    }
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
