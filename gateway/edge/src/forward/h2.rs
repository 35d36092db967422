//! HTTP/2 towards an endpoint: one shared connection, made again when it ends. hyper speaks the protocol.

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;

use crate::forward::connect::{ConnectError, Dialer};
use crate::forward::h1::AnswerError;

/// Body of a request to an HTTP/2 upstream.
pub type H2Body = UnsyncBoxBody<Bytes, io::Error>;

/// Streams that the upstream opens towards us, windows, and header list: all bounded.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// The connection to one endpoint, if there is one.
#[derive(Default)]
pub struct H2Client {
    connection: Mutex<Option<SendRequest<H2Body>>>,
}

impl H2Client {
    /// A handle that can send a request now; dials if there is none. The flag says that it was used before.
    pub async fn handle(&self, dialer: &Dialer, max_head: usize) -> Result<(SendRequest<H2Body>, bool), ConnectError> {
        // Held while dialling: the others wait for the one connection instead of making their own.
        let mut connection = self.connection.lock().await;
        if let Some(handle) = connection.as_ref()
            && !handle.is_closed()
        {
            return Ok((handle.clone(), true));
        }
        let transport = dialer.dial().await?;
        let (handle, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|_| ConnectError::Unreachable(io::ErrorKind::ConnectionAborted))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "upstream h2 connection ended");
            }
        });
        *connection = Some(handle.clone());
        Ok((handle, false))
    }
}

/// The next piece of an HTTP/2 answer's body; trailers are dropped.
pub async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, AnswerError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => return Err(AnswerError::Broken(io::ErrorKind::ConnectionReset)),
        }
    }
}
