//! The coordinator's side of one connection to one agent.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::AgentError;
use super::wire::{Hello, Line, MAX_LINE, MAX_ORDER, Order, Ready, Start, VERSION, now_us};

/// For a connection and for a short answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For an agent to sign its tokens: fifteen thousand with RSA take half a minute on a slow core.
const READY: Duration = Duration::from_secs(120);
/// Largest short answer: a key set.
const MAX_ANSWER: usize = 1 << 20;
/// Questions for its clock; the one that was answered soonest tells best.
const CLOCK_QUESTIONS: usize = 5;

/// An agent, by its address.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `host:port`.
    pub address: String,
    /// The shared secret.
    pub secret: String,
}

/// Lines from a run that goes on.
pub struct Told {
    body: Incoming,
    lines: Lines,
}

/// Bytes as they come, cut into lines.
#[derive(Default)]
struct Lines {
    buffer: BytesMut,
    /// Bytes of it without an end of a line: they are not looked at again.
    searched: usize,
}

impl Peer {
    /// Whether it is there, speaks the same and is free. Answers by how many µs its clock is ahead of this one.
    pub async fn greet(&self) -> Result<i64, AgentError> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..CLOCK_QUESTIONS {
            let before = now_us();
            let hello: Hello = self.ask(Method::GET, "/v1/agent", &(), PATIENCE).await?;
            let after = now_us();
            if hello.version != VERSION {
                return Err(AgentError::Version { agent: self.address.clone(), theirs: hello.version });
            }
            if hello.busy {
                return Err(self.failed("busy with another run"));
            }
            let (round, offset) = (after - before, hello.clock_us - before - (after - before) / 2);
            if best.is_none_or(|(shortest, _)| round < shortest) {
                best = Some((round, offset));
            }
        }
        Ok(best.map_or(0, |(_, offset)| offset))
    }

    /// Has it get ready.
    pub async fn prepare(&self, order: &Order) -> Result<Ready, AgentError> {
        self.ask(Method::POST, "/v1/runs", order, READY).await
    }

    /// Has it start at a moment of its clock.
    pub async fn start(&self, run: u64, at_us: i64) -> Result<Told, AgentError> {
        let response = self.send(Method::POST, &format!("/v1/runs/{run}/start"), &Start { at_us }, PATIENCE).await?;
        Ok(Told { body: response.into_body(), lines: Lines::default() })
    }

    /// Has it end before its time.
    pub async fn stop(&self, run: u64) -> Result<(), AgentError> {
        self.send(Method::POST, &format!("/v1/runs/{run}/stop"), &(), PATIENCE).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        what: &impl Serialize,
        patience: Duration,
    ) -> Result<T, AgentError> {
        let body = self.send(method, path, what, patience).await?.into_body();
        let body = timeout(PATIENCE, Limited::new(body, MAX_ANSWER).collect()).await;
        let body = body.map_err(|_| self.unreachable("no whole answer in time"))?;
        let body = body.map_err(|error| self.failed(error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.failed(format!("no answer of an agent: {error}")))
    }

    /// On a connection of its own.
    async fn send(
        &self,
        method: Method,
        path: &str,
        what: &impl Serialize,
        patience: Duration,
    ) -> Result<Response<Incoming>, AgentError> {
        let body = serde_json::to_vec(what).map_err(|error| self.failed(error))?;
        if body.len() > MAX_ORDER {
            return Err(AgentError::Asked(format!(
                "an agent takes {} MiB, and this load has {}; ask for one with shorter traces or templates",
                MAX_ORDER >> 20,
                body.len().div_ceil(1 << 20)
            )));
        }
        let stream = timeout(PATIENCE, TcpStream::connect(&self.address)).await;
        let stream = stream.map_err(|_| self.unreachable("no connection in time"))?;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        let _ = stream.set_nodelay(true);
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", self.secret)).map_err(|error| self.failed(error))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(AUTHORIZATION, bearer)
            .body(Full::<Bytes>::from(body))
            .map_err(|error| self.failed(error))?;
        let response = timeout(patience, client.send_request(request)).await;
        let response = response.map_err(|_| self.unreachable("no answer in time"))?;
        let response = response.map_err(|error| self.unreachable(error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(AgentError::Refused { agent: self.address.clone() }),
            status => {
                let body = timeout(PATIENCE, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
                let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
                Err(self.failed(format!("{status}: {}", String::from_utf8_lossy(&body).trim())))
            }
        }
    }

    fn unreachable(&self, why: impl ToString) -> AgentError {
        AgentError::Unreachable { agent: self.address.clone(), why: why.to_string() }
    }

    fn failed(&self, why: impl ToString) -> AgentError {
        AgentError::Failed { agent: self.address.clone(), why: why.to_string() }
    }
}

impl Told {
    /// The next line, within this time; `Err` says why there is none.
    pub async fn next(&mut self, patience: Duration) -> Result<Line, String> {
        loop {
            if let Some(line) = self.lines.next() {
                return serde_json::from_slice(&line).map_err(|error| format!("an unreadable line: {error}"));
            }
            if self.lines.buffer.len() > MAX_LINE {
                return Err(format!("a line of more than {} MiB", MAX_LINE >> 20));
            }
            let frame = timeout(patience, self.body.frame()).await;
            let frame = frame.map_err(|_| format!("silent for {} s", patience.as_secs()))?;
            match frame {
                Some(Ok(frame)) => {
                    self.lines.buffer.extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new()));
                }
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the connection ended".to_owned()),
            }
        }
    }
}

impl Lines {
    /// The next whole line, without its end.
    fn next(&mut self) -> Option<BytesMut> {
        let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn lines_are_whole_wherever_they_were_cut_and_no_byte_is_looked_at_twice() {
        let text = b"one\n\nthree, longer\nfour";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for bytes in text.chunks(size) {
                lines.buffer.extend_from_slice(bytes);
                while let Some(line) = lines.next() {
                    found.push(String::from_utf8_lossy(&line).into_owned());
                }
                assert_eq!(lines.searched, lines.buffer.len());
            }
            assert_eq!(
                (found, &lines.buffer[..]),
                (vec!["one".into(), String::new(), "three, longer".into()], &b"four"[..])
            );
        }
    }
}
