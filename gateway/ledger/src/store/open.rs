//! A start: the database is opened, brought to the newest format, and what a process that is gone has left is put in order.

use std::sync::Arc;

use rusqlite::Connection;

use super::connection::{configure, connect, open_error};
use super::files::Home;
use super::tally::Tally;
use super::{Settings, Shared, news, recover, schema};
use crate::error::OpenError;

/// The writer's connection, and what it begins with.
pub(crate) struct Opened {
    pub conn: Connection,
    pub tally: Tally,
    pub shared: Arc<Shared>,
}

/// On a full disk in the space of the reserve: what must be written before anything is delivered is what it is kept for.
pub(crate) fn open(home: &Home, settings: &Settings) -> Result<Opened, OpenError> {
    match attempt(home, settings) {
        Err(OpenError::DiskFull { .. }) if home.spend_reserve() => attempt(home, settings),
        done => done,
    }
}

fn attempt(home: &Home, settings: &Settings) -> Result<Opened, OpenError> {
    let path = home.database();
    let failed = |error: rusqlite::Error| open_error(&path, &error);
    let shared = Arc::new(Shared::new(settings));
    let mut conn = connect(&path, &settings.tuning).map_err(failed)?;
    match schema::inspect(&conn, schema::FORMAT).map_err(failed)? {
        schema::Found::Empty | schema::Found::Known => {}
        schema::Found::Newer(found) => {
            return Err(OpenError::NewerFormat { dir: home.dir().to_owned(), found, known: schema::FORMAT });
        }
        schema::Found::Foreign => return Err(OpenError::NotALedger { path }),
    }
    configure(&conn, settings).map_err(failed)?;
    schema::migrate(&mut conn, schema::STEPS).map_err(failed)?;
    let now = settings.clock.now();
    recover::make_ready_due(&conn, now).map_err(failed)?;
    let tally = Tally::load(&conn, &shared.room).map_err(failed)?;
    *shared.room.holds() = news::read_holds(&conn).map_err(failed)?;
    let tally = recover::recover(&conn, tally, &shared, now).map_err(failed)?;
    Ok(Opened { conn, tally, shared })
}
