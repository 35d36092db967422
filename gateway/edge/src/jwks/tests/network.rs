//! One fetch against servers that misbehave, on real sockets.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sluis_model::plan::Jwks as Settings;

use crate::address::{Resolve, is_public};
use crate::jwks::test_issuer::{Reply, Server, Signer, answer, issuer, key_set, ok, serve};
use crate::jwks::{Fetch, FetchFault, Fetched, HttpFetch};

fn settings(url: String) -> Settings {
    Settings { timeout: Duration::from_secs(2), ..issuer(url).jwks }
}

async fn fetch(settings: &Settings) -> Result<Fetched, FetchFault> {
    HttpFetch::default().fetch(settings).await
}

async fn fault_of(reply: Reply) -> FetchFault {
    let server = Server::start(reply).await;
    fetch(&settings(server.url())).await.unwrap_err()
}

#[tokio::test]
async fn a_set_is_fetched_whatever_its_content_type() {
    let server = Server::start(Reply::Now(answer(
        "200 OK",
        &[("Content-Type", "text/plain"), ("Cache-Control", "max-age=120")],
        r#"{"keys":[]}"#,
    )))
    .await;
    let fetched = fetch(&settings(server.url())).await.unwrap();
    assert_eq!((&fetched.body[..], fetched.max_age), (&br#"{"keys":[]}"#[..], Some(Duration::from_secs(120))));
}

#[tokio::test]
async fn a139_failures_of_the_host_are_told_apart() {
    let html = "<html>login</html>";
    for status in ["500 Internal Server Error", "404 Not Found", "204 No Content", "206 Partial Content", "503 x"] {
        let code = status[..3].parse().unwrap();
        assert_eq!(fault_of(Reply::Now(answer(status, &[], html))).await, FetchFault::Status(code));
    }
    assert_eq!(fault_of(Reply::Now(b"not http at all\r\n\r\n".to_vec())).await, FetchFault::Connection);
    assert_eq!(fault_of(Reply::Now(Vec::new())).await, FetchFault::Connection);
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
    assert_eq!(fault_of(Reply::Now(cut)).await, FetchFault::Connection);

    let silent = Server::start(Reply::Silence).await;
    let brief = Settings { timeout: Duration::from_millis(200), ..settings(silent.url()) };
    assert_eq!(fetch(&brief).await.unwrap_err(), FetchFault::Timeout);

    let gone = Server::start(Reply::Silence).await;
    let url = gone.url();
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(fetch(&settings(url)).await.unwrap_err(), FetchFault::Connection);
}

#[tokio::test]
async fn a140_size_and_slowness_are_cut() {
    let five_mebibytes = format!(r#"{{"keys":[],"fill":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(fault_of(ok(&five_mebibytes)).await, FetchFault::TooLarge);
    // The same without a length told beforehand.
    let mut endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    endless.resize(5 << 20, b' ');
    assert_eq!(fault_of(Reply::Now(endless)).await, FetchFault::TooLarge);
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.extend(b"X-Fill: y\r\n".repeat(20_000));
    assert_eq!(fault_of(Reply::Now(head)).await, FetchFault::Connection);

    let server = Server::start(Reply::Drip(Duration::from_millis(50), answer("200 OK", &[], r#"{"keys":[]}"#))).await;
    let start = Instant::now();
    let brief = Settings { timeout: Duration::from_millis(400), ..settings(server.url()) };
    assert_eq!(fetch(&brief).await.unwrap_err(), FetchFault::Timeout);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a141_redirects_are_not_followed() {
    let target = Server::start(ok(&key_set(&[&Signer::new("evil")]))).await;
    let elsewhere = ["http://169.254.169.254/latest/meta-data/".to_owned(), target.url(), "/other.json".to_owned()];
    for location in elsewhere {
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
            let server = Server::start(Reply::Now(answer(status, &[("Location", &location)], ""))).await;
            let fault = fetch(&settings(server.url())).await.unwrap_err();
            assert_eq!((fault.label(), server.fetches()), ("redirect", 1), "{status} {location}");
        }
    }
    assert_eq!(target.fetches(), 0);
}

#[tokio::test]
async fn a142_plain_http_needs_permission() {
    let server = Server::start(ok(r#"{"keys":[]}"#)).await;
    let strict = Settings { allow_insecure: false, ..settings(server.url()) };
    assert_eq!(fetch(&strict).await.unwrap_err(), FetchFault::Url);
    for url in ["", "/jwks.json", "ftp://id.example/", "file:///etc/passwd", "id.example", "https://", "http:// x/"] {
        assert_eq!(fetch(&settings(url.into())).await.unwrap_err(), FetchFault::Url, "{url}");
    }
    assert_eq!(server.fetches(), 0);
}

/// A TLS server whose certificate is for `localhost`, made on the spot; returns its port and the certificate in PEM.
async fn tls_server() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    serve(&mut stream, ok(r#"{"keys":[]}"#)).await;
                }
            });
        }
    });
    (port, made.cert.pem())
}

#[tokio::test]
async fn a142_tls_is_verified_against_the_plans_anchors() {
    let (port, pem) = tls_server().await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let with_ca = Settings { ca: Some(ca.clone()), ..settings(format!("https://localhost:{port}/jwks.json")) };
    assert!(fetch(&with_ca).await.is_ok());

    let without = Settings { ca: None, ..with_ca.clone() };
    assert_eq!(fetch(&without).await.unwrap_err(), FetchFault::Connection, "an issuer nobody vouches for");
    let other_name = Settings { url: format!("https://127.0.0.1:{port}/"), ..with_ca.clone() };
    assert_eq!(fetch(&other_name).await.unwrap_err(), FetchFault::Connection, "a certificate for another name");
    let plain = Server::start(ok(r#"{"keys":[]}"#)).await;
    let not_tls = Settings { url: format!("https://localhost:{}/", plain.address.port()), ..with_ca.clone() };
    let not_tls = Settings { timeout: Duration::from_millis(200), ..not_tls };
    assert_eq!(fetch(&not_tls).await.unwrap_err(), FetchFault::Timeout, "a server that waits for plain HTTP");

    let missing = Settings { ca: Some(dir.path().join("none.pem")), ..with_ca.clone() };
    assert_eq!(fetch(&missing).await.unwrap_err(), FetchFault::TrustAnchors);
    std::fs::write(&ca, "no certificate").unwrap();
    assert_eq!(fetch(&with_ca).await.unwrap_err(), FetchFault::TrustAnchors);
}

/// Public at the first question, this machine ever after.
struct Rebinding {
    questions: AtomicUsize,
}

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let first = self.questions.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first { "1.1.1.1" } else { "127.0.0.1" }.parse().unwrap()])
    }
}

#[tokio::test]
async fn a147_rebinding_to_a_private_address_gets_no_connection() {
    let server = Server::start(ok(r#"{"keys":[]}"#)).await;
    let resolver = Arc::new(Rebinding { questions: AtomicUsize::new(0) });
    // What a check of the plan would have seen.
    let checked = resolver.resolve("id.example").await.unwrap();
    assert!(checked.iter().all(|address| is_public(*address)));

    let url = format!("https://id.example:{}/jwks.json", server.address.port());
    let strict = Settings { allow_insecure: false, ..settings(url.clone()) };
    let client = HttpFetch::new(Arc::clone(&resolver) as Arc<dyn Resolve>);
    assert_eq!(client.fetch(&strict).await.unwrap_err(), FetchFault::Address);
    assert_eq!((server.fetches(), resolver.questions.load(Ordering::SeqCst)), (0, 2));

    // Allow-listed, the same name connects, and waits for TLS that this server does not speak.
    let lax = Settings { timeout: Duration::from_millis(200), ..settings(url) };
    assert_eq!(client.fetch(&lax).await.unwrap_err(), FetchFault::Timeout);
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a147_literal_addresses_are_judged_too() {
    let server = Server::start(ok(r#"{"keys":[]}"#)).await;
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "169.254.169.254",
        "localhost",
        "0.0.0.0",
        "2130706433",
    ] {
        let strict = Settings { allow_insecure: false, ..settings(format!("https://{host}:{port}/")) };
        let fault = fetch(&strict).await.unwrap_err();
        // A name that this machine does not resolve at all is as good.
        assert!(
            fault == FetchFault::Address || (host == "2130706433" && fault == FetchFault::Connection),
            "{host}: {fault:?}"
        );
    }
    assert_eq!(server.fetches(), 0);
}

#[test]
fn a147_only_public_addresses_are_public() {
    let all = |addresses: &[&str], public: bool| {
        for address in addresses {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    };
    all(
        &[
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
        ],
        true,
    );
    all(&["2606:4700::1111", "2001:4860:4860::8888", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808"], true);
    all(&["0.0.0.0", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"], false);
    all(
        &["169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1"],
        false,
    );
    all(
        &["198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
        false,
    );
    all(
        &["::", "::1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1"],
        false,
    );
    all(
        &["2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"],
        false,
    );
}
