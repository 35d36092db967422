//! An HTTP/1.1 client with kept connections that are opened as they are needed.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Error, ORDER};

/// Largest body of an answer, bytes.
const LARGEST: usize = 64 << 20;

type Connection = SendRequest<Full<Bytes>>;

/// Connections to one gateway.
pub struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(address: SocketAddr) -> Self {
        Client { address, idle: Mutex::default() }
    }

    /// Sends a request and reads its answer to the end. Must run within a tokio runtime; the connections stay with it.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let mut connection = self.connection().await?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Response::from_parts(head, body))
    }

    /// A kept one that is still good, or a new one.
    async fn connection(&self) -> Result<Connection, Error> {
        while let Some(mut kept) = self.take() {
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// `POST /v1/orders` with the order, for the tenant of `token`. `directive` is what the plugin `tester` is to do.
pub fn order(token: &str, directive: Option<&str>) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::post("/v1/orders")
        .header("host", "api.test")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "erp-client/1.0");
    if let Some(directive) = directive {
        request = request.header("x-tester", directive);
    }
    Ok(request.body(Full::new(Bytes::from_static(ORDER)))?)
}
