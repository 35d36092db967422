//! The lines of ordering keys: of one key, one sink and one tenant, whoever came first goes first, and nobody else of that
//! line waits for a worker meanwhile.
//!
//! A line's front is due or under way, all behind it are blocked. What leaves the line lets the next one come forward; a
//! dead front that parks its key does not leave. A place in the line is the position of the event that took it: what is
//! sent anew stands where it stood, with another body as well, and whoever came forward meanwhile waits behind it again.

use rusqlite::{Connection, OptionalExtension, Statement};
use sluis_model::event::{DeliveryState, EventSink, Input};
use sluis_model::lane::Lane;

use super::DeliveryId;
use super::changes::{Changes, NewDelivery};
use super::questions::Move;
use super::statements::{Row, lane_at, state_at};
use super::tally::Counted;

/// Who moves what stands in a line.
pub(super) const ACTOR: &str = "order";

/// One that stands in a line.
struct Standing {
    id: DeliveryId,
    place: i64,
    state: DeliveryState,
    lane: Lane,
    due: Option<u64>,
}

/// The statements about lines.
pub(super) struct Lines<'c> {
    all: Statement<'c>,
    front: Statement<'c>,
    next: Statement<'c>,
    before_from_back: Statement<'c>,
    under_way_behind: Statement<'c>,
    lane: Statement<'c>,
}

impl<'c> Lines<'c> {
    pub fn prepare(conn: &'c Connection) -> rusqlite::Result<Lines<'c>> {
        let standing = |rest: &str| {
            conn.prepare(&format!(
                "SELECT event, n, line, state, lane, due FROM deliveries
                 WHERE sink = ?1 AND tenant = ?2 AND key = ?3 AND line IS NOT NULL {rest}"
            ))
        };
        Ok(Lines {
            all: standing("ORDER BY line, event, n")?,
            front: standing("ORDER BY line, event, n LIMIT 1")?,
            next: standing("AND line >= ?4 ORDER BY line, event, n LIMIT 1")?,
            before_from_back: standing("AND line < ?4 ORDER BY line DESC, event DESC, n DESC")?,
            under_way_behind: standing("AND line > ?4 AND state = 1 LIMIT 1")?,
            lane: conn.prepare("UPDATE deliveries SET lane = ?3 WHERE event = ?1 AND n = ?2")?,
        })
    }

    fn standing(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
        let id = DeliveryId { event: row.get(0)?, n: row.get(1)? };
        let due = row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned);
        Ok(Standing { id, place: row.get(2)?, state: state_at(row, 3)?, lane: lane_at(row, 4)?, due })
    }
}

impl Changes<'_> {
    /// A newcomer's state and lane: blocked behind whoever stands there, and as urgent as whoever it stands before, who
    /// waits for it. Where only the last value of a key counts, those that are not under way leave for it.
    pub(super) fn join_line(
        &mut self,
        sink: &EventSink,
        new: &NewDelivery<'_>,
        key: &str,
    ) -> rusqlite::Result<(DeliveryState, Lane)> {
        if sink.compacts {
            self.supersede(sink, new, key)?;
        }
        let line = (&*sink.name, new.tenant, key);
        let Some(front) = self.lines.front.query_row(line, Lines::standing).optional()? else {
            return Ok((DeliveryState::Ready, new.lane));
        };
        // Only what is sent anew has a place before others.
        let place = (&*sink.name, new.tenant, key, new.place);
        let next = self.lines.next.query_row(place, Lines::standing).optional()?;
        let lane = next.map_or(new.lane, |next| next.lane.min(new.lane));
        self.hurry(sink, new, key)?;
        let goes_first = front.place > new.place && self.make_wait(sink, new, key)?;
        Ok((if goes_first { DeliveryState::Ready } else { DeliveryState::Blocked }, lane))
    }

    /// Has whoever of the line is due wait. False where one is under way: only the end of its attempt tells.
    fn make_wait(&mut self, sink: &EventSink, new: &NewDelivery<'_>, key: &str) -> rusqlite::Result<bool> {
        let line = (&*sink.name, new.tenant, key);
        let standing: Vec<Standing> =
            self.lines.all.query_map(line, Lines::standing)?.collect::<rusqlite::Result<_>>()?;
        if standing.iter().any(|one| one.state == DeliveryState::Leased) {
            return Ok(false);
        }
        for due in standing.iter().filter(|one| one.state.is_waiting()) {
            let block = Move::by(ACTOR, due.id, Input::Block, new.at);
            self.change(&Move { reason: "an earlier event of its key is sent anew".to_owned(), ..block })?;
        }
        Ok(true)
    }

    /// Whether a younger one of the delivery's line is under way: whatever is sent anew would come after it.
    pub(super) fn is_being_overtaken(&mut self, row: &Row) -> rusqlite::Result<bool> {
        let Some(key) = &row.key else { return Ok(false) };
        self.lines.under_way_behind.exists((&row.sink, &row.tenant, key, row.place))
    }

    /// A delivery was released: it waits on where it is not the front of its line.
    pub(super) fn fall_in(&mut self, id: DeliveryId, released: &Row, at: u64) -> rusqlite::Result<()> {
        let (Some(key), Some(_)) = (&released.key, released.line) else { return Ok(()) };
        let line = (&released.sink, &released.tenant, key);
        match self.lines.front.query_row(line, Lines::standing).optional()? {
            Some(front) if front.id != id => self.change(&Move::by(ACTOR, id, Input::Block, at)).map(drop),
            _ => Ok(()),
        }
    }

    fn supersede(&mut self, sink: &EventSink, new: &NewDelivery<'_>, key: &str) -> rusqlite::Result<()> {
        let place = (&*sink.name, new.tenant, key);
        let standing: Vec<Standing> =
            self.lines.all.query_map(place, Lines::standing)?.collect::<rusqlite::Result<_>>()?;
        // From the back, so that nobody comes forward only to leave.
        for old in standing.iter().rev() {
            let supersede = Move::by(ACTOR, old.id, Input::Supersede, new.at);
            // One that is under way has no such arrow and stays.
            self.change(&Move { reason: "a newer event of its key".to_owned(), ..supersede })?;
        }
        Ok(())
    }

    /// Whoever stands before an urgent one is as urgent. Nobody in a line is more urgent than who stands before, so that
    /// the slower ones are next to it.
    fn hurry(&mut self, sink: &EventSink, new: &NewDelivery<'_>, key: &str) -> rusqlite::Result<()> {
        let place = (&*sink.name, new.tenant, key, new.place);
        let from_back = self.lines.before_from_back.query_map(place, Lines::standing)?;
        let slower: Vec<Standing> = from_back
            .take_while(|one| one.as_ref().map_or(true, |one| one.lane > new.lane))
            .collect::<rusqlite::Result<_>>()?;
        for one in slower {
            self.lines.lane.execute((one.id.event, one.id.n, new.lane as u8))?;
            if let Some(due) = one.due {
                let of = Counted { sink: &sink.name, tenant: new.tenant, lane: one.lane };
                self.tally.lane(of, new.lane, due);
            }
        }
        Ok(())
    }

    /// Somebody left the line: its new front comes forward, if it was blocked.
    pub(super) fn advance_line(&mut self, left: &Row, at: u64) -> rusqlite::Result<()> {
        let Some(key) = &left.key else { return Ok(()) };
        let place = (&left.sink, &left.tenant, key);
        match self.lines.front.query_row(place, Lines::standing).optional()? {
            Some(front) if front.state == DeliveryState::Blocked => {
                self.change(&Move::by(ACTOR, front.id, Input::Unblock, at)).map(drop)
            }
            _ => Ok(()),
        }
    }
}
