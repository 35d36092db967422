//! Durable accepts: one turn is one event from each of so many callers, and a caller asks again as soon as it is
//! answered. So the time of a turn is how long a caller waits, and the elements per second are events per second.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluis_bench::disk::Syncs;
use sluis_bench::{Latencies, ORDER, latencies};
use sluis_ledger::{Ledger, Observer, Options};
use sluis_model::event::{EventSink, NewEvent};
use sluis_model::lane::Lane;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::house::{House, TENANT};
use crate::stage::{Prepared, Shared, Stage, Turns};

/// What the ledger's commits took, and how many events they held.
pub struct Commits(Mutex<(Latencies, u64)>);

impl Observer for Commits {
    fn committed(&self, batch: usize, fsync: Duration) {
        let mut commits = self.0.lock().unwrap();
        commits.0.saturating_record(fsync.as_micros() as u64);
        commits.1 += batch as u64;
    }
}

/// Commits by how many callers waited for them, for [`print_commits`].
pub type Measured = Vec<(usize, Arc<Commits>)>;

pub fn stages() -> (Vec<Stage>, Measured) {
    let commits = || Arc::new(Commits(Mutex::new((latencies().unwrap(), 0))));
    let measured: Measured = [1, 16, 128, 1_024].map(|callers| (callers, commits())).into();
    let stages = measured.iter().cloned().map(|(callers, commits)| {
        let stage = Stage::new(format!("ledger/accept/{callers}"), move |house| accept(house, callers, &commits));
        stage.pieces(callers as u64).slow()
    });
    (stages.collect(), measured)
}

/// A ledger of its own, closed in the end.
struct Accepts<'h> {
    house: &'h House,
    ledger: Arc<Ledger>,
    callers: usize,
}

fn accept<'h>(house: &'h House, callers: usize, commits: &Arc<Commits>) -> Prepared<'h> {
    let options = Options { observer: commits.clone(), ..Options::default() };
    let dir = house.dir(&format!("ledger-{callers}"));
    let ledger = Arc::new(Ledger::open_with(&dir, &house.plan.ledger, options).unwrap());
    Box::new(Accepts { house, ledger, callers })
}

impl Turns for Accepts<'_> {
    fn take(&mut self, turns: u64) {
        self.house.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..self.callers {
                let ledger = self.ledger.clone();
                tasks.spawn(async move {
                    for _ in 0..turns {
                        ledger.accept(event(), u64::MAX).await.unwrap();
                    }
                });
            }
            tasks.join_all().await;
        });
    }
}

impl Drop for Accepts<'_> {
    fn drop(&mut self) {
        self.house.runtime.block_on(self.ledger.close());
    }
}

fn event() -> NewEvent {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    NewEvent {
        id: Uuid::now_v7(),
        tenant: TENANT.into(),
        route: "orders".into(),
        event_type: "erp.order.created".into(),
        key: None,
        content_type: "application/json".into(),
        body: ORDER.into(),
        sinks: vec![EventSink::unordered("erp")],
        lane: Lane::Normal,
        causation_id: None,
        attributes: Vec::new(),
        correlation_id: "0123456789abcdef0123456789abcdef".into(),
        traceparent: Some("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".into()),
        accepted_at: now.as_millis() as u64,
    }
}

/// The disk decides about these figures, so it is shown beside them.
pub fn print_commits(measured: &Measured, house: &Shared) {
    let measured = measured.iter().map(|(callers, commits)| {
        let (took, events) = &*commits.0.lock().unwrap();
        (format!("commit, {callers} callers"), took.clone(), *events as f64 / took.len().max(1) as f64)
    });
    let rows: Vec<_> = measured.filter(|(_, took, _)| !took.is_empty()).collect();
    if rows.is_empty() {
        return;
    }
    let bare = ("fdatasync of 4 KiB, bare".to_owned(), Syncs::take(&house.dir("bare")).unwrap().0, 0.0);
    println!("time to stable storage, µs     count  events each    p50     p90     p99     max");
    for (what, took, events) in rows.into_iter().chain([bare]) {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| took.value_at_quantile(q));
        println!("{what:<28} {:>7} {events:>12.1} {p50:>6} {p90:>7} {p99:>7} {:>7}", took.len(), took.max());
    }
}
