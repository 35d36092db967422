//! The store against an in-memory twin: random accepts, leases, outcomes, holds, purges, crashes and re-opens.

use proptest::prelude::*;
use sluis_model::event::{DeliveryState, Input, NewEvent, next};
use std::collections::BTreeMap;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::super::*;
use super::open;
use crate::backlog::event_bytes;

const SINKS: [&str; 3] = ["crm", "erp", "wms"];
const START: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Op {
    Accept {
        tenant: u8,
        sinks: u8,
        size: usize,
    },
    /// An event that is there already, once more.
    Again {
        which: usize,
    },
    Lease {
        sink: usize,
        limit: usize,
    },
    /// Any input for any delivery, legal or not.
    Change {
        which: usize,
        input: Input,
        wait: u64,
    },
    Advance {
        ms: u64,
    },
    Hold {
        sink: usize,
    },
    Release {
        sink: usize,
    },
    Purge,
    /// The files as they are at this moment, opened by a new process.
    Crash,
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let inputs = proptest::sample::select(Input::ALL.to_vec());
    prop_oneof![
        6 => (0u8..3, 0u8..8, 0usize..3000).prop_map(|(tenant, sinks, size)| Op::Accept { tenant, sinks, size }),
        1 => any::<usize>().prop_map(|which| Op::Again { which }),
        6 => (0usize..3, 1usize..5).prop_map(|(sink, limit)| Op::Lease { sink, limit }),
        8 => (any::<usize>(), inputs, 0u64..500).prop_map(|(which, input, wait)| Op::Change { which, input, wait }),
        3 => (0u64..400).prop_map(|ms| Op::Advance { ms }),
        1 => (0usize..3).prop_map(|sink| Op::Hold { sink }),
        1 => (0usize..3).prop_map(|sink| Op::Release { sink }),
        1 => Just(Op::Purge),
        1 => Just(Op::Crash),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TwinDelivery {
    sink: &'static str,
    state: DeliveryState,
    due: Option<u64>,
    attempts: u32,
    steps: i64,
}

#[derive(Debug, Clone)]
struct TwinEvent {
    seq: i64,
    event: NewEvent,
    deliveries: BTreeMap<i64, TwinDelivery>,
}

impl TwinEvent {
    fn is_settled(&self) -> bool {
        self.deliveries.values().all(|d| d.state == DeliveryState::Delivered)
    }

    fn is_final(&self) -> bool {
        self.deliveries.values().all(|d| d.state.is_final())
    }
}

struct Pair {
    runtime: Runtime,
    dir: TempDir,
    store: Option<Store>,
    events: Vec<TwinEvent>,
    next_seq: i64,
    held: BTreeMap<&'static str, u64>,
    now: u64,
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(open(dir.path(), START, 12).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Pair { runtime, dir, store, events: Vec::new(), next_seq: 1, held: BTreeMap::new(), now: START }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Accept { tenant, sinks, size } => self.accept(*tenant, *sinks, *size),
            Op::Again { which } => self.again(*which),
            Op::Lease { sink, limit } => self.lease(SINKS[*sink], *limit),
            Op::Change { which, input, wait } => self.change(*which, *input, *wait),
            Op::Advance { ms } => self.now += ms,
            Op::Hold { sink } => {
                let held = self.store().hold(SINKS[*sink], self.now, "operator", "pause".to_owned());
                self.runtime.block_on(held).unwrap();
                self.held.entry(SINKS[*sink]).or_insert(self.now);
            }
            Op::Release { sink } => {
                self.runtime.block_on(self.store().release(SINKS[*sink], self.now)).unwrap();
                self.held.remove(SINKS[*sink]);
            }
            Op::Purge => self.purge(),
            Op::Crash => self.crash(),
            Op::Reopen => {
                self.store = None;
                self.store = Some(open(self.dir.path(), self.now, 12).unwrap());
                self.interrupt();
            }
        }
    }

    fn accept(&mut self, tenant: u8, sinks: u8, size: usize) {
        let sinks: Vec<&'static str> = (0..3).filter(|n| sinks & (1 << n) != 0).map(|n| SINKS[n]).collect();
        let event = NewEvent {
            id: Uuid::now_v7(),
            tenant: format!("tenant-{tenant}").into(),
            route: "orders".into(),
            event_type: "t".into(),
            key: None,
            content_type: "text/plain".to_owned(),
            body: vec![tenant; size].into(),
            sinks: sinks.iter().map(|sink| Arc::from(*sink)).collect(),
            correlation_id: "c".into(),
            traceparent: None,
            accepted_at: self.now,
        };
        let answer = self.store().accept(event.clone(), event_bytes(&event), u64::MAX).unwrap();
        self.runtime.block_on(answer).unwrap().unwrap();
        let delivery =
            |sink| TwinDelivery { sink, state: DeliveryState::Ready, due: Some(self.now), attempts: 0, steps: 0 };
        let deliveries = sinks.into_iter().enumerate().map(|(n, sink)| (n as i64, delivery(sink))).collect();
        self.events.push(TwinEvent { seq: self.next_seq, event, deliveries });
        self.next_seq += 1;
    }

    fn again(&mut self, which: usize) {
        if self.events.is_empty() {
            return;
        }
        let event = self.events[which % self.events.len()].event.clone();
        let bytes = event_bytes(&event);
        let answer = self.store().accept(event, bytes, u64::MAX).unwrap();
        assert_eq!(self.runtime.block_on(answer).unwrap(), Err(AcceptError::Duplicate));
    }

    fn lease(&mut self, sink: &'static str, limit: usize) {
        let mut expected: Vec<(u64, i64, i64)> = Vec::new();
        for event in &self.events {
            for (n, d) in event.deliveries.iter().filter(|(_, d)| d.sink == sink) {
                expected.extend(d.due.filter(|due| *due <= self.now).map(|due| (due, event.seq, *n)));
            }
        }
        expected.sort_unstable();
        expected.truncate(limit);
        let due = self.runtime.block_on(self.store().due(&sink.into(), self.now, limit, usize::MAX)).unwrap();
        let found: Vec<(i64, i64)> = due.deliveries.iter().map(|(id, _)| (id.event, id.n)).collect();
        assert_eq!(found, expected.iter().map(|(_, event, n)| (*event, *n)).collect::<Vec<_>>());
        assert!(due.damaged.is_empty());
        for (id, delivery) in &due.deliveries {
            let twin = self.events.iter().find(|event| event.seq == id.event).unwrap();
            assert_eq!((delivery.event_id, &delivery.body), (twin.event.id, &twin.event.body));
        }
        let ids: Vec<DeliveryId> = due.deliveries.iter().map(|(id, _)| *id).collect();
        let leased = self.runtime.block_on(self.store().lease(ids.clone(), self.now)).unwrap();
        assert_eq!(leased.len(), ids.len());
        for (id, attempt) in leased {
            let twin = self.twin(id).unwrap();
            (twin.state, twin.due, twin.attempts, twin.steps) =
                (DeliveryState::Leased, None, twin.attempts + 1, twin.steps + 1);
            assert_eq!(attempt, twin.attempts);
        }
    }

    fn twin(&mut self, id: DeliveryId) -> Option<&mut TwinDelivery> {
        self.events.iter_mut().find(|event| event.seq == id.event)?.deliveries.get_mut(&id.n)
    }

    fn change(&mut self, which: usize, input: Input, wait: u64) {
        let ids: Vec<DeliveryId> = self
            .events
            .iter()
            .flat_map(|event| event.deliveries.keys().map(|n| DeliveryId { event: event.seq, n: *n }))
            .collect();
        // One past the end: a delivery that does not exist.
        let id = ids.get(which % (ids.len() + 1)).copied().unwrap_or(DeliveryId { event: i64::MAX, n: 0 });
        let (at, due) = (self.now, Some(self.now + wait));
        let change = Move { id, input, at, due, actor: "test", reason: String::new(), took_ms: None, failure: None };
        let result = self.runtime.block_on(self.store().record(change));
        let legal = self.twin(id).map(|twin| next(twin.state, input));
        match legal {
            Some(Ok(state)) => {
                assert_eq!(result, Ok(()));
                let twin = self.twin(id).unwrap();
                twin.attempts += u32::from(input == Input::Lease);
                (twin.state, twin.steps) = (state, twin.steps + 1);
                twin.due = if state.is_waiting() { due } else { None };
            }
            _ => assert_eq!(result, Err(WorkError::Refused)),
        }
    }

    fn purge(&mut self) {
        let events = self.events.iter().map(|event| event.seq).chain([i64::MAX]).collect();
        let purged = self.runtime.block_on(self.store().purge(events)).unwrap();
        let before = self.events.len();
        self.events.retain(|event| !event.is_final());
        assert_eq!(purged, before - self.events.len());
    }

    fn crash(&mut self) {
        let after = tempfile::tempdir().unwrap();
        for name in ["ledger.db", "ledger.db-wal"] {
            let from = self.dir.path().join(name);
            if from.exists() {
                std::fs::copy(from, after.path().join(name)).unwrap();
            }
        }
        self.store = None;
        self.dir = after;
        self.store = Some(open(self.dir.path(), self.now, 12).unwrap());
        self.interrupt();
    }

    /// What a start does to leases.
    fn interrupt(&mut self) {
        let (now, mut last) = (self.now, 0);
        for event in &mut self.events {
            last = event.seq;
            for d in event.deliveries.values_mut().filter(|d| d.state == DeliveryState::Leased) {
                (d.state, d.due, d.steps) = (DeliveryState::Ready, Some(now), d.steps + 1);
            }
        }
        self.next_seq = last + 1;
    }

    fn compare(&self) {
        let conn = Connection::open(self.dir.path().join("ledger.db")).unwrap();
        let mut found = BTreeMap::new();
        let mut statement = conn.prepare("SELECT event, n, sink, state, due, attempts, steps FROM deliveries").unwrap();
        let mut rows = statement.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let sink: String = row.get(2).unwrap();
            let delivery = TwinDelivery {
                sink: SINKS.into_iter().find(|name| **name == *sink).unwrap(),
                state: changes::state_at(row, 3).unwrap(),
                due: row.get::<_, Option<i64>>(4).unwrap().map(i64::cast_unsigned),
                attempts: row.get(5).unwrap(),
                steps: row.get(6).unwrap(),
            };
            found.insert((row.get::<_, i64>(0).unwrap(), row.get::<_, i64>(1).unwrap()), delivery);
        }
        let expected: BTreeMap<(i64, i64), TwinDelivery> = self
            .events
            .iter()
            .flat_map(|event| event.deliveries.iter().map(|(n, d)| ((event.seq, *n), d.clone())))
            .collect();
        assert_eq!(found, expected);
        self.compare_sums(&conn);
        self.compare_events(&conn);
    }

    fn compare_sums(&self, conn: &Connection) {
        let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        let open: Vec<&TwinEvent> =
            self.events.iter().filter(|event| !event.is_settled() && !event.deliveries.is_empty()).collect();
        let open_bytes: u64 = open.iter().map(|event| event_bytes(&event.event)).sum();
        let picture = self.store().shared.room.picture(self.now);
        assert_eq!((picture.events, picture.bytes), (open.len() as u64, open_bytes));
        assert_eq!(count("SELECT coalesce(sum(bytes), 0) FROM tenant_backlog"), open_bytes.cast_signed());
        for tenant in 0..3 {
            let tenant = format!("tenant-{tenant}");
            let mine = open.iter().filter(|event| *event.event.tenant == *tenant);
            let bytes: u64 = mine.map(|event| event_bytes(&event.event)).sum();
            let room = &self.store().shared.room;
            assert_eq!(room.check(&tenant, bytes + 1), Ok(()));
            assert_eq!(room.check(&tenant, bytes), Err(AcceptError::TenantFull));
        }
        let stored: u64 = self.events.iter().map(|event| event_bytes(&event.event)).sum();
        assert_eq!(count("SELECT bytes FROM stored"), stored.cast_signed());
        let differences = count(
            "SELECT count(*) FROM (SELECT sink, state, deliveries FROM sink_depth WHERE deliveries <> 0 EXCEPT
             SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state)",
        ) + count(
            "SELECT count(*) FROM (SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state EXCEPT
             SELECT sink, state, deliveries FROM sink_depth)",
        );
        assert_eq!(differences, 0, "the sums agree with a count");
        let held: BTreeMap<String, u64> =
            self.store().shared.room.holds().iter().map(|(sink, hold)| (sink.to_string(), hold.since)).collect();
        assert_eq!(held, self.held.iter().map(|(sink, since)| ((*sink).to_owned(), *since)).collect());
    }

    fn compare_events(&self, conn: &Connection) {
        let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM events"), self.events.len() as i64);
        let steps: i64 = self.events.iter().flat_map(|e| e.deliveries.values()).map(|d| d.steps).sum();
        assert_eq!(count("SELECT count(*) FROM transitions"), steps, "a row for every arrow");
        let check: String = conn.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        for event in &self.events {
            let status = self.runtime.block_on(self.store().status(&event.event.tenant, event.event.id)).unwrap();
            let status = status.expect("every accepted event has a status");
            assert_eq!(status.deliveries.len(), event.deliveries.len());
            let other = self.runtime.block_on(self.store().status("somebody", event.event.id));
            assert_eq!(other, Ok(None), "another tenant sees nothing");
        }
    }
}

/// A few by default, as many as `PROPTEST_CASES` says in a soak.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_its_twin(ops in proptest::collection::vec(any_op(), 1..80)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
            if matches!(op, Op::Crash | Op::Reopen | Op::Purge) {
                pair.compare();
            }
        }
        pair.compare();
    }
}
