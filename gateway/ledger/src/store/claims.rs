//! Idempotency keys, as statements of the running transaction.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::NewEvent;
use sluis_model::idempotency::{ClaimState, Entry, Verdict, judge};
use uuid::Uuid;

use crate::claims::{ClaimFault, ClaimQuota, Found, NewClaim, Place, StoredAnswer};

/// Finished claims that leave in one step: everybody else waits behind it.
const FORGOTTEN: i64 = 64;

/// Bytes of the answer that is kept in a row, which stays unread for that.
macro_rules! answer_bytes {
    () => {
        "coalesce(octet_length(head), 0) + coalesce(length(body), 0)"
    };
}
pub(super) use answer_bytes;

/// The same of an answer that is to be kept.
fn kept_bytes(head: &str, body: &[u8]) -> i64 {
    (head.len() + body.len()) as i64
}

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
    Begin { fingerprint: [u8; 32], expires_at: u64, quota: ClaimQuota },
    /// It was answered; a repetition is told the same.
    Complete { answer: StoredAnswer, expires_at: u64, quota: ClaimQuota },
    /// Nobody knows what became of it, where it was not answered.
    Unknown,
    /// It may be sent anew, where it was not answered.
    Release,
}

/// What some claims take of their tenant's quota.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    keys: i64,
    bytes: i64,
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
            get: sql(concat!(
                "SELECT fingerprint, state, expires_at, ",
                answer_bytes!(),
                " FROM claims WHERE tenant = ?1 AND route = ?2 AND key = ?3"
            ))?,
            put: sql("INSERT OR REPLACE INTO claims
                (tenant, route, key, fingerprint, state, event, status, head, body, claimed_at, expires_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?,
            finish: sql("UPDATE claims SET state = ?5, status = ?6, head = ?7, body = ?8, expires_at = ?9
                WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND state = ?4")?,
            unknown: sql("UPDATE claims SET state = 2 WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND state = 0")?,
            remove: sql("DELETE FROM claims WHERE tenant = ?1 AND route = ?2 AND key = ?3")?,
            remove_open: sql("DELETE FROM claims WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND state = 0")?,
            usage: sql("SELECT keys, bytes FROM claim_usage WHERE tenant = ?1")?,
            add_usage: sql("INSERT INTO claim_usage (tenant, keys, bytes) VALUES (?1, ?2, ?3)
                ON CONFLICT (tenant) DO UPDATE SET keys = keys + excluded.keys, bytes = bytes + excluded.bytes")?,
            oldest: sql(concat!(
                "SELECT route, key, ",
                answer_bytes!(),
                " FROM claims INDEXED BY claims_expiry
                WHERE tenant = ?1 AND state <> 0 AND expires_at <= ?2 ORDER BY expires_at LIMIT ?3"
            ))?,
        })
    }

    /// The claim of an event that is accepted in the same transaction: from nothing, or from what it began, to completed.
    pub fn complete_new(&mut self, event: &NewEvent, claim: &NewClaim) -> rusqlite::Result<Result<(), ClaimFault>> {
        let (tenant, place, answer) = (&*event.tenant, &claim.place, &claim.answer);
        let head = answer.head_text();
        let bytes = kept_bytes(&head, &answer.body);
        // One that was begun has its place, and is replaced.
        let room = if claim.begun && self.is_in_flight(tenant, place)? {
            self.add(tenant, Usage { keys: 0, bytes }, &claim.quota)?
        } else {
            self.make_room(tenant, place, &claim.fingerprint, bytes, &claim.quota, event.accepted_at)?
        };
        if let Err(fault) = room {
            return Ok(Err(fault));
        }
        self.put.execute(rusqlite::params![
            tenant,
            place.route,
            place.key,
            claim.fingerprint,
            ClaimState::Completed as u8,
            event.id.as_bytes(),
            answer.status,
            head,
            &answer.body[..],
            event.accepted_at.cast_signed(),
            claim.expires_at.cast_signed(),
        ])?;
        Ok(Ok(()))
    }

    pub fn edit(&mut self, edit: &ClaimEdit) -> rusqlite::Result<Result<(), ClaimFault>> {
        let ClaimEdit { tenant, place, change, at } = edit;
        let Place { route, key } = place;
        match change {
            ClaimChange::Begin { fingerprint, expires_at, quota } => {
                if let Err(fault) = self.make_room(tenant, place, fingerprint, 0, quota, *at)? {
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
            ClaimChange::Complete { answer, expires_at, quota } => {
                return self.complete(tenant, place, answer, *expires_at, quota);
            }
            ClaimChange::Unknown => {
                self.unknown.execute((tenant, route, key))?;
            }
            // An accept whose caller did not wait for its end may have completed it.
            ClaimChange::Release => {
                if self.remove_open.execute((tenant, route, key))? > 0 {
                    self.count(tenant, Usage { keys: -1, bytes: 0 })?;
                }
            }
        }
        Ok(Ok(()))
    }

    /// From in flight to completed. What has no room stays in flight, and is refused.
    fn complete(
        &mut self,
        tenant: &str,
        place: &Place,
        answer: &StoredAnswer,
        expires_at: u64,
        quota: &ClaimQuota,
    ) -> rusqlite::Result<Result<(), ClaimFault>> {
        if !self.is_in_flight(tenant, place)? {
            return Ok(Ok(()));
        }
        let head = answer.head_text();
        let more = Usage { keys: 0, bytes: kept_bytes(&head, &answer.body) };
        if let Err(fault) = self.add(tenant, more, quota)? {
            return Ok(Err(fault));
        }
        self.finish.execute(rusqlite::params![
            tenant,
            place.route,
            place.key,
            ClaimState::InFlight as u8,
            ClaimState::Completed as u8,
            answer.status,
            head,
            &answer.body[..],
            expires_at.cast_signed()
        ])?;
        Ok(Ok(()))
    }

    fn is_in_flight(&mut self, tenant: &str, place: &Place) -> rusqlite::Result<bool> {
        let there = self.get.query_row((tenant, &place.route, &place.key), read_entry).optional()?;
        Ok(there.is_some_and(|entry| entry.state == ClaimState::InFlight))
    }

    /// The event of this claim was not kept after all: nothing was done in the key's name, unless it was begun.
    pub fn undo(&mut self, tenant: &str, claim: &NewClaim) -> rusqlite::Result<()> {
        let Place { route, key } = &claim.place;
        let bytes = kept_bytes(&claim.answer.head_text(), &claim.answer.body);
        if !claim.begun {
            return self.remove(tenant, &claim.place, bytes);
        }
        self.finish.execute(rusqlite::params![
            tenant,
            route,
            key,
            ClaimState::Completed as u8,
            ClaimState::Unknown as u8,
            None::<u16>,
            None::<&str>,
            None::<&[u8]>,
            claim.expires_at.cast_signed()
        ])?;
        self.count(tenant, Usage { keys: 0, bytes: -bytes })
    }

    /// Room for one more claim at this place, with an answer of so many bytes: an expired one leaves, and the oldest
    /// finished ones where there are too many. One that was answered, or stands for another request, is never taken over.
    fn make_room(
        &mut self,
        tenant: &str,
        place: &Place,
        fingerprint: &[u8; 32],
        bytes: i64,
        quota: &ClaimQuota,
        now: u64,
    ) -> rusqlite::Result<Result<(), ClaimFault>> {
        let there = self.get.query_row((tenant, &place.route, &place.key), read_kept).optional()?;
        match judge(there.as_ref().map(|(entry, _)| entry), fingerprint, now) {
            Verdict::New => {}
            // The route lets its requests be sent again, or its caller would not ask. In flight it is the caller's own.
            Verdict::Unknown | Verdict::InProgress => {}
            Verdict::Replay | Verdict::Reused => return Ok(Err(ClaimFault::Taken)),
        }
        if let Some((_, bytes)) = there {
            self.remove(tenant, place, bytes)?;
        }
        self.add(tenant, Usage { keys: 1, bytes }, quota)
    }

    /// Counts what comes, and where that is too much lets the oldest finished claims go, a few at a time. Nothing is
    /// refused where as much went as comes: a tenant whose quota was larger before goes on, and has less each time.
    /// Answers may be too much by an eighth, so that a large one is kept that comes after many small ones; the next ones
    /// make up for it.
    fn add(&mut self, tenant: &str, more: Usage, quota: &ClaimQuota) -> rusqlite::Result<Result<(), ClaimFault>> {
        let used = self.usage.query_row((tenant,), |row| Ok(Usage { keys: row.get(0)?, bytes: row.get(1)? }));
        let used = used.optional()?.unwrap_or_default();
        let past = |sum: i64, most: u64| sum.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        let excess = Usage {
            keys: past(used.keys.saturating_add(more.keys), quota.keys),
            bytes: past(used.bytes.saturating_add(more.bytes), quota.bytes),
        };
        let gone = self.forget_oldest(tenant, i64::MAX, excess)?;
        let grows = |excess: i64, gone: i64, more: i64| excess > gone && more > gone;
        let leeway = (quota.bytes / 8).cast_signed();
        let is_full = grows(excess.keys, gone.keys, more.keys)
            || grows(excess.bytes.saturating_sub(leeway), gone.bytes, more.bytes);
        let more = if is_full { Usage::default() } else { more };
        self.count(tenant, Usage { keys: more.keys - gone.keys, bytes: more.bytes - gone.bytes })?;
        Ok(if is_full { Err(ClaimFault::Full) } else { Ok(()) })
    }

    /// Removes a few of the tenant's claims that have expired. Answers how many.
    pub fn forget_expired(&mut self, tenant: &str, now: u64) -> rusqlite::Result<usize> {
        let gone = self.forget_oldest(tenant, now.cast_signed(), Usage { keys: i64::MAX, bytes: 0 })?;
        self.count(tenant, Usage { keys: -gone.keys, bytes: -gone.bytes })?;
        Ok(usize::try_from(gone.keys).unwrap_or_default())
    }

    /// Removes finished claims of the tenant, oldest first, of those that expire until `until`: as many as `excess` takes,
    /// but only a few. Answers what they took, which is still to be counted.
    fn forget_oldest(&mut self, tenant: &str, until: i64, excess: Usage) -> rusqlite::Result<Usage> {
        let mut gone = Usage::default();
        let mut places: Vec<Place> = Vec::new();
        let mut oldest = self.oldest.query((tenant, until, FORGOTTEN))?;
        while (gone.keys < excess.keys || gone.bytes < excess.bytes)
            && let Some(row) = oldest.next()?
        {
            places.push(Place { route: row.get(0)?, key: row.get(1)? });
            gone = Usage { keys: gone.keys + 1, bytes: gone.bytes + row.get::<_, i64>(2)? };
        }
        drop(oldest);
        for place in &places {
            self.remove.execute((tenant, &place.route, &place.key))?;
        }
        Ok(gone)
    }

    fn remove(&mut self, tenant: &str, place: &Place, bytes: i64) -> rusqlite::Result<()> {
        if self.remove.execute((tenant, &place.route, &place.key))? > 0 {
            self.count(tenant, Usage { keys: -1, bytes: -bytes })?;
        }
        Ok(())
    }

    fn count(&mut self, tenant: &str, more: Usage) -> rusqlite::Result<()> {
        if more.keys != 0 || more.bytes != 0 {
            self.add_usage.execute((tenant, more.keys, more.bytes))?;
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

/// Reads `fingerprint, state, expires_at` and the bytes of the answer.
fn read_kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Entry, i64)> {
    Ok((read_entry(row)?, row.get(3)?))
}
