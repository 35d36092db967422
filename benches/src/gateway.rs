//! The real gateway as a process of its own.

mod admin;
mod follow;
pub mod metrics;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use admin::Admin;
pub use follow::{Follower, Page};

use crate::client::{Client, order};
use crate::memory::Memory;
use crate::{Error, cores, issuer};

/// Log lines that are kept to tell why a gateway ended.
const TAIL: usize = 20;
/// Longest wait for the first request that is answered well.
const SETTLE: Duration = Duration::from_secs(20);

/// A running gateway; killed when dropped.
pub struct Gateway {
    /// Its listener.
    pub http: SocketAddr,
    /// Its operators' listener.
    pub admin: SocketAddr,
    /// From the start of the process until it said that it serves.
    pub start: Duration,
    child: Child,
    /// What it logged last before it served.
    tail: Tail,
}

type Tail = Arc<Mutex<VecDeque<String>>>;
/// Of the first listener, and of the operators'.
type Addresses = (SocketAddr, SocketAddr);

/// Whole at once, so that a gateway that looks at the file sees one version or the other.
fn write_config(dir: &Path, config: &str) -> std::io::Result<PathBuf> {
    let (file, new) = (dir.join("gateway.yaml"), dir.join("gateway.yaml.new"));
    std::fs::write(&new, config)?;
    std::fs::rename(&new, &file)?;
    Ok(file)
}

impl Gateway {
    /// Writes `config` to `dir`, which also keeps the state, and starts `sluis` there. Waits at most `patience` until it
    /// serves.
    pub fn start(sluis: &Path, dir: &Path, config: &str, patience: Duration) -> Result<Self, Error> {
        Gateway::start_by(Command::new(sluis), dir, config, patience)
    }

    /// The same by a command that becomes `sluis`.
    pub fn start_by(mut command: Command, dir: &Path, config: &str, patience: Duration) -> Result<Self, Error> {
        let file = write_config(dir, config)?;
        let began = Instant::now();
        let mut child = command
            .args(["run", "--config"])
            .arg(&file)
            .env("SLUIS_LOG", "info,pingora=off,pingora_core=off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = command.get_program().display();
                format!("{program}: {error}; build it first, or name it with --sluis")
            })?;
        let stdout = child.stdout.take().ok_or("no output of the gateway")?;
        let tail = Tail::default();
        let serving = follow(stdout, tail.clone());
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut gateway = Gateway { http: nowhere, admin: nowhere, start: Duration::ZERO, child, tail };
        (gateway.http, gateway.admin) = gateway.wait(&serving, began + patience)?;
        gateway.start = began.elapsed();
        Ok(gateway)
    }

    fn wait(&mut self, serving: &Receiver<Addresses>, until: Instant) -> Result<Addresses, Error> {
        loop {
            match serving.recv_timeout(Duration::from_millis(100)) {
                Ok(addresses) => return Ok(addresses),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => return Err("the gateway did not serve in time".into()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    return Err(format!("the gateway ended with {status}:\n{}", self.told()).into());
                }
            }
        }
    }

    /// Sends orders with this token until one is answered well: by then the issuer's keys are there.
    pub async fn settle(&self, token: &str) -> Result<(), Error> {
        let client = Client::new(self.http);
        let until = Instant::now() + SETTLE;
        loop {
            let answer = client.send(order(token, None)?).await?;
            if answer.status().is_success() {
                return Ok(());
            }
            if Instant::now() > until {
                let text = String::from_utf8_lossy(answer.body()).into_owned();
                return Err(format!("the gateway answers {}: {text}\n{}", answer.status(), self.told()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets it read its configuration again, which becomes this.
    pub fn reload(&self, dir: &Path, config: &str) -> Result<(), Error> {
        write_config(dir, config)?;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// Kills it, as a crash or a lost machine would: nothing is flushed or said goodbye to.
    pub fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it logged before it served.
    fn told(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Binds it to a core from now on.
    pub fn bind(&self, core: usize) -> Result<(), Error> {
        cores::bind(self.child.id(), core)
    }

    /// Time that it has had on CPUs so far, to the kernel's hundredth of a second.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc(5): utime and stime are the 14th and 15th field, the 12th and 13th behind the name.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).ok_or("no time in /proc");
        Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    }

    /// What it holds in memory now.
    pub fn memory(&self) -> std::io::Result<Memory> {
        Memory::of(self.child.id())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads all that it logs, so that it never waits for a reader, and tells its addresses once it serves.
fn follow(stdout: ChildStdout, tail: Tail) -> Receiver<Addresses> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut sender: Option<SyncSender<Addresses>> = Some(sender);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.is_none() {
                continue;
            }
            match serving(&line) {
                Some(addresses) => {
                    let _ = sender.take().map(|sender| sender.send(addresses));
                }
                None => {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.push_back(line);
                    if tail.len() > TAIL {
                        tail.pop_front();
                    }
                }
            }
        }
    });
    receiver
}

/// The addresses, from the line that says so.
fn serving(line: &str) -> Option<Addresses> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "serving" {
        return None;
    }
    let first = line.get("listeners")?.as_str()?.trim_matches(['[', ']']).split(", ").next()?;
    Some((first.parse().ok()?, line.get("admin")?.as_str()?.parse().ok()?))
}

/// A configuration: free ports, a route `POST /v1/orders` with the plugin slot `orders` and one `POST /v1/plain` without,
/// the issuer and the upstream at `upstream`, components from `components`. `tenants` is the YAML of the list.
pub fn config(upstream: SocketAddr, components: &Path, threads: usize, tenants: &str) -> Result<String, Error> {
    let components = serde_json::to_string(&std::path::absolute(components)?)?;
    let issuer = issuer::Issuer::yaml(upstream);
    Ok(format!(
        "version: 1\n\
         server: {{ threads: {threads}, state_dir: state, access_log: false, limits: {{ connections_per_address: 4096 }} }}\n\
         listeners:\n  - {{ name: http, address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         {issuer}\
         upstreams:\n  - {{ name: erp, endpoints: [\"http://{upstream}\"] }}\n\
         plugins: {{ dir: {components} }}\n\
         routes:\n  - {{ name: orders, path: /v1/orders, methods: [POST], plugin: orders, \
         auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, forward: {{ upstreams: [erp] }} }}\n  \
         - {{ name: plain, path: /v1/plain, methods: [POST], \
         auth: {{ issuers: [idp], scopes: [\"orders:write\"] }}, forward: {{ upstreams: [erp] }} }}\n\
         tenants:\n{tenants}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_the_log() {
        let line = r#"{"level":"INFO","message":"serving","listeners":"[127.0.0.1:41234, 127.0.0.1:5]","admin":"127.0.0.1:6"}"#;
        assert_eq!(serving(line), Some(("127.0.0.1:41234".parse().unwrap(), "127.0.0.1:6".parse().unwrap())));
        assert_eq!(serving(r#"{"message":"new keys"}"#), None);
        assert_eq!(serving("no json"), None);
    }
}
