//! The client's side of TLS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::{LoadError, Protocol, Target};

/// HTTP/2 in ALPN (RFC 9113 §3.2).
pub const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// For the target: what it trusts, and the one protocol that it offers.
pub fn connector(target: &Target) -> Result<TlsConnector, LoadError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| LoadError::Bounds(format!("TLS cannot be set up: {e}")))?;
    let mut config = builder.with_root_certificates(roots(target)?).with_no_client_auth();
    if target.insecure {
        #[allow(clippy::disallowed_methods, reason = "asked for by name: a test target with a certificate of its own")]
        config.dangerous().set_certificate_verifier(Arc::new(Anyone(provider)));
    }
    config.alpn_protocols = match target.protocol {
        Protocol::Http1 => vec![HTTP1.to_vec()],
        Protocol::Http2 => vec![H2.to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(target: &Target) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(file) = &target.ca else { return Ok(roots) };
    let wrong = |why: String| LoadError::Ca { file: file.clone(), why };
    let mut any = false;
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))? {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        any = true;
    }
    if any { Ok(roots) } else { Err(wrong("no certificate in it".to_owned())) }
}

/// Takes any certificate, but still has its owner prove the key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
