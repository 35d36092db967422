//! The HTTP server under the issuer and the ERP stand-in: bounded, closed on request, and able to misbehave on
//! demand. Paths that start with `/_` are for whoever runs the demo and never misbehave.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::fault::{Faults, Verdict};

/// Open connections of one stand-in.
const MAX_CONNECTIONS: usize = 4096;
/// A client gets this long for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections end this long after the stand-in was told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Wait between two attempts to take the address again after being down.
const REBIND_PAUSE: Duration = Duration::from_millis(50);

/// Takes an address for a stand-in.
///
/// # Errors
/// What the operating system says, for the caller to put the flag's name to.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `app` until `stop` ends, doing what `faults` says meanwhile.
pub async fn serve(listener: TcpListener, app: Router, faults: Arc<Faults>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let Ok(address) = listener.local_addr() else { return };
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // One value per period of being up; connections of an older period end.
    let (period, _) = watch::channel(0_u64);
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            tokio::select! {
                () = &mut stop => break,
                () = faults.up_again() => {}
            }
            match bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
            }
            continue;
        };
        tokio::select! {
            () = &mut stop => break,
            () = faults.down() => {
                listener = None;
                period.send_modify(|period| *period += 1);
            }
            accepted = accept(open, &permits) => if let Some((stream, permit)) = accepted {
                if faults.resets_connections() {
                    // Dropping the socket then sends RST instead of FIN.
                    let _ = stream.set_zero_linger();
                }
                let connection = connection(stream, app.clone(), faults.clone(), period.subscribe());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
        }
    }
    drop(listener);
    period.send_modify(|period| *period += 1);
    let _ = tokio::time::timeout(GRACE, permits.acquire_many(MAX_CONNECTIONS as u32)).await;
}

/// The next connection with its permit; none after a failed `accept`, which says nothing about the next one.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(_) => {
            tokio::time::sleep(REBIND_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, app: Router, faults: Arc<Faults>, mut period: watch::Receiver<u64>) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| answer(app.clone(), faults.clone(), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = period.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, connection).await;
        }
    }
}

/// One request. An error ends the connection without an answer: that is how `reset` shows.
async fn answer(app: Router, faults: Arc<Faults>, request: Request<Incoming>) -> io::Result<Response> {
    let request = request.map(Body::new);
    let own = request.uri().path().starts_with("/_");
    match if own { Verdict::Serve } else { faults.next() } {
        Verdict::Serve => {}
        Verdict::After(latency) => tokio::time::sleep(latency).await,
        Verdict::Answer(status) => {
            // Read what was sent, as a server that fails inside does: the connection stays usable.
            let _ = http_body_util::Limited::new(request.into_body(), 16 << 20).collect().await;
            return Ok((status, axum::Json(serde_json::json!({ "error": "broken by POST /_fault" }))).into_response());
        }
        Verdict::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    let answered: Result<Response, Infallible> = TowerToHyperService::new(app).call(request).await;
    answered.map_err(|never| match never {})
}
