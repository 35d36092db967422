//! The real binary as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::client::{Answer, call};
use super::eventually;

/// A running gateway; killed when dropped.
pub struct Gateway {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    dir: tempfile::TempDir,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// What a configuration begins with beside the usual.
#[derive(Default)]
struct Head<'a> {
    /// More of `server`.
    server: &'a str,
    /// Further listeners.
    listeners: &'a str,
    /// More of `admin`.
    auth: &'a str,
}

/// An address nobody listens on at the moment, below the ports that the system gives to outgoing connections: one of
/// those could take it before the gateway does. No address is given twice, and tests that run at the same time, in
/// processes of their own, begin elsewhere.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id() % 2_500 * 8 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (place % 20_000) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Where `make plugins` puts the components.
pub fn components() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist");
    assert!(dir.join("tester.wasm").exists(), "no components in {}: run `make plugins` first", dir.display());
    dir
}

impl Gateway {
    /// Starts a gateway whose configuration is `rest` below a plain listener, an admin listener and a state directory.
    pub fn start(rest: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), rest)
    }

    /// The same, but `rest` begins with further listeners.
    pub fn start_with_listeners(rest: &str) -> Self {
        let (listeners, rest) = rest.split_at(rest.find("upstreams:").unwrap());
        Self::start_with(tempfile::tempdir().unwrap(), Head { listeners, ..Head::default() }, rest)
    }

    /// Starts a gateway whose operators' listener takes tokens of the issuer `idp`.
    pub fn start_with_uploads(rest: &str) -> Self {
        let auth = ", auth: { issuers: [idp] }";
        Self::start_with(tempfile::tempdir().unwrap(), Head { auth, ..Head::default() }, rest)
    }

    /// The same, in a directory that may hold files for it already.
    pub fn start_in(dir: tempfile::TempDir, rest: &str) -> Self {
        Self::start_with(dir, Head::default(), rest)
    }

    /// The same with `limits` of the server.
    pub fn start_limited(limits: &str, rest: &str) -> Self {
        let server = &format!(", limits: {{ {limits} }}");
        Self::start_with(tempfile::tempdir().unwrap(), Head { server, ..Head::default() }, rest)
    }

    fn start_with(dir: tempfile::TempDir, head: Head<'_>, rest: &str) -> Self {
        let Head { server, listeners, auth } = head;
        let (http, admin) = (free_address(), free_address());
        let head = format!(
            "version: 1\nserver: {{ threads: 2, state_dir: state, drain: 10s{server} }}\nlisteners:\n  - {{ name: http, address: \"{http}\" }}\n{listeners}admin: {{ address: \"{admin}\"{auth} }}\n"
        );
        fs::write(dir.path().join("gateway.yaml"), format!("{head}{rest}")).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let child = spawn(dir.path(), &log);
        let mut gateway = Gateway { http, admin, dir, child, log };
        gateway.wait_ready();
        gateway
    }

    fn wait_ready(&mut self) {
        let admin = self.admin;
        eventually("gateway is ready", Duration::from_secs(60), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("gateway ended with {status}:\n{}", self.log_text());
            }
            std::net::TcpStream::connect(admin).ok()?;
            (call(admin, "GET", "/readyz", &[], b"").status == 200).then_some(())
        });
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        call(self.http, method, path, headers, body)
    }

    /// The value of a metric's series, 0 where there is none yet.
    pub fn metric(&self, series: &str) -> f64 {
        let text = call(self.admin, "GET", "/metrics", &[], b"").text();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Everything that it logged so far.
    pub fn log_text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Ends it at once, as a power cut of the process would, and starts it again in the same directory.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.dir.path(), &self.log);
        self.wait_ready();
    }

    /// Starts a successor that takes the sockets over, and lets this one go as an upgrade does.
    pub fn upgrade(&mut self) {
        let path = self.dir.path().join("state/upgrade.sock");
        let next = spawn_with(self.dir.path(), &self.log, &["--upgrade"]);
        eventually("the successor waits for the sockets", Duration::from_secs(30), || path.exists().then_some(()));
        self.signal("QUIT");
        let mut old = std::mem::replace(&mut self.child, next);
        eventually("the predecessor ends", Duration::from_secs(30), || old.try_wait().unwrap());
        self.wait_ready();
    }

    /// Waits for its own end.
    pub fn wait(&mut self, limit: Duration) -> std::process::ExitStatus {
        eventually("gateway ends", limit, || self.child.try_wait().unwrap())
    }
}

fn spawn(dir: &Path, log: &Arc<Mutex<Vec<String>>>) -> Child {
    spawn_with(dir, log, &[])
}

fn spawn_with(dir: &Path, log: &Arc<Mutex<Vec<String>>>, more: &[&str]) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluis"))
        .args(["run", "--config"])
        .arg(dir.join("gateway.yaml"))
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let err = child.stderr.take().unwrap();
    collect(out, log.clone());
    collect(err, log.clone());
    child
}

fn collect(stream: impl std::io::Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- gateway log\n{}", self.log_text());
        }
    }
}
