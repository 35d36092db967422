//! Attempts in which a plugin has a say: what it shapes, what it judges, and what its faults cost.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use sluis_ledger::clock::{Clock, ManualClock};
use sluis_ledger::{EventStatus, LastError, Ledger, Options};
use sluis_model::breaker::BreakerSettings;
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::hook::event::{
    ANSWER_BYTES, Asking, CheckedPreparation, CheckedShaped, EventFault, EventHook, EventView, SinkAnswer, Verdict,
};
use sluis_model::plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{ErpSink, NEW_YEAR, NO_BREAKER, Running, Say, event, settings};

/// Longer than the ledger waits for a plugin.
const TOO_LONG: Duration = Duration::from_secs(91);

const TRAP: EventFault = EventFault("trap");

/// What a plugin does when it is asked.
enum Does<T> {
    Says(Result<Option<T>, EventFault>),
    NeverEnds,
    Panics,
}

impl<T> Does<T> {
    fn says(what: T) -> Does<T> {
        Does::Says(Ok(Some(what)))
    }
}

/// What a plugin was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    slot: String,
    /// Id, type, sink, route, tenant, correlation id, content type.
    words: [String; 7],
    key: Option<String>,
    accepted_at: u64,
    attempt: u32,
    body: Vec<u8>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Does what is queued; then sends everything as it is, and leaves every answer to the gateway.
#[derive(Default)]
struct Stub {
    shapes: Mutex<VecDeque<Does<CheckedPreparation>>>,
    judges: Mutex<VecDeque<Does<Verdict>>>,
    told: Mutex<Vec<Told>>,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stub")
    }
}

impl Stub {
    fn new(
        shapes: impl IntoIterator<Item = Does<CheckedPreparation>>,
        judges: impl IntoIterator<Item = Does<Verdict>>,
    ) -> Arc<Stub> {
        let (shapes, judges) = (shapes.into_iter().collect(), judges.into_iter().collect());
        Arc::new(Stub { shapes: Mutex::new(shapes), judges: Mutex::new(judges), told: Mutex::default() })
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    async fn until_told(&self, times: usize) {
        while self.told.lock().unwrap().len() < times {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn note(&self, slot: &str, event: EventView<'_>, answer: Option<Answer>) {
        let words = [
            event.id,
            event.event_type,
            event.sink,
            event.route,
            event.tenant,
            event.correlation_id,
            event.content_type,
        ];
        self.told.lock().unwrap().push(Told {
            slot: slot.to_owned(),
            words: words.map(str::to_owned),
            key: event.key.map(str::to_owned),
            accepted_at: event.accepted_at,
            attempt: event.attempt,
            body: event.body.to_vec(),
            answer,
        });
    }
}

fn play<'a, T: Send + 'a>(does: Does<T>) -> Asking<'a, T> {
    match does {
        Does::Says(what) => Box::pin(std::future::ready(what)),
        Does::NeverEnds => Box::pin(std::future::pending()),
        Does::Panics => Box::pin(async { panic!("the stub was told to") }),
    }
}

impl EventHook for Stub {
    fn shape<'a>(&'a self, slot: &'a str, event: EventView<'a>) -> Asking<'a, CheckedPreparation> {
        self.note(slot, event, None);
        let does = self.shapes.lock().unwrap().pop_front();
        play(does.unwrap_or_else(|| Does::says(CheckedPreparation::Send(CheckedShaped::default()))))
    }

    fn judge<'a>(&'a self, slot: &'a str, event: EventView<'a>, answer: SinkAnswer<'a>) -> Asking<'a, Verdict> {
        let headers = answer.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = Answer { status: answer.status, headers, body: answer.body.to_vec() };
        self.note(slot, event, Some(answer));
        play(self.judges.lock().unwrap().pop_front().unwrap_or(Does::Says(Ok(None))))
    }
}

fn with_plugin(sink: plan::Sink) -> plan::Sink {
    plan::Sink { plugin: Some("erp-out".into()), ..sink }
}

fn start(dir: &Path, sink: plan::Sink, stub: &Arc<Stub>) -> Running {
    let clock = ManualClock::at(NEW_YEAR);
    let event_hook = Some(Arc::clone(stub) as Arc<dyn EventHook>);
    let options = Options { event_hook, clock: Clock::Manual(clock.clone()), ..Options::default() };
    let ledger = Arc::new(Ledger::open_with(dir, &settings(), options).unwrap());
    Running::deliver(ledger, [sink], clock)
}

fn error(status: &EventStatus) -> &LastError {
    status.deliveries[0].last_error.as_ref().unwrap()
}

fn reason(status: &EventStatus) -> &str {
    &status.history.last().unwrap().reason
}

fn field(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Lets the wait for a plugin run out while the ledger's own clock stands still.
async fn wait_too_long() {
    tokio::time::pause();
    tokio::time::advance(TOO_LONG).await;
    tokio::time::resume();
}

#[tokio::test]
async fn without_a_plugin_of_the_tenant_it_is_sent_as_it_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(500)]);
    let stub = Stub::new([Does::Says(Ok(None)), Does::Says(Ok(None))], [Does::says(Verdict::Dead("never".into()))]);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{\"order\":42}")).await;
    let first = erp.next().await;
    assert_eq!((&first.body[..], first.header("content-type")), (&b"{\"order\":42}"[..], "application/json"));
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    assert_eq!((&*error(&status).kind, error(&status).status), ("http", Some(500)), "the gateway's own word");
    running.clock.advance(Duration::from_secs(1));
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(reason(&status), "http 200");
    assert_eq!(erp.next().await.body, first.body);
    let told = stub.told();
    assert!(told.iter().all(|told| told.answer.is_none()), "nobody is there to judge: {told:?}");
    assert_eq!(told.len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_sink_without_a_plugin_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let stub = Stub::new([Does::Panics], [Does::Panics]);
    let running = start(dir.path(), erp.plan(), &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(reason(&status), "http 200");
    assert_eq!(stub.told(), []);
    running.stop().await;
}

#[tokio::test]
async fn a_shaped_attempt_is_sent_so_and_the_next_one_starts_from_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Status(503)]);
    let shaped = CheckedShaped {
        content_type: Some("application/xml".to_owned()),
        set_headers: vec![
            field("x-tag", "one"),
            field("x-tag", "two"),
            field("soapaction", "\"create\""),
            field("authorization", "Bearer of the plugin"),
            field("ce-id", "another"),
            field("ce-extra", "more"),
        ],
        body: Some(b"<order>42</order>".to_vec()),
    };
    let stub = Stub::new([Does::says(CheckedPreparation::Send(shaped))], []);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{\"order\":42}")).await;
    let got = erp.next().await;
    assert_eq!(&got.body[..], b"<order>42</order>");
    for (name, value) in [
        ("content-type", "application/xml"),
        ("content-length", "17"),
        ("soapaction", "\"create\""),
        ("authorization", "Bearer erp"),
        ("ce-id", &*id.to_string()),
        ("ce-type", "erp.order.created"),
        ("x-sluis-attempt", "1"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
        assert_eq!(got.headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert_eq!(got.headers.get_all("x-tag").iter().collect::<Vec<_>>(), ["one", "two"]);
    assert!(!got.headers.contains_key("ce-extra"));

    running.until_delivery(id, DeliveryState::RetryWait).await;
    running.clock.advance(Duration::from_secs(1));
    let got = erp.next().await;
    assert_eq!((&got.body[..], got.header("content-type")), (&b"{\"order\":42}"[..], "application/json"));
    assert_eq!((got.header("x-sluis-attempt"), got.header("soapaction")), ("2", ""));
    running.until(id, EventState::Completed).await;

    let first = Told {
        slot: "erp-out".to_owned(),
        words: [&*id.to_string(), "erp.order.created", "erp", "orders", "acme", "corr-1", "application/json"]
            .map(str::to_owned),
        key: Some("order 42".to_owned()),
        accepted_at: NEW_YEAR,
        attempt: 1,
        body: b"{\"order\":42}".to_vec(),
        answer: None,
    };
    let told = stub.told();
    let shapes: Vec<_> = told.iter().filter(|told| told.answer.is_none()).cloned().collect();
    assert_eq!(shapes, [first.clone(), Told { attempt: 2, ..first.clone() }]);
    let judged = Told { answer: None, ..told[1].clone() };
    assert_eq!(
        (judged, told[1].answer.as_ref().unwrap().status),
        (first, 503),
        "judged as the event, not as it was sent"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_the_plugin_says_is_done_or_dead_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let done = CheckedPreparation::Done("a draft".to_owned());
    let dead = CheckedPreparation::Dead("no order number".to_owned());
    let stub = Stub::new([Does::says(done), Does::says(dead)], []);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(reason(&status), "plugin: done: a draft");
    assert_eq!(status.deliveries[0].state, DeliveryState::Delivered);

    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Failed).await;
    assert_eq!(reason(&status), "permanent_error: plugin");
    let error = error(&status);
    let expected = ("plugin", "permanent", None, "no order number");
    assert_eq!((&*error.kind, &*error.class, error.status, &*error.message), expected);
    assert_eq!(running.ledger.backlog().count(DeliveryState::Dead), 1);
    assert!(erp.drain().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_event_outlives_the_faults_of_its_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let stub = Stub::new([Does::Says(Err(TRAP)), Does::Panics], []);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let expected = [
        ("plugin", "transient", "the plugin failed: trap"),
        ("internal", "ambiguous", "the attempt broke off inside the gateway"),
    ];
    for (attempt, expected) in (1..).zip(expected) {
        let waits = |status: &EventStatus| {
            let delivery = &status.deliveries[0];
            delivery.state == DeliveryState::RetryWait && delivery.attempts == attempt
        };
        let status = running.until_that(id, waits).await;
        let error = error(&status);
        assert_eq!((&*error.kind, &*error.class, &*error.message), expected);
        assert!(erp.drain().is_empty());
        running.clock.advance(Duration::from_secs(2));
    }
    assert_eq!(erp.next().await.header("x-sluis-attempt"), "3");
    running.until(id, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a_refusal_that_the_plugin_knows_better_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let answer = format!("order 42 exists already{}", " ".repeat(ANSWER_BYTES));
    erp.say([Say::Body(422, answer.clone())]);
    let stub = Stub::new([], [Does::says(Verdict::Done("there already".to_owned()))]);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(reason(&status), "http 422, plugin: done: there already");
    let told = stub.told();
    let told = told.last().unwrap().answer.as_ref().unwrap();
    assert_eq!(told.status, 422);
    assert!(told.body == answer.as_bytes()[..ANSWER_BYTES], "{} bytes", told.body.len());
    let length = ("content-length".to_owned(), answer.len().to_string());
    assert!(told.headers.contains(&length), "{:?}", told.headers);
    running.stop().await;
}

#[tokio::test]
async fn a_success_that_the_plugin_wants_again_waits_as_long_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    erp.say([Say::Body(200, "<busy/>".to_owned()), Say::RetryAfter(503, "300"), Say::Status(200)]);
    let again = |seconds| Does::says(Verdict::Retry(seconds));
    let stub = Stub::new([], [again(Some(120)), again(None), again(None)]);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let waits = |attempt| {
        move |status: &EventStatus| {
            let delivery = &status.deliveries[0];
            delivery.state == DeliveryState::RetryWait && delivery.attempts == attempt
        }
    };
    let status = running.until_that(id, waits(1)).await;
    assert_eq!(status.deliveries[0].next_attempt_at, Some(NEW_YEAR + 120_000));
    assert_eq!(reason(&status), "plugin 200");
    let told = error(&status);
    let expected = ("plugin", "transient", Some(200), "the plugin wants it tried again");
    assert_eq!((&*told.kind, &*told.class, told.status, &*told.message), expected);
    erp.next().await;
    running.clock.advance(Duration::from_secs(119));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(erp.drain().is_empty(), "not before its time");
    running.clock.advance(Duration::from_secs(1));
    let status = running.until_that(id, waits(2)).await;
    assert_eq!(status.deliveries[0].next_attempt_at, Some(NEW_YEAR + 420_000), "as the sink itself asked for");
    running.clock.advance(Duration::from_secs(300));
    let status = running.until_that(id, waits(3)).await;
    let wait = status.deliveries[0].next_attempt_at.unwrap() - (NEW_YEAR + 420_000);
    assert!((2000..=4000).contains(&wait), "by the sink's settings: {wait}");
    running.clock.advance(Duration::from_secs(4));
    let status = running.until(id, EventState::Completed).await;
    assert_eq!((status.deliveries[0].attempts, reason(&status)), (4, "http 200"), "the plugin left it to the gateway");
    running.stop().await;
}

#[tokio::test]
async fn a_plugin_cannot_ask_past_the_end_that_the_settings_set() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    let mut sink = with_plugin(erp.plan());
    sink.retry.max_attempts = 2;
    let again = || Does::says(Verdict::Retry(Some(1)));
    let stub = Stub::new([], [again(), again(), Does::says(Verdict::Retry(Some(86_401)))]);
    let running = start(dir.path(), sink.clone(), &stub);
    let id = running.accept(event("{}")).await;
    running.until_delivery(id, DeliveryState::RetryWait).await;
    running.clock.advance(Duration::from_secs(1));
    let status = running.until(id, EventState::Failed).await;
    assert_eq!((reason(&status), status.deliveries[0].attempts), ("retries_exhausted: plugin 200", 2));

    // Accepted a second ago, so that a day from now is past the end.
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Failed).await;
    assert_eq!(reason(&status), "max_age: plugin 200");
    running.stop().await;
}

#[tokio::test]
async fn a_failure_that_the_plugin_calls_final_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    erp.say([Say::Body(503, "closed for good".to_owned())]);
    let stub = Stub::new([], [Does::says(Verdict::Dead("the account is closed".to_owned()))]);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until(id, EventState::Failed).await;
    assert_eq!(reason(&status), "permanent_error: plugin 503");
    let error = error(&status);
    let expected = ("plugin", "permanent", Some(503), "the account is closed");
    assert_eq!((&*error.kind, &*error.class, error.status, &*error.message), expected);
    running.stop().await;
    let file = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    let excerpt: Vec<u8> = file.query_row("SELECT excerpt FROM failures", [], |row| row.get(0)).unwrap();
    assert_eq!(excerpt, b"closed for good");
}

#[tokio::test]
async fn where_the_plugin_fails_to_judge_the_status_does() {
    let dir = tempfile::tempdir().unwrap();
    let erp = ErpSink::start().await;
    erp.say([Say::Status(503), Say::Status(200)]);
    let stub = Stub::new([], [Does::Says(Err(TRAP)), Does::Says(Err(TRAP))]);
    let running = start(dir.path(), with_plugin(erp.plan()), &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    let error = error(&status);
    assert_eq!((&*error.kind, &*error.class, error.status), ("http", "transient", Some(503)));
    assert_eq!(error.message, "the sink answered 503 Service Unavailable, the plugin failed to judge: trap");
    running.clock.advance(Duration::from_secs(1));
    let status = running.until(id, EventState::Completed).await;
    assert_eq!(reason(&status), "http 200, the plugin failed to judge: trap");
    assert_eq!(status.deliveries[0].attempts, 2);
    running.stop().await;
}

#[tokio::test]
async fn a_plugin_that_never_answers_does_not_hold_the_slot() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let stub = Stub::new([Does::NeverEnds], [Does::NeverEnds]);
    let sink = plan::Sink { concurrency: 1, ..with_plugin(erp.plan()) };
    let running = start(dir.path(), sink, &stub);
    let first = running.accept(event("1")).await;
    stub.until_told(1).await;
    let second = running.accept(event("2")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(erp.drain().is_empty(), "the only slot is taken");
    wait_too_long().await;
    let status = running.until_delivery(first, DeliveryState::RetryWait).await;
    let wall = error(&status);
    assert_eq!((&*wall.class, &*wall.message), ("transient", "the plugin failed: wall"));

    // The second is sent, and waits for its verdict.
    assert_eq!(erp.next().await.id(), second);
    stub.until_told(3).await;
    assert_eq!(running.status(second).await.deliveries[0].state, DeliveryState::Leased);
    wait_too_long().await;
    let status = running.until(second, EventState::Completed).await;
    assert_eq!(reason(&status), "http 200, the plugin failed to judge: wall");
    running.clock.advance(Duration::from_secs(1));
    assert_eq!(erp.next().await.id(), first);
    running.until(first, EventState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn half_an_answer_is_none_that_a_plugin_could_judge() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sink = with_plugin(ErpSink::start().await.plan());
    let plan::SinkKind::Http(http) = &mut sink.kind;
    http.url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<fault>").await.unwrap();
    });
    let stub = Stub::new([], [Does::says(Verdict::Done("never".to_owned()))]);
    let running = start(dir.path(), sink, &stub);
    let id = running.accept(event("{}")).await;
    let status = running.until_delivery(id, DeliveryState::RetryWait).await;
    let error = error(&status);
    assert_eq!((&*error.kind, &*error.class, error.status), ("connection_broken", "ambiguous", None));
    assert_eq!(stub.told().len(), 1, "shaped, not judged");
    running.stop().await;
}

#[tokio::test]
async fn the_faults_and_verdicts_of_a_plugin_do_not_shut_its_sink_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut erp = ErpSink::start().await;
    let shapes = (0..10).map(|_| Does::Says(Err(TRAP)));
    let judges = (0..10).map(|_| Does::says(Verdict::Retry(Some(3600))));
    let stub = Stub::new(shapes, judges);
    let breaker = BreakerSettings { consecutive_failures: 5, ..NO_BREAKER };
    let running = start(dir.path(), plan::Sink { breaker, ..with_plugin(erp.plan()) }, &stub);
    for _ in 0..20 {
        running.accept(event("{}")).await;
    }
    for _ in 0..10 {
        erp.next().await;
    }
    running.until_backlog(|backlog| backlog.count(DeliveryState::RetryWait) == 20).await;
    let id = running.accept(event("{}")).await;
    running.until(id, EventState::Completed).await;
    assert!(running.ledger.sink_holds("erp").is_empty());
    running.stop().await;
}
