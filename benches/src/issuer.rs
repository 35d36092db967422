//! The issuer of tokens: JWTs (RFC 7519) signed with ES256, RS256 or EdDSA (RFC 7518 §3.1, RFC 8037), its key set, keys
//! that change, and tokens that are wrong on purpose.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Error;

/// The `iss` of its tokens.
pub const ISSUER: &str = "https://idp.test";
/// The `aud` of its tokens.
pub const AUDIENCE: &str = "erp";
/// The `scope` of its tokens unless another is asked for.
pub const SCOPE: &str = "orders:write";
/// How long its tokens are good for unless another time is asked for.
pub const LIFETIME: Duration = Duration::from_secs(3_600);
/// Seconds since those that are expired on purpose have been.
const EXPIRED_FOR: u64 = 3_600;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];

    /// As `alg` has it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// What is wrong with a token on purpose. No gateway may take any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// `exp` is an hour ago.
    Expired,
    /// `aud` is another system.
    Audience,
    /// `kid` names a key that the set has not; the signature is good.
    Kid,
    /// Signed with a key that is not the one that `kid` names.
    Forged,
    /// `alg` is `none`, and there is no signature (RFC 7518 §3.6).
    Unsigned,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Flaw; 5] = [Flaw::Expired, Flaw::Audience, Flaw::Kid, Flaw::Forged, Flaw::Unsigned];

    /// What a workload calls it.
    pub fn name(self) -> &'static str {
        match self {
            Flaw::Expired => "expired",
            Flaw::Audience => "audience",
            Flaw::Kid => "kid",
            Flaw::Forged => "forged",
            Flaw::Unsigned => "none",
        }
    }
}

/// Whose token, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The claim `tenant`; none for an operator.
    pub tenant: Option<&'a str>,
    /// The claim `sub`.
    pub name: &'a str,
    /// The claim `scope`.
    pub scope: &'a str,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    pair: Pair,
    /// Of the same name, but nobody's: what forged tokens are signed with.
    stranger: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    // Much larger than the others.
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// Keys, one of each algorithm that signs, and those from before that are still published.
pub struct Issuer {
    algorithms: Vec<Algorithm>,
    signing: Vec<Key>,
    former: Vec<Key>,
    /// How often keys were changed.
    rotation: u32,
    lifetime: Duration,
}

impl Issuer {
    /// With a new key of ES256.
    pub fn new() -> Result<Self, Error> {
        Issuer::with(&[Algorithm::Es256])
    }

    /// With a new key of each of these, at least one.
    pub fn with(algorithms: &[Algorithm]) -> Result<Self, Error> {
        let mut issuer = Issuer {
            algorithms: algorithms.to_vec(),
            signing: Vec::new(),
            former: Vec::new(),
            rotation: 0,
            lifetime: LIFETIME,
        };
        issuer.rotate()?;
        Ok(issuer)
    }

    /// Tokens are good for so long from here on: they have to outlive the run that sends them.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Signs with new keys from here on; the ones from before stay in the set.
    pub fn rotate(&mut self) -> Result<(), Error> {
        self.rotation += 1;
        let keys: Result<Vec<Key>, Error> =
            self.algorithms.iter().map(|algorithm| Key::generate(*algorithm, self.rotation)).collect();
        self.former.append(&mut self.signing);
        self.signing = keys?;
        Ok(())
    }

    /// Takes the keys that no longer sign out of the set.
    pub fn retire(&mut self) {
        self.former.clear();
    }

    /// Its key set (RFC 7517 §5), to be served as `/jwks.json`.
    pub fn jwks(&self) -> String {
        let keys: Vec<Value> = self.signing.iter().chain(&self.former).map(Key::jwk).collect();
        json!({ "keys": keys }).to_string()
    }

    /// A token of a tenant's user, good for the issuer's lifetime of tokens.
    pub fn token(&self, tenant: &str, subject: &str) -> Result<String, Error> {
        let algorithm = *self.algorithms.first().ok_or("an issuer without keys")?;
        self.sign(algorithm, Subject { tenant: Some(tenant), name: subject, scope: SCOPE }, None)
    }

    /// A token signed with this algorithm, good for the issuer's lifetime of tokens unless something is wrong with it on
    /// purpose.
    pub fn sign(&self, algorithm: Algorithm, subject: Subject<'_>, flaw: Option<Flaw>) -> Result<String, Error> {
        let key = self.signing.iter().find(|key| key.algorithm == algorithm).ok_or("no key of this algorithm")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (kid, alg) = match flaw {
            Some(Flaw::Kid) => (format!("{}-unknown", key.kid), algorithm.name()),
            Some(Flaw::Unsigned) => (key.kid.clone(), "none"),
            _ => (key.kid.clone(), algorithm.name()),
        };
        let lifetime = self.lifetime.as_secs();
        let past = if flaw == Some(Flaw::Expired) { lifetime.saturating_add(EXPIRED_FOR) } else { 0 };
        let from = now.saturating_sub(past);
        let audience = if flaw == Some(Flaw::Audience) { "another-system" } else { AUDIENCE };
        let header = json!({ "alg": alg, "typ": "JWT", "kid": kid });
        let mut claims = json!({
            "iss": ISSUER, "aud": audience, "sub": subject.name, "scope": subject.scope,
            "iat": from, "nbf": from.saturating_sub(5), "exp": from.saturating_add(lifetime),
        });
        if let Some(tenant) = subject.tenant {
            claims["tenant"] = tenant.into();
        }
        let text = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let signature = match flaw {
            Some(Flaw::Unsigned) => String::new(),
            Some(Flaw::Forged) => base64(&key.stranger.sign(text.as_bytes())?),
            _ => base64(&key.pair.sign(text.as_bytes())?),
        };
        Ok(format!("{text}.{signature}"))
    }

    /// What a gateway's configuration says of it, its keys being served at `authority`.
    pub fn yaml(authority: impl std::fmt::Display) -> String {
        format!(
            "issuers:\n  - name: idp\n    issuer: {ISSUER}\n    audiences: [{AUDIENCE}]\n    \
             algorithms: [ES256, RS256, EdDSA]\n    types: [jwt]\n    \
             jwks: {{ url: \"http://{authority}/jwks.json\", allow_insecure: true }}\n"
        )
    }
}

impl Key {
    fn generate(algorithm: Algorithm, rotation: u32) -> Result<Key, Error> {
        // Keys of several issuers may stand in one set: those of the agents that send one load.
        let kid = format!("{}-{rotation}-{:08x}", algorithm.name().to_lowercase(), fastrand::u32(..));
        Ok(Key { kid, algorithm, pair: Pair::generate(algorithm)?, stranger: Pair::generate(algorithm)? })
    }

    fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::P256(pair) => {
                // Uncompressed point: 0x04, then both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": base64(&public.n), "e": base64(&public.e) })
            }
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref()) }),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk
    }
}

impl Pair {
    fn generate(algorithm: Algorithm) -> Result<Pair, Error> {
        Ok(match algorithm {
            Algorithm::Es256 => Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate()?),
        })
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        Ok(match self {
            Pair::P256(pair) => pair.sign(&random, text)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)?;
                signature
            }
            Pair::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
        })
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, errors::ErrorKind};

    use super::*;

    /// What a verifier with the issuer's key set says of a token.
    fn verify(issuer: &Issuer, token: &str) -> Result<Value, ErrorKind> {
        let set: JwkSet = serde_json::from_str(&issuer.jwks()).unwrap();
        let header = decode_header(token).map_err(|error| error.kind().clone())?;
        let jwk = set.find(&header.kid.unwrap()).ok_or(ErrorKind::InvalidKeyFormat)?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let decoded = decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation);
        decoded.map(|token| token.claims).map_err(|error| error.kind().clone())
    }

    const ANNA: Subject<'static> = Subject { tenant: Some("acme"), name: "anna", scope: SCOPE };

    #[test]
    fn good_tokens_verify_and_flawed_ones_fail_for_their_flaw() {
        let issuer = Issuer::with(&Algorithm::ALL).unwrap();
        for algorithm in Algorithm::ALL {
            let seen = |flaw| verify(&issuer, &issuer.sign(algorithm, ANNA, flaw).unwrap());
            assert_eq!(seen(None).unwrap()["tenant"], "acme", "{algorithm:?}");
            assert_eq!(seen(Some(Flaw::Expired)), Err(ErrorKind::ExpiredSignature), "{algorithm:?}");
            assert_eq!(seen(Some(Flaw::Audience)), Err(ErrorKind::InvalidAudience), "{algorithm:?}");
            assert_eq!(seen(Some(Flaw::Kid)), Err(ErrorKind::InvalidKeyFormat), "{algorithm:?}");
            assert_eq!(seen(Some(Flaw::Forged)), Err(ErrorKind::InvalidSignature), "{algorithm:?}");
            let unsigned = issuer.sign(algorithm, ANNA, Some(Flaw::Unsigned)).unwrap();
            assert!(unsigned.ends_with('.'));
            let header = URL_SAFE_NO_PAD.decode(unsigned.split('.').next().unwrap()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["alg"], "none");
        }
    }

    #[test]
    fn tokens_live_as_long_as_asked_for_and_expired_ones_stay_in_the_past() {
        let mut issuer = Issuer::new().unwrap();
        issuer.set_lifetime(Duration::from_secs(7_200));
        let claims = verify(&issuer, &issuer.token("acme", "anna").unwrap()).unwrap();
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 7_200);
        let expired = issuer.sign(Algorithm::Es256, ANNA, Some(Flaw::Expired)).unwrap();
        assert_eq!(verify(&issuer, &expired), Err(ErrorKind::ExpiredSignature));
    }

    #[test]
    fn former_keys_are_published_until_they_are_retired() {
        let mut issuer = Issuer::new().unwrap();
        let (old, before) = (issuer.token("acme", "anna").unwrap(), issuer.jwks());
        issuer.rotate().unwrap();
        let new = issuer.token("acme", "anna").unwrap();
        assert!(verify(&issuer, &old).is_ok() && verify(&issuer, &new).is_ok());
        assert_ne!(before, issuer.jwks());
        issuer.retire();
        assert!(verify(&issuer, &old).is_err() && verify(&issuer, &new).is_ok());
    }
}
