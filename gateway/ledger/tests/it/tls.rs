//! HTTPS sinks: verified against the web's roots and the sink's own authority, never not at all.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sluis_model::event::{DeliveryState, EventState};
use sluis_model::plan;
use tokio::net::TcpListener;

use crate::support::{ErpSink, Running, event};

/// An HTTPS server that confirms everything, and the PEM of its authority.
async fn https_sink() -> (u16, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| async {
                    request.into_body().collect().await?;
                    Ok::<_, hyper::Error>(http::Response::new(Empty::<bytes::Bytes>::new()))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, pem)
}

#[tokio::test]
async fn a_sink_with_its_own_authority_is_trusted_only_where_the_plan_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (port, pem) = https_sink().await;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let template = ErpSink::start().await.plan();
    let sink = |host: &str, ca: Option<&std::path::Path>| {
        let mut plan = template.clone();
        let plan::SinkKind::Http(http) = &mut plan.kind;
        (http.url, http.ca) = (format!("https://{host}:{port}/"), ca.map(Into::into));
        plan
    };
    let running = Running::start(&dir.path().join("ledger"), [sink("localhost", None)]);
    let id = running.accept(event("{}")).await;
    let refused = |status: &sluis_ledger::EventStatus, word: &str| {
        let error = status.deliveries[0].last_error.clone().unwrap();
        assert_eq!((&*error.kind, &*error.class), ("connect", "transient"), "{error:?}");
        assert!(error.message.contains(word), "{}", error.message);
    };
    refused(&running.until_delivery(id, DeliveryState::RetryWait).await, "UnknownIssuer");
    // The right authority, the wrong name.
    running.replan([sink("127.0.0.1", Some(&ca))]);
    running.clock.advance(Duration::from_secs(2));
    let status =
        running.until_that(id, |s| s.deliveries[0].attempts == 2 && s.deliveries[0].next_attempt_at.is_some()).await;
    refused(&status, "not valid for name");
    running.replan([sink("localhost", Some(&ca))]);
    running.clock.advance(Duration::from_secs(4));
    running.until(id, EventState::Completed).await;
    running.stop().await;
}
