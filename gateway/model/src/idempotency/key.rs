//! The key by which a client names a request.

use std::fmt;
use std::sync::Arc;

use super::field;
use crate::refusal::Refusal;

/// Longest key, in bytes.
pub const KEY_BYTES: usize = 255;

/// 1 to [`KEY_BYTES`] printable ASCII characters (0x20 to 0x7e). It belongs to a tenant and a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// Why a request has no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There must be one.
    #[error("the request has no idempotency key")]
    Missing,
    /// There is something, of which no key can be made.
    #[error("the request's idempotency key is malformed")]
    Malformed,
}

impl From<KeyFault> for Refusal {
    fn from(fault: KeyFault) -> Refusal {
        match fault {
            KeyFault::Missing => Refusal::IdempotencyKeyMissing,
            KeyFault::Malformed => Refusal::IdempotencyKeyInvalid,
        }
    }
}

impl Key {
    /// Takes a text as it stands.
    ///
    /// # Errors
    /// [`KeyFault::Malformed`] where it is empty, too long or not printable ASCII.
    pub fn new(text: &str) -> Result<Key, KeyFault> {
        let holds = (1..=KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if holds { Ok(Key(text.into())) } else { Err(KeyFault::Malformed) }
    }

    /// Reads a value of the field `Idempotency-Key`: a string (RFC 8941 §3.3.3), whose parameters mean nothing here, or
    /// a bare word without quotes, commas and semicolons, as most clients send it.
    ///
    /// # Errors
    /// [`KeyFault::Malformed`] where it is neither.
    pub fn from_field(value: &[u8]) -> Result<Key, KeyFault> {
        field::key(value).ok_or(KeyFault::Malformed).and_then(|key| Key::new(&key))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
