//! A sending thread: a pacer that gives each moment to a free connection, and the connections' seats.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::iter::Peekable;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Sleep;

use super::client::{Answer, Client, Clients};
use super::destination::Destination;
use super::health::{Meter, Pulse};
use super::recorder::{Cells, Recorder};
use super::schedule::Schedule;
use super::timer::Timer;
use super::{Expect, LoadError, Planned, Source, Stop};
use crate::record::{Exchange, LATE, Outcome};

/// What those on their way get for their answers after the run was stopped.
const GRACE: Duration = Duration::from_secs(1);
/// Moments given out before the connections have their turn.
const BATCH: usize = 64;
/// Moments without a request that are looked at one by one for their tenant; of more, some stand for all.
const LOOKED_AT: u64 = 1_000_000;
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
    /// Given up when the run was stopped.
    pub cut: u64,
    /// Connections with bytes behind an answer's end.
    pub stray: u64,
}

#[derive(Clone, Copy)]
struct Moment {
    number: u64,
    at: Instant,
    /// When it was given out, since when there had been a seat for it; `None` where it had to wait for one.
    free_since: Option<Instant>,
}

/// What the pacer and the seats share.
struct Crew {
    moments: RefCell<Peekable<Box<dyn Iterator<Item = Moment>>>>,
    idle: RefCell<Vec<Rc<Seat>>>,
    seats: usize,
    /// Of the seats, those that were taken at least once.
    taken: Cell<usize>,
    /// Since when there has been a free seat; `None` where there is none.
    free_since: Cell<Option<Instant>>,
    /// Told when a seat has become free.
    freed: Notify,
    closing: Cell<bool>,
    give_up: Instant,
    began: Instant,
    timeout: Duration,
    source: Arc<dyn Source>,
    recorder: RefCell<Recorder>,
    meter: RefCell<Meter>,
    late: Cell<u64>,
    cut: Cell<u64>,
}

/// Where a connection, or a stream of one, waits for its next moment.
#[derive(Default)]
struct Seat {
    moment: Cell<Option<Moment>>,
    waker: Cell<Option<Waker>>,
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
    let ticks = tokio::task::spawn_local(tick(crew.clone(), order.live.clone()));
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
        cut: crew.cut.get(),
        stray: clients.stray.get(),
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
async fn tick(crew: Rc<Crew>, live: SyncSender<Live>) {
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

impl Crew {
    fn new(order: &Order) -> Crew {
        let (start, began, first) = (order.start, order.began, order.first);
        let moment = |number, at| Moment { number, at, free_since: None };
        let warm_up = order.warm_up.clone().into_iter().flat_map(|schedule| schedule.moments());
        let warm_up = warm_up.map(move |(number, offset)| moment(number, start + offset));
        let counted = order.schedule.moments().map(move |(number, offset)| moment(first + number, began + offset));
        let moments: Box<dyn Iterator<Item = Moment>> = Box::new(warm_up.chain(counted));
        Crew {
            moments: RefCell::new(moments.peekable()),
            idle: RefCell::default(),
            seats: order.seats,
            taken: Cell::new(0),
            free_since: Cell::new(Some(start)),
            freed: Notify::new(),
            closing: Cell::new(false),
            give_up: began + order.schedule.duration() + order.timeout,
            began,
            timeout: order.timeout,
            source: order.source.clone(),
            recorder: RefCell::new(Recorder::new(order.source.tenants().len())),
            meter: RefCell::new(Meter::start()),
            late: Cell::new(0),
            cut: Cell::new(0),
        }
    }

    fn under_way(&self) -> usize {
        self.taken.get() - self.idle.borrow().len()
    }

    /// When the next moment is.
    fn peek(&self) -> Option<Instant> {
        self.moments.borrow_mut().peek().map(|moment| moment.at)
    }

    /// The next moment where it has come.
    fn take_due(&self, now: Instant) -> Option<Moment> {
        if self.closing.get() || now >= self.give_up {
            return None;
        }
        let moment = self.moments.borrow_mut().next_if(|next| next.at <= now)?;
        Some(Moment { free_since: self.free_since.get(), ..moment })
    }

    /// Waits for the next moment; `None` at the end.
    async fn rest(&self, seat: &Rc<Seat>, now: Instant) -> Option<Moment> {
        if self.closing.get() {
            return None;
        }
        self.idle.borrow_mut().push(seat.clone());
        if self.free_since.get().is_none() {
            self.free_since.set(Some(now));
        }
        self.freed.notify_one();
        poll_fn(|cx| match seat.moment.take() {
            Some(moment) => Poll::Ready(Some(moment)),
            None if self.closing.get() => Poll::Ready(None),
            None => {
                seat.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// No moment is given out any more.
    fn close(&self) {
        self.closing.set(true);
        for seat in self.idle.borrow_mut().drain(..) {
            seat.wake();
        }
    }

    /// Sends a moment's request, waits for its answer and counts it. Returns when that was.
    async fn perform(&self, client: &mut Client, deadline: &mut Deadline, moment: Moment) -> Instant {
        let Planned { tenant, request, expect, order } = self.source.plan(moment.number);
        let sent = Instant::now();
        self.keep_time(moment, sent);
        let way = OnItsWay { crew: self, order, counts: moment.at >= self.began };
        let result = deadline.within(sent, client.exchange(request)).await;
        let result = result.unwrap_or_else(|| Err(client.timed_out(sent)));
        let ended = Instant::now();
        let status = result.ok().map(|answer| answer.status);
        way.arrived(status);
        if moment.at >= self.began {
            let since = |at: Instant| at.duration_since(self.began);
            let outcome = result.map_or_else(Outcome::Failed, |answer| judge(answer, expect));
            let (intended, sent, ended) = (since(moment.at), since(sent), since(ended));
            self.recorder.borrow_mut().record(&Exchange { tenant, intended, sent, ended, status, outcome });
        }
        ended
    }

    /// How late a request left, and whether that was for want of a connection.
    fn keep_time(&self, moment: Moment, sent: Instant) {
        if moment.at < self.began {
            return;
        }
        if let Some(since) = moment.free_since {
            self.meter.borrow_mut().lag(sent.saturating_duration_since(moment.at.max(since)));
        }
        let late = sent.duration_since(moment.at) > LATE;
        self.late.set(self.late.get() + u64::from(late));
    }

    /// Counts the moments that are left, up to this one where the run was stopped.
    fn record_unsent(&self, until: Option<Instant>) {
        let mut moments = self.moments.borrow_mut();
        let mut recorder = self.recorder.borrow_mut();
        let left = moments.by_ref().take_while(|moment| until.is_none_or(|until| moment.at <= until));
        let mut unsent = left.filter(|moment| moment.at >= self.began).peekable();
        let (mut seen, mut stride) = (0_u64, 1);
        while let Some(moment) = unsent.next() {
            let mut stands_for = 1;
            while stands_for < stride && unsent.next_if(|next| same_second(self.began, moment.at, next.at)).is_some() {
                stands_for += 1;
            }
            recorder.record_unsent(self.source.tenant(moment.number), moment.at - self.began, stands_for);
            seen += 1;
            if seen.is_multiple_of(LOOKED_AT) {
                stride *= 64;
            }
        }
    }
}

fn same_second(began: Instant, one: Instant, other: Instant) -> bool {
    (one - began).as_secs() == (other - began).as_secs()
}

/// What to call an answer.
fn judge(answer: Answer, expect: Expect) -> Outcome {
    match (expect, answer.status) {
        (_, 429) => Outcome::Shed,
        (_, 503) if answer.retry_after => Outcome::Shed,
        (Expect::Success, 200..400) | (Expect::Unauthorised, 401) => Outcome::Ok,
        (Expect::Unauthorised, 200..300) => Outcome::Wrong,
        _ => Outcome::Refused,
    }
}

impl Seat {
    fn give(&self, moment: Moment) {
        self.moment.set(Some(moment));
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request whose answer the source waits for: it is told of none, where the request is given up.
struct OnItsWay<'a> {
    crew: &'a Crew,
    order: u64,
    counts: bool,
}

impl OnItsWay<'_> {
    fn arrived(self, status: Option<u16>) {
        self.crew.source.answered(self.order, status);
        std::mem::forget(self);
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.crew.source.answered(self.order, None);
        self.crew.cut.set(self.crew.cut.get() + u64::from(self.counts));
    }
}

/// A time limit for one exchange after the other. Its timer is set anew only when it fires, not for each.
struct Deadline {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Deadline { limit, sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// What the future comes to, `None` where that takes longer than the limit from this moment on.
    async fn within<T>(&mut self, from: Instant, future: impl Future<Output = T>) -> Option<T> {
        let until = tokio::time::Instant::from_std(from + self.limit);
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while self.sleep.as_mut().poll(cx).is_ready() {
                if tokio::time::Instant::now() >= until {
                    return Poll::Ready(None);
                }
                self.sleep.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }
}
