//! What a committed transaction means to everyone else: told once it is on stable storage.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::tally::News;
use crate::backlog::{HoldReason, Room};

/// Which sinks are held, and why.
pub(crate) type Holds = HashMap<Arc<str>, Vec<HoldReason>>;

/// What a committed transaction has to tell, once it is on stable storage.
#[derive(Default)]
pub(crate) struct Published {
    pub news: News,
    /// Sinks that are held by one fewer.
    pub released: Vec<Arc<str>>,
    /// Who holds which sink, where that changed.
    pub holds: Option<Holds>,
}

impl Published {
    /// Tells it. Answers the sinks whose workers have something to do.
    pub fn publish(self, room: &Room) -> Vec<Arc<str>> {
        let mut woken = self.news.publish(room);
        woken.extend(self.released);
        if let Some(holds) = self.holds {
            *room.holds() = holds;
        }
        woken
    }
}

/// Reads which sinks are held.
pub(crate) fn read_holds(conn: &Connection) -> rusqlite::Result<Holds> {
    let mut open = conn.prepare("SELECT sink, since, actor, reason FROM holds WHERE until IS NULL")?;
    let rows = open.query_map((), |row| {
        let since: i64 = row.get(1)?;
        Ok((row.get(0)?, HoldReason { since: since.cast_unsigned(), actor: row.get(2)?, reason: row.get(3)? }))
    })?;
    let mut holds = Holds::new();
    for row in rows {
        let (sink, hold) = row?;
        holds.entry(sink).or_default().push(hold);
    }
    Ok(holds)
}
