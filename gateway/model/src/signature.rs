//! Signatures of components: who let a version out, for whom, and until when. The signature is the component's last
//! section, a custom one that no engine looks at, and covers every byte before it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::rollout::Version;
use crate::section;

/// Bytes of an Ed25519 public key (RFC 8032 §5.1.5).
pub const KEY_BYTES: usize = 32;
/// The section's name (WebAssembly core specification 2.0, 5.5.3).
const NAME: &str = "sluis:signature";
/// Of all components: eight bytes of magic and version.
const HEADER: usize = 8;

/// Public keys by their names.
pub type Keys = BTreeMap<String, [u8; KEY_BYTES]>;

/// What a component is signed to be.
#[derive(Debug, Clone, Copy)]
pub struct SignedAs<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// Which plugin.
    pub plugin: &'a str,
    /// Which version.
    pub version: &'a Version,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is none.
    #[error("the component is not signed")]
    Missing,
    /// It is not what it must be, or something stands behind it.
    #[error("the signature is malformed")]
    Malformed,
    /// By none of the tenant's keys.
    #[error("the signature is by a key that is not the tenant's")]
    UnknownKey,
    /// Its time is over.
    #[error("the signature has expired")]
    Expired,
    /// Of other bytes, or of another tenant, plugin or version.
    #[error("the signature is not of this component as this version of this plugin")]
    Invalid,
}

/// The section's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    key: String,
    expires: u64,
    signature: String,
}

/// What is signed: a component as what it is to be, until `expires` (seconds since the epoch).
pub fn message(component: &[u8], signed_as: SignedAs<'_>, expires: u64) -> Vec<u8> {
    let SignedAs { tenant, plugin, version } = signed_as;
    let mut message = format!("sluis:signature 1\n{tenant}\n{plugin}\n{version}\n{expires}\n").into_bytes();
    message.extend_from_slice(digest(&SHA256, component).as_ref());
    message
}

/// The component with a signature of [`message`] by the key of this name.
pub fn append(component: &[u8], key: &str, expires: u64, signature: &[u8]) -> Vec<u8> {
    let written = Written { key: key.to_owned(), expires, signature: STANDARD.encode(signature) };
    // Of three plain members; does not fail.
    let text = serde_json::to_vec(&written).unwrap_or_default();
    section::append(component, NAME, &text)
}

/// Whether `component` is signed to be this by one of `keys`, at `now` (seconds since the epoch).
///
/// # Errors
/// Why not.
pub fn verify(component: &[u8], keys: &Keys, signed_as: SignedAs<'_>, now: u64) -> Result<(), SignatureFault> {
    let (signed, text) = split(component)?;
    let written: Written = serde_json::from_slice(text).map_err(|_| SignatureFault::Malformed)?;
    let key = keys.get(&written.key).ok_or(SignatureFault::UnknownKey)?;
    let signature = STANDARD.decode(&written.signature).map_err(|_| SignatureFault::Malformed)?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&message(signed, signed_as, written.expires), &signature)
        .map_err(|_| SignatureFault::Invalid)?;
    if now < written.expires { Ok(()) } else { Err(SignatureFault::Expired) }
}

/// What stands before the signature, and its text. It must be the only one, and the last section.
fn split(component: &[u8]) -> Result<(&[u8], &[u8]), SignatureFault> {
    let mut at = HEADER;
    while at < component.len() {
        let mut rest = &component[at..];
        let (&id, after) = rest.split_first().ok_or(SignatureFault::Malformed)?;
        rest = after;
        let content = sized(&mut rest).ok_or(SignatureFault::Malformed)?;
        if id == 0
            && let Some(text) = named(content)
        {
            return if rest.is_empty() { Ok((&component[..at], text)) } else { Err(SignatureFault::Malformed) };
        }
        at = component.len() - rest.len();
    }
    Err(SignatureFault::Missing)
}

/// The text of a custom section, where it has our name.
fn named(mut content: &[u8]) -> Option<&[u8]> {
    (sized(&mut content)? == NAME.as_bytes()).then_some(content)
}

/// Takes a length and as many bytes.
fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let (taken, after) = rest.split_at_checked(length)?;
            *rest = after;
            return Some(taken);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\0\x05\x04name";
    const NOW: u64 = 1_000;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn signer() -> (Ed25519KeyPair, Keys) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, Keys::from([("release".to_owned(), public)]))
    }

    fn signed(component: &[u8], signed_as: SignedAs<'_>, expires: u64) -> Vec<u8> {
        let signature = signer().0.sign(&message(component, signed_as, expires));
        append(component, "release", expires, signature.as_ref())
    }

    #[test]
    fn a165_a_signature_holds_for_one_component_as_what_it_says() {
        let keys = signer().1;
        let (one, two) = (version("1.0.0"), version("2.0.0"));
        let signed_as = SignedAs { tenant: "acme", plugin: "orders", version: &one };
        let good = signed(COMPONENT, signed_as, NOW + 1);
        assert_eq!(verify(&good, &keys, signed_as, NOW), Ok(()));
        assert_eq!(verify(&good, &keys, signed_as, NOW + 1), Err(SignatureFault::Expired));
        for other in [
            SignedAs { tenant: "globex", ..signed_as },
            SignedAs { plugin: "invoices", ..signed_as },
            SignedAs { version: &two, ..signed_as },
        ] {
            assert_eq!(verify(&good, &keys, other, NOW), Err(SignatureFault::Invalid));
        }
        assert_eq!(verify(COMPONENT, &keys, signed_as, NOW), Err(SignatureFault::Missing));
        assert_eq!(verify(&good, &Keys::new(), signed_as, NOW), Err(SignatureFault::UnknownKey));
        let wrong = Keys::from([("release".to_owned(), [9; KEY_BYTES])]);
        assert_eq!(verify(&good, &wrong, signed_as, NOW), Err(SignatureFault::Invalid));
    }

    #[test]
    fn a165_nothing_of_a_signed_component_can_be_changed() {
        let keys = signer().1;
        let one = version("1.0.0");
        let signed_as = SignedAs { tenant: "acme", plugin: "orders", version: &one };
        let good = signed(COMPONENT, signed_as, NOW + 1);
        for at in HEADER..good.len() {
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[at] ^= 1 << bit;
                assert!(verify(&changed, &keys, signed_as, NOW).is_err(), "bit {bit} of byte {at}");
            }
            assert!(verify(&good[..at], &keys, signed_as, NOW).is_err(), "cut at {at}");
        }
        // The header is signed, though it is not looked at; what is put behind the signature is not.
        let mut changed = good.clone();
        changed[0] = 1;
        assert_eq!(verify(&changed, &keys, signed_as, NOW), Err(SignatureFault::Invalid));
        let more = [&good[..], b"\0\x05\x04more"].concat();
        assert_eq!(verify(&more, &keys, signed_as, NOW), Err(SignatureFault::Malformed));
        // A section of another file.
        let other = signed(b"\0asm\x0d\0\x01\0", signed_as, NOW + 1);
        let grafted = [COMPONENT, &other[HEADER..]].concat();
        assert_eq!(verify(&grafted, &keys, signed_as, NOW), Err(SignatureFault::Invalid));
    }
}
