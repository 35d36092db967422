//! What a server in the clear speaks, by the first bytes that it answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Protocol;

/// The client's preface with an empty SETTINGS frame (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// What an answer of HTTP/1.1 begins with (RFC 9112 §4).
const STATUS_LINE: &[u8] = b"HTTP/1.";
/// First byte of a TLS record that is an alert or of a handshake, and its major version (RFC 8446 §5.1).
const RECORDS: [[u8; 2]; 2] = [[21, 3], [22, 3]];
/// A ClientHello of no length (RFC 8446 §4): a server of TLS answers with an alert.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 0, 4, 1, 0, 0, 0];
/// Bytes of a frame's header (RFC 9113 §4.1).
const FRAME: usize = 9;
/// Of that header: the types of SETTINGS, with which a server begins, and of GOAWAY.
const FIRST_FRAMES: [u8; 2] = [4, 7];

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// There were none in time.
    Nothing,
    /// There were none, and the connection ended.
    End,
    Http1,
    Http2,
    Tls,
    Other,
}

/// Whether a server speaks the protocol, on as many fresh connections as it takes to tell. It is asked for nothing:
/// `OPTIONS *` is a ping (RFC 9110 §9.3.7). One that has said nothing after `patience` passes: what becomes of requests to it
/// is the load's to see.
///
/// # Errors
/// Where there is no connection; else what it does instead, as a phrase.
pub async fn speaks<E>(
    connect: impl AsyncFn() -> Result<TcpStream, E>,
    protocol: Protocol,
    authority: &str,
    patience: Duration,
) -> Result<Result<(), String>, E> {
    let hello = match protocol {
        Protocol::Http1 => format!("OPTIONS * HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").into_bytes(),
        Protocol::Http2 => PREFACE.to_vec(),
    };
    let (mut spoken, head) = first_bytes(connect().await?, &hello, patience).await;
    // OpenSSL hangs up without a word on what is no TLS.
    if spoken == Spoken::End && first_bytes(connect().await?, CLIENT_HELLO, patience).await.0 == Spoken::Tls {
        spoken = Spoken::Tls;
    }
    Ok(match (protocol, spoken) {
        (Protocol::Http1, Spoken::Http1) | (Protocol::Http2, Spoken::Http2) | (_, Spoken::Nothing) => Ok(()),
        // Some end a connection instead of answering what they have no use for.
        (Protocol::Http1, Spoken::End) => Ok(()),
        (Protocol::Http2, Spoken::End) => Err("the connection ended at its preface".to_owned()),
        (_, Spoken::Tls) => Err("it speaks TLS; write https in its URL".to_owned()),
        (Protocol::Http1, Spoken::Http2) => Err("it speaks HTTP/2; ask for that with --http2".to_owned()),
        (_, Spoken::Http1 | Spoken::Other) => {
            Err(format!("it answered `{}`", String::from_utf8_lossy(&head).escape_debug()))
        }
    })
}

/// What a server answers to what it is told on a fresh connection.
async fn first_bytes(mut stream: TcpStream, told: &[u8], patience: Duration) -> (Spoken, Vec<u8>) {
    let (mut head, mut heard) = ([0; FRAME], 0);
    let listen = async {
        stream.write_all(told).await?;
        while heard < head.len() {
            match stream.read(&mut head[heard..]).await? {
                0 => break,
                read => heard += read,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let ended = timeout(patience, listen).await.is_ok();
    let head = head[..heard].to_vec();
    (if ended && heard == 0 { Spoken::End } else { spoken(&head) }, head)
}

fn spoken(head: &[u8]) -> Spoken {
    match head {
        [] => Spoken::Nothing,
        head if STATUS_LINE.starts_with(head) || head.starts_with(STATUS_LINE) => Spoken::Http1,
        head if RECORDS.iter().any(|record| head.starts_with(record)) => Spoken::Tls,
        // Both are of the connection, which is stream 0.
        [_, _, _, kind, _, stream @ ..] if FIRST_FRAMES.contains(kind) && stream == [0; 4] => Spoken::Http2,
        _ => Spoken::Other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_server_speaks() {
        for (head, expected) in [
            (&b""[..], Spoken::Nothing),
            (b"H", Spoken::Http1),
            (b"HTTP/1.1 ", Spoken::Http1),
            (b"HTTP/1.0 ", Spoken::Http1),
            // An alert as rustls and OpenSSL send it.
            (b"\x15\x03\x03\x00\x02\x02\x46", Spoken::Tls),
            (b"\x16\x03\x01\x00\x02\x00\x00\x00\x00", Spoken::Tls),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Spoken::Http2),
            (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", Spoken::Http2),
            // DATA, and SETTINGS of a stream, are no beginning.
            (b"\x00\x00\x12\x00\x00\x00\x00\x00\x00", Spoken::Other),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x01", Spoken::Other),
            (b"SSH-2.0-O", Spoken::Other),
            (b"HTTP/3.0 ", Spoken::Other),
        ] {
            assert_eq!(spoken(head), expected, "{head:?}");
        }
    }

    /// What is found of a server that meets one connection after the other like this.
    fn found(
        protocol: Protocol,
        patience: Duration,
        serve: impl Fn(std::net::TcpStream) + Send + 'static,
    ) -> Result<(), String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connect = async || TcpStream::connect(address).await;
        runtime.block_on(speaks(connect, protocol, "api.test", patience)).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_server_that_says_nothing_passes_and_one_that_hangs_up_only_with_http_1() {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let held = std::sync::Mutex::new(Vec::new());
            assert_eq!(found(protocol, Duration::ZERO, move |stream| held.lock().unwrap().push(stream)), Ok(()));
            let spoken = found(protocol, LONG, drop);
            assert_eq!(spoken.is_ok(), protocol == Protocol::Http1, "{spoken:?}");
        }
    }

    #[test]
    fn tls_is_known_where_it_answers_nothing_else() {
        use std::io::{Read, Write};
        // As OpenSSL does: an alert to a bad handshake, and no word to what is none.
        let tls = |mut stream: std::net::TcpStream| {
            let mut first = [0];
            if stream.read_exact(&mut first).is_ok() && first == [22] {
                stream.write_all(b"\x15\x03\x01\x00\x02\x02\x32").unwrap();
            }
        };
        for protocol in [Protocol::Http1, Protocol::Http2] {
            assert_eq!(found(protocol, LONG, tls), Err("it speaks TLS; write https in its URL".to_owned()));
        }
    }
}
