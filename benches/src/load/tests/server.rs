//! Servers that do what a path says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Connections on which at least one request came, by the server's URL.
static USED: LazyLock<Mutex<BTreeMap<String, usize>>> = LazyLock::new(Mutex::default);

pub fn connections(url: &str) -> usize {
    USED.lock().unwrap().get(url).copied().unwrap_or_default()
}

fn used(at: SocketAddr) {
    *USED.lock().unwrap().entry(format!("http://{at}")).or_default() += 1;
}

/// Serves on a thread of its own as long as the test runs. Returns the URL.
pub fn start<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(socket).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
    });
    url
}

/// HTTP/1.1, as far as its clients here need it.
pub async fn http1(mut stream: TcpStream) {
    let at = stream.local_addr().unwrap();
    let mut request = Vec::new();
    let mut first = true;
    loop {
        let mut buffer = [0; 4_096];
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..read]);
        if !request.ends_with(b"\r\n\r\n{}") {
            if request.starts_with(b"POST") {
                continue;
            }
            // Neither TLS nor HTTP/2 is understood here.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            return;
        }
        if std::mem::take(&mut first) {
            used(at);
        }
        let text = String::from_utf8(std::mem::take(&mut request)).unwrap();
        assert!(text.contains(&format!("host: {at}\r\n")), "{text}");
        let path = text.split(' ').nth(1).unwrap();
        if !answer(&mut stream, path).await {
            return;
        }
    }
}

/// Whether the connection goes on.
async fn answer(stream: &mut TcpStream, path: &str) -> bool {
    static STALLED: AtomicBool = AtomicBool::new(false);
    let (bytes, goes_on): (&[u8], bool) = match path {
        "/302" => (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", true),
        "/401" => (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", true),
        "/404" => (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true),
        "/429" => (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", true),
        "/503" => (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", true),
        "/503/later" => (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", true),
        "/short" => (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
        "/more" => (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", true),
        "/cut" => (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        "/close" => (b"", false),
        "/garbage" => (b"SSH-2.0-OpenSSH\r\n", false),
        "/silent" => {
            let _ = stream.read(&mut [0; 1]).await;
            return false;
        }
        "/stall-once" if !STALLED.swap(true, Ordering::Relaxed) => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            (b"HTTP/1.1 204 No Content\r\n\r\n", true)
        }
        _ => (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
    };
    stream.write_all(bytes).await.is_ok() && goes_on
}

/// Another protocol: its server says its name first (RFC 4253 §4.2).
pub async fn ssh(mut stream: TcpStream) {
    let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n").await;
    let _ = stream.read(&mut [0; 1]).await;
}

pub async fn http2(stream: TcpStream) {
    let at = stream.local_addr().unwrap();
    let first = AtomicBool::new(true);
    let service = service_fn(|request: Request<Incoming>| {
        if first.swap(false, Ordering::Relaxed) {
            used(at);
        }
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.uri().authority().unwrap().as_str(), at.to_string());
        reply(request)
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn reply(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = if request.uri().path() == "/404" { 404 } else { 200 };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from_static(b"abc"))).unwrap())
}

/// Either protocol by ALPN, with a certificate of its own: the URL, and the certificate as a file.
pub fn tls() -> (String, NamedTempFile) {
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(signed.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.signing_key.serialize_pem().as_bytes()).unwrap();
    let certificate = CertificateDer::from(signed.cert);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let url = start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(reply)).await;
        }
    });
    (url.replace("http", "https"), file)
}
