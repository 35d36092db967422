//! Connections to one endpoint of an upstream: TCP, TLS, and the pool of idle ones.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sluis_model::plan::{Endpoint, Upstream, UpstreamProtocol};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why no connection could be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Name not resolved, refused, unreachable.
    #[error("unreachable: {0}")]
    Unreachable(io::ErrorKind),
    /// Not connected in time.
    #[error("connect deadline passed")]
    Timeout,
    /// Certificate or handshake.
    #[error("tls: {0}")]
    Tls(String),
}

/// A TLS setting that cannot be used; found when a plan is checked.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// The file of trust anchors.
    #[error("cannot read trust anchors from {path}: {reason}")]
    Ca {
        /// As configured.
        path: String,
        /// Of the operating system or the PEM reader.
        reason: String,
    },
    /// The name to verify.
    #[error("`{0}` is not a host name or an address")]
    ServerName(String),
}

/// A connection to an endpoint.
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

impl Transport {
    /// Whether an idle connection is still open and silent; anything else bars its use.
    fn is_idle(&mut self) -> bool {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut buf).is_pending()
    }
}

/// Dials one endpoint.
pub struct Dialer {
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Dialer {
    /// Reads the trust anchors now, so that a wrong file is a configuration error and not a failed request.
    pub fn new(upstream: &Upstream, endpoint: &Endpoint) -> Result<Self, TlsSettingsError> {
        let tls = if endpoint.tls {
            let name = upstream.tls.server_name.as_ref().unwrap_or(&endpoint.host);
            let server_name =
                ServerName::try_from(name.clone()).map_err(|_| TlsSettingsError::ServerName(name.clone()))?;
            let config = client_config(upstream.tls.ca.as_deref(), upstream.protocol)?;
            Some((TlsConnector::from(Arc::new(config)), server_name))
        } else {
            None
        };
        Ok(Dialer { endpoint: endpoint.clone(), tls, timeout: upstream.connect_timeout })
    }

    /// A new connection, within the upstream's connect deadline, handshake included.
    pub async fn dial(&self) -> Result<Transport, ConnectError> {
        tokio::time::timeout(self.timeout, self.dial_unbounded()).await.unwrap_or(Err(ConnectError::Timeout))
    }

    async fn dial_unbounded(&self) -> Result<Transport, ConnectError> {
        let tcp = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port))
            .await
            .map_err(|e| ConnectError::Unreachable(e.kind()))?;
        tcp.set_nodelay(true).map_err(|e| ConnectError::Unreachable(e.kind()))?;
        match &self.tls {
            None => Ok(Transport::Plain(tcp)),
            Some((connector, name)) => connector
                .connect(name.clone(), tcp)
                .await
                .map(|tls| Transport::Tls(Box::new(tls)))
                .map_err(|e| ConnectError::Tls(e.to_string())),
        }
    }
}

/// A client configuration that verifies; there is no other kind.
fn client_config(ca: Option<&Path>, protocol: UpstreamProtocol) -> Result<rustls::ClientConfig, TlsSettingsError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let fail = |reason: String| TlsSettingsError::Ca { path: path.display().to_string(), reason };
            let anchors = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
            for anchor in anchors {
                roots.add(anchor.map_err(|e| fail(e.to_string()))?).map_err(|e| fail(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(fail("no certificate in it".to_owned()));
            }
        }
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// Idle HTTP/1.1 connections to one endpoint; the most recently used comes out first, so that surplus ones grow old.
pub struct Pool {
    idle: Mutex<VecDeque<(Transport, Instant)>>,
    size: usize,
    idle_timeout: Duration,
}

impl Pool {
    /// Keeps at most `size` connections for at most `idle_timeout`.
    pub fn new(size: usize, idle_timeout: Duration) -> Self {
        Pool { idle: Mutex::new(VecDeque::new()), size, idle_timeout }
    }

    /// A connection that was open and silent a moment ago.
    pub fn take(&self, now: Instant) -> Option<Transport> {
        loop {
            let (mut transport, since) = self.lock().pop_back()?;
            if now.saturating_duration_since(since) < self.idle_timeout && transport.is_idle() {
                return Some(transport);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, transport: Transport, now: Instant) {
        let mut idle = self.lock();
        if idle.len() >= self.size {
            idle.pop_front();
        }
        idle.push_back((transport, now));
    }

    /// Closes what has been idle for too long or was closed by the other side.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain_mut(|(transport, since)| {
            now.saturating_duration_since(*since) < self.idle_timeout && transport.is_idle()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Transport, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
