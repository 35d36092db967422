//! A token issuer for demo and tests: ES256 keys made at start, published as a JWK set (RFC 7517), tokens in the
//! shape of RFC 9068 for whoever asks. It authenticates nobody, so it belongs on a loopback address.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fault::Faults;

/// `aud` of the tokens unless asked otherwise.
pub const AUDIENCE: &str = "sluis";
/// `scope` of the tokens unless asked otherwise.
pub const SCOPE: &str = "orders:write orders:read";
/// Life of a token unless asked otherwise, in seconds.
const LIFETIME: i64 = 3600;
/// Keys published at most; the oldest goes when one more is made.
const MAX_KEYS: usize = 16;

/// Settings of an issuer.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = super::ISSUER)]
    pub address: SocketAddr,
    /// `iss` of the tokens; `http://ADDRESS` if absent.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
}

/// An issuer and its keys; the last key signs.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    keys: RwLock<Vec<Arc<Key>>>,
    fetches: AtomicU64,
    tokens: AtomicU64,
    rotations: AtomicU64,
}

struct Key {
    id: String,
    secret: EncodingKey,
    jwk: Jwk,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// What a token is to say; what is absent gets the demo's value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The claim `tenant`.
    pub tenant: String,
    /// `sub`.
    pub subject: Option<String>,
    /// `scope`, space-separated.
    pub scope: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// Seconds from now to `exp`; negative makes an expired token.
    pub lifetime: Option<i64>,
    /// `typ` of the header.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The system's cryptography failed; there is nothing to do about it.
#[derive(Debug, thiserror::Error)]
#[error("the key could not be made or used")]
pub struct CryptoError;

impl Key {
    fn generate() -> Result<Self, CryptoError> {
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| CryptoError)?;
        // jsonwebtoken's "DER" of a private key is PKCS #8.
        let secret = EncodingKey::from_ec_der(secret.as_ref());
        let mut jwk = Jwk::from_encoding_key(&secret, Algorithm::ES256).map_err(|_| CryptoError)?;
        // The key's thumbprint (RFC 7638 §3) is its id.
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| CryptoError)?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_id = Some(id.clone());
        Ok(Key { id, secret, jwk })
    }
}

impl Issuer {
    /// An issuer called `name` with one key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new(name: String) -> Result<Arc<Self>, CryptoError> {
        let keys = RwLock::new(vec![Arc::new(Key::generate()?)]);
        let (fetches, tokens, rotations) = Default::default();
        Ok(Arc::new(Issuer { name, keys, fetches, tokens, rotations }))
    }

    /// A signed token (RFC 7515 compact serialisation) as of `now`.
    ///
    /// # Errors
    /// When the system's cryptography fails.
    pub fn token(&self, request: &TokenRequest, now: OffsetDateTime) -> Result<String, CryptoError> {
        let key = self.signing_key().ok_or(CryptoError)?;
        let issued = now.unix_timestamp();
        let mut id = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| CryptoError)?;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(request.kind.clone().unwrap_or_else(|| "at+jwt".into()));
        header.kid = Some(key.id.clone());
        let claims = json!({
            "iss": self.name,
            "aud": request.audience.as_deref().unwrap_or(AUDIENCE),
            "sub": request.subject.clone().unwrap_or_else(|| format!("shop@{}", request.tenant)),
            "tenant": request.tenant,
            "scope": request.scope.as_deref().unwrap_or(SCOPE),
            "iat": issued,
            "exp": issued.saturating_add(request.lifetime.unwrap_or(LIFETIME)),
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let token = jsonwebtoken::encode(&header, &claims, &key.secret).map_err(|_| CryptoError)?;
        self.tokens.fetch_add(1, Relaxed);
        Ok(token)
    }

    /// Makes a new key and signs with it from now on; the older ones stay published unless `drop_old`. Returns the
    /// new key's `kid`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn rotate(&self, drop_old: bool) -> Result<String, CryptoError> {
        let key = Arc::new(Key::generate()?);
        let id = key.id.clone();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if drop_old {
            keys.clear();
        }
        if keys.len() == MAX_KEYS {
            keys.remove(0);
        }
        keys.push(key);
        self.rotations.fetch_add(1, Relaxed);
        Ok(id)
    }

    /// The JWK set as published.
    pub fn jwks(&self) -> Value {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    fn signing_key(&self) -> Option<Arc<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

/// The issuer's routes:
///
/// | Route | Answer |
/// |---|---|
/// | `GET /.well-known/jwks.json` | the JWK set |
/// | `GET /.well-known/openid-configuration` | where the rest is |
/// | `POST /token?tenant=…` | `{ access_token, … }`; see [`TokenRequest`] for the other parameters |
/// | `POST /_rotate` | a new key; `?drop_old=true` withdraws the others |
/// | `GET /_stats` | how often each was asked for |
/// | `GET`, `POST /_fault` | see [`super::fault`] |
pub fn router(issuer: Arc<Issuer>, faults: &Arc<Faults>) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/token", post(token))
        .route("/_rotate", post(rotate))
        .route("/_stats", get(stats))
        .with_state(issuer)
        .merge(faults.router())
}

/// Runs `sluis demo issuer` until `stop` ends. The first line on standard output says where it listens.
///
/// # Errors
/// When the address cannot be taken or there is no randomness.
#[allow(clippy::print_stdout)]
pub async fn run(args: &Args, stop: impl Future<Output = ()>) -> Result<(), super::DemoError> {
    let listener = super::bind(args.address, "--address").await?;
    let address = listener.local_addr().unwrap_or(args.address);
    let issuer = Issuer::new(args.issuer.clone().unwrap_or_else(|| format!("http://{address}")))?;
    let faults = Faults::new(Duration::ZERO);
    println!("token issuer listening on http://{address}");
    super::serve::serve(listener, router(issuer, &faults), faults, stop).await;
    Ok(())
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.fetches.fetch_add(1, Relaxed);
    let fields = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "max-age=300")];
    (fields, issuer.jwks().to_string()).into_response()
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let name = &issuer.name;
    Json(json!({
        "issuer": name,
        "jwks_uri": format!("{name}/.well-known/jwks.json"),
        "token_endpoint": format!("{name}/token"),
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn token(State(issuer): State<Arc<Issuer>>, Query(request): Query<TokenRequest>) -> Response {
    match issuer.token(&request, OffsetDateTime::now_utc()) {
        Ok(token) => {
            let body = json!({
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": request.lifetime.unwrap_or(LIFETIME),
                "scope": request.scope.as_deref().unwrap_or(SCOPE),
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    drop_old: bool,
}

async fn rotate(State(issuer): State<Arc<Issuer>>, Query(rotation): Query<Rotation>) -> Response {
    match issuer.rotate(rotation.drop_old) {
        Ok(id) => Json(json!({ "kid": id })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn stats(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({
        "jwks_fetches": issuer.fetches.load(Relaxed),
        "tokens": issuer.tokens.load(Relaxed),
        "rotations": issuer.rotations.load(Relaxed),
        "keys": issuer.keys.read().unwrap_or_else(PoisonError::into_inner).len(),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

    fn verify(issuer: &Issuer, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
        let keys: JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
        let id = decode_header(token)?.kid.unwrap();
        let key = keys.find(&id).ok_or(jsonwebtoken::errors::ErrorKind::InvalidSignature)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&["http://issuer"]);
        decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation).map(|data| data.claims)
    }

    fn token(issuer: &Issuer, request: TokenRequest) -> String {
        issuer.token(&TokenRequest { tenant: "acme".into(), ..request }, OffsetDateTime::now_utc()).unwrap()
    }

    #[test]
    fn tokens_verify_with_the_published_keys_before_and_after_a_rotation() {
        let issuer = Issuer::new("http://issuer".into()).unwrap();
        let before = token(&issuer, TokenRequest::default());
        let claims = verify(&issuer, &before).unwrap();
        assert_eq!((&claims["tenant"], &claims["scope"]), (&json!("acme"), &json!(SCOPE)));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), LIFETIME);

        let id = issuer.rotate(false).unwrap();
        let after = token(&issuer, TokenRequest::default());
        assert_eq!(decode_header(&after).unwrap().kid, Some(id));
        assert!(verify(&issuer, &before).is_ok() && verify(&issuer, &after).is_ok());

        issuer.rotate(true).unwrap();
        assert!(verify(&issuer, &before).is_err() && verify(&issuer, &after).is_err());
    }

    #[test]
    fn a_token_can_be_wrong_on_request() {
        let issuer = Issuer::new("http://issuer".into()).unwrap();
        let expired = token(&issuer, TokenRequest { lifetime: Some(-600), ..TokenRequest::default() });
        let foreign = token(&issuer, TokenRequest { audience: Some("other".into()), ..TokenRequest::default() });
        assert!(verify(&issuer, &expired).is_err() && verify(&issuer, &foreign).is_err());
    }

    #[test]
    fn published_keys_are_bounded() {
        let issuer = Issuer::new("http://issuer".into()).unwrap();
        for _ in 0..2 * MAX_KEYS {
            issuer.rotate(false).unwrap();
        }
        assert_eq!(issuer.jwks()["keys"].as_array().unwrap().len(), MAX_KEYS);
    }
}
