//! The tenants' state: durable, apart from each other, bounded, and gone when its time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sluis_ledger::Ledger;
use sluis_ledger::clock::ManualClock;
use sluis_model::kv::{Edit, Edited, Entry, Kv, KvFault, Write, apply, cost};
use tokio::task::JoinSet;

use crate::support::{NEW_YEAR, open};

const QUOTA: u64 = 1 << 20;

async fn set(ledger: &Ledger, tenant: &str, key: &str, value: &[u8], ttl: Option<u64>) -> Result<Edited, KvFault> {
    let ttl = ttl.map(Duration::from_secs);
    ledger.edit(tenant, key, Edit::Set { value: value.to_vec(), ttl }, QUOTA).await
}

async fn add(ledger: &Ledger, key: &str, quota: u64) -> Result<Edited, KvFault> {
    ledger.edit("acme", key, Edit::Add { by: 1, ttl: None }, quota).await
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_and_only_for_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    set(&ledger, "acme", "next", b"17", None).await.unwrap();
    set(&ledger, "globex", "next", b"99", None).await.unwrap();
    ledger.close().await;
    assert_eq!(set(&ledger, "acme", "next", b"18", None).await, Err(KvFault::Unavailable));
    drop(ledger);
    let ledger = open(dir.path(), &clock);
    assert_eq!(ledger.get("acme", "next").await, Ok(Some(b"17".to_vec())));
    assert_eq!(ledger.get("globex", "next").await, Ok(Some(b"99".to_vec())));
    assert_eq!(ledger.get("initech", "next").await, Ok(None));
    assert_eq!(ledger.edit("initech", "next", Edit::Delete, QUOTA).await, Ok(Edited::Done(false)));
}

#[tokio::test]
async fn of_a_hundred_that_add_at_once_each_gets_a_number_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let ledger = Arc::clone(&ledger);
        callers.spawn(async move { add(&ledger, "number", QUOTA).await });
    }
    let mut sums: Vec<i64> = Vec::new();
    for answer in callers.join_all().await {
        match answer {
            Ok(Edited::Sum(sum)) => sums.push(sum),
            other => panic!("{other:?}"),
        }
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_expired_is_not_there_and_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NEW_YEAR);
    let ledger = open(dir.path(), &clock);
    let quota = 10 * cost("k0", &[0; 1000]);
    let keep = async |key: &str| {
        let edit = Edit::Set { value: vec![0; 1000], ttl: Some(Duration::from_secs(60)) };
        ledger.edit("acme", key, edit, quota).await
    };
    for n in 0..10 {
        assert_eq!(keep(&format!("k{n}")).await, Ok(Edited::Done(true)), "k{n}");
    }
    assert_eq!(keep("ka").await, Err(KvFault::Quota));
    assert_eq!(set(&ledger, "globex", "ka", &[0; 1000], None).await, Ok(Edited::Done(true)), "a share of its own");
    // In the place of one that is there it needs no more room.
    assert_eq!(keep("k0").await, Ok(Edited::Done(true)));
    clock.advance(Duration::from_secs(60));
    assert_eq!(ledger.get("acme", "k0").await, Ok(None));
    assert_eq!(keep("ka").await, Ok(Edited::Done(true)));
    assert_eq!(add(&ledger, "k1", quota).await, Ok(Edited::Sum(1)), "an expired value is none");
}

#[tokio::test]
async fn keys_and_values_out_of_bounds_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &ManualClock::at(NEW_YEAR));
    assert_eq!(set(&ledger, "acme", "", b"x", None).await, Err(KvFault::Key));
    assert_eq!(set(&ledger, "acme", &"k".repeat(257), b"x", None).await, Err(KvFault::Key));
    assert_eq!(ledger.get("acme", "").await, Err(KvFault::Key));
    assert_eq!(set(&ledger, "acme", "k", &vec![0; 65_537], None).await, Err(KvFault::Value));
    assert_eq!(ledger.get("acme", "k").await, Ok(None));
    set(&ledger, "acme", "k", b"not a number", None).await.unwrap();
    assert_eq!(add(&ledger, "k", QUOTA).await, Err(KvFault::Value));
    assert_eq!(ledger.get("acme", "k").await, Ok(Some(b"not a number".to_vec())));
}

#[derive(Debug, Clone)]
enum Op {
    Edit { tenant: usize, key: usize, edit: Edit },
    Advance(u64),
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let ttl = proptest::option::of((0u64..4).prop_map(Duration::from_secs));
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        (0i64..5).prop_map(|number| number.to_string().into_bytes())
    ];
    let edit = prop_oneof![
        4 => (value.clone(), ttl.clone()).prop_map(|(value, ttl)| Edit::Set { value, ttl }),
        2 => (proptest::option::of(value.clone()), value, ttl.clone())
            .prop_map(|(expected, value, ttl)| Edit::Swap { expected, value, ttl }),
        2 => ((-3i64..3), ttl).prop_map(|(by, ttl)| Edit::Add { by, ttl }),
        1 => Just(Edit::Delete),
    ];
    prop_oneof![
        12 => (0usize..2, 0usize..4, edit).prop_map(|(tenant, key, edit)| Op::Edit { tenant, key, edit }),
        2 => (0u64..3).prop_map(Op::Advance),
        1 => Just(Op::Reopen),
    ]
}

/// What the ledger keeps, kept in memory: by tenant and key, expired entries gone.
#[derive(Default)]
struct Twin {
    entries: HashMap<(usize, usize), Entry>,
}

impl Twin {
    fn edit(&mut self, tenant: usize, key: usize, edit: Edit, now: u64) -> Result<Edited, KvFault> {
        self.entries.retain(|_, entry| entry.expires_at.is_none_or(|at| at > now));
        let before = self.entries.get(&(tenant, key)).cloned();
        let (write, edited) = apply(edit, before.clone(), now)?;
        match write {
            Write::Keep => {}
            Write::Remove => drop(self.entries.remove(&(tenant, key))),
            Write::Put(entry) => {
                self.entries.insert((tenant, key), entry);
                let grew = self.entries[&(tenant, key)].value.len() > before.as_ref().map_or(0, |e| e.value.len());
                if (before.is_none() || grew) && self.bytes(tenant) > SMALL {
                    match before {
                        Some(before) => self.entries.insert((tenant, key), before),
                        None => self.entries.remove(&(tenant, key)),
                    };
                    return Err(KvFault::Quota);
                }
            }
        }
        Ok(edited)
    }

    fn bytes(&self, tenant: usize) -> u64 {
        let own = self.entries.iter().filter(|((t, _), _)| *t == tenant);
        own.map(|((_, key), entry)| cost(KEYS[*key], &entry.value)).sum()
    }
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const TENANTS: [&str; 2] = ["acme", "globex"];
/// About three of the values.
const SMALL: u64 = 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_its_twin_does(ops in proptest::collection::vec(any_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NEW_YEAR);
        let mut now = NEW_YEAR;
        let mut ledger = Some(open(dir.path(), &clock));
        let mut twin = Twin::default();
        for op in ops {
            match op {
                Op::Edit { tenant, key, edit } => {
                    let expected = twin.edit(tenant, key, edit.clone(), now);
                    let store = ledger.as_ref().unwrap();
                    let done = runtime.block_on(store.edit(TENANTS[tenant], KEYS[key], edit, SMALL));
                    prop_assert_eq!(done, expected);
                }
                Op::Advance(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    now += seconds * 1000;
                }
                Op::Reopen => {
                    drop(ledger.take());
                    ledger = Some(open(dir.path(), &clock));
                }
            }
            let store = ledger.as_ref().unwrap();
            for (t, tenant) in TENANTS.iter().enumerate() {
                for (k, key) in KEYS.iter().enumerate() {
                    let there = twin.entries.get(&(t, k)).filter(|entry| entry.expires_at.is_none_or(|at| at > now));
                    let kept = runtime.block_on(store.get(tenant, key));
                    prop_assert_eq!(kept, Ok(there.map(|entry| entry.value.clone())));
                }
            }
        }
    }
}
