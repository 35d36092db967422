//! Reading an HTTP/1.1 answer (RFC 9112) off an upstream connection.
//!
//! Stricter than a client needs to be: what two readers could frame differently is an error, and the connection it
//! came by is never used again. Bodies come out as the bytes that were read, without another copy.

use std::io;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Interim answers that are skipped before one is called a flood.
const MAX_INTERIM: usize = 16;
/// Fields of an answer's head.
const MAX_FIELDS: usize = 128;
/// One chunk-size line with its extensions, and the trailer section.
const MAX_CHUNK_LINE: usize = 1024;
const MAX_TRAILERS: usize = 8 * 1024;
/// Read at once.
const READ_SIZE: usize = 16 * 1024;

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Closed or reset before the first byte of the answer: the request may be sent again where that is safe.
    #[error("closed before any answer")]
    Untouched,
    /// Closed or broken in the middle.
    #[error("broken off: {0}")]
    Broken(io::ErrorKind),
    /// Not an answer that can be passed on.
    #[error("not passed on: {0}")]
    Malformed(&'static str),
}

/// An answer's head.
#[derive(Debug)]
pub struct AnswerHead {
    /// 200 to 599.
    pub status: StatusCode,
    /// As received, framing fields included.
    pub headers: HeaderMap,
}

/// How the rest of the body is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Done,
    Length(u64),
    Chunk { left: u64 },
    ChunkEnd,
    ChunkSize,
    Trailers { seen: usize },
    UntilClose,
}

/// Reads one answer from `stream`.
pub struct AnswerReader<R> {
    stream: R,
    buf: BytesMut,
    framing: Framing,
    keep_alive: bool,
}

impl<R: AsyncRead + Unpin> AnswerReader<R> {
    /// A reader at the start of an answer.
    pub fn new(stream: R) -> Self {
        AnswerReader { stream, buf: BytesMut::new(), framing: Framing::Done, keep_alive: false }
    }

    /// Reads the final head, skipping interim ones. `head_request`: the request was HEAD, so no body follows.
    pub async fn read_head(&mut self, head_request: bool, max_bytes: usize) -> Result<AnswerHead, AnswerError> {
        for _ in 0..MAX_INTERIM {
            let raw = self.read_raw_head(max_bytes).await?;
            let (version, head) = parse_head(raw)?;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(AnswerError::Malformed("switching protocols unasked"));
            }
            if head.status.is_informational() {
                continue;
            }
            self.framing = framing(&head, head_request)?;
            self.keep_alive = keep_alive(version, &head.headers) && self.framing != Framing::UntilClose;
            return Ok(head);
        }
        Err(AnswerError::Malformed("flood of interim answers"))
    }

    /// The next piece of the body, or none at its end.
    pub async fn read_body(&mut self) -> Result<Option<Bytes>, AnswerError> {
        loop {
            match self.framing {
                Framing::Done => return Ok(None),
                Framing::Length(left) => {
                    let piece = self.piece(left).await?;
                    let left = left - piece.len() as u64;
                    self.framing = if left == 0 { Framing::Done } else { Framing::Length(left) };
                    return Ok(Some(piece));
                }
                Framing::UntilClose => {
                    if self.buf.is_empty() && self.fill().await? == 0 {
                        self.framing = Framing::Done;
                        return Ok(None);
                    }
                    return Ok(Some(self.buf.split().freeze()));
                }
                Framing::ChunkSize => {
                    let line = self.line(MAX_CHUNK_LINE).await?;
                    let size = chunk_size(&line).ok_or(AnswerError::Malformed("chunk size"))?;
                    self.framing =
                        if size == 0 { Framing::Trailers { seen: 0 } } else { Framing::Chunk { left: size } };
                }
                Framing::Chunk { left } => {
                    let piece = self.piece(left).await?;
                    let left = left - piece.len() as u64;
                    self.framing = if left == 0 { Framing::ChunkEnd } else { Framing::Chunk { left } };
                    return Ok(Some(piece));
                }
                Framing::ChunkEnd => {
                    if !self.line(2).await?.is_empty() {
                        return Err(AnswerError::Malformed("chunk end"));
                    }
                    self.framing = Framing::ChunkSize;
                }
                // Trailers are read and dropped: nothing downstream may merge them into a head.
                Framing::Trailers { seen } => {
                    let line = self.line(MAX_TRAILERS).await?;
                    let seen = seen + line.len() + 2;
                    if seen > MAX_TRAILERS {
                        return Err(AnswerError::Malformed("trailers too large"));
                    }
                    self.framing = if line.is_empty() { Framing::Done } else { Framing::Trailers { seen } };
                }
            }
        }
    }

    /// Length of the whole body where the head told it; asked before the first `read_body`.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Done => Some(0),
            Framing::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Whether the answer has been read to its end.
    pub fn is_done(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Whatever the answer says, no other request may be sent on this connection.
    pub fn bar_reuse(&mut self) {
        self.keep_alive = false;
    }

    /// The same reader over another form of its stream.
    pub fn map<S>(self, form: impl FnOnce(R) -> S) -> AnswerReader<S> {
        AnswerReader { stream: form(self.stream), buf: self.buf, framing: self.framing, keep_alive: self.keep_alive }
    }

    /// The stream, and whether another request may be sent on it: the answer was read to its end, the upstream keeps
    /// the connection, and nothing came behind the answer.
    pub fn into_inner(self) -> (R, bool) {
        let reusable = self.keep_alive && self.framing == Framing::Done && self.buf.is_empty();
        (self.stream, reusable)
    }

    async fn fill(&mut self) -> Result<usize, AnswerError> {
        self.buf.reserve(READ_SIZE.min(4096.max(self.buf.capacity())));
        self.stream.read_buf(&mut self.buf).await.map_err(|e| AnswerError::Broken(e.kind()))
    }

    async fn read_raw_head(&mut self, max_bytes: usize) -> Result<Bytes, AnswerError> {
        let mut searched = 0;
        loop {
            if let Some(end) = find_head_end(&self.buf, searched) {
                if end > max_bytes {
                    return Err(AnswerError::Malformed("head too large"));
                }
                return Ok(self.buf.split_to(end).freeze());
            }
            if self.buf.len() > max_bytes {
                return Err(AnswerError::Malformed("head too large"));
            }
            searched = self.buf.len().saturating_sub(3);
            let untouched = self.buf.is_empty();
            match self.fill().await {
                Ok(0) if untouched => return Err(AnswerError::Untouched),
                Ok(0) => return Err(AnswerError::Broken(io::ErrorKind::UnexpectedEof)),
                Ok(_) => {}
                Err(AnswerError::Broken(
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
                )) if untouched => return Err(AnswerError::Untouched),
                Err(e) => return Err(e),
            }
        }
    }

    /// Up to `max` bytes of body, at least one.
    async fn piece(&mut self, max: u64) -> Result<Bytes, AnswerError> {
        if self.buf.is_empty() && self.fill().await? == 0 {
            return Err(AnswerError::Broken(io::ErrorKind::UnexpectedEof));
        }
        let take = usize::try_from(max).unwrap_or(usize::MAX).min(self.buf.len());
        Ok(self.buf.split_to(take).freeze())
    }

    /// One line without its CRLF; a bare LF is an error.
    async fn line(&mut self, max: usize) -> Result<Bytes, AnswerError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buf[searched..].iter().position(|b| *b == b'\n') {
                let end = searched + at;
                let line = self.buf.split_to(end).freeze();
                self.buf.advance(1);
                return match line.split_last() {
                    Some((b'\r', _)) => Ok(line.slice(..line.len() - 1)),
                    _ => Err(AnswerError::Malformed("bare line feed")),
                };
            }
            searched = self.buf.len();
            if searched > max {
                return Err(AnswerError::Malformed("line too long"));
            }
            if self.fill().await? == 0 {
                return Err(AnswerError::Broken(io::ErrorKind::UnexpectedEof));
            }
        }
    }
}

fn find_head_end(buf: &[u8], from: usize) -> Option<usize> {
    buf[from..].windows(4).position(|w| w == b"\r\n\r\n").map(|at| from + at + 4)
}

fn parse_head(raw: Bytes) -> Result<(Version, AnswerHead), AnswerError> {
    if has_bare_line_feed(&raw) {
        return Err(AnswerError::Malformed("bare line feed"));
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, &raw, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(AnswerError::Malformed("head")),
    }
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let status = parsed
        .code
        .filter(|code| (100..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(AnswerError::Malformed("status"))?;
    // The client's answer is made of this map: a correlation id and a framing field come on top.
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + 2);
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| AnswerError::Malformed("field name"))?;
        let value = HeaderValue::from_maybe_shared(raw.slice_ref(field.value))
            .map_err(|_| AnswerError::Malformed("field value"))?;
        headers.append(name, value);
    }
    Ok((version, AnswerHead { status, headers }))
}

fn has_bare_line_feed(raw: &[u8]) -> bool {
    raw.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || raw[at - 1] != b'\r'))
}

/// RFC 9112 §6.3, but what it lets a lenient reader repair is refused.
fn framing(head: &AnswerHead, head_request: bool) -> Result<Framing, AnswerError> {
    let lengths = head.headers.get_all(CONTENT_LENGTH);
    let mut lengths = lengths.iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(one), None) => Some(content_length(one).ok_or(AnswerError::Malformed("content-length"))?),
        (Some(_), Some(_)) => return Err(AnswerError::Malformed("two content-length fields")),
    };
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err(AnswerError::Malformed("transfer-encoding")),
    };
    if chunked && length.is_some() {
        return Err(AnswerError::Malformed("content-length with transfer-encoding"));
    }
    if head_request || head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Done);
    }
    Ok(match (chunked, length) {
        (true, _) => Framing::ChunkSize,
        (false, Some(0)) => Framing::Done,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    })
}

fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let names = |token: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .any(|v| v.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes())))
    };
    if version == Version::HTTP_11 { !names("close") } else { names("keep-alive") }
}

/// A chunk-size line; extensions (RFC 9112 §7.1.1) are skipped.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    if digits == 0 || digits > 15 {
        return None;
    }
    let rest = &line[digits..];
    let extension_ok =
        rest.is_empty() || (rest[0] == b';' && rest.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f)));
    if !extension_ok {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// Reads an answer off `bytes` fed `step` bytes at a time.
    async fn read(bytes: &[u8], step: usize, head: bool) -> Result<(u16, Vec<u8>, bool), AnswerError> {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let bytes = bytes.to_vec();
        let feed = tokio::spawn(async move {
            for piece in bytes.chunks(step) {
                tokio::io::AsyncWriteExt::write_all(&mut far, piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut reader = AnswerReader::new(near);
        let answer = reader.read_head(head, 16 * 1024).await?;
        let mut body = Vec::new();
        while let Some(piece) = reader.read_body().await? {
            body.extend_from_slice(&piece);
        }
        feed.await.unwrap();
        let (_, reusable) = reader.into_inner();
        Ok((answer.status.as_u16(), body, reusable))
    }

    #[tokio::test]
    async fn every_framing_gives_the_same_body_however_it_is_cut() {
        let cases: [(&[u8], bool); 4] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: 1\r\n\r\n",
                true,
            ),
            (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", false),
        ];
        for (bytes, reusable) in cases {
            for step in [1, 2, 3, 7, 1000] {
                let got = read(bytes, step, false).await.unwrap();
                assert_eq!(got, (200, b"hello".to_vec(), reusable), "{}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[tokio::test]
    async fn answers_without_a_body_end_with_their_head() {
        let head = read(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", 5, true).await.unwrap();
        assert_eq!(head, (200, vec![], true));
        let not_modified = read(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n", 5, false).await.unwrap();
        assert_eq!(not_modified, (304, vec![], true));
    }

    #[tokio::test]
    async fn a047_ambiguous_answers_are_not_passed_on() {
        let cases: [&[u8]; 10] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 099 Low\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        ];
        for bytes in cases {
            let error = read(bytes, 1000, false).await.expect_err(&String::from_utf8_lossy(bytes));
            assert!(matches!(error, AnswerError::Malformed(_)), "{error:?} for {}", String::from_utf8_lossy(bytes));
        }
        let flood = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        assert!(matches!(read(&flood, 1000, false).await, Err(AnswerError::Malformed(_))));
    }

    #[tokio::test]
    async fn a048_bytes_behind_an_answer_bar_reuse() {
        let got = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", 1000, false)
            .await
            .unwrap();
        assert_eq!(got, (200, b"hello".to_vec(), false));
    }

    #[tokio::test]
    async fn a257_a_head_over_the_limit_is_not_passed_on() {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        bytes.extend(format!("x: {}\r\n\r\n", "a".repeat(20_000)).into_bytes());
        assert!(matches!(read(&bytes, 1000, false).await, Err(AnswerError::Malformed(_))));
    }

    #[tokio::test]
    async fn only_a_close_before_the_first_byte_is_untouched() {
        assert!(matches!(read(b"", 1, false).await, Err(AnswerError::Untouched)));
        assert!(matches!(read(b"HTTP/1.1 20", 1, false).await, Err(AnswerError::Broken(_))));
        assert!(matches!(
            read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 1, false).await,
            Err(AnswerError::Broken(_))
        ));
    }
}
