//! Customers who wait for something to become of an event.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::operate::House;
use crate::support::client::{Answer, Connection, request};
use crate::support::eventually;

const GOOD: &str = r#"{"good":1}"#;

impl House {
    fn ask(&self, tenant: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let bearer = self.issuer.bearer(tenant);
        let headers: Vec<(&str, &str)> =
            [("Authorization", &*bearer)].into_iter().chain(headers.iter().copied()).collect();
        self.gateway.call("GET", path, &headers, b"")
    }

    /// Accepts an event that waits until its sink is resumed.
    fn waits(&self) -> String {
        assert_eq!(self.operator("POST", "/v1/sinks/erp/pause", &json!({})).status, 204);
        let id = self.accept("acme", "/orders", GOOD, "c-1");
        self.wait(&id, "erp", "held");
        format!("/v1/events/{id}")
    }

    fn resume(&self) {
        assert_eq!(self.operator("POST", "/v1/sinks/erp/resume", &json!({})).status, 204);
    }

    /// Waits until so many requests are in flight.
    fn in_flight(&self, count: f64) {
        eventually("requests wait", Duration::from_secs(30), || {
            (self.gateway.metric("sluis_requests_in_flight") >= count).then_some(())
        });
    }

    /// Opens a stream, and reads until it has said something.
    fn stream(&self, path: &str) -> Stream {
        let bearer = self.issuer.bearer("acme");
        let headers = [("Authorization", &*bearer), ("Accept", "text/event-stream")];
        let mut socket = TcpStream::connect(self.gateway.http).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(&request("GET", path, &headers, b"")).unwrap();
        let mut stream = Stream { socket, text: String::new() };
        stream.until("event: accepted");
        stream
    }
}

/// A stream that is read as it comes.
struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    fn until(&mut self, word: &str) {
        let mut piece = [0; 4096];
        while !self.text.contains(word) {
            let read = self.socket.read(&mut piece).unwrap();
            assert!(read > 0, "it ended without {word:?}: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
}

#[test]
fn whoever_waits_is_answered_when_the_event_is_delivered() {
    let house = House::open();
    let path = house.waits();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| house.ask("acme", &format!("{path}?wait=60s"), &[]));
        house.in_flight(1.0);
        house.resume();
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("completed")));
        assert_eq!(answer.header("retry-after"), None);
    });
}

#[test]
fn whoever_knows_a_picture_is_answered_when_it_changes() {
    let house = House::open();
    let path = house.waits();
    let first = house.ask("acme", &path, &[]);
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("retry-after"), Some("1"));
    let same = house.ask("acme", &path, &[("If-None-Match", &tag)]);
    assert_eq!((same.status, same.header("etag")), (304, Some(&*tag)));
    assert_eq!(house.ask("acme", &format!("{path}?wait=0"), &[("If-None-Match", &tag)]).status, 304);
    let other = house.ask("acme", &format!("{path}?wait=60"), &[("If-None-Match", "\"another\"")]);
    assert_eq!(other.status, 200, "what the client does not know is told at once");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| house.ask("acme", &format!("{path}?wait=60"), &[("If-None-Match", &tag)]));
        house.in_flight(1.0);
        house.resume();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("etag"), Some(&*tag));
    });
}

#[test]
fn a_wait_that_is_none_is_refused() {
    let house = House::open();
    let id = house.accept("acme", "/orders", GOOD, "c-1");
    for wait in ["wait=", "wait=61", "wait=forever", "wait=-1", "wait=1&wait=2"] {
        let answer = house.ask("acme", &format!("/v1/events/{id}?{wait}"), &[]);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "wait-invalid"), "{wait}");
    }
    let other = house.ask("globex", &format!("/v1/events/{id}?wait=60"), &[("Accept", "text/event-stream")]);
    assert_eq!((other.status, other.problem().as_str()), (404, "event-not-found"));
}

#[test]
fn a_stream_tells_each_transition_as_it_comes() {
    let house = House::open();
    house.answer.store(503, Ordering::SeqCst);
    let id = house.accept("acme", "/orders", "{}", "c-1");
    let mut stream = house.stream(&format!("/v1/events/{id}"));
    stream.until("event: retry_wait");
    assert!(!stream.text.contains("event: delivered"));
    house.answer.store(200, Ordering::SeqCst);
    stream.until("event: delivered");
    // The last, empty chunk.
    stream.until("\r\n0\r\n\r\n");
    let head = stream.text.split("\r\n\r\n").next().unwrap().to_lowercase();
    assert!(head.contains("content-type: text/event-stream") && head.contains("cache-control: no-store"), "{head}");
    let events = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned));
        lines.collect::<Vec<String>>()
    };
    let told = events(&stream.text);
    assert_eq!(told[..4], ["accepted", "ready", "leased", "retry_wait"], "{told:?}");
    let data = stream.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let data: Vec<serde_json::Value> = data.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((data.len(), &data[2]["sink"], &data[2]["state"]), (told.len(), &json!("erp"), &json!("leased")));

    // Whoever comes back is told what is new, and at the end that nothing will be.
    let headers = |after: usize| [("Accept", "text/event-stream".to_owned()), ("Last-Event-ID", after.to_string())];
    let ask = |after: usize| {
        let headers = headers(after);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        house.ask("acme", &format!("/v1/events/{id}"), &headers)
    };
    assert_eq!(events(&ask(told.len() - 1).text()), ["delivered"]);
    assert_eq!(ask(told.len()).status, 204);
}

#[test]
fn too_many_who_wait_are_told_so_and_nobody_else_is() {
    let mut house = House::open();
    let path = house.waits();
    let mut streams: Vec<Stream> = (0..32).map(|_| house.stream(&path)).collect();
    let refused = house.ask("acme", &path, &[("Accept", "text/event-stream")]);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "tenant-busy"));
    let at_once = house.ask("acme", &format!("{path}?wait=60"), &[]);
    assert_eq!((at_once.status, &at_once.json()["deliveries"][0]["state"]), (200, &json!("held")));
    let globex = house.accept("globex", "/orders", GOOD, "c-2");
    let bearer = house.issuer.bearer("globex");
    let mut connection = Connection::open(house.gateway.http);
    let headers = [("Authorization", &*bearer), ("Accept", "text/event-stream")];
    connection.send(&request("GET", &format!("/v1/events/{globex}"), &headers, b""));
    house.resume();
    let told = connection.answer();
    assert!(told.status == 200 && told.text().contains("event: delivered"), "{}", told.text());
    for stream in &mut streams {
        stream.until("event: delivered");
    }

    // A gateway that leaves does not wait for those who wait.
    let path = house.waits();
    let _stream = house.stream(&path);
    house.gateway.signal("TERM");
    assert!(house.gateway.wait(Duration::from_secs(9)).success());
}
