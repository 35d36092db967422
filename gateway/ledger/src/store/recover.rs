//! What a start finds of a process that is gone.

use rusqlite::Connection;
use sluis_model::event::Input;

use super::changes::Changes;
use super::questions::Move;
use super::tally::Tally;
use super::{DeliveryId, Shared};

/// What was ready is so now, where the clock was set back meanwhile: only what waits for a retry has a time of its own.
pub(crate) fn make_ready_due(conn: &Connection, at: u64) -> rusqlite::Result<()> {
    let late = "UPDATE deliveries INDEXED BY deliveries_due SET due = ?1 WHERE due > ?1 AND state = 0";
    conn.execute(late, (at.cast_signed(),)).map(drop)
}

/// Leases of a process that is gone go back to their sinks; their attempts stay counted.
pub(crate) fn recover(conn: &Connection, tally: Tally, shared: &Shared, at: u64) -> rusqlite::Result<Tally> {
    super::claims::recover(conn)?;
    let mut changes = Changes::prepare(conn, tally)?;
    let leased: Vec<DeliveryId> = conn
        .prepare("SELECT event, n FROM deliveries WHERE state = 1")?
        .query_map((), |row| Ok(DeliveryId { event: row.get(0)?, n: row.get(1)? }))?
        .collect::<rusqlite::Result<_>>()?;
    if !leased.is_empty() {
        changes.begin()?;
        for id in &leased {
            let interrupt = Move::by("recovery", *id, Input::Interrupt, at);
            changes.change(&Move { reason: "interrupted".to_owned(), ..interrupt })?;
        }
        changes.write_sums()?;
        changes.commit()?;
        changes.news(conn).publish(&shared.room);
    }
    Ok(changes.tally)
}
