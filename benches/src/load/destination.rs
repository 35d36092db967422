//! Where the load goes: addresses that answer, TLS, and the fields that say so.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use super::{LoadError, Protocol, Target, probe, tls};
use crate::record::Failure;

/// How long the target may take for its first connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// And for each answer's first bytes in the clear. A longer silence is its own affair.
const FIRST_BYTES: Duration = Duration::from_secs(1);

/// A target that was found.
pub struct Destination {
    /// At least one, each of which took a connection.
    pub addresses: Vec<SocketAddr>,
    pub authority: Authority,
    pub scheme: Scheme,
    pub protocol: Protocol,
    pub keep_alive: bool,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Destination {
    /// Resolves the target and asks each of its addresses for one connection, to say at once what cannot work.
    pub async fn find(target: &Target) -> Result<Self, LoadError> {
        let wrong = |what| LoadError::Url { url: target.url.clone(), what };
        let authority = target.url.authority().cloned().ok_or_else(|| wrong("names no host"))?;
        let scheme = target.url.scheme().cloned().ok_or_else(|| wrong("has no scheme"))?;
        let secure = scheme == Scheme::HTTPS;
        if !secure && scheme != Scheme::HTTP {
            return Err(wrong("is neither http nor https"));
        }
        if !target.keep_alive && target.protocol == Protocol::Http2 {
            return Err(LoadError::Bounds("a connection for each request is possible with HTTP/1.1 only".to_owned()));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = || ServerName::try_from(host.clone()).map_err(|_| wrong("has a host that TLS cannot name"));
        let tls = if secure { Some((tls::connector(target)?, name()?)) } else { None };
        let addresses = resolve(&host, port).await?;
        let mut found =
            Destination { addresses, authority, scheme, protocol: target.protocol, keep_alive: target.keep_alive, tls };
        found.keep_reachable().await?;
        found.try_first().await?;
        Ok(found)
    }

    /// Drops the addresses that take no connection: of `localhost`, often one of two.
    async fn keep_reachable(&mut self) -> Result<(), LoadError> {
        let (mut reachable, mut last) = (Vec::new(), None);
        for address in &self.addresses {
            match connect(*address).await {
                Ok(_) => reachable.push(*address),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if reachable.is_empty() => Err(error),
            _ => {
                self.addresses = reachable;
                Ok(())
            }
        }
    }

    /// Whether the target speaks TLS and the protocol as asked, on its first address.
    async fn try_first(&self) -> Result<(), LoadError> {
        let Some(address) = self.addresses.first().copied() else { return Ok(()) };
        let version = |what: String| {
            let wanted = if self.protocol == Protocol::Http2 { "HTTP/2" } else { "HTTP/1.1" };
            LoadError::Version { address, wanted, what }
        };
        let Some((connector, name)) = &self.tls else {
            let connect = async || connect(address).await;
            let spoken = probe::speaks(connect, self.protocol, self.authority.as_str(), FIRST_BYTES).await?;
            return spoken.map_err(version);
        };
        let stream = connect(address).await?;
        let failed = |why: String| LoadError::Tls { address, why };
        let stream = timeout(PATIENCE, connector.connect(name.clone(), stream)).await;
        let stream = stream.map_err(|_| failed("no answer to the handshake; does it speak TLS?".to_owned()))?;
        let stream = stream.map_err(|e| failed(e.to_string()))?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if self.protocol == Protocol::Http2 && chosen != Some(tls::H2) {
            Err(version("ALPN chose another".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Opens a connection to the address in turn, ready to speak HTTP.
    pub async fn connect(&self, turn: usize) -> Result<Stream, Failure> {
        let Some(address) = self.addresses.get(turn % self.addresses.len().max(1)) else {
            return Err(Failure::Connect);
        };
        let stream = TcpStream::connect(address).await.map_err(|e| local(&e).unwrap_or(Failure::Connect))?;
        // Only the kernel's answer time is lost where this fails.
        let _ = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else { return Ok(Stream::Plain(TokioIo::new(stream))) };
        let stream = connector.connect(name.clone(), stream).await.map_err(|e| local(&e).unwrap_or(Failure::Tls))?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if self.protocol == Protocol::Http2 && chosen != Some(tls::H2) {
            return Err(Failure::Protocol);
        }
        Ok(Stream::Tls(TokioIo::new(Box::new(stream))))
    }

    /// The failure that a connection without an answer to its handshake has come to when its time is over.
    pub fn unanswered(&self) -> Failure {
        if self.tls.is_some() { Failure::Tls } else { Failure::Connect }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, LoadError> {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(|why| LoadError::Unreachable { address, why })
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, LoadError> {
    let wrong = |why: String| LoadError::Resolve { host: host.to_owned(), why };
    let found = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| wrong("no answer".to_owned()))?.map_err(|e| wrong(e.to_string()))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() { Err(wrong("no address".to_owned())) } else { Ok(addresses) }
}

/// Whether an error is for want of something here: descriptors, ports, memory.
pub fn local(error: &io::Error) -> Option<Failure> {
    use rustix::io::Errno;
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    let raw = error.raw_os_error()?;
    lacking.iter().any(|errno| errno.raw_os_error() == raw).then_some(Failure::Local)
}
