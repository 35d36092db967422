//! What a sending thread's pacer and seats share: the moments that are left, who is free to take one, and what was seen.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::iter::Peekable;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::client::{Answer, Client};
use super::deadline::Deadline;
use super::health::Meter;
use super::recorder::Recorder;
use super::sender::Order;
use super::{Expect, Planned, Source};
use crate::record::{Exchange, LATE, Outcome};

/// Moments without a request that are looked at one by one for their tenant; of more, some stand for all.
const LOOKED_AT: u64 = 1_000_000;

/// When a request is due.
#[derive(Clone, Copy)]
pub struct Moment {
    number: u64,
    at: Instant,
    /// When it was given out, since when there had been a seat for it; `None` where it had to wait for one.
    free_since: Option<Instant>,
}

/// See the module.
pub struct Crew {
    moments: RefCell<Peekable<Box<dyn Iterator<Item = Moment>>>>,
    pub idle: RefCell<Vec<Rc<Seat>>>,
    pub seats: usize,
    /// Of the seats, those that were taken at least once.
    pub taken: Cell<usize>,
    /// Since when there has been a free seat; `None` where there is none.
    pub free_since: Cell<Option<Instant>>,
    /// Told when a seat has become free.
    pub freed: Notify,
    closing: Cell<bool>,
    pub give_up: Instant,
    pub began: Instant,
    pub timeout: Duration,
    source: Arc<dyn Source>,
    pub recorder: RefCell<Recorder>,
    pub meter: RefCell<Meter>,
    pub late: Cell<u64>,
    /// Moments for which there was no seat when they came.
    pub waited: Cell<u64>,
    pub cut: Cell<u64>,
}

/// Where a connection, or a stream of one, waits for its next moment.
#[derive(Default)]
pub struct Seat {
    moment: Cell<Option<Moment>>,
    waker: Cell<Option<Waker>>,
}

impl Crew {
    pub fn new(order: &Order) -> Crew {
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
            waited: Cell::new(0),
            cut: Cell::new(0),
        }
    }

    pub fn under_way(&self) -> usize {
        self.taken.get() - self.idle.borrow().len()
    }

    /// When the next moment is.
    pub fn peek(&self) -> Option<Instant> {
        self.moments.borrow_mut().peek().map(|moment| moment.at)
    }

    /// The next moment where it has come.
    pub fn take_due(&self, now: Instant) -> Option<Moment> {
        if self.closing.get() || now >= self.give_up {
            return None;
        }
        let moment = self.moments.borrow_mut().next_if(|next| next.at <= now)?;
        Some(Moment { free_since: self.free_since.get(), ..moment })
    }

    /// Waits for the next moment; `None` at the end.
    pub async fn rest(&self, seat: &Rc<Seat>, now: Instant) -> Option<Moment> {
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
    pub fn close(&self) {
        self.closing.set(true);
        for seat in self.idle.borrow_mut().drain(..) {
            seat.wake();
        }
    }

    /// Sends a moment's request, waits for its answer and counts it. Returns when that was.
    pub async fn perform(&self, client: &mut Client, deadline: &mut Deadline, moment: Moment) -> Instant {
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
        match moment.free_since {
            Some(since) => self.meter.borrow_mut().lag(sent.saturating_duration_since(moment.at.max(since))),
            None => self.waited.set(self.waited.get() + 1),
        }
        let late = sent.duration_since(moment.at) > LATE;
        self.late.set(self.late.get() + u64::from(late));
    }

    /// Counts the moments that are left, up to this one where the run was stopped.
    pub fn record_unsent(&self, until: Option<Instant>) {
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
    pub fn give(&self, moment: Moment) {
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
