//! TLS on both sides: certificates by server name, replaced while serving; HTTP/2 from clients and to upstreams.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};

use crate::support::gateway::{Gateway, free_address};
use crate::support::upstream::{Upstream, ok};
use crate::support::{eventually, tokio_runtime};

/// Makes certificates with the tool that people use.
fn certs(dir: &Path, host: &str) -> PathBuf {
    let out = dir.join(host);
    let made =
        Command::new(env!("CARGO_BIN_EXE_sluis")).arg("certs").arg(&out).args(["--host", host]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    out
}

fn trust(dirs: &[&Path]) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    for dir in dirs {
        for anchor in CertificateDer::pem_file_iter(dir.join("ca.pem")).unwrap() {
            roots.add(anchor.unwrap()).unwrap();
        }
    }
    roots
}

fn client_config(dirs: &[&Path]) -> rustls::ClientConfig {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    rustls::ClientConfig::builder().with_root_certificates(trust(dirs)).with_no_client_auth()
}

/// The leaf that a listener presents to a client that asks for `name`; none where the handshake fails.
async fn leaf(address: SocketAddr, config: rustls::ClientConfig, name: &str) -> Option<Vec<u8>> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await.ok()?;
    Some(tls.get_ref().1.peer_certificates()?[0].to_vec())
}

fn config(https: SocketAddr, certificates: &[&Path], strict: bool, endpoint: &str, more: &str) -> String {
    let list: Vec<String> = certificates
        .iter()
        .map(|dir| format!("{{ certificate: \"{0}/server.pem\", key: \"{0}/server-key.pem\" }}", dir.display()))
        .collect();
    format!(
        "  - {{ name: https, address: \"{https}\", tls: {{ certificates: [{}], h2: true, strict_sni: {strict} }} }}\nupstreams:\n  - {{ name: erp, endpoints: [\"{endpoint}\"]{more} }}\nroutes:\n  - {{ name: all, path: \"/{{rest...}}\", methods: [GET, POST], auth: public, forward: {{ upstreams: [erp] }} }}\n",
        list.join(", ")
    )
}

#[test]
fn certificates_are_chosen_by_name_and_replaced_while_serving() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (certs(dir.path(), "one.test"), certs(dir.path(), "two.test"));
    let upstream = Upstream::start(|_| ok(b"in"));
    let https = free_address();
    let gateway = Gateway::start_with_listeners(&config(https, &[&one, &two], true, &upstream.url(), ""));
    let runtime = tokio_runtime();
    let asked = |name: &str| runtime.block_on(leaf(https, client_config(&[&one, &two]), name));
    let (first, second) = (asked("one.test").unwrap(), asked("two.test").unwrap());
    assert_ne!(first, second);
    assert_eq!(asked("three.test"), None, "an unknown name is refused");

    // A key that does not fit: what was served stays, and the operator is told.
    fs::copy(two.join("server-key.pem"), one.join("server-key.pem")).unwrap();
    eventually("the wrong pair is refused", Duration::from_secs(15), || {
        (gateway.metric("sluis_config_reloads_total{result=\"refused\"}") >= 1.0).then_some(())
    });
    assert_eq!(asked("one.test").unwrap(), first);

    let again = certs(&dir.path().join("again"), "one.test");
    fs::copy(again.join("server.pem"), one.join("server.pem")).unwrap();
    fs::copy(again.join("server-key.pem"), one.join("server-key.pem")).unwrap();
    fs::copy(again.join("ca.pem"), one.join("ca.pem")).unwrap();
    eventually("the new certificate is served", Duration::from_secs(15), || {
        asked("one.test").is_some_and(|leaf| leaf != first).then_some(())
    });
    assert_eq!(asked("two.test").unwrap(), second);
}

type H2Client = Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>;

fn h2_client(dir: &Path) -> H2Client {
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(client_config(&[dir]))
        .https_only()
        .enable_http2()
        .build();
    Client::builder(TokioExecutor::new()).http2_only(true).build(https)
}

async fn post(client: &H2Client, url: &str, body: Vec<u8>) -> (u16, http::Version, Vec<u8>) {
    let request = http::Request::post(url).body(Full::new(Bytes::from(body))).unwrap();
    let answer = client.request(request).await.unwrap();
    let (status, version) = (answer.status().as_u16(), answer.version());
    (status, version, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[test]
fn http2_clients_are_served_bodies_of_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let local = certs(dir.path(), "one.test");
    let upstream = Upstream::start(|got| ok(&got.body));
    let https = free_address();
    let _gateway = Gateway::start_with_listeners(&config(https, &[&local], false, &upstream.url(), ""));
    tokio_runtime().block_on(async {
        let client = h2_client(&local);
        let url = format!("https://localhost:{}/echo", https.port());
        for size in [0, 1, 993, 64 * 1024, 64 * 1024 + 1, 93_000, 1_000_000] {
            let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let (status, version, back) = post(&client, &url, body.clone()).await;
            assert_eq!((status, version), (200, http::Version::HTTP_2));
            assert!(back == body, "{size} bytes: {} came back", back.len());
        }
        let mut all = tokio::task::JoinSet::new();
        for i in 0..50_u8 {
            let (client, url) = (client.clone(), url.clone());
            all.spawn(async move { (i, post(&client, &url, vec![i; 2_000]).await) });
        }
        for (i, (status, _, back)) in all.join_all().await {
            assert_eq!((status, back), (200, vec![i; 2_000]), "streams are not mixed up");
        }
    });
}

/// An upstream that speaks HTTP/2 over TLS and echoes.
fn h2_upstream(dir: &Path) -> SocketAddr {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(dir.join("server-key.pem")).unwrap();
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        tokio_runtime().block_on(async move {
            socket.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(socket).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let echo = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(body)))
                    });
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(tls), echo).await;
                });
            }
        });
    });
    address
}

#[test]
fn an_http2_upstream_over_tls_is_verified_and_gets_every_body() {
    let dir = tempfile::tempdir().unwrap();
    let local = certs(dir.path(), "one.test");
    let upstream = h2_upstream(&local);
    let endpoint = format!("https://localhost:{}", upstream.port());
    let more = format!(", protocol: http2, tls: {{ ca: \"{}/ca.pem\" }}", local.display());
    let gateway = Gateway::start_with_listeners(&config(free_address(), &[&local], false, &endpoint, &more));
    for size in [0, 1, 993, 64 * 1024 + 1, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let answer = gateway.call("POST", "/echo", &[], &body);
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{size} bytes: {} came back", answer.body.len());
    }
}

#[test]
fn a101_an_upstream_whose_certificate_does_not_hold_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (local, other) = (certs(dir.path(), "one.test"), certs(dir.path(), "other.test"));
    let upstream = h2_upstream(&local);
    for tls in [
        format!("ca: \"{}/ca.pem\"", other.display()),
        format!("ca: \"{}/ca.pem\", server_name: wrong.test", local.display()),
    ] {
        let endpoint = format!("https://localhost:{}", upstream.port());
        let more = format!(", protocol: http2, tls: {{ {tls} }}");
        let gateway = Gateway::start_with_listeners(&config(free_address(), &[&local], false, &endpoint, &more));
        let answer = gateway.call("POST", "/", &[], b"secret");
        assert_eq!((answer.status, answer.problem().as_str()), (502, "upstream-tls-error"), "{tls}");
    }
}
