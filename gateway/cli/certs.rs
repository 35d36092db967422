//! `sluis certs DIR`: a throw-away CA and one server certificate, for demo and tests. Nothing here is for production:
//! the CA's key lies next to its certificate.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Names that every certificate covers.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Longest life that common clients accept of a server certificate.
const LEAF_DAYS: i64 = 397;
const CA_DAYS: i64 = 3650;
/// More names than this do not belong on one throw-away certificate.
const MAX_HOSTS: usize = 100;

/// Make a throw-away CA and a server certificate for demo and tests.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write to; made with mode 0700 when it is not there.
    pub dir: PathBuf,
    /// Further DNS names or addresses; localhost, 127.0.0.1 and ::1 are always covered.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Overwrite files that are there.
    #[arg(long)]
    pub force: bool,
}

/// Where the four PEM files of one folder are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The CA's certificate: what clients trust.
    pub ca: PathBuf,
    /// The CA's key, mode 0600.
    pub ca_key: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key, mode 0600.
    pub key: PathBuf,
}

impl Files {
    /// The names used in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Files {
            ca: dir.join("ca.pem"),
            ca_key: dir.join("ca-key.pem"),
            certificate: dir.join("server.pem"),
            key: dir.join("server-key.pem"),
        }
    }

    fn all(&self) -> [&Path; 4] {
        [&self.ca, &self.ca_key, &self.certificate, &self.key]
    }
}

/// Why no certificates were made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file is there and `--force` was not given.
    #[error("{} exists; pass --force to overwrite it", .0.display())]
    Exists(PathBuf),
    /// Not a DNS name and not an address.
    #[error("--host {0:?} is neither a DNS name nor an IP address")]
    Host(String),
    /// Too many `--host`.
    #[error("at most {MAX_HOSTS} --host names fit one certificate")]
    TooManyHosts,
    /// The file system said no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// The certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

/// Runs `sluis certs`.
#[allow(clippy::print_stdout, clippy::print_stderr)]
pub fn run(args: &Args) -> ExitCode {
    match make(&args.dir, &args.hosts, args.force, OffsetDateTime::now_utc()) {
        Ok(files) => {
            println!("CA           {}", files.ca.display());
            println!("CA key       {}", files.ca_key.display());
            println!("certificate  {}", files.certificate.display());
            println!("key          {}", files.key.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sluis certs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a CA and a server certificate for the local names and `hosts`, valid from the day before `now`.
///
/// Errors leave the files of `dir` as they were, but for a failure of the file system half-way.
pub fn make(dir: &Path, hosts: &[String], force: bool, now: OffsetDateTime) -> Result<Files, CertsError> {
    if hosts.len() > MAX_HOSTS {
        return Err(CertsError::TooManyHosts);
    }
    if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
        return Err(CertsError::Host(bad.clone()));
    }
    let files = Files::in_dir(dir);
    if let Some(there) = files.all().into_iter().find(|file| !force && file.exists()) {
        return Err(CertsError::Exists(there.to_owned()));
    }

    let (ca_pem, ca) = authority(now)?;
    let key = KeyPair::generate()?;
    let leaf = leaf_parameters(hosts, now)?.signed_by(&key, &ca)?;

    if !dir.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| CertsError::Io { path: dir.to_owned(), error })?;
    }
    write(&files.ca, &ca_pem, 0o644)?;
    write(&files.ca_key, &ca.key().serialize_pem(), 0o600)?;
    write(&files.certificate, &leaf.pem(), 0o644)?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    Ok(files)
}

fn authority(now: OffsetDateTime) -> Result<(String, Issuer<'static, KeyPair>), CertsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    // May sign servers, but no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Sluis throw-away CA");
    params.not_before = now - Duration::DAY;
    params.not_after = now + Duration::days(CA_DAYS);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

fn leaf_parameters(hosts: &[String], now: OffsetDateTime) -> Result<CertificateParams, CertsError> {
    let mut names: Vec<String> = LOCAL_NAMES.iter().map(|name| name.to_string()).collect();
    for host in hosts {
        if !names.contains(host) {
            names.push(host.clone());
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, hosts.first().map_or("localhost", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = now - Duration::DAY;
    params.not_after = now + Duration::days(LEAF_DAYS);
    Ok(params)
}

/// A DNS name (RFC 1123 §2.1, with one leading `*.`) or an address.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

/// Writes beside the target and renames, so that a reader never sees half a file and a key is never readable by
/// others, not even for a moment.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let fill = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    fill().map_err(|error| CertsError::Io { path: path.to_owned(), error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use std::sync::Arc;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_leaf_is_trusted_by_its_ca_for_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = ["acme.example".to_owned(), "10.1.2.3".to_owned()];
        let files = make(dir.path(), &hosts, false, OffsetDateTime::now_utc()).unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.ca).unwrap()).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
        let leaf = CertificateDer::from_pem_file(&files.certificate).unwrap();
        use rustls::client::danger::ServerCertVerifier;
        let trusted = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&leaf, &[], &name, &[], rustls::pki_types::UnixTime::now()).is_ok()
        };
        for name in ["localhost", "127.0.0.1", "::1", "acme.example", "10.1.2.3"] {
            assert!(trusted(name), "{name}");
        }
        assert!(!trusted("other.example"));
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .expect("key and certificate belong together");
    }

    #[test]
    fn keys_are_private_and_nothing_is_overwritten_unasked() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/certs");
        let files = make(&dir, &[], false, OffsetDateTime::now_utc()).unwrap();
        assert_eq!((mode(&dir), mode(&files.ca_key), mode(&files.key)), (0o700, 0o600, 0o600));

        let before = std::fs::read(&files.certificate).unwrap();
        let refused = make(&dir, &[], false, OffsetDateTime::now_utc());
        assert!(matches!(refused, Err(CertsError::Exists(ref path)) if *path == files.ca), "{refused:?}");
        assert_eq!(std::fs::read(&files.certificate).unwrap(), before);

        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
        make(&dir, &[], true, OffsetDateTime::now_utc()).unwrap();
        assert_ne!(std::fs::read(&files.certificate).unwrap(), before);
        assert_eq!(mode(&files.key), 0o600);
    }

    #[test]
    fn bad_hosts_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "a b", "-x", "x-", "a..b", "http://x", "x:443", &"a".repeat(64)] {
            let refused = make(dir.path(), &[bad.to_owned()], false, OffsetDateTime::now_utc());
            assert!(matches!(refused, Err(CertsError::Host(ref host)) if host == bad), "{bad:?}: {refused:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(is_host("*.acme.example") && is_host("xn--nxasmq6b") && is_host("::1"));
    }
}
