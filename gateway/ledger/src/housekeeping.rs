//! What the ledger does for itself once a second: looks at its disk and at what is oldest, removes what may go, and gives
//! the file system back what is free.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::deliver::down;
use crate::ledger::Ledger;
use crate::purge::{self, Walk};

/// Between two looks at what is oldest, at the disk, and whether there is room.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks at everything.
const PERIOD: Duration = Duration::from_secs(60);
/// Transactions in one look that give pages back.
const SHRINK_STEPS: usize = 8;

/// Runs until `shutdown` turns true.
pub(crate) async fn run(ledger: Arc<Ledger>, mut shutdown: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut oldest_from = 0;
    let mut early = Walk::default();
    let mut since_purge = PERIOD;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = down(&mut shutdown) => return,
        }
        look_at_disk(&ledger);
        let room = &ledger.store.shared.room;
        oldest_from = room.search_from(oldest_from);
        if let Ok((oldest, from)) = ledger.store.oldest(oldest_from).await {
            room.set_oldest(oldest);
            oldest_from = from;
        }
        since_purge += TICK;
        let all = since_purge >= PERIOD;
        if all {
            since_purge = Duration::ZERO;
        }
        let work = async {
            if all {
                purge::forget_expired(&ledger).await;
                purge::retention(&ledger).await;
            }
            purge::make_room(&ledger, &mut early).await;
            shrink(&ledger).await;
        };
        tokio::select! {
            () = work => {}
            () = down(&mut shutdown) => return,
        }
    }
}

/// Tells the room what the disk lets in. A disk that cannot be asked lets everything in: writing will tell.
fn look_at_disk(ledger: &Ledger) {
    match ledger.store.disk() {
        Ok(disk) => {
            let least = disk.least(&ledger.settings.shedding, ledger.min_free);
            if least.is_none() && !ledger.store.shared.room.is_disk_full() {
                tracing::error!(free = disk.free, "the ledger's disk is full: nothing is accepted until there is room");
            }
            ledger.store.shared.room.set_disk(least);
        }
        Err(error) => tracing::warn!(%error, "the ledger's disk cannot be looked at"),
    }
}

/// Gives a part of the database's free pages back to the file system where it has too many of them; the others are used
/// again by what comes.
async fn shrink(ledger: &Ledger) {
    for _ in 0..SHRINK_STEPS {
        match ledger.store.pages().await {
            Ok(pages) if pages.is_hollow() && ledger.store.shrink().await.is_ok() => {}
            _ => return,
        }
    }
}
