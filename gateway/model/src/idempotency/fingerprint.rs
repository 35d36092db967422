//! Whether two requests with one key are the same.

use blake3::Hasher;
use http::Method;

use super::canonical::canonical;

/// BLAKE3-256 of a request.
pub type Fingerprint = [u8; 32];

/// Which bodies are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FingerprintMode {
    /// Of the same bytes.
    #[default]
    Bytes,
    /// Of the same JSON, whatever the order of an object's members, the white space between things and the escapes in
    /// strings; numbers must be written alike. For clients that write their body anew each time. A body that is not JSON
    /// in UTF-8, or is nested deeper than 64, counts by its bytes.
    CanonicalJson,
}

/// What makes a request the one it is.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprinted<'a> {
    /// As received.
    pub method: &'a Method,
    /// Normalised, as [`crate::target::normalise`] does.
    pub path: &'a str,
    /// Without `?`; empty where there is none.
    pub query: &'a str,
    /// Value of `Content-Type`, as received.
    pub content_type: Option<&'a [u8]>,
    /// The whole of it.
    pub body: &'a [u8],
}

/// The fingerprint of a request. The credentials are not in it: a client whose token was renewed is still the same.
pub fn fingerprint(mode: FingerprintMode, request: &Fingerprinted<'_>) -> Fingerprint {
    let mut hasher = Hasher::new();
    frame(&mut hasher, request.method.as_str().as_bytes());
    frame(&mut hasher, request.path.as_bytes());
    frame(&mut hasher, request.query.as_bytes());
    // An empty value is another request than no field.
    hasher.update(&[u8::from(request.content_type.is_some())]);
    frame(&mut hasher, request.content_type.unwrap_or_default());
    let canonical = match mode {
        FingerprintMode::Bytes => None,
        FingerprintMode::CanonicalJson => canonical(request.body),
    };
    frame(&mut hasher, canonical.as_deref().unwrap_or(request.body));
    hasher.finalize().into()
}

/// Adds a part with its length before it, so that what ends one part cannot begin the next.
pub(super) fn frame(hasher: &mut Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}
