//! An issuer's JSON Web Key Set (RFC 7517) → the public keys that Sluis will verify with, parsed once.
//!
//! A key that cannot be used is skipped and noted; it never costs the issuer its other keys. Only a set that cannot be
//! understood as a whole, or that is ambiguous about a `kid`, is refused.

use std::collections::{HashMap, HashSet};
use std::fmt;

// Signatures are verified by jsonwebtoken. It takes the numbers of a key as they are, so this module asks aws-lc-rs, once
// per set, whether they make a key at all: a point off its curve is refused at load, not found out by every token.
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};

use super::header::{self, excerpt};
use super::{json, roca};
use crate::plan::Algorithm;

/// The usable keys of one issuer.
pub struct KeySet {
    named: HashMap<Box<str>, Key>,
    unnamed: Vec<Key>,
    skipped: Vec<SkippedKey>,
    fingerprint: [u8; 32],
}

/// Why a whole set was refused; the last good one stays in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeySetFault {
    /// Not one strict JSON object.
    #[error("the key set is not a JSON object, or has a member twice")]
    NotJson,
    /// No array `keys` of objects.
    #[error("the key set has no array of keys")]
    NotASet,
    /// More keys than the plan allows.
    #[error("the key set has too many keys")]
    TooManyKeys,
    /// Two keys answer to one `kid`.
    #[error("two keys of the set have the same kid")]
    DuplicateKid,
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its `kid`, fit for a log line; empty where it has none.
    pub kid: String,
    /// Why.
    pub fault: KeyFault,
}

/// Why a key was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFault {
    /// A `kty` other than RSA, EC, OKP and oct.
    UnknownType,
    /// A curve other than P-256, P-384 and Ed25519.
    UnknownCurve,
    /// `use` or `key_ops` say it is for something else.
    NotForSignatures,
    /// `oct`: whoever can read the set could sign with it.
    Symmetric,
    /// The private half is in the set: the issuer has leaked it.
    PrivateMaterial,
    /// `alg` is unknown, not for this type of key, or not among the issuer's.
    Algorithm,
    /// RSA below 2,048 or above 8,192 bits.
    RsaSize,
    /// RSA exponent even, below 65,537 or longer than 32 bits.
    RsaExponent,
    /// RSA modulus with the ROCA fingerprint (CVE-2017-15361).
    RsaRoca,
    /// An Ed25519 point of small order, for which anybody can sign, or one that is not encoded canonically.
    SmallOrder,
    /// Members missing, of the wrong type or length, or no point of the curve.
    Malformed,
}

impl KeyFault {
    /// The metric and log label.
    pub fn label(self) -> &'static str {
        match self {
            KeyFault::UnknownType => "unknown_type",
            KeyFault::UnknownCurve => "unknown_curve",
            KeyFault::NotForSignatures => "not_for_signatures",
            KeyFault::Symmetric => "symmetric",
            KeyFault::PrivateMaterial => "private_material",
            KeyFault::Algorithm => "algorithm",
            KeyFault::RsaSize => "rsa_size",
            KeyFault::RsaExponent => "rsa_exponent",
            KeyFault::RsaRoca => "rsa_roca",
            KeyFault::SmallOrder => "small_order",
            KeyFault::Malformed => "malformed",
        }
    }
}

/// One public key and the algorithms that it may be used with.
pub(super) struct Key {
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    /// The verifier for `algorithm`, if the key allows it.
    pub fn verifier(&self, algorithm: Algorithm) -> Option<Verifier<'_>> {
        let algorithm = self.algorithms.iter().copied().find(|allowed| *allowed == algorithm)?;
        Some(Verifier { algorithm, key: &self.key })
    }
}

/// A key together with one of its own algorithms.
pub(super) struct Verifier<'a> {
    algorithm: Algorithm,
    key: &'a DecodingKey,
}

/// The signature is not this key's signature of that message.
#[derive(Debug)]
pub(super) struct WrongSignature;

impl Verifier<'_> {
    /// Verifies `signature` (raw, as RFC 7518 §3 and RFC 8037 §3.1 lay it out) over `message`.
    ///
    /// The provider is named, not taken from the process: no other crate can install another one under it. What it
    /// makes is neither `Send` nor `Sync`, so it cannot be kept in the set and is made for each token.
    pub fn verify_sig(&self, message: &[u8], signature: &[u8]) -> Result<(), WrongSignature> {
        let verifier =
            (DEFAULT_PROVIDER.verifier_factory)(&of_jose(self.algorithm), self.key).map_err(|_| WrongSignature)?;
        verifier.verify(message, &signature.to_vec()).map_err(|_| WrongSignature)
    }
}

fn of_jose(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Jose;
    match algorithm {
        Algorithm::RS256 => Jose::RS256,
        Algorithm::RS384 => Jose::RS384,
        Algorithm::RS512 => Jose::RS512,
        Algorithm::PS256 => Jose::PS256,
        Algorithm::PS384 => Jose::PS384,
        Algorithm::PS512 => Jose::PS512,
        Algorithm::ES256 => Jose::ES256,
        Algorithm::ES384 => Jose::ES384,
        Algorithm::EdDSA => Jose::EdDSA,
    }
}

impl KeySet {
    /// Reads a set. `allowed` are the issuer's algorithms; a key may narrow them by its `alg`, never widen them.
    ///
    /// The caller bounds the length of `text`; `max_keys` counts every key of the set, usable or not.
    pub fn parse(text: &[u8], allowed: &[Algorithm], max_keys: usize) -> Result<Self, KeySetFault> {
        let members = json::object(text).ok_or(KeySetFault::NotJson)?;
        let keys = members.get("keys").and_then(Value::as_array).ok_or(KeySetFault::NotASet)?;
        if keys.len() > max_keys {
            return Err(KeySetFault::TooManyKeys);
        }
        let mut set = KeySet { named: HashMap::new(), unnamed: Vec::new(), skipped: Vec::new(), fingerprint: [0; 32] };
        let mut kids = HashSet::new();
        for jwk in keys {
            let jwk = jwk.as_object().ok_or(KeySetFault::NotASet)?;
            let kid = jwk.get("kid").and_then(Value::as_str);
            let key = read_key(jwk, allowed);
            // A pair for signing and for encryption may share a name: only one of them is ever asked for.
            let for_others = matches!(key, Err(KeyFault::NotForSignatures));
            if !for_others && kid.is_some_and(|kid| !kids.insert(kid)) {
                return Err(KeySetFault::DuplicateKid);
            }
            match (key, kid) {
                (Ok(key), Some(kid)) => drop(set.named.insert(kid.into(), key)),
                (Ok(key), None) => set.unnamed.push(key),
                (Err(fault), kid) => {
                    set.skipped.push(SkippedKey { kid: kid.map(excerpt).unwrap_or_default(), fault });
                }
            }
        }
        set.fingerprint = set.compute_fingerprint();
        Ok(set)
    }

    /// Number of usable keys.
    pub fn len(&self) -> usize {
        self.named.len() + self.unnamed.len()
    }

    /// Whether no key is usable. Such a set is believed: it is how an issuer withdraws its last key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that were left out, and why.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Equal for two sets that accept the same tokens, whatever the order and spelling of their text.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The key for a token. Without `kid` there must be no doubt which: the set has exactly one usable key.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match kid {
            Some(kid) => self.named.get(kid),
            None if self.len() == 1 => self.named.values().chain(&self.unnamed).next(),
            None => None,
        }
    }

    fn compute_fingerprint(&self) -> [u8; 32] {
        let named = self.named.iter().map(|(kid, key)| (Some(&**kid), key));
        let unnamed = self.unnamed.iter().map(|key| (None, key));
        let mut entries: Vec<[u8; 32]> = named.chain(unnamed).map(|(kid, key)| key.fingerprint(kid)).collect();
        entries.sort_unstable();
        *blake3::hash(entries.as_flattened()).as_bytes()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("kids", &self.named.keys())
            .field("unnamed", &self.unnamed.len())
            .field("skipped", &self.skipped)
            .finish()
    }
}

impl Key {
    fn fingerprint(&self, kid: Option<&str>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        // Lengths and a mark for "no kid" keep two different keys from writing the same bytes.
        let kid_length = kid.map_or(u64::MAX, |kid| kid.len() as u64);
        hasher.update(&kid_length.to_be_bytes()).update(kid.unwrap_or_default().as_bytes());
        hasher.update(&(self.algorithms.len() as u64).to_be_bytes());
        for algorithm in &self.algorithms {
            hasher.update(&[*algorithm as u8]);
        }
        let parts: [&[u8]; 2] = match self.key.kind() {
            DecodingKeyKind::SecretOrDer(point) => [point, &[]],
            DecodingKeyKind::RsaModulusExponent { n, e } => [n, e],
        };
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// Members that only private keys have (RFC 7518 §6.2.2, §6.3.2), and the symmetric key's value.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn read_key(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Key, KeyFault> {
    check_purpose(jwk)?;
    if jwk.get("kid").is_some_and(|kid| !kid.is_string()) {
        return Err(KeyFault::Malformed);
    }
    let kind = text(jwk, "kty")?;
    if kind == "oct" {
        return Err(KeyFault::Symmetric);
    }
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return Err(KeyFault::PrivateMaterial);
    }
    match kind {
        "RSA" => read_rsa(jwk, allowed),
        "EC" => read_ec(jwk, allowed),
        "OKP" => read_okp(jwk, allowed),
        _ => Err(KeyFault::UnknownType),
    }
}

/// RFC 7517 §4.2 and §4.3: absent means anything, present must include verification.
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), KeyFault> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(Value::String(_)) => return Err(KeyFault::NotForSignatures),
        Some(_) => return Err(KeyFault::Malformed),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(KeyFault::NotForSignatures),
        Some(_) => Err(KeyFault::Malformed),
    }
}

/// The algorithms that a key may be used with: those of its type, that its `alg` names (RFC 7517 §4.4) if it has one,
/// that the issuer uses.
fn permitted(
    jwk: &Map<String, Value>,
    of_type: &[Algorithm],
    allowed: &[Algorithm],
) -> Result<Vec<Algorithm>, KeyFault> {
    let named = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => Some(header::algorithm(name).ok_or(KeyFault::Algorithm)?),
        Some(_) => return Err(KeyFault::Malformed),
    };
    let fits = |algorithm: &Algorithm| allowed.contains(algorithm) && named.is_none_or(|named| named == *algorithm);
    let permitted: Vec<_> = of_type.iter().copied().filter(fits).collect();
    if permitted.is_empty() { Err(KeyFault::Algorithm) } else { Ok(permitted) }
}

fn read_rsa(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Key, KeyFault> {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    let permitted = permitted(jwk, &[RS256, RS384, RS512, PS256, PS384, PS512], allowed)?;
    let modulus = bytes(jwk, "n")?;
    let exponent = bytes(jwk, "e")?;
    let (modulus, exponent) = (without_leading_zeros(&modulus), without_leading_zeros(&exponent));
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !(2_048..=8_192).contains(&bits) {
        return Err(KeyFault::RsaSize);
    }
    let value = exponent.iter().fold(0_u64, |value, byte| value.saturating_mul(256) | u64::from(*byte));
    if exponent.len() > 4 || value < 65_537 || value % 2 == 0 {
        return Err(KeyFault::RsaExponent);
    }
    if roca::is_roca(modulus) {
        return Err(KeyFault::RsaRoca);
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyFault::Malformed);
    }
    // Whether they make a key does not depend on padding and digest.
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| KeyFault::Malformed)?;
    Ok(Key { algorithms: permitted, key: DecodingKey::from_rsa_raw_components(modulus, exponent) })
}

/// RFC 7518 §6.2.1: both coordinates have the full length of the field.
fn read_ec(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Key, KeyFault> {
    let (algorithm, verification, length): (_, &'static dyn VerificationAlgorithm, _) = match text(jwk, "crv")? {
        "P-256" => (Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        _ => return Err(KeyFault::UnknownCurve),
    };
    permitted(jwk, &[algorithm], allowed)?;
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(KeyFault::Malformed);
    }
    // An uncompressed point (SEC 1 §2.3.3). jsonwebtoken's "DER" of a public key is this very form.
    let point = [&[4], &x[..], &y[..]].concat();
    check_point(verification, &point)?;
    Ok(Key { algorithms: vec![algorithm], key: DecodingKey::from_ec_der(&point) })
}

/// RFC 8037 §2; of its curves only Ed25519 signs and is implemented.
fn read_okp(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Key, KeyFault> {
    if text(jwk, "crv")? != "Ed25519" {
        return Err(KeyFault::UnknownCurve);
    }
    permitted(jwk, &[Algorithm::EdDSA], allowed)?;
    let point: [u8; 32] = bytes(jwk, "x")?.try_into().map_err(|_| KeyFault::Malformed)?;
    if !is_sound_ed25519(point) {
        return Err(KeyFault::SmallOrder);
    }
    check_point(&signature::ED25519, &point)?;
    Ok(Key { algorithms: vec![Algorithm::EdDSA], key: DecodingKey::from_ed_der(&point) })
}

fn check_point(verification: &'static dyn VerificationAlgorithm, point: &[u8]) -> Result<(), KeyFault> {
    ParsedPublicKey::new(verification, point).map(drop).map_err(|_| KeyFault::Malformed)
}

/// y coordinates (little-endian) of the points whose order divides 8. For those, one signature fits every eighth message
/// at least, and no verifier that follows RFC 8032 §5.1.7 notices.
pub(super) const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

fn is_sound_ed25519(mut point: [u8; 32]) -> bool {
    point[31] &= 0x7f;
    // 2^255 − 19 and above: a second spelling of a small y.
    let canonical = point[0] < 0xed || point[31] != 0x7f || point[1..31].iter().any(|byte| *byte != 0xff);
    canonical && !SMALL_ORDER_Y.contains(&point)
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, KeyFault> {
    jwk.get(name).and_then(Value::as_str).ok_or(KeyFault::Malformed)
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).map_err(|_| KeyFault::Malformed)
}

/// Some issuers write integers with the sign octet of their ASN.1 form.
fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}
