//! Client and upstream in a process of their own, so that nothing they do counts as the gateway's. They know as little of
//! HTTP as this needs.
//!
//! The process writes its upstream's address; reads a number of connections, the gateway's address, a path and a token;
//! then, for every number that it reads, sends so many orders and writes how many were not answered with 200.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use sluis_bench::{ORDER, lean};

/// The word that makes this the far end.
pub const FAR_END: &str = "far-end";

/// That process, seen from here; killed when dropped.
pub struct FarEnd {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Of its upstream.
    pub upstream: SocketAddr,
}

impl FarEnd {
    /// Starts it.
    pub fn start() -> FarEnd {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(FAR_END)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let upstream = output.next().unwrap().unwrap().parse().unwrap();
        FarEnd { child, input, output, upstream }
    }

    /// Whom to ask for what from now on, on so many connections at once, each as soon as it is answered.
    pub fn aim(&mut self, connections: u64, gateway: SocketAddr, path: &str, token: &str) {
        writeln!(self.input, "{connections} {gateway} {path} {token}").unwrap();
    }

    /// Sends so many orders; returns how many were not answered well.
    pub fn send(&mut self, orders: u64) -> u64 {
        writeln!(self.input, "{orders}").unwrap();
        self.output.next().unwrap().unwrap().parse().unwrap()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What that process does, until nobody tells it anything any more.
pub fn run() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::thread::spawn(move || lean::serve(listener, "{}"));
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    let Some(aim) = lines.next() else { return ExitCode::SUCCESS };
    let [connections, gateway, path, token] = aim.split(' ').collect::<Vec<_>>()[..] else { return ExitCode::FAILURE };
    let connections: u64 = connections.parse().unwrap();
    let gateway: SocketAddr = gateway.parse().unwrap();
    let request = request(path, token);
    let mut clients: Vec<Connection> = (0..connections).map(|_| Connection::open(gateway)).collect();
    for line in lines {
        let orders: u64 = line.parse().unwrap();
        let failed: u64 = std::thread::scope(|scope| {
            let asking: Vec<_> = clients
                .iter_mut()
                .zip(0..)
                .map(|(client, at)| {
                    let share = orders / connections + u64::from(at < orders % connections);
                    let request = &request;
                    scope.spawn(move || (0..share).filter(|_| !client.ask(request)).count() as u64)
                })
                .collect();
            asking.into_iter().map(|client| client.join().unwrap()).sum()
        });
        println!("{failed}");
    }
    ExitCode::SUCCESS
}

fn request(path: &str, token: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nUser-Agent: erp-client/1.0\r\nContent-Length: {}\r\n\r\n",
        ORDER.len()
    )
    .into_bytes();
    request.extend_from_slice(ORDER);
    request
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, read: Vec::new() }
    }

    /// Whether the answer is a 200.
    fn ask(&mut self, request: &[u8]) -> bool {
        self.stream.write_all(request).unwrap();
        loop {
            if let Some((head, body)) = lean::message(&self.read).filter(|(head, body)| self.read.len() >= head + body)
            {
                let good = self.read.starts_with(b"HTTP/1.1 200 ");
                self.read.drain(..head + body);
                return good;
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(length) if length > 0 => self.read.extend_from_slice(&piece[..length]),
                _ => return false,
            }
        }
    }
}
