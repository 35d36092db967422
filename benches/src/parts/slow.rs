//! Clients that take their time, each with a connection that it holds: half of them send a byte of a request's head now and
//! then (slow loris), half stop in the middle of its body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(500);
/// Most clients.
pub const MAX: usize = 20_000;

/// See the module. They hang up when this is dropped.
pub struct SlowClients {
    stop: watch::Sender<bool>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// What became of their connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// That came about.
    pub connected: u64,
    /// That the other end put an end to, with or without an answer.
    pub ended: u64,
    /// How long the longest was held, whoever put an end to it.
    pub longest: Duration,
}

impl Held {
    /// Adds what became of others'.
    pub fn add(&mut self, other: Held) {
        self.connected += other.connected;
        self.ended += other.ended;
        self.longest = self.longest.max(other.longest);
    }
}

/// How a client takes its time.
struct Way {
    /// What it sends at once.
    begins: String,
    /// Whether more of it comes, byte by byte.
    drips: bool,
}

#[derive(Default)]
struct Seen {
    connected: AtomicU64,
    ended: AtomicU64,
    /// Milliseconds, up to the next whole one.
    longest: AtomicU64,
}

impl SlowClients {
    /// So many, which connect to `address` at once and anew whenever they are cut off. What they begin to send is an order
    /// with this field `authorization`.
    pub fn start(address: SocketAddr, count: usize, authorization: &str) -> std::io::Result<SlowClients> {
        let request = "POST /v1/orders HTTP/1.1\r\nhost: api.test\r\n";
        let body = "content-type: application/json\r\ncontent-length: 100000\r\n\r\n{\"id\":";
        let ways = Arc::new([
            Way { begins: format!("{request}x-slow: "), drips: true },
            Way { begins: format!("{request}authorization: {authorization}\r\n{body}"), drips: false },
        ]);
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        let counts = seen.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async move {
                let mut clients = JoinSet::new();
                for n in 0..count.min(MAX) {
                    clients.spawn(client(address, n, ways.clone(), stopped.clone(), counts.clone()));
                }
                while clients.join_next().await.is_some() {}
            });
        };
        let thread = std::thread::Builder::new().name("slow-clients".to_owned()).spawn(run)?;
        Ok(SlowClients { stop, seen, thread: Some(thread) })
    }

    /// What became of their connections so far; those that are held at the moment are not in `longest`.
    pub fn held(&self) -> Held {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Held {
            connected: count(&self.seen.connected),
            ended: count(&self.seen.ended),
            longest: Duration::from_millis(count(&self.seen.longest)),
        }
    }

    /// Lets them hang up. What became of all their connections.
    pub fn end(mut self) -> Held {
        self.finish();
        self.held()
    }

    fn finish(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for SlowClients {
    fn drop(&mut self) {
        self.finish();
    }
}

async fn client(address: SocketAddr, n: usize, ways: Arc<[Way; 2]>, mut stop: watch::Receiver<bool>, seen: Arc<Seen>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = hold(address, &ways[n % 2], &seen) => {}
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Fails where nobody can stop it any more, which is an end as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells how long a connection was held, also where it is given up.
struct Holding<'a>(&'a Seen, Instant);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let ms = u64::try_from(self.1.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.0.longest.fetch_max(ms, Ordering::Relaxed);
    }
}

/// One connection, until the other end has enough of it.
async fn hold(address: SocketAddr, way: &Way, seen: &Seen) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    seen.connected.fetch_add(1, Ordering::Relaxed);
    let _holding = Holding(seen, Instant::now());
    let mut answer = [0; 1_024];
    if stream.write_all(way.begins.as_bytes()).await.is_ok() {
        loop {
            tokio::select! {
                // An answer, or the end.
                _ = stream.read(&mut answer) => break,
                () = tokio::time::sleep(PAUSE), if way.drips => if stream.write_all(b"a").await.is_err() { break },
            }
        }
    }
    seen.ended.fetch_add(1, Ordering::Relaxed);
}
