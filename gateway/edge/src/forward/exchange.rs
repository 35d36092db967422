//! One attempt: a request out on one connection, its answer's head back. The answer's body follows piece by piece.
//!
//! Sending and reading run side by side, so an upstream that answers before it has read everything is heard.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use pingora::ErrorType;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::forward::connect::Transport;
use crate::forward::h1::{AnswerError, AnswerHead, AnswerReader};
use crate::forward::h2::{H2Body, next_piece};
use crate::patience::Patience;
use crate::upstream::EndpointState;

/// Bodies up to this go out in one write together with the head.
pub const ONE_WRITE: usize = 64 * 1024;
/// Answer bytes held while the request is still going out.
const EARLY_ANSWER: usize = 1024 * 1024;

/// The body of a request.
#[derive(Debug, Clone)]
pub enum RequestBody {
    /// All of it; can be sent again.
    Whole(Bytes),
    /// Still to be read from the client, with this `body_timeout`.
    Stream(Duration),
}

/// Why an attempt gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The upstream's side.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The client went away or broke its own body off.
    #[error("client gone")]
    ClientGone,
    /// The client's body is not framed as HTTP has it.
    #[error("client body malformed")]
    ClientMalformed,
    /// The client's body came too slowly.
    #[error("client body too slow")]
    ClientTimeout,
}

/// An answer whose head has come.
pub struct Answer {
    /// Its head.
    pub head: AnswerHead,
    /// Its body.
    pub body: AnswerBody,
}

/// An answer's body on its way.
pub struct AnswerBody {
    early: VecDeque<Bytes>,
    rest: Rest,
}

enum Rest {
    H1(AnswerReader<Transport>),
    H2 { body: Incoming, length: Option<u64> },
}

impl AnswerBody {
    /// The next piece, or none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AnswerError> {
        if let Some(piece) = self.early.pop_front() {
            return Ok(Some(piece));
        }
        match &mut self.rest {
            Rest::H1(reader) => reader.read_body().await,
            Rest::H2 { body, .. } => next_piece(body).await,
        }
    }

    /// Whether nothing is left to read.
    pub fn is_done(&self) -> bool {
        self.early.is_empty()
            && match &self.rest {
                Rest::H1(reader) => reader.is_done(),
                Rest::H2 { body, .. } => hyper::body::Body::is_end_stream(body),
            }
    }

    /// Length of the whole body, where the head told it.
    pub fn content_length(&self) -> Option<u64> {
        match &self.rest {
            Rest::H1(reader) if self.early.is_empty() => reader.content_length(),
            Rest::H1(_) => None,
            Rest::H2 { length, .. } => *length,
        }
    }

    /// Gives the connection back for the next request, where that is sound.
    pub fn release(self, endpoint: &EndpointState, now: Instant) {
        if let Rest::H1(reader) = self.rest {
            let (transport, reusable) = reader.into_inner();
            if reusable {
                endpoint.pool.put(transport, now);
            }
        }
    }
}

/// A request as HTTP/1.1 sends it.
pub struct H1Request {
    /// Request line and fields, with room behind them for a body that goes out in the same write.
    pub head: BytesMut,
    /// What follows.
    pub body: RequestBody,
    /// The body has no known length.
    pub chunked: bool,
    /// HEAD: no body follows the answer's head.
    pub is_head: bool,
    /// Largest answer head.
    pub max_answer_head: usize,
}

/// Whose request it is.
pub struct Client<'s> {
    /// Its connection, or stream.
    pub session: &'s mut ServerSession,
    /// The exchange goes on although it goes away.
    pub stays: bool,
    /// Set while more of its body is waited for: whoever gives up then knows who was slow.
    pub awaited: &'s AtomicBool,
}

impl Client<'_> {
    async fn next_piece(&mut self, patience: &mut Patience) -> pingora::Result<Option<Bytes>> {
        self.awaited.store(true, Ordering::Relaxed);
        let piece = patience.next(self.session).await;
        self.awaited.store(false, Ordering::Relaxed);
        piece
    }
}

/// Sends a request on a connection of its own, reads the answer's head.
pub async fn over_h1(transport: Transport, request: H1Request, client: Client<'_>) -> Result<Answer, AttemptError> {
    match &request.body {
        RequestBody::Whole(body) if body.len() <= ONE_WRITE => {
            let body = body.clone();
            watching(client, pin!(one_write(transport, request, body))).await
        }
        _ => side_by_side(transport, request, client).await,
    }
}

async fn one_write(mut transport: Transport, request: H1Request, body: Bytes) -> Result<Answer, AttemptError> {
    let H1Request { mut head, is_head, max_answer_head, .. } = request;
    head.put_slice(&body);
    // A failed write is not the end: the upstream may have answered before it closed.
    let written = async {
        transport.write_all(&head).await?;
        transport.flush().await
    }
    .await;
    let mut reader = AnswerReader::new(transport);
    match reader.read_head(is_head, max_answer_head).await {
        Ok(answer) => {
            if written.is_err() {
                reader.bar_reuse();
            }
            Ok(Answer { head: answer, body: AnswerBody { early: VecDeque::new(), rest: Rest::H1(reader) } })
        }
        Err(error) => Err(error.into()),
    }
}

async fn side_by_side(transport: Transport, request: H1Request, client: Client<'_>) -> Result<Answer, AttemptError> {
    let H1Request { head, body, chunked, is_head, max_answer_head } = request;
    let (read_half, mut write_half) = tokio::io::split(transport);
    let mut reader = AnswerReader::new(read_half);
    let mut early = VecDeque::new();
    let (answer, uploaded) = {
        let upload = upload_h1(client, &mut write_half, head, body, chunked);
        tokio::pin!(upload);
        let mut answer: Option<AnswerHead> = None;
        let mut uploaded = None;
        let mut held = 0;
        loop {
            match &answer {
                // What the upstream refuses early, it need not be sent to the end.
                Some(head) if uploaded.is_some() || !head.status.is_success() => break,
                _ => {}
            }
            let waiting = answer.is_none();
            let read = async {
                match waiting {
                    true => reader.read_head(is_head, max_answer_head).await.map(Read::Head),
                    false => reader.read_body().await.map(Read::Piece),
                }
            };
            tokio::select! {
                biased;
                done = &mut upload, if uploaded.is_none() => match done {
                    Err(UploadError::Client(error)) => return Err(error),
                    done => uploaded = Some(done.is_ok()),
                },
                read = read, if waiting || held < EARLY_ANSWER => match read? {
                    Read::Head(head) => answer = Some(head),
                    Read::Piece(Some(piece)) => { held += piece.len(); early.push_back(piece); }
                    Read::Piece(None) => break,
                },
            }
        }
        (answer, uploaded == Some(true))
    };
    let mut reader = reader.map(|read_half| read_half.unsplit(write_half));
    if !uploaded {
        reader.bar_reuse();
    }
    match answer {
        Some(head) => Ok(Answer { head, body: AnswerBody { early, rest: Rest::H1(reader) } }),
        None => Err(AnswerError::Broken(io::ErrorKind::BrokenPipe).into()),
    }
}

enum Read {
    Head(AnswerHead),
    Piece(Option<Bytes>),
}

enum UploadError {
    Client(AttemptError),
    Upstream,
}

async fn upload_h1<W: AsyncWrite + Unpin>(
    mut client: Client<'_>,
    out: &mut W,
    head: BytesMut,
    body: RequestBody,
    chunked: bool,
) -> Result<(), UploadError> {
    let upstream = |_: io::Error| UploadError::Upstream;
    out.write_all(&head).await.map_err(upstream)?;
    match body {
        RequestBody::Whole(body) => out.write_all(&body).await.map_err(upstream)?,
        RequestBody::Stream(body_timeout) => {
            let mut patience = Patience::new(body_timeout);
            while let Some(piece) = client.next_piece(&mut patience).await.map_err(client_error)? {
                if piece.is_empty() {
                    continue;
                }
                if chunked {
                    let mut framed = BytesMut::with_capacity(piece.len() + 16);
                    framed.put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    framed.put_slice(&piece);
                    framed.put_slice(b"\r\n");
                    out.write_all(&framed).await.map_err(upstream)?;
                } else {
                    out.write_all(&piece).await.map_err(upstream)?;
                }
                out.flush().await.map_err(upstream)?;
            }
            if chunked {
                out.write_all(b"0\r\n\r\n").await.map_err(upstream)?;
            }
        }
    }
    out.flush().await.map_err(upstream)
}

/// Sends a request on a shared HTTP/2 connection.
pub async fn over_h2(
    mut handle: hyper::client::conn::http2::SendRequest<H2Body>,
    head: http::request::Parts,
    body: RequestBody,
    client: Client<'_>,
) -> Result<Answer, AttemptError> {
    if handle.ready().await.is_err() {
        return Err(AnswerError::Untouched.into());
    }
    match body {
        RequestBody::Whole(body) => {
            let body: H2Body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            let exchange = async move {
                let answer = handle.send_request(http::Request::from_parts(head, body)).await.map_err(h2_error)?;
                Ok(h2_answer(answer))
            };
            watching(client, pin!(exchange)).await
        }
        RequestBody::Stream(body_timeout) => {
            let (pieces, receiver) = mpsc::channel(1);
            let body: H2Body = BodyExt::boxed_unsync(Pieces(receiver));
            let answer = handle.send_request(http::Request::from_parts(head, body));
            tokio::pin!(answer);
            let upload = upload_h2(client, body_timeout, pieces);
            tokio::pin!(upload);
            let mut uploading = true;
            loop {
                tokio::select! {
                    biased;
                    done = &mut upload, if uploading => { done?; uploading = false; }
                    answer = &mut answer => {
                        let answer = h2_answer(answer.map_err(h2_error)?);
                        // A success before the end of the request: the rest is still wanted.
                        if uploading && answer.head.status.is_success() {
                            upload.await?;
                        }
                        return Ok(answer);
                    }
                }
            }
        }
    }
}

/// A body fed piece by piece; an error resets the stream.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

async fn upload_h2(
    mut client: Client<'_>,
    body_timeout: Duration,
    pieces: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), AttemptError> {
    let mut patience = Patience::new(body_timeout);
    loop {
        match client.next_piece(&mut patience).await {
            Ok(Some(piece)) => {
                if pieces.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                // The upstream must see a reset, not an end.
                let _ = pieces.send(Err(io::Error::from(io::ErrorKind::ConnectionAborted))).await;
                return Err(client_attempt_error(&error));
            }
        }
    }
}

fn h2_answer(answer: http::Response<Incoming>) -> Answer {
    let (parts, body) = answer.into_parts();
    let length =
        parts.headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    Answer {
        head: AnswerHead { status: parts.status, headers: parts.headers },
        body: AnswerBody { early: VecDeque::new(), rest: Rest::H2 { body, length } },
    }
}

fn h2_error(error: hyper::Error) -> AttemptError {
    // A stream that the upstream refused before touching it (RFC 9113 §8.7) surfaces as a cancelled request.
    if error.is_canceled() {
        return AnswerError::Untouched.into();
    }
    AnswerError::Broken(io::ErrorKind::ConnectionReset).into()
}

/// Runs `exchange` while the request's body has been read whole; ends it when the client goes away, unless it is to stay.
async fn watching<T>(
    client: Client<'_>,
    mut exchange: Pin<&mut impl Future<Output = Result<T, AttemptError>>>,
) -> Result<T, AttemptError> {
    let Client { session, stays, .. } = client;
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        idle = session.read_body_or_idle(true) => if let Err(error) = idle {
            match error.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error if !stays => {
                    return Err(AttemptError::ClientGone);
                }
                // A pipelined request, or nobody is left: this one is answered, the connection then closes.
                _ => session.set_keepalive(None),
            }
        },
    }
    exchange.await
}

fn client_error(error: Box<pingora::Error>) -> UploadError {
    UploadError::Client(client_attempt_error(&error))
}

/// What a failed read of the client's body means.
pub fn client_attempt_error(error: &pingora::Error) -> AttemptError {
    match error.etype() {
        ErrorType::ReadTimedout => AttemptError::ClientTimeout,
        ErrorType::InvalidHTTPHeader => AttemptError::ClientMalformed,
        other if other.as_str() == "InvalidChunk" => AttemptError::ClientMalformed,
        _ => AttemptError::ClientGone,
    }
}
