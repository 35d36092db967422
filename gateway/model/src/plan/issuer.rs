//! Who signs tokens, and where their keys are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Who signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Label in logs and metrics.
    pub name: Arc<str>,
    /// Exact value of `iss`.
    pub issuer: Arc<str>,
    /// Accepted values of `aud`; one must be in the token.
    pub audiences: Vec<String>,
    /// JWS algorithms that this issuer may use, by their RFC 7518/8037 names.
    pub algorithms: Vec<Algorithm>,
    /// Accepted values of the header's `typ`, lower case, without `application/`; an absent `typ` passes only if
    /// `allow_missing_type`.
    pub types: Vec<String>,
    /// Whether a token without `typ` passes.
    pub allow_missing_type: bool,
    /// The claim that names the tenant; dots descend into objects.
    pub tenant_claim: Arc<str>,
    /// Clock skew allowed, at most 60 s.
    pub leeway: Duration,
    /// Longest `exp` − `iat`.
    pub max_lifetime: Duration,
    /// Where the keys come from.
    pub jwks: Jwks,
}

/// JWS signature algorithms that Sluis verifies. Symmetric ones and `none` are not in the list, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// How an issuer's keys are fetched (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// `https`, or `http` where `allow_insecure`.
    pub url: String,
    /// Allow plain http and addresses that are not public. For an issuer inside the same network.
    pub allow_insecure: bool,
    /// Fetch again after this; `Cache-Control: max-age` may move it within [60 s, 10 min].
    pub refresh: Duration,
    /// At most one fetch for unknown `kid`s in this time, whatever the number of `kid`s.
    pub cooldown: Duration,
    /// Keys serve this long after their last successful fetch when the issuer cannot be reached.
    pub stale_if_error: Duration,
    /// Whole fetch.
    pub timeout: Duration,
    /// Largest answer.
    pub max_bytes: usize,
    /// Largest number of keys.
    pub max_keys: usize,
    /// Extra trust anchors (PEM) for the fetch.
    pub ca: Option<PathBuf>,
}
