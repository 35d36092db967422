//! Idempotency keys against an in-memory twin: random changes, legal or not, events under keys, time, crashes and re-opens.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rusqlite::Connection;
use sluis_model::event::NewEvent;
use sluis_model::idempotency::{ClaimState, Entry, Verdict, judge};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::super::*;
use super::{event, open};
use crate::backlog::event_bytes;
use crate::claims::{ClaimQuota, StoredAnswer};

const START: u64 = 1_000_000;
const TTL: u64 = 500;
const TENANTS: [&str; 2] = ["acme", "umbrella"];

#[derive(Debug, Clone)]
enum Op {
    Begin { at: At, fingerprint: u8, quota: ClaimQuota },
    Complete { at: At, length: usize, quota: ClaimQuota },
    Unknown { at: At },
    Release { at: At },
    Accept { at: At, fingerprint: u8, length: usize, quota: ClaimQuota },
    Advance { ms: u64 },
    Forget { tenant: usize },
    Crash,
    Reopen,
}

/// Tenant and key.
type At = (usize, u8);

fn any_op() -> impl Strategy<Value = Op> {
    let at = || (0usize..2, 0u8..6);
    let length = || proptest::sample::select(vec![0usize, 0, 20, 100, 300]);
    let keys = proptest::sample::select(vec![2u64, 3, 3, 3, 100]);
    let quota = (keys, proptest::sample::select(vec![100u64, 240, 240, 1_000]));
    let quota = quota.prop_map(|(keys, bytes)| ClaimQuota { keys, bytes });
    let quota = || quota.clone();
    prop_oneof![
        6 => (at(), 0u8..2, quota()).prop_map(|(at, fingerprint, quota)| Op::Begin { at, fingerprint, quota }),
        4 => (at(), length(), quota()).prop_map(|(at, length, quota)| Op::Complete { at, length, quota }),
        2 => at().prop_map(|at| Op::Unknown { at }),
        2 => at().prop_map(|at| Op::Release { at }),
        4 => (at(), 0u8..2, length(), quota())
            .prop_map(|(at, fingerprint, length, quota)| Op::Accept { at, fingerprint, length, quota }),
        3 => (0u64..300).prop_map(|ms| Op::Advance { ms }),
        1 => (0usize..2).prop_map(|tenant| Op::Forget { tenant }),
        1 => Just(Op::Crash),
        1 => Just(Op::Reopen),
    ]
}

struct Pair {
    runtime: Runtime,
    dir: TempDir,
    store: Option<Store>,
    claims: BTreeMap<At, Found>,
    events: Vec<(usize, Uuid)>,
    now: u64,
}

fn place((_, key): At) -> Place {
    Place { route: "orders".into(), key: format!("key-{key}").into() }
}

fn answer(length: usize) -> StoredAnswer {
    StoredAnswer {
        status: 202, headers: vec![("a".to_owned(), "ü".to_owned())], body: Bytes::from(vec![b'x'; length])
    }
}

/// What an answer counts: its body, and its fields as `[["a","ü"]]`.
fn kept(claim: &Found) -> u64 {
    claim.answer.as_ref().map_or(0, |answer| answer.body.len() as u64 + 12)
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(open(dir.path(), START, 12).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Pair { runtime, dir, store, claims: BTreeMap::new(), events: Vec::new(), now: START }
    }

    fn apply(&mut self, op: &Op) {
        let expires_at = self.now + TTL;
        match op {
            Op::Begin { at, fingerprint, quota } => {
                let fingerprint = [*fingerprint; 32];
                let answer = self.edit(*at, ClaimChange::Begin { fingerprint, expires_at, quota: *quota });
                assert_eq!(answer, self.make_room(*at, &fingerprint, 0, quota));
                if answer.is_ok() {
                    let entry = Entry { fingerprint, state: ClaimState::InFlight, expires_at };
                    self.claims.insert(*at, Found { entry, event: None, answer: None });
                }
            }
            Op::Complete { at, length, quota } => {
                let told = answer(*length);
                let change = ClaimChange::Complete { answer: told.clone(), expires_at, quota: *quota };
                let done = self.edit(*at, change);
                if self.claims.get(at).is_none_or(|claim| claim.entry.state != ClaimState::InFlight) {
                    assert_eq!(done, Ok(()), "and nothing is changed");
                    return;
                }
                let room = self.add(at.0, 0, *length as u64 + 12, quota);
                assert_eq!(done, room);
                if let (Ok(()), Some(claim)) = (room, self.claims.get_mut(at)) {
                    claim.entry.state = ClaimState::Completed;
                    (claim.entry.expires_at, claim.answer) = (expires_at, Some(told));
                }
            }
            Op::Unknown { at } => {
                self.edit(*at, ClaimChange::Unknown).unwrap();
                if let Some(claim) = self.claims.get_mut(at).filter(|claim| claim.entry.state == ClaimState::InFlight) {
                    claim.entry.state = ClaimState::Unknown;
                }
            }
            Op::Release { at } => {
                self.edit(*at, ClaimChange::Release).unwrap();
                if self.claims.get(at).is_some_and(|claim| claim.entry.state == ClaimState::InFlight) {
                    self.claims.remove(at);
                }
            }
            Op::Accept { at, fingerprint, length, quota } => self.accept(*at, [*fingerprint; 32], *length, *quota),
            Op::Advance { ms } => self.now += ms,
            Op::Forget { tenant } => {
                let forgotten = self.store().forget_claims(TENANTS[*tenant].to_owned(), self.now);
                let forgotten = self.runtime.block_on(forgotten).unwrap();
                let before = self.claims.len();
                let now = self.now;
                let stays = |at: &At, claim: &Found| {
                    at.0 != *tenant || claim.entry.state == ClaimState::InFlight || claim.entry.expires_at > now
                };
                self.claims.retain(|at, claim| stays(at, claim));
                assert_eq!(forgotten, before - self.claims.len());
            }
            Op::Crash | Op::Reopen => self.restart(matches!(op, Op::Crash)),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn edit(&self, at: At, change: ClaimChange) -> Result<(), ClaimFault> {
        let edit = ClaimEdit { tenant: TENANTS[at.0].to_owned(), place: place(at), change, at: self.now };
        self.runtime.block_on(self.store().claim(edit))
    }

    /// The rules of who may take a key.
    fn make_room(&mut self, at: At, fingerprint: &[u8; 32], bytes: u64, quota: &ClaimQuota) -> Result<(), ClaimFault> {
        let there = self.claims.get(&at).map(|claim| &claim.entry);
        if matches!(judge(there, fingerprint, self.now), Verdict::Replay | Verdict::Reused) {
            return Err(ClaimFault::Taken);
        }
        self.claims.remove(&at);
        self.add(at.0, 1, bytes, quota)
    }

    /// Claims of a tenant, and bytes of their answers.
    fn usage(&self, tenant: usize) -> (u64, u64) {
        let theirs = self.claims.iter().filter(|(at, _)| at.0 == tenant);
        theirs.fold((0, 0), |(keys, bytes), (_, claim)| (keys + 1, bytes + kept(claim)))
    }

    /// The rules of who leaves for something.
    fn add(&mut self, tenant: usize, keys: u64, bytes: u64, quota: &ClaimQuota) -> Result<(), ClaimFault> {
        let before = self.usage(tenant);
        let finished =
            self.claims.iter().filter(|(at, claim)| at.0 == tenant && claim.entry.state != ClaimState::InFlight);
        let mut oldest: Vec<(u64, At)> = finished.map(|(at, claim)| (claim.entry.expires_at, *at)).collect();
        oldest.sort_unstable();
        for (_, at) in oldest {
            let (used_keys, used_bytes) = self.usage(tenant);
            if used_keys + keys <= quota.keys && used_bytes + bytes <= quota.bytes {
                break;
            }
            self.claims.remove(&at);
        }
        let (used_keys, used_bytes) = self.usage(tenant);
        let has_keys = used_keys + keys <= quota.keys.max(before.0);
        let has_bytes = used_bytes + bytes <= (quota.bytes + quota.bytes / 8).max(before.1);
        if has_keys && has_bytes { Ok(()) } else { Err(ClaimFault::Full) }
    }

    fn accept(&mut self, at: At, fingerprint: [u8; 32], length: usize, quota: ClaimQuota) {
        let event = NewEvent { tenant: TENANTS[at.0].into(), accepted_at: self.now, ..event() };
        let (id, expires_at, told) = (event.id, self.now + TTL, answer(length));
        let claim = NewClaim { place: place(at), fingerprint, expires_at, quota, answer: told.clone(), begun: false };
        let bytes = event_bytes(&event);
        let accepted = self.store().accept(event, Some(claim), bytes, u64::MAX).unwrap();
        let accepted = self.runtime.block_on(accepted).unwrap();
        assert_eq!(accepted, self.make_room(at, &fingerprint, length as u64 + 12, &quota).map_err(AcceptError::Claim));
        let kept = self.runtime.block_on(self.store().status(TENANTS[at.0], id)).unwrap();
        assert_eq!(kept.is_some(), accepted.is_ok());
        if accepted.is_ok() {
            let entry = Entry { fingerprint, state: ClaimState::Completed, expires_at };
            self.claims.insert(at, Found { entry, event: Some(id), answer: Some(told) });
            self.events.push((at.0, id));
        }
    }

    fn restart(&mut self, crash: bool) {
        if crash {
            let after = tempfile::tempdir().unwrap();
            for name in ["ledger.db", "ledger.db-wal"] {
                let from = self.dir.path().join(name);
                if from.exists() {
                    std::fs::copy(from, after.path().join(name)).unwrap();
                }
            }
            self.store = None;
            self.dir = after;
        }
        self.store = None;
        self.store = Some(open(self.dir.path(), self.now, 12).unwrap());
        for claim in self.claims.values_mut().filter(|claim| claim.entry.state == ClaimState::InFlight) {
            claim.entry.state = ClaimState::Unknown;
        }
    }

    fn compare(&self) {
        for at in (0..TENANTS.len()).flat_map(|tenant| (0u8..6).map(move |key| (tenant, key))) {
            let found = self.runtime.block_on(self.store().find_claim(TENANTS[at.0], &place(at))).unwrap();
            assert_eq!(found.as_ref(), self.claims.get(&at), "{at:?}");
        }
        for (tenant, id) in &self.events {
            assert!(self.runtime.block_on(self.store().status(TENANTS[*tenant], *id)).unwrap().is_some());
        }
        let conn = Connection::open(self.dir.path().join("ledger.db")).unwrap();
        for (tenant, name) in TENANTS.iter().enumerate() {
            let sql = "SELECT coalesce(sum(keys), 0), coalesce(sum(bytes), 0) FROM claim_usage WHERE tenant = ?1";
            let usage: (i64, i64) = conn.query_row(sql, (name,), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!((usage.0.cast_unsigned(), usage.1.cast_unsigned()), self.usage(tenant));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn keys_agree_with_their_twin(ops in proptest::collection::vec(any_op(), 1..80)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
            if matches!(op, Op::Crash | Op::Reopen) {
                pair.compare();
            }
        }
        pair.compare();
    }
}
