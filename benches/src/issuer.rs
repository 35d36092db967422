//! An issuer of ES256 tokens (RFC 7518 §3.4) with one key.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::Error;

/// The `iss` of its tokens.
pub const ISSUER: &str = "https://idp.test";
const KID: &str = "es1";
/// Seconds that its tokens are good for.
const LIFETIME: u64 = 3_600;

/// A P-256 key and its name.
pub struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    /// With a new key.
    pub fn new() -> Result<Self, Error> {
        Ok(Issuer { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)? })
    }

    /// Its key set (RFC 7517 §5), to be served as `/jwks.json`.
    pub fn jwks(&self) -> String {
        // Uncompressed point: 0x04, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        json!({ "keys": [key] }).to_string()
    }

    /// A token of a tenant's user, good for an hour.
    pub fn token(&self, tenant: &str, subject: &str) -> Result<String, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": KID });
        let claims = json!({
            "iss": ISSUER, "aud": "erp", "sub": subject, "tenant": tenant, "scope": "orders:write",
            "iat": now, "nbf": now - 5, "exp": now + LIFETIME,
        });
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a gateway's configuration says of it, its keys being served at `authority`.
    pub fn yaml(authority: impl std::fmt::Display) -> String {
        format!(
            "issuers:\n  - name: idp\n    issuer: {ISSUER}\n    audiences: [erp]\n    algorithms: [ES256]\n    types: [jwt]\n    \
             jwks: {{ url: \"http://{authority}/jwks.json\", allow_insecure: true }}\n"
        )
    }
}
