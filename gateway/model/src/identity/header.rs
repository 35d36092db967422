//! The JOSE header (RFC 7515 §4): what of it is read, and what makes a token unacceptable.
//!
//! `jku`, `x5u`, `jwk`, `x5c` and `x5t` are never looked at: keys come from the issuer's set alone.

use serde_json::{Map, Value};

use super::json;
use crate::plan::{Algorithm, Issuer};
use crate::refusal::TokenFault;

/// The three parameters that matter.
#[derive(Debug)]
pub(super) struct Header {
    /// What the token says it is signed with; only ever compared with what the key allows.
    pub algorithm: Algorithm,
    /// Which key, where it says.
    pub kid: Option<String>,
    /// Media type, lower case, without `application/`.
    pub kind: Option<String>,
}

/// Parameters that change how the rest is to be read. Sluis implements none of them, so a token that carries one is
/// not for Sluis: extensions it must understand, an unencoded payload (RFC 7797), compression, a nested token.
const UNSUPPORTED: [&str; 4] = ["crit", "b64", "zip", "cty"];

impl Header {
    /// Reads the decoded first segment.
    pub fn parse(text: &[u8]) -> Result<Self, TokenFault> {
        let mut members = json::object(text).ok_or(TokenFault::Malformed)?;
        if UNSUPPORTED.iter().any(|name| members.contains_key(*name)) {
            return Err(TokenFault::Header);
        }
        let algorithm = members.get("alg").and_then(Value::as_str).and_then(algorithm).ok_or(TokenFault::Algorithm)?;
        let kind = string(&mut members, "typ")?.map(|typ| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        });
        Ok(Header { algorithm, kid: string(&mut members, "kid")?, kind })
    }

    /// RFC 8725 §3.11: a token of another kind (an ID token, a logout token) signed by the same keys is no access token.
    pub fn check_kind(&self, issuer: &Issuer) -> Result<(), TokenFault> {
        let fits = match &self.kind {
            Some(kind) => issuer.types.iter().any(|accepted| accepted == kind),
            None => issuer.allow_missing_type,
        };
        if fits { Ok(()) } else { Err(TokenFault::Type) }
    }
}

/// The name of a JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2), exactly as registered.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

fn string(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, TokenFault> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value)),
        Some(_) => Err(TokenFault::Malformed),
    }
}

/// A stranger's text made fit for a log line: control and other odd characters escaped, at most 64 characters.
pub fn excerpt(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut safe = String::with_capacity(text.len().min(LONGEST));
    for (written, character) in text.chars().flat_map(char::escape_default).enumerate() {
        if written == LONGEST - 1 {
            safe.push('…');
            break;
        }
        safe.push(character);
    }
    safe
}
