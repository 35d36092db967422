//! The load: wrk with `peers/post.lua`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use sluis_bench::Error;

use crate::peer::{Peer, Work, configurations};

/// Tokens, a line each.
pub const TOKENS: &str = "tokens.txt";
/// The body.
pub const ORDER: &str = "order.json";

/// What sends.
pub struct Load<'a> {
    /// The program.
    pub wrk: PathBuf,
    /// Where tokens and order are.
    pub dir: &'a Path,
    /// At once.
    pub connections: u32,
}

/// What wrk says of its run, by way of the script.
#[derive(Debug, Deserialize)]
pub struct Answered {
    /// Answers.
    pub requests: u64,
    /// Microseconds that it took.
    pub micros: u64,
    /// Median latency, microseconds.
    pub p50: u64,
    /// 99th percentile, microseconds.
    pub p99: u64,
    /// Answers of 400 and more.
    pub refused: u64,
    /// Connections that failed, and answers that never came.
    pub broken: u64,
}

impl Load<'_> {
    /// Sends for so many seconds, as fast as it is answered. An error where anything was refused or broke: what was
    /// measured would be other work.
    pub fn run(&self, peer: &Peer, seconds: u32) -> Result<Answered, Error> {
        let tokens = match peer.work {
            Work::Plain => PathBuf::from("-"),
            Work::Jwt | Work::Full => self.dir.join(TOKENS),
        };
        let output = Command::new(&self.wrk)
            .args(["--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{seconds}s"), "--script"])
            .arg(configurations().join("post.lua"))
            .arg(format!("http://127.0.0.1:{}", peer.port))
            .arg("--")
            .arg(tokens)
            .arg(self.dir.join(ORDER))
            .output()
            .map_err(|error| format!("{}: {error}", self.wrk.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let answered: Answered = match said.lines().find_map(|line| line.strip_prefix("RESULT ")) {
            Some(result) => serde_json::from_str(result)?,
            None => return Err(format!("wrk: {said}{}", String::from_utf8_lossy(&output.stderr)).into()),
        };
        if answered.refused + answered.broken > 0 || answered.requests == 0 {
            return Err(format!(
                "{peer}: of {} requests {} were refused, and {} times a connection broke",
                answered.requests, answered.refused, answered.broken
            )
            .into());
        }
        Ok(answered)
    }
}
