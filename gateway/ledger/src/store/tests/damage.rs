//! Files that were cut off or rotted: what is whole is served, what is not is never sent.

use std::collections::HashMap;

use sluis_model::event::{EventSink, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::schedule::Pick;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::*;
use super::{event, open};
use crate::backlog::event_bytes;

const EVENTS: usize = 24;

/// A ledger's files with every event in them, and the length that the log had when each was acknowledged.
struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
    events: Vec<NewEvent>,
    acknowledged: Vec<u64>,
    runtime: Runtime,
}

impl Image {
    /// Taken from a running store, or (`closed`) after its end, when everything is in the main file.
    fn take(closed: bool) -> Image {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), 0, i32::MAX).unwrap();
        let (mut events, mut acknowledged) = (Vec::new(), Vec::new());
        let log = dir.path().join("ledger.db-wal");
        for n in 0..EVENTS {
            let event = NewEvent {
                event_type: format!("type-{n}").into(),
                key: Some(format!("key-{n}")),
                body: vec![n as u8; n * 97].into(),
                sinks: vec![EventSink { name: "erp".into(), in_order: true, compacts: false }],
                causation_id: (n % 2 == 0).then(Uuid::now_v7),
                attributes: vec![("subject".to_owned(), format!("order {n}"))],
                accepted_at: n as u64,
                ..event()
            };
            let answer = store.accept(event.clone(), None, event_bytes(&event), u64::MAX).unwrap();
            runtime.block_on(answer).unwrap().unwrap();
            acknowledged.push(log.metadata().unwrap().len());
            events.push(event);
        }
        if closed {
            drop(store);
            let database = std::fs::read(dir.path().join("ledger.db")).unwrap();
            return Image { database, log: Vec::new(), events, acknowledged, runtime };
        }
        let database = std::fs::read(dir.path().join("ledger.db")).unwrap();
        Image { database, log: std::fs::read(log).unwrap(), events, acknowledged, runtime }
    }

    fn write(database: &[u8], log: &[u8]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ledger.db"), database).unwrap();
        if !log.is_empty() {
            std::fs::write(dir.path().join("ledger.db-wal"), log).unwrap();
        }
        dir
    }

    /// Opens damaged files, checks that nothing comes out that did not go in, and answers how many events came out.
    /// None where the files or what is in them were refused.
    fn survivors(&self, database: &[u8], log: &[u8]) -> Option<Vec<Uuid>> {
        let dir = Image::write(database, log);
        let store = open(dir.path(), 1_000, i32::MAX).ok()?;
        let picks = vec![Pick { lane: Lane::Normal, tenant: "acme".into(), slots: EVENTS * 2, from: 0 }];
        let due = self.runtime.block_on(store.due(&"erp".into(), u64::MAX / 4, picks, usize::MAX)).ok()?;
        let known: HashMap<Uuid, &NewEvent> = self.events.iter().map(|event| (event.id, event)).collect();
        for (_, delivery) in &due.deliveries {
            let original = known.get(&delivery.event_id).expect("nothing is invented");
            let same = (&delivery.body, &delivery.event_type, &delivery.key, &delivery.tenant, delivery.accepted_at)
                == (&original.body, &original.event_type, &original.key, &original.tenant, original.accepted_at)
                && (&delivery.attributes, delivery.causation_id) == (&original.attributes, original.causation_id);
            assert!(same, "what would be sent is what was accepted");
        }
        Some(due.deliveries.iter().map(|(_, delivery)| delivery.event_id).collect())
    }

    fn prefix(&self, events: usize) -> Vec<Uuid> {
        self.events[..events].iter().map(|event| event.id).collect()
    }
}

/// A fixed sequence that looks random (xorshift).
fn scattered(below: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    })
    .take(count)
}

#[test]
fn a222_a_log_cut_anywhere_serves_every_event_that_was_whole() {
    let image = Image::take(false);
    let mut cuts: Vec<usize> = scattered(image.log.len(), 60).collect();
    for end in &image.acknowledged {
        let end = *end as usize;
        cuts.extend([end - 1, end, (end + 1).min(image.log.len())]);
    }
    // Before the first acknowledgement even the tables may be missing.
    let first = image.acknowledged[0] as usize;
    for cut in cuts.into_iter().filter(|cut| *cut >= first) {
        let whole = image.acknowledged.iter().take_while(|end| **end as usize <= cut).count();
        assert_eq!(image.survivors(&image.database, &image.log[..cut]), Some(image.prefix(whole)), "cut at {cut}");
    }
}

#[test]
fn a223_a_flipped_bit_in_the_log_ends_it_there() {
    let image = Image::take(false);
    for position in scattered(image.log.len() * 8, 150) {
        let mut log = image.log.clone();
        log[position / 8] ^= 1 << (position % 8);
        if let Some(survivors) = image.survivors(&image.database, &log) {
            assert_eq!(survivors, image.prefix(survivors.len()), "bit {position}");
        }
    }
}

#[test]
fn a223_a225_a_rotten_main_file_is_refused_or_sends_nothing_false() {
    let image = Image::take(true);
    assert_eq!(image.survivors(&image.database, &[]), Some(image.prefix(EVENTS)));
    let mut refused_or_fewer = 0;
    for position in scattered(image.database.len() * 8, 250) {
        let mut database = image.database.clone();
        database[position / 8] ^= 1 << (position % 8);
        refused_or_fewer += usize::from(image.survivors(&database, &[]).is_none_or(|s| s.len() < EVENTS));
    }
    assert!(refused_or_fewer > 50, "most bits of a small ledger matter: {refused_or_fewer}");
    let page = 1024;
    let pages = image.database.len() / page;
    for at in 0..pages {
        let mut zeroed = image.database.clone();
        zeroed[at * page..(at + 1) * page].fill(0);
        image.survivors(&zeroed, &[]);
        let mut swapped = image.database.clone();
        let other = (at + 1) % pages;
        swapped.copy_within(other * page..(other + 1) * page, at * page);
        image.survivors(&swapped, &[]);
    }
}
