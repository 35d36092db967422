//! The end of retention: events that are final go after their time, completed ones earlier where room is needed; what
//! tenants keep goes when it has expired.

use std::time::Duration;

use crate::ledger::Ledger;
use crate::store::Purgeable;

/// Rows looked at in one question and removed in one transaction: few, as accepts wait behind it.
const BATCH: usize = 256;
/// The same where room is needed: no more goes than must.
const STEP: usize = 64;
/// Steps without a find after which a search for something that may go early rests until the next tick.
const FRUITLESS: usize = 64;

/// Where a walk that makes room goes on: what lies before is mostly open.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    after: i64,
}

/// Removes what has expired of the tenants' state and keys. Nobody is shown it any more; this gives its room back.
pub(crate) async fn forget_expired(ledger: &Ledger) {
    let now = ledger.clock.now();
    while let Ok(keys) = ledger.store.kv_expired(now, BATCH).await
        && !keys.is_empty()
        && ledger.store.kv_forget(keys, now).await.is_ok_and(|removed| removed > 0)
    {}
    for tenant in ledger.store.claim_tenants().await.unwrap_or_default() {
        while ledger.store.forget_claims(tenant.clone(), now).await.is_ok_and(|removed| removed > 0) {}
    }
}

/// One walk over the events that are old enough, oldest first.
pub(crate) async fn retention(ledger: &Ledger) {
    let now = ledger.clock.now();
    let before = |kept: Duration| now.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    let (completed_before, dead_before) = (before(ledger.settings.retention), before(ledger.settings.dead_retention));
    let accepted_before = completed_before.max(dead_before);
    let mut ask = Purgeable { after: 0, scan: BATCH, bytes: u64::MAX, accepted_before, completed_before, dead_before };
    loop {
        let Ok((events, next)) = ledger.store.purgeable(ask).await else { return };
        if !events.is_empty() && !remove(ledger, events, now, false).await {
            return;
        }
        match next {
            Some(next) => ask.after = next,
            None => return,
        }
    }
}

/// Removes the oldest completed events until there is room again, and no more. A store full of open ones has none to
/// give: the search then rests, and goes on where it was.
pub(crate) async fn make_room(ledger: &Ledger, walk: &mut Walk) {
    let room = &ledger.store.shared.room;
    if !room.is_overfull() {
        return;
    }
    let now = ledger.clock.now();
    let dead = u64::try_from(ledger.settings.dead_retention.as_millis()).unwrap_or(u64::MAX);
    let (completed_before, dead_before) = (u64::MAX, now.saturating_sub(dead));
    let mut fruitless = 0;
    while let Some(bytes) = room.excess()
        && fruitless < FRUITLESS
    {
        let ask = Purgeable {
            after: walk.after,
            scan: STEP,
            bytes,
            accepted_before: u64::MAX,
            completed_before,
            dead_before,
        };
        let Ok((events, next)) = ledger.store.purgeable(ask).await else { return };
        fruitless = if events.is_empty() { fruitless + 1 } else { 0 };
        if !events.is_empty() && !remove(ledger, events, now, true).await {
            return;
        }
        walk.after = next.unwrap_or(0);
        if next.is_none() {
            return;
        }
    }
}

/// False where storage did not do it.
async fn remove(ledger: &Ledger, events: Vec<i64>, now: u64, early: bool) -> bool {
    let removed = ledger.store.purge(events, now).await;
    removed.is_ok_and(|removed| {
        ledger.observer.purged(removed, early);
        true
    })
}
