//! A server on loopback, on a thread of its own, whose door can be shut in the ways in which systems go away.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Between two attempts at a port that somebody else took meanwhile.
const AGAIN: Duration = Duration::from_millis(50);

/// How a server meets its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// It answers.
    #[default]
    Open,
    /// Nobody listens, and who was connected is cut off.
    Closed,
    /// Who connects or was connected is cut off with a TCP reset.
    Resetting,
    /// Who connects is let in and never answered.
    Silent,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was given up")]
pub struct GivenUp;

/// What an answer is.
pub type Answer = Result<Response<Full<Bytes>>, GivenUp>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// One request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// A running server; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    door: watch::Sender<Door>,
}

impl Server {
    /// Listens at `address`, a free port of it where that is 0.
    pub fn start<H: Handler>(name: &str, address: SocketAddr, handler: Arc<H>) -> std::io::Result<Server> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (door, seen) = watch::channel(Door::Open);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async move {
                if let Ok(listener) = TcpListener::from_std(socket) {
                    keep_door(address, listener, seen, handler).await;
                }
            });
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(serve)?;
        Ok(Server { address, door })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Meets callers like this from here on.
    pub fn set_door(&self, door: Door) {
        self.door.send_replace(door);
    }
}

/// Listens while the door is not closed, until nobody holds its handle.
async fn keep_door<H: Handler>(
    address: SocketAddr,
    listener: TcpListener,
    mut door: watch::Receiver<Door>,
    handler: Arc<H>,
) {
    let mut listener = Some(listener);
    loop {
        if *door.borrow_and_update() == Door::Closed {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None => {
                    tokio::time::sleep(AGAIN).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = door.changed() => if changed.is_err() { return },
            accepted = accepted => if let Some((stream, _)) = accepted {
                tokio::spawn(connection(stream, door.clone(), handler.clone()));
            },
        }
    }
}

/// Serves a connection until it ends or is cut off.
async fn connection<H: Handler>(stream: TcpStream, mut door: watch::Receiver<Door>, handler: Arc<H>) {
    let _ = stream.set_nodelay(true);
    // The same socket once more, to be reset while hyper holds the stream.
    let Ok(socket) = SockRef::from(&stream).try_clone() else { return };
    let before = door.clone();
    let service = service_fn(move |request| {
        let (handler, mut door) = (handler.clone(), before.clone());
        async move {
            // Whoever came in while it was silent is never answered: its connection ends when the door moves on.
            if *door.borrow_and_update() == Door::Silent {
                let _ = door.wait_for(|door| *door != Door::Silent).await;
                return Err(GivenUp);
            }
            handler.answer(request).await
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let cut_off = async {
        let _ = door.wait_for(|door| matches!(door, Door::Closed | Door::Resetting)).await;
    };
    tokio::select! {
        // First, so that nobody is served who is to be cut off.
        biased;
        () = cut_off => reset(&socket),
        // A connection that breaks is its other end's to notice.
        _ = served => {}
    }
}

/// What is left is thrown away, and the other end told so, when the socket is closed.
fn reset(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}
