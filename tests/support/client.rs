//! A client that sends exactly the bytes it is given and reads one answer at a time.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// Last segment of the problem's `type`.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffered: VecDeque<u8>,
}

/// The connection ended before a whole answer.
#[derive(Debug)]
pub struct Closed;

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, buffered: VecDeque::new() }
    }

    /// Sends raw bytes; a broken pipe is for the reader to find.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// For whoever goes on sending while an answer is awaited.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Reads one answer; interim ones are skipped.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap()
    }

    pub fn try_answer(&mut self, head: bool) -> Result<Answer, Closed> {
        loop {
            let answer = self.one_answer(head)?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// Reads one answer, interim or final.
    pub fn one_answer(&mut self, head: bool) -> Result<Answer, Closed> {
        let start = self.line()?;
        let status = start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{start:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if head || status < 200 || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.line()?.split(';').next().unwrap_or(""), 16).unwrap();
                let piece = self.take(size)?;
                answer.body.extend(piece);
                self.line()?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        match answer.header("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => answer.body = self.take(length)?,
            None => {
                let mut rest: Vec<u8> = self.buffered.drain(..).collect();
                let _ = self.stream.read_to_end(&mut rest);
                answer.body = rest;
            }
        }
        Ok(answer)
    }

    /// Whether nothing has come that was not read.
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let come = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.buffered.is_empty() && come.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the other side closes now, without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        self.buffered.is_empty() && matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    fn line(&mut self) -> Result<String, Closed> {
        let mut line = Vec::new();
        loop {
            let byte = self.byte()?;
            if byte == b'\n' {
                line.pop();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            line.push(byte);
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Closed> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> Result<u8, Closed> {
        if self.buffered.is_empty() {
            let mut buf = [0; 16 * 1024];
            match self.stream.read(&mut buf) {
                Ok(0) | Err(_) => return Err(Closed),
                Ok(read) => self.buffered.extend(&buf[..read]),
            }
        }
        self.buffered.pop_front().ok_or(Closed)
    }
}

/// A request's bytes, with `Host` and, where there is a body, `Content-Length`.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n").into_bytes();
    for (name, value) in headers {
        out.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        out.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    out.extend(b"\r\n");
    out.extend(body);
    out
}

/// One request on a connection of its own.
pub fn call(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut connection = Connection::open(address);
    connection.send(&request(method, path, headers, body));
    connection.try_answer(method == "HEAD").unwrap_or_else(|_| panic!("{method} {path}: closed without an answer"))
}
