//! Two servers of HTTP/1.1 that know nothing of it but where a request ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluis_bench::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::truth::Programme;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const END: &[u8] = b"\r\n\r\n";
/// What one answer holds when many requests were read at once.
const LARGEST: usize = 16 * 1024;

/// Starts a server that answers at once, on a thread of its own.
pub fn cheap(listen: SocketAddr) -> Result<(SocketAddr, JoinHandle<()>), Error> {
    start(listen, |stream| async move {
        let _ = at_once(stream).await;
    })
}

/// Starts a server whose delays are programmed, on a thread of its own.
pub fn programmed(programme: Arc<Programme>) -> Result<SocketAddr, Error> {
    let serve = move |stream| {
        let programme = programme.clone();
        async move {
            let _ = delayed(stream, &programme).await;
        }
    };
    Ok(start(([127, 0, 0, 1], 0).into(), serve)?.0)
}

fn start<F: Future<Output = ()> + Send + 'static>(
    listen: SocketAddr,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> Result<(SocketAddr, JoinHandle<()>), Error> {
    let socket = std::net::TcpListener::bind(listen)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accept = async move {
        let Ok(listener) = TcpListener::from_std(socket) else { return };
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
        }
    };
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || runtime.block_on(accept))?;
    Ok((address, thread))
}

async fn at_once(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut buffer, mut held) = (vec![0; LARGEST], 0);
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        let mut done = 0;
        let mut answers = Vec::new();
        while let Some(end) = buffer[done..held].windows(END.len()).position(|window| window == END) {
            done += end + END.len();
            answers.extend_from_slice(ANSWER);
        }
        buffer.copy_within(done..held, 0);
        held -= done;
        stream.write_all(&answers).await?;
    }
}

/// One request after the other, each answered after its delay, and nothing in the stall.
async fn delayed(mut stream: TcpStream, programme: &Programme) -> std::io::Result<()> {
    let (mut buffer, mut held) = (vec![0; LARGEST], 0);
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        if !buffer[..held].ends_with(END) {
            continue;
        }
        // Asked before the run whether it is there: that is no request of the programme.
        if !buffer.starts_with(b"GET ") {
            held = 0;
            stream.write_all(ANSWER).await?;
            continue;
        }
        let received = Instant::now();
        let digits = buffer[..held].split(|byte| !byte.is_ascii_digit()).find(|digits| !digits.is_empty());
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or_default();
        held = 0;
        tokio::time::sleep(programme.delay(number)).await;
        programme.took(number, received.elapsed());
        let left = programme.stall_left(Instant::now());
        if left > Duration::ZERO {
            tokio::time::sleep(left).await;
        }
        stream.write_all(ANSWER).await?;
    }
}
