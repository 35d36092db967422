//! The least of an HTTP/1.1 upstream: what stands behind gateways that are measured, so that as little as possible of a
//! core goes into it. It trusts its clients, which are measured gateways and this crate's own.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Largest message that is taken.
const MAX_MESSAGE: usize = 16 << 20;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: erp/4.2\r\nContent-Type: application/json\r\n\
    Content-Length: 17\r\n\r\n{\"accepted\":true}";

/// Lengths of the head and the body of the first message in `read`, as soon as they are known. A body has a stated length
/// or comes in chunks (RFC 9112, section 7.1), or there is none.
pub fn message(read: &[u8]) -> Option<(usize, usize)> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    if is_chunked(&read[..head]) {
        return Some((head, unchunk(&read[head..])?.0));
    }
    let length = field(&read[..head], b"content-length:").and_then(|value| value.parse().ok());
    Some((head, length.unwrap_or(0)))
}

/// The value of a field, given with its colon in small letters.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut lines = head.split(|byte| *byte == b'\n').filter_map(|line| line.split_at_checked(name.len()));
    let (_, value) = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(std::str::from_utf8(value).ok()?.trim())
}

fn is_chunked(head: &[u8]) -> bool {
    field(head, b"transfer-encoding:").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// Length of a body in chunks without trailers, and what is in them; none until all of it is there.
fn unchunk(read: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(read.get(at..)?).ok()? else {
            return None;
        };
        let start = at + line;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(read.get(start..end)?);
        at = end + b"\r\n".len();
        read.get(end..at)?;
        if size == 0 {
            return Some((at, body));
        }
    }
}

/// Answers whatever comes, until the process ends, on this thread: with a short 200; with the keys to a request for
/// `/jwks.json`; with its own body to one for `/echo`, which shows what a gateway made of it.
pub fn serve(listener: StdListener, jwks: &str) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let jwks: Arc<[u8]> = answer(jwks.as_bytes()).into();
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            // A connection that breaks is its client's to notice.
            if let Ok((stream, _)) = listener.accept().await {
                let jwks = jwks.clone();
                tokio::spawn(async move { connection(stream, &jwks).await });
            }
        }
    })
}

async fn connection(mut stream: TcpStream, jwks: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::with_capacity(16 << 10);
    loop {
        let Some((head, body)) = message(&read).filter(|(head, body)| read.len() >= head + body) else {
            if read.len() > MAX_MESSAGE || stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
            continue;
        };
        match read.split(|byte| *byte == b' ').nth(1).unwrap_or_default() {
            b"/jwks.json" => stream.write_all(jwks).await?,
            b"/echo" => stream.write_all(&echo(&read[..head], &read[head..head + body])).await?,
            _ => stream.write_all(ANSWER).await?,
        }
        read.drain(..head + body);
    }
}

fn echo(head: &[u8], body: &[u8]) -> Vec<u8> {
    match is_chunked(head).then(|| unchunk(body)).flatten() {
        Some((_, body)) => answer(&body),
        None => answer(body),
    }
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(message(b"POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\nhello"), Some((38, 5)));
        assert_eq!(message(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), Some((27, 0)));
        assert_eq!(message(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n"), None);
    }

    #[test]
    fn a_message_in_chunks_ends_with_the_last_of_them() {
        let whole = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nPOST";
        let end = whole.len() - 4;
        assert_eq!(message(whole), Some((47, end - 47)));
        assert!((0..end).all(|cut| message(&whole[..cut]).is_none()));
        assert_eq!(unchunk(&whole[47..]), Some((end - 47, b"\r\n\r\n0123456789".to_vec())));
    }

    #[test]
    fn it_answers_in_turn_what_comes_in_pieces_and_at_once() {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(listener, "{\"keys\":[]}"));
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /orders HTTP/1.1\r\nContent-Length: 2\r\n\r\n{").unwrap();
        stream
            .write_all(b"}GET /jwks.json HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let answers: Vec<&str> = said.split("HTTP/1.1 200 OK").skip(1).collect();
        let ends = ["{\"accepted\":true}", "{\"keys\":[]}", "abc"];
        assert_eq!(answers.len(), 3, "{said}");
        assert!(answers.iter().zip(ends).all(|(answer, end)| answer.ends_with(end)), "{said}");
    }
}
