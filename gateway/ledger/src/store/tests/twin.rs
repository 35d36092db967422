//! The store against an in-memory twin: random accepts, leases, outcomes, holds, purges, crashes and re-opens.

use proptest::prelude::*;
use rusqlite::Connection;
use sluis_model::event::{DeliveryState, EventSink, Input, NewEvent, next};
use sluis_model::lane::Lane;
use sluis_model::schedule::Pick;
use std::collections::BTreeMap;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::*;
use super::{event, open};
use crate::backlog::event_bytes;
use crate::operate::{Operation, Subject};

const SINKS: [&str; 3] = ["crm", "erp", "wms"];
const START: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Op {
    Accept {
        tenant: u8,
        sinks: u8,
        size: usize,
        key: Option<u8>,
        lane: Lane,
    },
    /// An event that is there already, once more.
    Again {
        which: usize,
    },
    /// Whatever is due of one lane and tenant.
    Lease {
        sink: usize,
        lane: Lane,
        tenant: u8,
        limit: usize,
    },
    /// Any input for any delivery, legal or not.
    Change {
        which: usize,
        input: Input,
        wait: u64,
        parks: bool,
    },
    /// Somebody sends the dead deliveries of an event anew.
    Replay {
        which: usize,
        force: bool,
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
    let lane = || proptest::sample::select(Lane::ALL.to_vec());
    prop_oneof![
        6 => (0u8..3, 0u8..8, 0usize..3000, proptest::option::of(0u8..2), lane())
            .prop_map(|(tenant, sinks, size, key, lane)| Op::Accept { tenant, sinks, size, key, lane }),
        1 => any::<usize>().prop_map(|which| Op::Again { which }),
        8 => (0usize..3, lane(), 0u8..3, 1usize..5)
            .prop_map(|(sink, lane, tenant, limit)| Op::Lease { sink, lane, tenant, limit }),
        10 => (any::<usize>(), inputs, 0u64..500, any::<bool>())
            .prop_map(|(which, input, wait, parks)| Op::Change { which, input, wait, parks }),
        2 => any::<(usize, bool)>().prop_map(|(which, force)| Op::Replay { which, force }),
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
    lane: Lane,
    /// Stands in the line of its event's key.
    in_line: bool,
    /// Given up before a newer one of its key was delivered.
    overtaken: bool,
}

/// What a sink keeps of order, by its position: nothing, the order, the last value.
fn keeps(sink: &str) -> EventSink {
    let at = SINKS.iter().position(|name| *name == sink).unwrap();
    EventSink { name: sink.into(), in_order: at > 0, compacts: at > 1 }
}

#[derive(Debug, Clone)]
struct TwinEvent {
    seq: i64,
    event: NewEvent,
    deliveries: BTreeMap<i64, TwinDelivery>,
}

impl TwinEvent {
    fn is_settled(&self) -> bool {
        self.deliveries.values().all(|d| d.state.is_final() && d.state != DeliveryState::Dead)
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
            Op::Accept { tenant, sinks, size, key, lane } => self.accept(*tenant, *sinks, *size, *key, *lane),
            Op::Again { which } => self.again(*which),
            Op::Lease { sink, lane, tenant, limit } => self.lease(SINKS[*sink], *lane, *tenant, *limit),
            Op::Change { which, input, wait, parks } => self.change(*which, *input, *wait, *parks),
            Op::Replay { which, force } => self.replay(*which, *force),
            Op::Advance { ms } => self.now += ms,
            Op::Hold { sink } => {
                let held = self.store().hold(SINKS[*sink], self.now, "operator", "pause".to_owned());
                self.runtime.block_on(held).unwrap();
                self.held.entry(SINKS[*sink]).or_insert(self.now);
            }
            Op::Release { sink } => {
                self.runtime.block_on(self.store().release(SINKS[*sink], self.now, "operator")).unwrap();
                self.held.remove(SINKS[*sink]);
            }
            Op::Purge => self.purge(),
            Op::Crash => self.crash(),
            Op::Reopen => {
                self.store = None;
                let report = verify::verify(self.dir.path()).unwrap();
                // Arrows at random leave lines that nothing of ours would.
                let wrong: Vec<_> =
                    report.findings.iter().filter(|f| !matches!(f, crate::Finding::Line { .. })).collect();
                assert!(wrong.is_empty(), "{wrong:?}");
                self.store = Some(open(self.dir.path(), self.now, 12).unwrap());
                self.interrupt();
            }
        }
    }

    fn accept(&mut self, tenant: u8, sinks: u8, size: usize, key: Option<u8>, lane: Lane) {
        let sinks: Vec<&'static str> = (0..3).filter(|n| sinks & (1 << n) != 0).map(|n| SINKS[n]).collect();
        let event = NewEvent {
            tenant: format!("tenant-{tenant}").into(),
            key: key.map(|key| format!("key-{key}")),
            body: vec![tenant; size].into(),
            sinks: sinks.iter().map(|sink| keeps(sink)).collect(),
            lane,
            attributes: vec![("subject".to_owned(), size.to_string())],
            accepted_at: self.now,
            ..event()
        };
        let answer = self.store().accept(event.clone(), None, event_bytes(&event), u64::MAX).unwrap();
        self.runtime.block_on(answer).unwrap().unwrap();
        let seq = self.next_seq;
        self.next_seq += 1;
        self.events.push(TwinEvent { seq, event, deliveries: BTreeMap::new() });
        for (n, sink) in sinks.into_iter().enumerate() {
            self.enter(DeliveryId { event: seq, n: n as i64 }, sink, lane, keeps(sink).compacts);
        }
    }

    /// A new delivery, as the rules of lines have it.
    fn enter(&mut self, id: DeliveryId, sink: &'static str, lane: Lane, compacts: bool) {
        let in_line = self.keeps_order(id, sink);
        let (mut state, mut lane) = (DeliveryState::Ready, lane);
        if in_line {
            if compacts {
                for old in self.line(id, sink).into_iter().rev() {
                    self.step(old, Input::Supersede, None, false);
                }
            }
            let line = self.line(id, sink);
            let own = lane;
            for other in &line {
                let twin = self.twin(*other).unwrap();
                // Those of one event are one after the other by their numbers.
                match other.event < id.event {
                    true => twin.lane = twin.lane.min(own),
                    false => lane = lane.min(twin.lane),
                }
            }
            let is_behind = line.first().is_some_and(|front| front.event <= id.event);
            if is_behind || line.iter().any(|other| self.twin(*other).unwrap().state == DeliveryState::Leased) {
                state = DeliveryState::Blocked;
            } else {
                for other in line {
                    if self.twin(other).unwrap().state.is_waiting() {
                        self.step(other, Input::Block, None, false);
                    }
                }
            }
        }
        let steps = i64::from(state == DeliveryState::Blocked);
        let due = state.is_waiting().then_some(self.now);
        let delivery = TwinDelivery { sink, state, due, attempts: 0, steps, lane, in_line, overtaken: false };
        let event = self.events.iter_mut().find(|event| event.seq == id.event).unwrap();
        event.deliveries.insert(id.n, delivery);
    }

    fn keeps_order(&self, id: DeliveryId, sink: &str) -> bool {
        keeps(sink).in_order && self.event(id.event).event.key.is_some()
    }

    fn event(&self, seq: i64) -> &TwinEvent {
        self.events.iter().find(|event| event.seq == seq).unwrap()
    }

    /// Who stands in the same line, from the front.
    fn line(&self, id: DeliveryId, sink: &str) -> Vec<DeliveryId> {
        let event = &self.event(id.event).event;
        let mut line = Vec::new();
        for other in
            self.events.iter().filter(|other| (&other.event.tenant, &other.event.key) == (&event.tenant, &event.key))
        {
            let standing = other.deliveries.iter().filter(|(_, d)| d.in_line && d.sink == sink);
            line.extend(standing.map(|(n, _)| DeliveryId { event: other.seq, n: *n }));
        }
        line
    }

    /// An arrow, and what it does to the line. False where there is none.
    fn step(&mut self, id: DeliveryId, input: Input, due: Option<u64>, parks: bool) -> bool {
        let now = self.now;
        let Some(twin) = self.twin(id) else { return false };
        let Ok(state) = next(twin.state, input) else { return false };
        let was_in_line = twin.in_line;
        twin.attempts += u32::from(input == Input::Lease);
        twin.attempts -= u32::from(input == Input::Return);
        (twin.state, twin.steps) = (state, twin.steps + 1);
        twin.due = if state.is_waiting() { Some(due.unwrap_or(now)) } else { None };
        twin.in_line &= !state.is_final() || (state == DeliveryState::Dead && parks);
        let (sink, left) = (twin.sink, was_in_line && !twin.in_line);
        if state == DeliveryState::Delivered {
            self.overtake(id, sink);
        }
        if left {
            self.advance(id, sink);
        }
        true
    }

    fn overtake(&mut self, id: DeliveryId, sink: &'static str) {
        let NewEvent { tenant, key, .. } = self.event(id.event).event.clone();
        if !self.keeps_order(id, sink) {
            return;
        }
        let older = self.events.iter_mut().filter(|event| event.seq < id.event);
        let of_key = older.filter(|event| event.event.tenant == tenant && event.event.key == key);
        let deliveries = of_key.flat_map(|event| event.deliveries.values_mut());
        deliveries.filter(|d| d.sink == sink && d.state == DeliveryState::Dead).for_each(|d| d.overtaken = true);
    }

    fn advance(&mut self, left: DeliveryId, sink: &'static str) {
        if let Some(front) = self.line(left, sink).first().copied()
            && self.twin(front).unwrap().state == DeliveryState::Blocked
        {
            self.step(front, Input::Unblock, None, false);
        }
    }

    fn replay(&mut self, which: usize, force: bool) {
        if self.events.is_empty() {
            return;
        }
        let event = &self.events[which % self.events.len()];
        let (seq, id, lane) = (event.seq, event.event.id, event.event.lane);
        let dead: Vec<(i64, &'static str, bool)> = event
            .deliveries
            .iter()
            .filter(|(_, d)| d.state == DeliveryState::Dead)
            .map(|(n, d)| (*n, d.sink, d.overtaken))
            .collect();
        let subject = Subject::Event { id, tenant: None, sink: None };
        let edit = OperateEdit {
            subject,
            operation: Operation::Replay { force },
            edited: None,
            by: "operator:test".to_owned(),
            reason: String::new(),
            at: self.now,
        };
        let answer = self.runtime.block_on(self.store().operate(edit, None));
        if dead.is_empty() {
            let none = if event.deliveries.is_empty() { OperateError::NotFound } else { OperateError::NotPossible };
            assert_eq!(answer, Err(none));
            return;
        }
        let under_way_behind = |(n, sink, _): &(i64, &'static str, bool)| {
            let id = DeliveryId { event: seq, n: *n };
            let line = if self.keeps_order(id, sink) { self.line(id, sink) } else { Vec::new() };
            line.iter().any(|other| {
                other.event > seq && self.event(other.event).deliveries[&other.n].state == DeliveryState::Leased
            })
        };
        if !force && dead.iter().any(|one| one.2 || under_way_behind(one)) {
            assert_eq!(answer, Err(OperateError::Overtaken));
            return;
        }
        assert_eq!(answer.unwrap().deliveries, dead.len());
        for (n, sink, overtaken) in dead {
            let next_n = self.event(seq).deliveries.keys().max().unwrap() + 1;
            let new = DeliveryId { event: seq, n: next_n };
            self.enter(new, sink, lane, false);
            self.twin(new).unwrap().overtaken = overtaken;
            assert!(self.step(DeliveryId { event: seq, n }, Input::Replay, None, false));
        }
    }

    fn again(&mut self, which: usize) {
        if self.events.is_empty() {
            return;
        }
        let event = self.events[which % self.events.len()].event.clone();
        let bytes = event_bytes(&event);
        let answer = self.store().accept(event, None, bytes, u64::MAX).unwrap();
        assert_eq!(self.runtime.block_on(answer).unwrap(), Err(AcceptError::Duplicate));
    }

    fn lease(&mut self, sink: &'static str, lane: Lane, tenant: u8, limit: usize) {
        let tenant: Arc<str> = format!("tenant-{tenant}").into();
        let mut expected: Vec<(u64, i64, i64)> = Vec::new();
        for event in self.events.iter().filter(|event| event.event.tenant == tenant) {
            for (n, d) in event.deliveries.iter().filter(|(_, d)| (d.sink, d.lane) == (sink, lane)) {
                expected.extend(d.due.filter(|due| *due <= self.now).map(|due| (due, event.seq, *n)));
            }
        }
        expected.sort_unstable();
        expected.truncate(limit);
        let from = self.store().shared.room.schedule(&sink.into()).look(lane, &tenant);
        let picks = vec![Pick { lane, tenant: Arc::clone(&tenant), slots: limit, from }];
        let due = self.runtime.block_on(self.store().due(&sink.into(), self.now, picks, usize::MAX)).unwrap();
        let found: Vec<(i64, i64)> = due.deliveries.iter().map(|(id, _)| (id.event, id.n)).collect();
        assert_eq!(found, expected.iter().map(|(_, event, n)| (*event, *n)).collect::<Vec<_>>());
        assert!(due.damaged.is_empty());
        for (id, delivery) in &due.deliveries {
            let twin = self.events.iter().find(|event| event.seq == id.event).unwrap();
            assert_eq!((delivery.event_id, &delivery.body), (twin.event.id, &twin.event.body));
            assert_eq!(delivery.attributes, twin.event.attributes);
        }
        let ids: Vec<DeliveryId> = due.deliveries.iter().map(|(id, _)| *id).collect();
        let leased = self.runtime.block_on(self.store().lease(ids.clone(), self.now)).unwrap();
        assert_eq!(leased.len(), ids.len());
        for (lane, tenant, look) in due.looks {
            let mut schedule = self.store().shared.room.schedule(&sink.into());
            match look {
                Look::Full(last) => schedule.looked(lane, &tenant, last),
                Look::Short(next) => schedule.not_due(lane, &tenant, next.unwrap_or(u64::MAX), u64::MAX),
            }
        }
        for (id, attempt) in leased {
            assert!(self.step(id, Input::Lease, None, false));
            assert_eq!(attempt, self.twin(id).unwrap().attempts);
        }
    }

    fn twin(&mut self, id: DeliveryId) -> Option<&mut TwinDelivery> {
        self.events.iter_mut().find(|event| event.seq == id.event)?.deliveries.get_mut(&id.n)
    }

    fn change(&mut self, which: usize, input: Input, wait: u64, parks: bool) {
        let ids: Vec<DeliveryId> = self
            .events
            .iter()
            .flat_map(|event| event.deliveries.keys().map(|n| DeliveryId { event: event.seq, n: *n }))
            .collect();
        // One past the end: a delivery that does not exist.
        let id = ids.get(which % (ids.len() + 1)).copied().unwrap_or(DeliveryId { event: i64::MAX, n: 0 });
        let due = Some(self.now + wait);
        let change = Move { due, parks, ..Move::by("test", id, input, self.now) };
        let result = self.runtime.block_on(self.store().record(change));
        let expected = if self.step(id, input, due, parks) { Ok(()) } else { Err(WorkError::Refused) };
        assert_eq!(result, expected);
    }

    fn purge(&mut self) {
        let events = self.events.iter().map(|event| event.seq).chain([i64::MAX]).collect();
        let purged = self.runtime.block_on(self.store().purge(events, self.now)).unwrap();
        let gone: Vec<i64> = self.events.iter().filter(|event| event.is_final()).map(|event| event.seq).collect();
        assert_eq!(purged, gone.len());
        for seq in gone {
            // Those that parked their keys leave their lines.
            let standing: Vec<(i64, &'static str)> =
                self.event(seq).deliveries.iter().filter(|(_, d)| d.in_line).map(|(n, d)| (*n, d.sink)).collect();
            for d in self.events.iter_mut().find(|event| event.seq == seq).unwrap().deliveries.values_mut() {
                d.in_line = false;
            }
            for (n, sink) in standing {
                self.advance(DeliveryId { event: seq, n }, sink);
            }
            self.events.retain(|event| event.seq != seq);
        }
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

    /// What a start does to leases, and to what is ready later than now.
    fn interrupt(&mut self) {
        let (now, mut last) = (self.now, 0);
        for event in &mut self.events {
            last = event.seq;
            for d in event.deliveries.values_mut().filter(|d| d.state == DeliveryState::Leased) {
                (d.state, d.due, d.steps) = (DeliveryState::Ready, Some(now), d.steps + 1);
            }
            for d in event.deliveries.values_mut().filter(|d| d.state == DeliveryState::Ready) {
                d.due = d.due.min(Some(now));
            }
        }
        self.next_seq = last + 1;
    }

    fn compare(&self) {
        let conn = Connection::open(self.dir.path().join("ledger.db")).unwrap();
        let mut found = BTreeMap::new();
        let mut statement = conn
            .prepare("SELECT event, n, sink, state, due, attempts, steps, lane, line, overtaken FROM deliveries")
            .unwrap();
        let mut rows = statement.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let sink: String = row.get(2).unwrap();
            let delivery = TwinDelivery {
                sink: SINKS.into_iter().find(|name| **name == *sink).unwrap(),
                state: statements::state_at(row, 3).unwrap(),
                due: row.get::<_, Option<i64>>(4).unwrap().map(i64::cast_unsigned),
                attempts: row.get(5).unwrap(),
                steps: row.get(6).unwrap(),
                lane: statements::lane_at(row, 7).unwrap(),
                in_line: row.get::<_, Option<i64>>(8).unwrap().is_some(),
                overtaken: row.get(9).unwrap(),
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
            assert_eq!(room.check(&tenant, bytes + 1, Lane::Low), Ok(()));
            assert_eq!(room.check(&tenant, bytes, Lane::Low), Err(AcceptError::TenantFull));
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
        for sink in SINKS {
            let mut counted: BTreeMap<(Lane, Arc<str>), u64> = BTreeMap::new();
            for event in &self.events {
                for d in event.deliveries.values().filter(|d| d.sink == sink && d.state.is_waiting()) {
                    *counted.entry((d.lane, event.event.tenant.clone())).or_default() += 1;
                }
            }
            assert_eq!(self.store().shared.room.schedule(&sink.into()).waiting_counts(), counted);
        }
        let held: BTreeMap<String, u64> =
            self.store().shared.room.holds().iter().map(|(sink, holds)| (sink.to_string(), holds[0].since)).collect();
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
