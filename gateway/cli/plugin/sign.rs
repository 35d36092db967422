//! Keys that say who let a version out.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use sluis_model::signature::{SignedAs, append, message};

use super::PluginError;
use crate::failure::Failure;

const DAY: u64 = 24 * 60 * 60;

/// Make a key to sign versions with, and print its public half for the gateway's configuration
#[derive(Debug, clap::Args)]
pub struct NewKey {
    /// The file of the private key, in PEM (PKCS #8); must not be there yet
    file: PathBuf,
}

/// How a version is signed.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// Sign it with this private key, in PEM
    #[arg(long, value_name = "FILE", requires = "key_name")]
    sign: Option<PathBuf>,
    /// What the gateway's configuration calls that key
    #[arg(long, value_name = "NAME", requires = "sign")]
    key_name: Option<String>,
    /// How long the signature can be uploaded with
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "sign")]
    valid_days: u64,
}

/// Makes a key.
pub fn new_key(args: &NewKey) -> Result<(), Failure> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| wrong(&args.file, error))?;
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&args.file)
        .map_err(PluginError::io(&args.file))?;
    file.write_all(pair.serialize_pem().as_bytes()).map_err(PluginError::io(&args.file))?;
    Ok(crate::say(&STANDARD.encode(pair.der_bytes()))?)
}

impl Sign {
    /// The component, signed where that was asked for.
    pub fn apply(&self, component: Vec<u8>, signed_as: SignedAs<'_>) -> Result<Vec<u8>, PluginError> {
        let (Some(file), Some(name)) = (&self.sign, &self.key_name) else { return Ok(component) };
        let pem = std::fs::read_to_string(file).map_err(PluginError::io(file))?;
        let pair = KeyPair::from_pem(&pem).map_err(|error| wrong(file, error))?;
        if !pair.is_compatible(&PKCS_ED25519) {
            return Err(wrong(file, "not an Ed25519 key: make one with `sluis plugin key`"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expires = now.saturating_add(self.valid_days.saturating_mul(DAY));
        let signature = pair.sign(&message(&component, signed_as, expires)).map_err(|error| wrong(file, error))?;
        Ok(append(&component, name, expires, &signature))
    }
}

fn wrong(file: &Path, reason: impl ToString) -> PluginError {
    PluginError::Project { path: file.to_owned(), reason: reason.to_string() }
}
