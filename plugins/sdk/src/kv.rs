//! Small state of the tenant's own that outlives a call, shared by all its plugins. What a function says it has done is
//! on stable storage.
//!
//! Keys have 1 to 256 bytes, values up to 64 KiB. A fault is a word: `key`, `value`, `quota` or `unavailable`; others may
//! come. `ttl` is in seconds; none is for ever.
//!
//! On the host (in tests) it is kept per thread, without a quota, and nothing expires: [`clear`] forgets it.

use alloc::string::String;
use alloc::vec::Vec;

/// Why nothing was done.
pub type Fault = String;

#[cfg(not(target_family = "wasm"))]
use host as inner;

#[cfg(target_family = "wasm")]
use crate::bindings::request::sluis::plugin::kv as inner;

/// The value of `key`, or none.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Fault> {
    inner::get(key)
}

/// Keeps `value`.
pub fn set(key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), Fault> {
    inner::set(key, value, ttl)
}

/// As [`set`], if the value is `expected` now. Whether it was.
pub fn swap(key: &str, expected: Option<&[u8]>, value: &[u8], ttl: Option<u32>) -> Result<bool, Fault> {
    inner::swap(key, expected, value, ttl)
}

/// Adds to a decimal number, 0 where there is none. The sum.
pub fn add(key: &str, by: i64, ttl: Option<u32>) -> Result<i64, Fault> {
    inner::add(key, by, ttl)
}

/// Forgets `key`. Whether there was a value.
pub fn delete(key: &str) -> Result<bool, Fault> {
    inner::delete(key)
}

#[cfg(not(target_family = "wasm"))]
pub use host::clear;

#[cfg(not(target_family = "wasm"))]
mod host {
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use super::Fault;

    std::thread_local! {
        static VALUES: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    fn check(key: &str, value: &[u8]) -> Result<(), Fault> {
        match (key.len(), value.len()) {
            (1..=256, 0..=65_536) => Ok(()),
            (1..=256, _) => Err("value".into()),
            _ => Err("key".into()),
        }
    }

    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Fault> {
        check(key, b"")?;
        Ok(VALUES.with_borrow(|values| values.get(key).cloned()))
    }

    pub fn set(key: &str, value: &[u8], _ttl: Option<u32>) -> Result<(), Fault> {
        check(key, value)?;
        VALUES.with_borrow_mut(|values| values.insert(key.into(), value.into()));
        Ok(())
    }

    pub fn swap(key: &str, expected: Option<&[u8]>, value: &[u8], ttl: Option<u32>) -> Result<bool, Fault> {
        check(key, value)?;
        if get(key)?.as_deref() != expected {
            return Ok(false);
        }
        set(key, value, ttl).map(|()| true)
    }

    pub fn add(key: &str, by: i64, ttl: Option<u32>) -> Result<i64, Fault> {
        let number = |value: Vec<u8>| String::from_utf8(value).ok()?.parse::<i64>().ok();
        let before = match get(key)? {
            Some(value) => number(value).ok_or("value")?,
            None => 0,
        };
        let sum = before.checked_add(by).ok_or("value")?;
        set(key, sum.to_string().as_bytes(), ttl).map(|()| sum)
    }

    pub fn delete(key: &str) -> Result<bool, Fault> {
        check(key, b"")?;
        Ok(VALUES.with_borrow_mut(|values| values.remove(key).is_some()))
    }

    /// Forgets everything that this thread has kept.
    pub fn clear() {
        VALUES.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_keeps_as_the_gateway_does() {
        clear();
        assert_eq!(swap("k", None, b"1", None), Ok(true));
        assert_eq!(swap("k", None, b"2", None), Ok(false));
        assert_eq!(add("k", 41, None), Ok(42));
        assert_eq!(get("k"), Ok(Some(b"42".to_vec())));
        assert_eq!((delete("k"), delete("k")), (Ok(true), Ok(false)));
        assert_eq!(set("", b"", None), Err("key".into()));
        assert_eq!(set("k", &[0; 65_537], None), Err("value".into()));
        assert_eq!((set("k", b"x", None), add("k", 1, None)), (Ok(()), Err("value".into())));
    }
}
