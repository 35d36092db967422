use proptest::prelude::*;

use super::*;

#[test]
fn a046_targets_are_normalised_once() {
    for (raw, path, query) in [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/v1/orders", "/v1/orders", ""),
        ("/v1/orders?a=b%20c", "/v1/orders", "a=b%20c"),
        ("/v1/orders?a=%2F%5c&b=?/", "/v1/orders", "a=%2F%5c&b=?/"),
        ("/v1/orders?filter[status]=a|b&json={\"a\"}", "", ""),
        ("/v1/orders?filter[status]=a|b&json={a^`}", "/v1/orders", "filter[status]=a|b&json={a^`}"),
        ("/a/./b/../c", "/a/c", ""),
        ("/a/b/../../c", "/c", ""),
        ("/a/..", "/", ""),
        ("/a/b/..", "/a/", ""),
        ("/a/.", "/a/", ""),
        ("/.", "/", ""),
        ("/a/../", "/", ""),
        ("/a/%2e%2E/b", "/b", ""),
        ("/%2E/b", "/b", ""),
        ("/%7euser/%41%c3%a9", "/~user/A%C3%A9", ""),
        ("/a%20b", "/a%20b", ""),
        ("/Orders(1)/Lines;v=2", "/Orders(1)/Lines;v=2", ""),
        ("/a@b:c", "/a@b:c", ""),
        ("/.well-known/x", "/.well-known/x", ""),
        ("/...", "/...", ""),
        ("/..a", "/..a", ""),
        ("/100%25", "/100%25", ""),
    ] {
        match normalise(raw.as_bytes()) {
            Ok(target) => assert_eq!((&*target.path, &*target.query), (path, query), "{raw}"),
            Err(_) => assert_eq!(path, "", "{raw}"),
        }
    }
}

#[test]
fn a046_what_two_parsers_could_read_differently_is_refused() {
    for raw in [
        "",
        "*",
        "a",
        "?",
        "?a",
        "http://a/",
        "//",
        "//x",
        "/a//b",
        "/a//",
        "/..",
        "/../x",
        "/a/../../x",
        "/%2e%2e/x",
        "/a/..%2f..",
        "/a\\b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "/%00",
        "/%0d%0a",
        "/%0A",
        "/%1f",
        "/%7f",
        "/%c2%85",
        "/%",
        "/%4",
        "/a%4",
        "/%zz",
        "/%+1",
        "/%c0%af",
        "/%c0%80",
        "/%e0%80%af",
        "/%ff",
        "/%ed%a0%80",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/.;/b",
        "/a/..%3b/b",
        "/a/%2e%2e;/b",
        "/..;",
        "/a#b",
        "/a?b#c",
        "/{a}",
        "/a|b",
        "/a[0]",
        "/a^b",
        "/a`b",
        "/a?b\\c",
        "/?%00",
        "/?%0d%0a",
        "/?a=%",
        "/?a=%4",
        "/?a=%zz",
    ] {
        assert_eq!(normalise(raw.as_bytes()), Err(Refusal::MalformedRequest), "{raw}");
    }
}

#[test]
fn a023_bytes_that_a_target_cannot_have_are_refused() {
    for byte in (0..=b' ').chain([b'<', b'>', b'"', b'#', b'\\']).chain(127..=255) {
        for raw in [[b"/a", &[byte][..], b"b"].concat(), [b"/a?b", &[byte][..], b"c"].concat()] {
            assert!(normalise(&raw).is_err(), "{raw:?}");
        }
    }
    assert!(normalise("/é".as_bytes()).is_err());
}

#[test]
fn a028_absolute_forms_are_taken_apart() {
    let parts = |raw: &'static str| {
        absolute(raw.as_bytes()).map(|(authority, origin)| {
            (std::str::from_utf8(authority).unwrap(), String::from_utf8(origin.into_owned()).unwrap())
        })
    };
    let some = |authority: &'static str, origin: &str| Some((authority, origin.to_owned()));
    assert_eq!(parts("http://a.example/b?c"), some("a.example", "/b?c"));
    assert_eq!(parts("HTTPS://a.example:8443"), some("a.example:8443", "/"));
    assert_eq!(parts("http://a.example?b"), some("a.example", "/?b"));
    assert_eq!(parts("http://u@a.example/"), some("u@a.example", "/"), "for the host check to refuse");
    for raw in ["/a", "*", "", "http:", "http:/a", "http:/\\a", "http:///a", "http://?a", "ftp://a/", "a:80"] {
        assert_eq!(parts(raw), None, "{raw}");
    }
    for raw in ["http://a\\b/", "http://a#b"] {
        assert!(normalise(&origin_form(raw.as_bytes()).unwrap()).is_err(), "{raw}");
    }
}

#[test]
fn a_clean_path_is_borrowed() {
    for raw in ["/", "/v1/orders", "/v1/orders/?a=%7e"] {
        assert!(matches!(normalise(raw.as_bytes()).unwrap().path, Cow::Borrowed(_)), "{raw}");
    }
}

#[test]
fn a206_a_plugin_has_no_use_for_dot_segments() {
    for raw in ["/a/../b", "/a/./b", "/a/%2e%2e/b", "/.."] {
        assert_eq!(normalise_without_dots(raw.as_bytes()), None, "{raw}");
    }
    assert_eq!(normalise_without_dots(b"/a%7e/.b").unwrap().path, "/a~/.b");
}

proptest! {
    /// Whatever passes is in the form that is promised, and passes again unchanged.
    #[test]
    fn a046_what_passes_is_normal(raw in "(/|\\.|\\.\\.|;|%2e|%2E|%2f|%25|%41|%c3%a9|%C3%A9|a|B|~|:|\\?){0,14}") {
        if let Ok(target) = normalise(format!("/{raw}").as_bytes()) {
            prop_assert!(target.path.starts_with('/'));
            prop_assert!(!target.path.contains("//"));
            prop_assert!(!target.path.split('/').any(|segment| matches!(segment, "." | "..")));
            let again = normalise(target.path.as_bytes()).unwrap();
            prop_assert_eq!(&again.path, &target.path);
        }
    }

    /// Against the same path, decoded and resolved by hand.
    #[test]
    fn a046_normalising_does_not_change_what_is_meant(segments in proptest::collection::vec("[a-zé%]{1,3}|\\.|\\.\\.", 1..8)) {
        let spelled: Vec<String> = segments.iter().map(|segment| {
            segment.bytes().map(|b| format!("%{b:02x}")).collect()
        }).collect();
        let mut meant: Vec<&str> = Vec::new();
        let mut climbed = false;
        for segment in &segments {
            match segment.as_str() {
                "." => {}
                ".." => climbed |= meant.pop().is_none(),
                other => meant.push(other),
            }
        }
        if matches!(segments.last().unwrap().as_str(), "." | "..") {
            meant.push("");
        }
        let raw = format!("/{}", spelled.join("/"));
        match normalise(raw.as_bytes()) {
            Err(_) => prop_assert!(climbed),
            Ok(target) => {
                prop_assert!(!climbed);
                let mut decoded = Vec::new();
                let mut bytes = target.path.bytes();
                while let Some(byte) = bytes.next() {
                    decoded.push(match byte {
                        b'%' => {
                            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                        }
                        byte => byte,
                    });
                }
                prop_assert_eq!(String::from_utf8(decoded).unwrap(), format!("/{}", meant.join("/")));
            }
        }
    }

    #[test]
    fn a023_no_bytes_panic(raw in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = normalise(&raw);
        let _ = absolute(&raw);
    }
}
