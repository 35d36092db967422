//! A sending thread: a pacer that gives each moment to a free connection, and the connections' seats.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::client::{Client, Clients};
use super::crew::{Crew, Moment, Seat};
use super::deadline::Deadline;
use super::destination::Destination;
use super::health::{Notes, Pulse};
use super::recorder::{Cells, Recorder};
use super::schedule::Schedule;
use super::timer::Timer;
use super::{LoadError, Source, Stop};

/// What those on their way get for their answers after the run was stopped.
const GRACE: Duration = Duration::from_secs(1);
/// Moments given out before the connections have their turn.
const BATCH: usize = 64;
const TICK: Duration = Duration::from_secs(1);

/// What a thread is to do.
pub struct Order {
    pub destination: Arc<Destination>,
    /// The thread's shares.
    pub warm_up: Option<Schedule>,
    pub schedule: Schedule,
    /// Numbers that the whole warm-up takes.
    pub first: u64,
    /// The first moment of the warm-up.
    pub start: Instant,
    /// The first moment that counts.
    pub began: Instant,
    pub connections: usize,
    /// Exchanges at once.
    pub seats: usize,
    pub timeout: Duration,
    pub source: Arc<dyn Source>,
    pub stop: Stop,
    pub live: SyncSender<Live>,
}

/// What a thread saw in the last second.
pub struct Live {
    pub cells: Cells,
    /// Requests on their way.
    pub under_way: usize,
}

/// What a thread has to tell at its end.
pub struct Told {
    pub recorder: Recorder,
    pub pulse: Pulse,
    pub notes: Notes,
}

/// Sends a thread's share, on this thread, until the schedule's end or until it is stopped.
pub fn send(order: Order) -> Result<Told, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work(order))
}

async fn work(order: Order) -> Result<Told, LoadError> {
    let clients = Clients::new(order.destination.clone(), order.connections);
    let crew = Rc::new(Crew::new(&order));
    let mut seats = JoinSet::new();
    let ticks = tokio::task::spawn_local(tick(crew.clone(), order.start, order.live.clone()));
    let paced = tokio::select! {
        paced = pace(&crew, &clients, &mut seats) => paced,
        () = order.stop.wait() => Ok(()),
    };
    crew.close();
    let finished = async {
        let mut sound = true;
        // Each ends by its own time limit.
        while let Some(seat) = seats.join_next().await {
            sound &= !seat.is_err_and(|e| e.is_panic());
        }
        sound
    };
    let stopped = async {
        order.stop.wait().await;
        tokio::time::sleep(GRACE).await;
    };
    let sound = tokio::select! {
        sound = finished => sound,
        () = stopped => true,
    };
    seats.shutdown().await;
    ticks.abort();
    let _ = ticks.await;
    if !sound {
        return Err(LoadError::Panicked);
    }
    paced?;
    crew.record_unsent(order.stop.told());
    // Fails only where nobody watches.
    let _ = order.live.send(Live { cells: crew.recorder.borrow_mut().take_live(), under_way: 0 });
    let crew = Rc::into_inner(crew).ok_or(LoadError::Panicked)?;
    Ok(Told {
        recorder: crew.recorder.into_inner(),
        pulse: crew.meter.into_inner().end(),
        notes: Notes { cut: crew.cut.get(), stray: clients.stray.get(), waited: crew.waited.get(), own: crew.seats },
    })
}

/// Gives each moment to a free seat when it has come. Moments that find none are taken by the next seat that becomes free.
async fn pace(crew: &Rc<Crew>, clients: &Clients, seats: &mut JoinSet<()>) -> Result<(), LoadError> {
    let timer = Timer::new()?;
    let mut given = 0;
    while let Some(next) = crew.peek() {
        let now = Instant::now();
        if now >= crew.give_up {
            break;
        }
        if next > now {
            timer.until(next.min(crew.give_up)).await?;
            continue;
        }
        if crew.free_since.get().is_none() {
            let _ = tokio::time::timeout_at(crew.give_up.into(), crew.freed.notified()).await;
            continue;
        }
        let Some(moment) = crew.take_due(now) else { break };
        let idle = crew.idle.borrow_mut().pop();
        match idle {
            Some(seat) => seat.give(moment),
            None => {
                let client = clients.client(crew.taken.get());
                crew.taken.set(crew.taken.get() + 1);
                seats.spawn_local(sit(crew.clone(), client, moment));
            }
        }
        if crew.idle.borrow().is_empty() && crew.taken.get() == crew.seats {
            crew.free_since.set(None);
        }
        given += 1;
        if given % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// One seat's exchanges, one after the other, until there are no more moments.
async fn sit(crew: Rc<Crew>, mut client: Client, first: Moment) {
    let mut deadline = Deadline::new(crew.timeout);
    let seat = Rc::new(Seat::default());
    let mut next = Some(first);
    while let Some(moment) = next {
        let ended = crew.perform(&mut client, &mut deadline, moment).await;
        next = match crew.take_due(ended) {
            Some(moment) => Some(moment),
            None => crew.rest(&seat, ended).await,
        };
    }
}

/// Once a second: tells what was seen, looks after the thread, and packs what is old.
async fn tick(crew: Rc<Crew>, start: Instant, live: SyncSender<Live>) {
    tokio::time::sleep_until(start.into()).await;
    crew.meter.borrow_mut().begin();
    let mut ticks = tokio::time::interval_at((crew.began + TICK).into(), TICK);
    let mut late = 0;
    loop {
        ticks.tick().await;
        let before = std::mem::replace(&mut late, crew.late.get());
        crew.meter.borrow_mut().second(late > before);
        let mut recorder = crew.recorder.borrow_mut();
        let told = live.try_send(Live { cells: recorder.take_live(), under_way: crew.under_way() });
        if let Err(TrySendError::Full(back)) = told {
            recorder.put_back(&back.cells);
        }
        let old = crew.began.elapsed().saturating_sub(2 * crew.timeout + TICK);
        recorder.pack(old.as_secs() as usize);
    }
}
