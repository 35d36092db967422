//! The system behind the gateway: takes any request and says so, and serves the issuer's keys.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::component::MARK_FIELD;

/// Starts one on a free port, on a thread that lives as long as the process. The field that order-map sets comes back
/// in the answer.
pub fn start(jwks: String) -> std::io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || {
        runtime.block_on(async move {
            if let Ok(listener) = TcpListener::from_std(socket) {
                accept(listener, jwks.into()).await;
            }
        });
    };
    std::thread::Builder::new().name("upstream".to_owned()).spawn(serve)?;
    Ok(address)
}

async fn accept(listener: TcpListener, jwks: Arc<str>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, jwks.clone()));
        }
    }
}

async fn connection(stream: TcpStream, jwks: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, jwks.clone()));
    // A connection that breaks is the gateway's to notice.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, jwks: Arc<str>) -> Result<Response<Full<Bytes>>, Infallible> {
    let keys = request.uri().path() == "/jwks.json";
    let mark = request.headers().get(MARK_FIELD).cloned();
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let text = if keys { Bytes::from(jwks.to_string()) } else { Bytes::from_static(b"{\"accepted\":true}") };
    let mut response = Response::new(Full::new(text));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    if let Some(mark) = mark {
        response.headers_mut().insert(MARK_FIELD, mark);
    }
    Ok(response)
}
