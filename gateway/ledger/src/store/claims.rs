//! Idempotency keys, as statements of the running transaction.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::NewEvent;
use sluis_model::idempotency::{ClaimState, Entry, Verdict, judge};
use uuid::Uuid;

use crate::claims::{ClaimFault, Found, NewClaim, Place, StoredAnswer};

/// Finished claims that leave in one step: everybody else waits behind it.
const FORGOTTEN: i64 = 64;

/// A change of one claim.
#[derive(Debug)]
pub(crate) struct ClaimEdit {
    pub tenant: String,
    pub place: Place,
    pub change: ClaimChange,
    /// Milliseconds since the epoch.
    pub at: u64,
}

/// What is to be changed.
#[derive(Debug)]
pub(crate) enum ClaimChange {
    /// A request is about to be sent under this key.
    Begin { fingerprint: [u8; 32], expires_at: u64, max_keys: u64 },
    /// It was answered; a repetition is told the same.
    Complete { answer: StoredAnswer, expires_at: u64 },
    /// Nobody knows what became of it, where it was not answered.
    Unknown,
    /// It may be sent anew, where it was not answered.
    Release,
}

/// The tables `claims` and `claim_usage`.
pub(crate) struct ClaimTables<'c> {
    get: Statement<'c>,
    put: Statement<'c>,
    finish: Statement<'c>,
    unknown: Statement<'c>,
    remove: Statement<'c>,
    remove_open: Statement<'c>,
    usage: Statement<'c>,
    add_usage: Statement<'c>,
    oldest: Statement<'c>,
}

impl<'c> ClaimTables<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<ClaimTables<'c>> {
        let sql = |text: &str| conn.prepare(text);
        Ok(ClaimTables {
            get: sql("SELECT fingerprint, state, expires_at FROM claims
                WHERE tenant = ?1 AND route = ?2 AND key = ?3")?,
            put: sql("INSERT OR REPLACE INTO claims
                (tenant, route, key, fingerprint, state, event, status, head, body, claimed_at, expires_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?,
            finish: sql("UPDATE claims SET state = ?4, status = ?5, head = ?6, body = ?7, expires_at = ?8
                WHERE tenant = ?1 AND route = ?2 AND key = ?3")?,
            unknown: sql("UPDATE claims SET state = 2 WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND state = 0")?,
            remove: sql("DELETE FROM claims WHERE tenant = ?1 AND route = ?2 AND key = ?3")?,
            remove_open: sql("DELETE FROM claims WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND state = 0")?,
            usage: sql("SELECT keys FROM claim_usage WHERE tenant = ?1")?,
            add_usage: sql("INSERT INTO claim_usage (tenant, keys) VALUES (?1, ?2)
                ON CONFLICT (tenant) DO UPDATE SET keys = keys + excluded.keys")?,
            oldest: sql("SELECT route, key FROM claims INDEXED BY claims_expiry
                WHERE tenant = ?1 AND state <> 0 AND expires_at <= ?2 ORDER BY expires_at LIMIT ?3")?,
        })
    }

    /// The claim of an event that is accepted in the same transaction: from nothing, or from what it began, to completed.
    pub fn complete_new(&mut self, event: &NewEvent, claim: &NewClaim) -> rusqlite::Result<Result<(), ClaimFault>> {
        let tenant = &*event.tenant;
        let place = &claim.place;
        // One that was begun has its room, and is replaced.
        if !(claim.begun && self.is_in_flight(tenant, place)?)
            && let Err(fault) = self.make_room(tenant, place, &claim.fingerprint, claim.max_keys, event.accepted_at)?
        {
            return Ok(Err(fault));
        }
        self.put.execute(rusqlite::params![
            tenant,
            place.route,
            place.key,
            claim.fingerprint,
            ClaimState::Completed as u8,
            event.id.as_bytes(),
            claim.answer.status,
            claim.answer.head_text(),
            &claim.answer.body[..],
            event.accepted_at.cast_signed(),
            claim.expires_at.cast_signed(),
        ])?;
        Ok(Ok(()))
    }

    pub fn edit(&mut self, edit: &ClaimEdit) -> rusqlite::Result<Result<(), ClaimFault>> {
        let ClaimEdit { tenant, place, change, at } = edit;
        let Place { route, key } = place;
        match change {
            ClaimChange::Begin { fingerprint, expires_at, max_keys } => {
                if let Err(fault) = self.make_room(tenant, place, fingerprint, *max_keys, *at)? {
                    return Ok(Err(fault));
                }
                let (state, none) = (ClaimState::InFlight as u8, None::<i64>);
                let (at, expires_at) = (at.cast_signed(), expires_at.cast_signed());
                self.put.execute(rusqlite::params![
                    tenant,
                    route,
                    key,
                    fingerprint,
                    state,
                    none,
                    none,
                    none,
                    none,
                    at,
                    expires_at
                ])?;
            }
            ClaimChange::Complete { answer, expires_at } => {
                self.finish.execute(rusqlite::params![
                    tenant,
                    route,
                    key,
                    ClaimState::Completed as u8,
                    answer.status,
                    answer.head_text(),
                    &answer.body[..],
                    expires_at.cast_signed()
                ])?;
            }
            ClaimChange::Unknown => {
                self.unknown.execute((tenant, route, key))?;
            }
            // An accept whose caller did not wait for its end may have completed it.
            ClaimChange::Release => {
                let removed = self.remove_open.execute((tenant, route, key))?;
                self.count_removed(tenant, removed)?;
            }
        }
        Ok(Ok(()))
    }

    fn is_in_flight(&mut self, tenant: &str, place: &Place) -> rusqlite::Result<bool> {
        let there = self.get.query_row((tenant, &place.route, &place.key), read_entry).optional()?;
        Ok(there.is_some_and(|entry| entry.state == ClaimState::InFlight))
    }

    /// The event of this claim was not kept after all: nothing was done in the key's name, unless it was begun.
    pub fn undo(&mut self, tenant: &str, claim: &NewClaim) -> rusqlite::Result<()> {
        let Place { route, key } = &claim.place;
        match claim.begun {
            true => {
                self.finish.execute(rusqlite::params![
                    tenant,
                    route,
                    key,
                    ClaimState::Unknown as u8,
                    None::<u16>,
                    None::<&str>,
                    None::<&[u8]>,
                    claim.expires_at.cast_signed()
                ])?;
                Ok(())
            }
            false => self.release(tenant, &claim.place),
        }
    }

    /// Room for one more claim at this place: an expired one leaves, and the oldest finished ones where there are too
    /// many. One that was answered, or stands for another request, is never taken over.
    fn make_room(
        &mut self,
        tenant: &str,
        place: &Place,
        fingerprint: &[u8; 32],
        max_keys: u64,
        now: u64,
    ) -> rusqlite::Result<Result<(), ClaimFault>> {
        let there = self.get.query_row((tenant, &place.route, &place.key), read_entry).optional()?;
        match judge(there.as_ref(), fingerprint, now) {
            Verdict::New => {}
            // The route lets its requests be sent again, or its caller would not ask. In flight it is the caller's own.
            Verdict::Unknown | Verdict::InProgress => {}
            Verdict::Replay | Verdict::Reused => return Ok(Err(ClaimFault::Taken)),
        }
        if there.is_some() {
            self.release(tenant, place)?;
        }
        let max_keys = i64::try_from(max_keys).unwrap_or(i64::MAX);
        let used: i64 = self.usage.query_row((tenant,), |row| row.get(0)).optional()?.unwrap_or(0);
        // More than one where the tenant may have fewer than before, a few at a time.
        let too_many = used.saturating_sub(max_keys).saturating_add(1);
        if too_many > 0 && self.forget_oldest(tenant, i64::MAX, too_many)? == 0 {
            return Ok(Err(ClaimFault::Full));
        }
        self.add_usage.execute((tenant, 1))?;
        Ok(Ok(()))
    }

    /// Removes a few of the tenant's claims that have expired.
    pub fn forget_expired(&mut self, tenant: &str, now: u64) -> rusqlite::Result<usize> {
        self.forget_oldest(tenant, now.cast_signed(), FORGOTTEN)
    }

    /// Removes finished claims of the tenant, at most `count` and a few, oldest first: those that expire until `until`.
    fn forget_oldest(&mut self, tenant: &str, until: i64, count: i64) -> rusqlite::Result<usize> {
        let oldest: Vec<Place> = self
            .oldest
            .query_map((tenant, until, count.min(FORGOTTEN)), |row| Ok(Place { route: row.get(0)?, key: row.get(1)? }))?
            .collect::<rusqlite::Result<_>>()?;
        for place in &oldest {
            self.release(tenant, place)?;
        }
        Ok(oldest.len())
    }

    pub fn release(&mut self, tenant: &str, place: &Place) -> rusqlite::Result<()> {
        let removed = self.remove.execute((tenant, &place.route, &place.key))?;
        self.count_removed(tenant, removed)
    }

    fn count_removed(&mut self, tenant: &str, removed: usize) -> rusqlite::Result<()> {
        if removed > 0 {
            self.add_usage.execute((tenant, -1))?;
        }
        Ok(())
    }
}

/// Claims of a process that is gone: nobody knows what became of their requests.
pub(crate) fn recover(conn: &Connection) -> rusqlite::Result<usize> {
    let (unknown, in_flight) = (ClaimState::Unknown as u8, ClaimState::InFlight as u8);
    conn.execute("UPDATE claims SET state = ?1 WHERE state = ?2", (unknown, in_flight))
}

/// Questions to the table `claims`.
pub(crate) struct ClaimQueries<'c> {
    get: Statement<'c>,
    tenants: Statement<'c>,
}

impl<'c> ClaimQueries<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<ClaimQueries<'c>> {
        Ok(ClaimQueries {
            get: conn.prepare(
                "SELECT fingerprint, state, expires_at, event, status, head, body FROM claims
                 WHERE tenant = ?1 AND route = ?2 AND key = ?3",
            )?,
            tenants: conn.prepare("SELECT tenant FROM claim_usage WHERE keys > 0")?,
        })
    }

    /// What stands at this place.
    pub fn get(&mut self, tenant: &str, place: &Place) -> rusqlite::Result<Option<Found>> {
        let found = self.get.query_row((tenant, &place.route, &place.key), |row| {
            let answer = match row.get::<_, Option<u16>>(4)? {
                None => None,
                Some(status) => Some(StoredAnswer::read(status, row.get(5)?, row.get(6)?)),
            };
            let event = row.get::<_, Option<[u8; 16]>>(3)?.map(Uuid::from_bytes);
            Ok(Found { entry: read_entry(row)?, event, answer })
        });
        found.optional()
    }

    /// Tenants that have any.
    pub fn tenants(&mut self) -> rusqlite::Result<Vec<String>> {
        self.tenants.query_map((), |row| row.get(0))?.collect()
    }
}

/// Reads `fingerprint, state, expires_at`.
fn read_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let number: u32 = row.get(1)?;
    let state = ClaimState::ALL.get(number as usize).copied();
    Ok(Entry {
        fingerprint: row.get(0)?,
        state: state.ok_or(rusqlite::Error::IntegralValueOutOfRange(1, i64::from(number)))?,
        expires_at: row.get::<_, i64>(2)?.cast_unsigned(),
    })
}
