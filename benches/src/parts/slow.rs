//! Clients that take their time: each holds a connection and sends a byte of a request now and then, half of them of its
//! head, half of its body (slow loris).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

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

/// What became of their connections so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// That came about.
    pub connected: AtomicU64,
    /// That the other end put an end to, with or without an answer.
    pub ended: AtomicU64,
}

impl SlowClients {
    /// So many, which connect to `address` at once and anew whenever they are cut off.
    pub fn start(address: SocketAddr, count: usize) -> std::io::Result<SlowClients> {
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        let counts = seen.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async move {
                let mut clients = JoinSet::new();
                for n in 0..count.min(MAX) {
                    clients.spawn(client(address, n, stopped.clone(), counts.clone()));
                }
                while clients.join_next().await.is_some() {}
            });
        };
        let thread = std::thread::Builder::new().name("slow-clients".to_owned()).spawn(run)?;
        Ok(SlowClients { stop, seen, thread: Some(thread) })
    }

    /// What became of their connections.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for SlowClients {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn client(address: SocketAddr, n: usize, mut stop: watch::Receiver<bool>, seen: Arc<Seen>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = drip(address, n, &seen) => {}
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

/// One connection, until the other end has enough of it.
async fn drip(address: SocketAddr, n: usize, seen: &Seen) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    seen.connected.fetch_add(1, Ordering::Relaxed);
    let head: &[u8] = if n.is_multiple_of(2) {
        b"POST /v1/orders HTTP/1.1\r\nhost: api.test\r\nx-slow: "
    } else {
        b"POST /v1/orders HTTP/1.1\r\nhost: api.test\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    };
    let mut answer = [0; 1_024];
    if stream.write_all(head).await.is_ok() {
        loop {
            tokio::select! {
                // An answer, or the end.
                _ = stream.read(&mut answer) => break,
                () = tokio::time::sleep(PAUSE) => if stream.write_all(b"a").await.is_err() { break },
            }
        }
    }
    seen.ended.fetch_add(1, Ordering::Relaxed);
}
