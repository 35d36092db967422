//! Mends what can be told from the rest: the sums, and who stands at the front of a line.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};
use sluis_model::event::{DeliveryState, Input};
use sluis_model::shedding::Shedding;

use super::backup::{Partial, log_of};
use super::changes::Changes;
use super::files::{Home, io};
use super::questions::Move;
use super::statements::state_at;
use super::tally::Tally;
use super::verify::{LINES, RECOUNT, RECOUNT_KV, entry_bytes};
use super::{DeliveryId, Tuning, connect, open_error};
use crate::backlog::Room;
use crate::upkeep::UpkeepError;

/// Answers where the files are as they were.
pub(crate) fn repair(dir: &Path, now: u64) -> Result<PathBuf, UpkeepError> {
    let home = Home::take(dir)?;
    let database = home.database();
    let kept = keep_as_it_was(&home, now)?;
    let failed = |error: rusqlite::Error| UpkeepError::Open(open_error(&database, &error));
    let mut conn = connect(&database, &Tuning::default()).map_err(failed)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    fronts(&conn, now).map_err(failed)?;
    recount(&mut conn).map_err(failed)?;
    Ok(kept)
}

/// The very bytes, as what is wrong with them may be of interest.
fn keep_as_it_was(home: &Home, now: u64) -> Result<PathBuf, UpkeepError> {
    let mut name = home.dir().file_name().unwrap_or_default().to_owned();
    name.push(format!(".before-repair-{now}"));
    let kept = home.dir().with_file_name(name);
    let partial = Partial::beside(&kept)?;
    let database = home.database();
    for file in [database.clone(), log_of(&database)] {
        let Some(name) = file.file_name().filter(|_| file.exists()) else { continue };
        std::fs::copy(&file, partial.dir().join(name)).map_err(io(&file))?;
    }
    partial.finish(&kept)?;
    Ok(kept)
}

fn recount(conn: &mut Connection) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(RECOUNT)?;
    tx.execute("DELETE FROM kv_usage", ())?;
    tx.execute(RECOUNT_KV, (entry_bytes(),))?;
    tx.commit()
}

/// Steps as any others, with their rows of history.
fn fronts(conn: &Connection, now: u64) -> rusqlite::Result<()> {
    let lines: Vec<(String, String, String)> = conn
        .prepare(LINES)?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if lines.is_empty() {
        return Ok(());
    }
    let room = Room::new(0, Shedding { low: 100, normal: 100 });
    let mut changes = Changes::prepare(conn, Tally::load(conn, &room)?)?;
    let mut standing = conn.prepare(
        "SELECT event, n, state FROM deliveries WHERE sink = ?1 AND tenant = ?2 AND key = ?3 AND line IS NOT NULL
         ORDER BY line, event, n",
    )?;
    changes.begin()?;
    for line in &lines {
        let rows: Vec<(DeliveryId, DeliveryState)> = standing
            .query_map((&line.0, &line.1, &line.2), |row| {
                Ok((DeliveryId { event: row.get(0)?, n: row.get(1)? }, state_at(row, 2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (id, input) in moves(&rows) {
            let by = Move::by("repair", id, input, now);
            changes.change(&Move { reason: "one at the front of its key".to_owned(), ..by })?;
        }
    }
    changes.write_sums()?;
    changes.commit()
}

/// Whoever is under way stays the front, else whoever is furthest forward.
fn moves(rows: &[(DeliveryId, DeliveryState)]) -> Vec<(DeliveryId, Input)> {
    let is_front = |(_, state): &&(DeliveryId, DeliveryState)| *state != DeliveryState::Blocked;
    let leased = rows.iter().find(|(_, state)| *state == DeliveryState::Leased);
    match (leased.or_else(|| rows.iter().find(is_front)), rows.first()) {
        (Some((front, _)), _) => {
            let others = rows.iter().filter(|(id, state)| id != front && state.is_waiting());
            others.map(|(id, _)| (*id, Input::Block)).collect()
        }
        (None, Some((first, _))) => vec![(*first, Input::Unblock)],
        (None, None) => Vec::new(),
    }
}
