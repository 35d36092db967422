//! An upstream that keeps what it got and answers as told, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Got {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many connections had been opened before the one it came by.
    pub connection: usize,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
}

/// What to do with a request once it was read.
pub enum Reply {
    /// These bytes, then the next request.
    Bytes(Vec<u8>),
    /// These bytes, then close.
    Last(Vec<u8>),
    /// What comes this way until its sender is gone, then the next request.
    Pieces(Receiver<Vec<u8>>),
    /// Nothing, for as long as the client stays.
    Silence,
}

type Handler = dyn Fn(&Got) -> Reply + Send + Sync;

/// A listening upstream.
pub struct Upstream {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicUsize>,
}

/// A complete answer.
pub fn ok(body: &[u8]) -> Reply {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend(body);
    Reply::Bytes(bytes)
}

/// Answers that are begun, and go on when somebody says so.
pub struct Pieces(SyncSender<Receiver<Vec<u8>>>);

impl Pieces {
    /// What the next request is answered at once; what is sent on follows, until the sender is dropped.
    pub fn begin(&self, beginning: String) -> SyncSender<Vec<u8>> {
        let (rest, pieces) = sync_channel(4);
        rest.send(beginning.into_bytes()).unwrap();
        self.0.send(pieces).unwrap();
        rest
    }
}

impl Upstream {
    /// Answers every request by pieces, in the order in which the answers were begun.
    pub fn start_in_pieces() -> (Self, Pieces) {
        let (begun, answers) = sync_channel(16);
        let answers = Mutex::new(answers);
        let next = move |_: &Got| answers.lock().unwrap().recv().map_or(Reply::Silence, Reply::Pieces);
        (Self::start(next), Pieces(begun))
    }

    /// Answers every request with its handler's word.
    pub fn start(handler: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), handler)
    }

    /// The same, at an address of the caller's.
    pub fn start_at(address: SocketAddr, handler: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (kept, counted, handler) = (got.clone(), connections.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = counted.fetch_add(1, Ordering::SeqCst);
                let (kept, handler) = (kept.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, connection, &kept, &*handler));
            }
        });
        Upstream { address, got, connections }
    }

    /// Takes connections and answers the head before the body was read.
    pub fn start_early(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let _ = read_head(&mut reader);
                let mut stream = stream;
                let _ = stream.write_all(&answer);
                // Stays open without reading: whoever insists on sending first, waits for ever.
                std::mem::forget(stream);
            }
        });
        Upstream { address, got: Arc::default(), connections: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, connection: usize, kept: &Mutex<Vec<Got>>, handler: &Handler) {
    let mut out = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((line, headers)) = read_head(&mut reader) {
        let Some(body) = read_body(&mut reader, &headers) else {
            return;
        };
        let got = Got { line, headers, body, connection };
        let reply = handler(&got);
        kept.lock().unwrap().push(got);
        match reply {
            Reply::Bytes(bytes) => {
                if out.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = out.write_all(&bytes);
                let _ = out.shutdown(std::net::Shutdown::Both);
                return;
            }
            Reply::Pieces(pieces) => {
                if pieces.into_iter().any(|piece| out.write_all(&piece).is_err()) {
                    return;
                }
            }
            Reply::Silence => {
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> Option<Head> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok().filter(|read| *read > 0)?;
        let field = field.trim_end();
        if field.is_empty() {
            return Some((line.trim_end().to_owned(), headers));
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok().filter(|read| *read > 0)?;
            let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).ok()?;
            body.extend(&piece[..size]);
            if size == 0 {
                return Some(body);
            }
        }
    }
    if let Some(length) = header("content-length") {
        body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    }
    Some(body)
}
