//! The sums of the backlog, as the writer keeps them: differences gather during a transaction, go into it before its
//! commit, and into the shared numbers after it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Statement};
use sluis_model::event::DeliveryState;

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
    /// A delivery began to wait for a worker in it.
    wakes: bool,
    changed: bool,
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
            wakes: false,
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
    pub fn delivery(&mut self, sink: &str, from: Option<DeliveryState>, to: Option<DeliveryState>) {
        let at = self.sink(sink);
        let sum = &mut self.sinks[at];
        if let Some(from) = from {
            sum.more[from as usize] -= 1;
        }
        if let Some(to) = to {
            sum.more[to as usize] += 1;
            sum.wakes |= to.is_waiting();
        }
        if !std::mem::replace(&mut sum.changed, true) {
            self.changed_sinks.push(at);
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

    /// The transaction is committed: publishes the differences.
    pub fn publish(&mut self, room: &Room) {
        for at in self.changed_tenants.drain(..) {
            let sum = &mut self.tenants[at];
            room.release(&sum.name, std::mem::take(&mut sum.settled_bytes));
            room.add_events(sum.more_events);
            sum.events += std::mem::take(&mut sum.more_events);
            sum.bytes += std::mem::take(&mut sum.more_bytes);
            sum.changed = false;
        }
        if !self.changed_sinks.is_empty() {
            let mut depths = room.depths();
            for at in self.changed_sinks.drain(..) {
                let sum = &mut self.sinks[at];
                for (count, more) in sum.counts.iter_mut().zip(&mut sum.more) {
                    *count += std::mem::take(more);
                }
                (sum.changed, sum.wakes) = (false, false);
                depths.insert(Arc::clone(&sum.name), sum.counts);
            }
        }
        self.stored += std::mem::take(&mut self.more_stored);
        room.set_stored(self.stored);
    }

    /// The transaction was rolled back.
    pub fn forget(&mut self) {
        for at in self.changed_tenants.drain(..) {
            let sum = &mut self.tenants[at];
            (sum.more_events, sum.more_bytes, sum.settled_bytes, sum.changed) = (0, 0, 0, false);
        }
        for at in self.changed_sinks.drain(..) {
            let sum = &mut self.sinks[at];
            (sum.more, sum.wakes, sum.changed) = (Counts::default(), false, false);
        }
        self.more_stored = 0;
    }

    /// Sinks with deliveries that began to wait in the running transaction.
    pub fn woken(&self) -> impl Iterator<Item = &Arc<str>> {
        self.changed_sinks.iter().map(|at| &self.sinks[*at]).filter(|sum| sum.wakes).map(|sum| &sum.name)
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
