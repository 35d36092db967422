//! Certificates of a listener: chosen by server name, replaced while serving, kept when the new ones are wrong.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sluis_model::plan::{CertificateFiles, Tls};

/// A certificate that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// As configured.
        path: String,
        /// Of the operating system or the PEM reader.
        reason: String,
    },
    /// Chain and key do not fit, or are of a kind that cannot be served.
    #[error("{certificate} with {key}: {reason}")]
    Unusable {
        /// As configured.
        certificate: String,
        /// As configured.
        key: String,
        /// Of the TLS library.
        reason: String,
    },
}

/// The certificates of one listener.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<BySni>,
}

#[derive(Debug, Default)]
struct BySni {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads all files; any that is wrong fails the whole.
    pub fn load(tls: &Tls) -> Result<Self, CertificateError> {
        Ok(Certificates { current: ArcSwap::from_pointee(read(tls)?) })
    }

    /// Reads all files again; on an error what was served stays.
    pub fn reload(&self, tls: &Tls) -> Result<(), CertificateError> {
        self.current.store(Arc::new(read(tls)?));
        Ok(())
    }
}

fn read(tls: &Tls) -> Result<BySni, CertificateError> {
    let mut all = BySni::default();
    for files in &tls.certificates {
        let (key, names) = certified(files)?;
        for name in names {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => all.wildcard.entry(parent.to_owned()).or_insert_with(|| key.clone()),
                None => all.exact.entry(name).or_insert_with(|| key.clone()),
            };
        }
        if !tls.strict_sni && all.fallback.is_none() {
            all.fallback = Some(key);
        }
    }
    Ok(all)
}

fn certified(files: &CertificateFiles) -> Result<(Arc<CertifiedKey>, Vec<String>), CertificateError> {
    let read =
        |path: &std::path::Path, reason: String| CertificateError::Read { path: path.display().to_string(), reason };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| read(&files.certificate, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| read(&files.key, e.to_string()))?;
    let unusable = |reason: String| CertificateError::Unusable {
        certificate: files.certificate.display().to_string(),
        key: files.key.display().to_string(),
        reason,
    };
    let leaf = chain.first().ok_or_else(|| unusable("no certificate in it".to_owned()))?;
    let names = webpki::EndEntityCert::try_from(leaf)
        .map_err(|e| unusable(e.to_string()))?
        .valid_dns_names()
        .map(str::to_owned)
        .collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|e| unusable(e.to_string()))?;
    Ok((Arc::new(certified), names))
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let Some(name) = hello.server_name() else {
            return current.fallback.clone();
        };
        let name = name.to_ascii_lowercase();
        let by_parent = || name.split_once('.').and_then(|(_, parent)| current.wildcard.get(parent));
        current.exact.get(&name).or_else(by_parent).or(current.fallback.as_ref()).cloned()
    }
}

/// A listener's certificates as pingora's acceptor takes them from us.
#[derive(Debug)]
pub struct Resolver(pub Arc<Certificates>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(hello)
    }
}
