//! The end of retention: events that are final go after their time, completed ones earlier where room is needed; what
//! tenants keep goes when it has expired.

use std::sync::Arc;
use std::time::Duration;

use sluis_model::event::DeliveryState;
use tokio::sync::watch;

use crate::deliver::down;
use crate::ledger::Ledger;
use crate::store::Purgeable;

/// Rows looked at in one question and removed in one transaction: few, as accepts wait behind it.
const BATCH: usize = 256;
/// Between two looks at everything.
const PERIOD: Duration = Duration::from_secs(60);
/// Between two looks at what is oldest and whether there is room.
const TICK: Duration = Duration::from_secs(1);

/// Runs until `shutdown` turns true.
pub(crate) async fn run(ledger: Arc<Ledger>, mut shutdown: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut oldest_from = 0;
    let mut early_after = 0;
    let mut since_purge = PERIOD;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = down(&mut shutdown) => return,
        }
        if let Ok((oldest, from)) = ledger.store.oldest(oldest_from).await {
            ledger.store.shared.room.set_oldest(oldest);
            oldest_from = from;
        }
        let early = ledger.store.shared.room.is_overfull() && ledger.backlog().count(DeliveryState::Delivered) > 0;
        since_purge += TICK;
        if early || since_purge >= PERIOD {
            since_purge = Duration::ZERO;
            forget_expired(&ledger).await;
            // Early walks go on where the last one ended: what lies before is mostly open.
            let after = if early { early_after } else { 0 };
            tokio::select! {
                stopped = pass(&ledger, early, after) => early_after = stopped,
                () = down(&mut shutdown) => return,
            }
        }
    }
}

/// Removes what has expired of the tenants' state and keys. Nobody is shown it any more; this gives its room back.
async fn forget_expired(ledger: &Ledger) {
    let now = ledger.clock.now();
    while let Ok(keys) = ledger.store.kv_expired(now, BATCH).await
        && !keys.is_empty()
        && ledger.store.kv_forget(keys, now).await.is_ok_and(|removed| removed > 0)
    {}
    for tenant in ledger.store.claim_tenants().await.unwrap_or_default() {
        while ledger.store.forget_claims(tenant.clone(), now).await.is_ok_and(|removed| removed > 0) {}
    }
}

/// One walk over the events that are old enough, oldest first. An early one ends when there is room again. Answers where
/// it stopped, 0 for the end.
async fn pass(ledger: &Ledger, early: bool, mut after: i64) -> i64 {
    let now = ledger.clock.now();
    let before = |kept: Duration| now.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    let (completed, dead) = (ledger.settings.retention, ledger.settings.dead_retention);
    let completed_before = if early { u64::MAX } else { before(completed) };
    let dead_before = before(dead);
    let accepted_before = completed_before.max(dead_before);
    loop {
        let ask = Purgeable { after, scan: BATCH, accepted_before, completed_before, dead_before };
        let Ok((events, next)) = ledger.store.purgeable(ask).await else { return after };
        if !events.is_empty() {
            match ledger.store.purge(events, now).await {
                Ok(purged) => ledger.observer.purged(purged, early),
                Err(_) => return after,
            }
        }
        match next {
            Some(next) if early && !ledger.store.shared.room.is_overfull() => return next,
            Some(next) => after = next,
            None => return 0,
        }
    }
}
