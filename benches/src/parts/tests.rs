use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::workload::Orders;

/// Long enough for a busy machine, and never waited for where everything is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one request on a new connection, and reads the answer to its end.
fn ask(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(stream, "{head}\r\nhost: erp\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn order(address: SocketAddr, number: u64) -> std::io::Result<String> {
    ask(address, "POST /orders HTTP/1.1", &format!("{{\"id\":\"r1-{number}\"}}"))
}

/// Asks until it is so.
fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

fn erp(change: &str) -> (Erp, Arc<Orders>) {
    let change: Change = serde_saphyr::from_str(change).unwrap();
    let erp = Erp::start(change.apply("erp", &Behaviour::default()).unwrap()).unwrap();
    let orders = Arc::new(Orders::new(1));
    (0..100).for_each(|number| orders.sent(number, 0));
    assert!(erp.expect("r1", orders.clone()));
    (erp, orders)
}

fn set(erp: &Erp, state: State) {
    erp.behave(Behaviour { state, ..erp.behaviour() });
}

#[test]
fn an_order_is_known_by_its_fields_or_its_body() {
    let (erp, orders) = erp("{latency: 1ms}");
    assert!(order(erp.address(), 1).unwrap().starts_with("HTTP/1.1 200"));
    ask(erp.address(), "POST / HTTP/1.1\r\nidempotency-key: r1-2", "not json").unwrap();
    // From a sink, whose own id of an event is another; forwarded as it came; as one object.
    let own = "0197e0a4-5f1c-7000-8000-000000000042";
    ask(erp.address(), &format!("POST / HTTP/1.1\r\nce-id: {own}\r\nce-sourceid: r1-3"), "").unwrap();
    ask(erp.address(), "POST / HTTP/1.1\r\nce-id: r1-4", "").unwrap();
    ask(erp.address(), "POST / HTTP/1.1", &format!("{{\"id\":\"{own}\",\"sourceid\":\"r1-5\"}}")).unwrap();
    // From a sink again: the event was no CloudEvent before.
    ask(erp.address(), &format!("POST / HTTP/1.1\r\nce-id: {own}"), "{\"id\":\"r1-6\"}").unwrap();
    // Of another run, and none at all.
    ask(erp.address(), "POST / HTTP/1.1\r\nce-sourceid: r9-7", "").unwrap();
    ask(erp.address(), "POST / HTTP/1.1", "{\"id\":7}").unwrap();
    order(erp.address(), 3).unwrap();
    assert_eq!((orders.arrived_count(), orders.delivery().duplicated), (6, 1));
    assert_eq!(erp.seconds().iter().map(|second| second.taken).sum::<u64>(), 9);
}

#[test]
fn an_erp_goes_away_in_each_way_and_comes_back() {
    let (erp, orders) = erp("up");
    let address = erp.address();
    set(&erp, State::Down);
    assert!(order(address, 1).unwrap().starts_with("HTTP/1.1 503"));
    set(&erp, State::Refused);
    until(|| TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
    set(&erp, State::Up);
    until(|| order(address, 2).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")));
    // Who was connected is cut off, too.
    let mut kept = TcpStream::connect(address).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: erp\r\n\r\n").unwrap();
    assert!(kept.read(&mut [0; 1_024]).unwrap() > 0);
    set(&erp, State::Reset);
    assert_eq!(kept.read(&mut [0; 1_024]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(order(address, 3).is_err());
    assert_eq!(orders.arrived_count(), 1);
}

#[test]
fn a_silent_erp_takes_connections_and_never_answers() {
    let (erp, orders) = erp("silent");
    let mut stream = TcpStream::connect(erp.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: erp\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let waited = stream.read(&mut [0; 16]).unwrap_err().kind();
    assert!(matches!(waited, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waited:?}");
    set(&erp, State::Up);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "an end without an answer");
    assert_eq!(orders.arrived_count(), 0);
}

#[test]
fn errors_come_at_their_share_with_what_they_say() {
    let (erp, orders) = erp("{errors: {share: 100%, status: 429, retry_after: 1500ms}}");
    let answer = order(erp.address(), 1).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 2\r\n"), "{answer}");
    let refused: u64 = erp.seconds().iter().map(|second| second.refused).sum();
    assert_eq!((orders.arrived_count(), refused), (0, 1));
}

#[test]
fn no_more_orders_are_worked_on_at_once_than_there_are_desks() {
    let (erp, orders) = erp("{concurrency: 2, latency: 20ms}");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let address = erp.address();
            scope.spawn(move || order(address, number).unwrap());
        }
    });
    assert_eq!((erp.at_once_at_most(), orders.arrived_count()), (2, 8));
}

#[test]
fn the_issuer_publishes_what_it_has_and_can_be_away() {
    let idp = Idp::start("{\"keys\":[]}".to_owned()).unwrap();
    let keys = |path: &str| ask(idp.address(), &format!("GET {path} HTTP/1.1"), "").unwrap();
    assert!(keys("/jwks.json").ends_with("{\"keys\":[]}"));
    assert!(keys("/other").starts_with("HTTP/1.1 404"));
    idp.publish("{\"keys\":[1]}".to_owned());
    let change = |yaml| serde_saphyr::from_str::<Change>(yaml).unwrap().apply("idp", &Behaviour::default()).unwrap();
    idp.behave(change("{latency: 2ms}"));
    assert!(keys("/jwks.json").ends_with("{\"keys\":[1]}"));
    idp.behave(change("down"));
    assert!(keys("/jwks.json").starts_with("HTTP/1.1 503"));
    assert_eq!(idp.fetches(), 4);
}

#[test]
fn slow_clients_hold_connections_and_notice_their_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = SlowClients::start(listener.local_addr().unwrap(), 4, "Bearer abc.def").unwrap();
    let held: Vec<TcpStream> = (0..4).map(|_| listener.accept().unwrap().0).collect();
    let mut bodies = 0;
    for mut stream in &held {
        let mut head = [0; 46];
        stream.read_exact(&mut head).unwrap();
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("POST /v1/orders HTTP/1.1\r\nhost: api.test\r\n"), "{head}");
        bodies += usize::from(head.ends_with("auth"));
    }
    assert_eq!(bodies, 2, "half of them get as far as a body");
    assert_eq!(clients.held().ended, 0);
    drop(held);
    until(|| clients.held().ended >= 4);
    assert!(clients.held().connected >= 4 && clients.held().longest > Duration::ZERO);
}

#[test]
fn a_connection_that_slow_clients_still_hold_at_the_end_counts_as_held_and_not_as_ended() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = SlowClients::start(listener.local_addr().unwrap(), 1, "Bearer abc.def").unwrap();
    let held = listener.accept().unwrap();
    until(|| clients.held().connected == 1);
    let ended = clients.end();
    assert_eq!((ended.connected, ended.ended), (1, 0));
    assert!(ended.longest > Duration::ZERO);
    drop(held);
}
