//! The host of an authority, normalised, so that two spellings are one host.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::refusal::Refusal;

/// Longest host name, without its final dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// The host of an authority (`Host`, `:authority`, absolute-form; RFC 9110 §4.2, §7.2): lower case, without port and
/// final dot, IPv6 addresses in brackets and in their shortest form. Refused are userinfo, lists, ports that are empty,
/// 0, above 65,535 or written with leading zeros, and whatever is neither a host name nor an address.
pub fn host_of(authority: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(authority).map_err(|_| Refusal::MalformedRequest)?;
    parse(text).ok_or(Refusal::MalformedRequest)
}

fn parse(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        if !(rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let name = match text.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return None,
        None => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels_hold = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    // A name whose last label is a number is read as an address by some (WHATWG URL §3.5): it must then be one, in the
    // one spelling that everybody reads alike.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    let address_holds = !numeric || name.parse::<Ipv4Addr>().is_ok();
    (name.len() <= MAX_NAME && labels_hold && address_holds).then(|| name.to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a027_two_spellings_of_a_host_are_one() {
        for (authority, host) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM:8443", "api.example.com"),
            ("api.example.com.:443", "api.example.com"),
            ("localhost", "localhost"),
            ("erp_test.internal", "erp_test.internal"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host_of(authority.as_bytes()).as_deref(), Ok(host), "{authority}");
        }
    }

    #[test]
    fn a027_odd_hosts_are_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["abcdefg"; 32].join(".");
        for authority in [
            "",
            ".",
            ":",
            ":80",
            "a, b",
            "a,b",
            "a b",
            "a\tb",
            "a/b",
            "a/",
            "a?x",
            "a#x",
            "a\\b",
            "user@a",
            "user:pw@a",
            "a:",
            "a:0",
            "a:080",
            "a:99999",
            "a:+80",
            "a:8x",
            "a:80:80",
            "a..b",
            ".a",
            "a..",
            "-a",
            "a-.b",
            "%61",
            "a%2eb",
            "é",
            "[::1",
            "::1",
            "[::1]a",
            "[::1]:",
            "[::1%25eth0]",
            "[127.0.0.1]",
            "[v1.x]",
            "1.2.3",
            "0x7f.1",
            "127.1",
            "2130706433",
            "127.0.0.01",
            "256.1.1.1",
            "a.0x7f",
            &long,
            &longer,
        ] {
            assert!(host_of(authority.as_bytes()).is_err(), "{authority}");
        }
        assert!(host_of(b"a\0").is_err());
        assert!(host_of(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn a027_a_normalised_host_stays_as_it_is(authority in "[A-Za-z0-9.:_\\[\\]-]{0,40}") {
            if let Ok(host) = host_of(authority.as_bytes()) {
                prop_assert_eq!(host_of(host.as_bytes()), Ok(host));
            }
        }

        #[test]
        fn a027_no_bytes_panic(authority in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = host_of(&authority);
        }
    }
}
