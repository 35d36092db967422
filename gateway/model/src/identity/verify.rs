//! A token in compact form (RFC 7515 §7.1) and its way to an [`Identity`].

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::header::{self, Header};
use super::keys::KeySet;
use super::{Identity, claims, json};
use crate::plan::Issuer;
use crate::refusal::TokenFault;

/// Longest token; a longer one is refused before a byte of it is decoded.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token that is well-formed. Nothing in it is believed yet.
pub struct Unverified<'a> {
    header: Header,
    claims: Map<String, Value>,
    payload: Arc<str>,
    signing_input: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart: size, segments, base64url without padding or stray bits, JSON objects without repeated
    /// members, a header that Sluis can honour.
    pub fn parse(token: &'a [u8]) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLarge);
        }
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let signing_input = &token[..header.len() + 1 + payload.len()];
        let header = Header::parse(&decode(header)?)?;
        let payload = String::from_utf8(decode(payload)?).map_err(|_| TokenFault::Malformed)?;
        let claims = json::object(payload.as_bytes()).ok_or(TokenFault::Malformed)?;
        Ok(Unverified { header, claims, payload: payload.into(), signing_input, signature: decode(signature)? })
    }

    /// Its `iss`, to choose among the issuers that the route trusts.
    pub fn issuer(&self) -> Result<&str, TokenFault> {
        claims::issuer(&self.claims)
    }

    /// Checks everything but the signature, for one issuer of the plan (`position`) at `now`, in seconds since the
    /// epoch. This comes before the signature because it is a hundred times cheaper, and because no key need be
    /// fetched for a token that is of no use.
    pub fn check(self, position: usize, issuer: &Issuer, now: u64) -> Result<Candidate<'a>, TokenFault> {
        self.header.check_kind(issuer)?;
        if self.issuer()? != &*issuer.issuer {
            return Err(TokenFault::Issuer);
        }
        claims::check_audience(&self.claims, issuer)?;
        let times = claims::check_times(&self.claims, issuer, now)?;
        let identity = Identity {
            tenant: claims::tenant(&self.claims, &issuer.tenant_claim),
            subject: claims::subject(&self.claims)?,
            issuer: position,
            scopes: claims::scopes(&self.claims),
            claims: self.payload,
            expires_at: times.expires_at,
            not_before: times.not_before,
        };
        let Unverified { header, signing_input, signature, .. } = self;
        Ok(Candidate { header, signing_input, signature, identity: Arc::new(identity) })
    }
}

/// A token that would do, if its signature holds.
pub struct Candidate<'a> {
    header: Header,
    signing_input: &'a [u8],
    signature: Vec<u8>,
    identity: Arc<Identity>,
}

impl Candidate<'_> {
    /// Verifies the signature with the key of that `kid`. May be called again with a newer set after
    /// [`TokenFault::UnknownKey`].
    pub fn verify(&self, keys: &KeySet) -> Result<Arc<Identity>, TokenFault> {
        let key = keys.find(self.header.kid.as_deref()).ok_or(TokenFault::UnknownKey)?;
        let verifier = key.verifier(self.header.algorithm).ok_or(TokenFault::Algorithm)?;
        verifier.verify_sig(self.signing_input, &self.signature).map_err(|_| TokenFault::Signature)?;
        Ok(Arc::clone(&self.identity))
    }

    /// Its `kid`, fit for a log line; empty where it has none.
    pub fn kid_excerpt(&self) -> String {
        self.header.kid.as_deref().map(header::excerpt).unwrap_or_default()
    }
}

fn decode(segment: &[u8]) -> Result<Vec<u8>, TokenFault> {
    // No segment may be empty: an empty header or payload is no object, an empty signature no signature.
    if segment.is_empty() {
        return Err(TokenFault::Malformed);
    }
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenFault::Malformed)
}
