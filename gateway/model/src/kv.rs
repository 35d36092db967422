//! The tenants' small durable state: what may be kept, and what an edit makes of a value. Whoever stores it implements
//! [`Kv`].

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// Longest key, in bytes.
pub const KEY_BYTES: usize = 256;
/// Longest value, in bytes.
pub const VALUE_BYTES: usize = 64 << 10;
/// What an entry counts beside its key and value, in bytes: about what storage adds.
pub const ENTRY_BYTES: u64 = 64;

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFault {
    /// An empty key, or one longer than [`KEY_BYTES`].
    Key,
    /// A value longer than [`VALUE_BYTES`]; or one that cannot be added to.
    Value,
    /// The tenant may not keep more.
    Quota,
    /// Storage does not answer now.
    Unavailable,
}

impl KvFault {
    /// The contract's word.
    pub fn label(self) -> &'static str {
        match self {
            KvFault::Key => "key",
            KvFault::Value => "value",
            KvFault::Quota => "quota",
            KvFault::Unavailable => "unavailable",
        }
    }
}

/// What is to be done with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract in `wit/kv.wit` says it all")]
pub enum Edit {
    Set { value: Vec<u8>, ttl: Option<Duration> },
    Swap { expected: Option<Vec<u8>>, value: Vec<u8>, ttl: Option<Duration> },
    Add { by: i64, ttl: Option<Duration> },
    Delete,
}

/// What an edit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// Of `set`, `swap` and `delete`: whether anything was done.
    Done(bool),
    /// Of `add`: the sum.
    Sum(i64),
}

/// A value that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// At most [`VALUE_BYTES`].
    pub value: Vec<u8>,
    /// Milliseconds since the epoch; from then on it is not there.
    pub expires_at: Option<u64>,
}

/// What is to be stored for an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Everything stays.
    Keep,
    /// This, in the place of what was there.
    Put(Entry),
    /// Nothing.
    Remove,
}

/// What an entry counts against its tenant's quota.
pub fn cost(key: &str, value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + ENTRY_BYTES
}

/// Whether a key can be one.
pub fn check_key(key: &str) -> Result<(), KvFault> {
    if (1..=KEY_BYTES).contains(&key.len()) { Ok(()) } else { Err(KvFault::Key) }
}

/// What `edit` makes of `current`, an entry that has not expired. `now` is in milliseconds since the epoch.
pub fn apply(edit: Edit, current: Option<Entry>, now: u64) -> Result<(Write, Edited), KvFault> {
    match edit {
        Edit::Set { value, ttl } => put(value, ttl, now).map(|write| (write, Edited::Done(true))),
        Edit::Swap { expected, value, ttl } => {
            let write = put(value, ttl, now)?;
            match current.map(|entry| entry.value) == expected {
                true => Ok((write, Edited::Done(true))),
                false => Ok((Write::Keep, Edited::Done(false))),
            }
        }
        Edit::Add { by, ttl } => {
            let (before, expires_at) = match current {
                Some(entry) => (number(&entry.value)?, entry.expires_at),
                None => (0, expiry(ttl, now)),
            };
            let sum = before.checked_add(by).ok_or(KvFault::Value)?;
            let value = sum.to_string().into_bytes();
            Ok((Write::Put(Entry { value, expires_at }), Edited::Sum(sum)))
        }
        Edit::Delete => match current {
            Some(_) => Ok((Write::Remove, Edited::Done(true))),
            None => Ok((Write::Keep, Edited::Done(false))),
        },
    }
}

fn put(value: Vec<u8>, ttl: Option<Duration>, now: u64) -> Result<Write, KvFault> {
    if value.len() > VALUE_BYTES {
        return Err(KvFault::Value);
    }
    Ok(Write::Put(Entry { value, expires_at: expiry(ttl, now) }))
}

fn expiry(ttl: Option<Duration>, now: u64) -> Option<u64> {
    ttl.map(|ttl| now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)))
}

fn number(value: &[u8]) -> Result<i64, KvFault> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(KvFault::Value)
}

/// An answer that is being waited for.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, KvFault>> + Send + 'a>>;

/// Where the tenants' state is kept. A future that is dropped may leave its edit done or undone.
pub trait Kv: fmt::Debug + Send + Sync {
    /// The value of a tenant's `key`, or none.
    fn get<'a>(&'a self, tenant: &'a str, key: &'a str) -> Answering<'a, Option<Vec<u8>>>;

    /// Does `edit`, which is durable when this returns. `quota` is what the tenant may keep in all, in bytes by
    /// [`cost`].
    fn edit<'a>(&'a self, tenant: &'a str, key: &'a str, edit: Edit, quota: u64) -> Answering<'a, Edited>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn entry(value: &str, expires_at: Option<u64>) -> Option<Entry> {
        Some(Entry { value: value.into(), expires_at })
    }

    fn put(value: &str, expires_at: Option<u64>) -> Write {
        Write::Put(Entry { value: value.into(), expires_at })
    }

    #[test]
    fn a_swap_is_done_by_one_of_two() {
        let swap = |expected: Option<&str>| Edit::Swap {
            expected: expected.map(Into::into),
            value: "new".into(),
            ttl: Some(Duration::from_secs(2)),
        };
        let done = Ok((put("new", Some(3_000)), Edited::Done(true)));
        let undone = Ok((Write::Keep, Edited::Done(false)));
        assert_eq!(apply(swap(None), None, NOW), done);
        assert_eq!(apply(swap(None), entry("new", None), NOW), undone);
        assert_eq!(apply(swap(Some("new")), entry("new", None), NOW), done);
        assert_eq!(apply(swap(Some("other")), entry("new", None), NOW), undone);
        assert_eq!(apply(swap(Some("new")), None, NOW), undone);
    }

    #[test]
    fn a_sum_keeps_the_time_of_its_first_and_never_wraps() {
        let add = |by| Edit::Add { by, ttl: Some(Duration::from_secs(1)) };
        assert_eq!(apply(add(-3), None, NOW), Ok((put("-3", Some(2_000)), Edited::Sum(-3))));
        assert_eq!(apply(add(5), entry("-3", Some(1_500)), NOW), Ok((put("2", Some(1_500)), Edited::Sum(2))));
        for unfit in ["", "1.5", " 1", "1e3", "9223372036854775808", "\u{feff}1"] {
            assert_eq!(apply(add(1), entry(unfit, None), NOW), Err(KvFault::Value), "{unfit:?}");
        }
        assert_eq!(apply(add(1), entry("9223372036854775807", None), NOW), Err(KvFault::Value));
    }

    #[test]
    fn keys_and_values_have_bounds() {
        assert_eq!(check_key(""), Err(KvFault::Key));
        assert_eq!(check_key(&"k".repeat(256)), Ok(()));
        assert_eq!(check_key(&"k".repeat(257)), Err(KvFault::Key));
        let set = |bytes| apply(Edit::Set { value: vec![0; bytes], ttl: None }, None, NOW);
        assert!(set(VALUE_BYTES).is_ok());
        assert_eq!(set(VALUE_BYTES + 1), Err(KvFault::Value));
    }

    #[test]
    fn what_is_not_there_is_not_deleted() {
        assert_eq!(apply(Edit::Delete, None, NOW), Ok((Write::Keep, Edited::Done(false))));
        assert_eq!(apply(Edit::Delete, entry("x", None), NOW), Ok((Write::Remove, Edited::Done(true))));
    }

    #[test]
    fn a_time_that_overflows_is_for_ever() {
        let set = Edit::Set { value: Vec::new(), ttl: Some(Duration::from_secs(u64::MAX)) };
        assert_eq!(apply(set, None, NOW), Ok((put("", Some(u64::MAX)), Edited::Done(true))));
    }
}
