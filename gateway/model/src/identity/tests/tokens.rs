//! Form and header: 104–106, 111–116, 128–130, and a property.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::identity::excerpt;
use crate::identity::test_keys::b64;

#[test]
fn a104_a_token_over_8_kib_is_refused_before_it_is_decoded() {
    let bench = Bench::new();
    let fill = |payload_bytes: usize| {
        let mut payload = payload();
        payload["fill"] = "x".repeat(payload_bytes).into();
        bench.key.token(HEADER, &payload.to_string())
    };
    let base = fill(0).len();
    // Four characters carry three bytes, so the limit itself is met by one of the lengths around it.
    let fits = (5_000..6_200).map(fill).filter(|token| token.len() <= 8_192).max_by_key(String::len).unwrap();
    assert!(fits.len() > 8_188 && base < 1_000);
    assert!(bench.verify(&fits).is_ok());

    let mut longer = fits.into_bytes();
    longer.resize(8_193, b'A');
    assert_eq!(bench.verify(&longer).unwrap_err(), TokenFault::TooLarge);
    let megabyte = vec![b'!'; 1 << 20];
    let took = (0..3).map(|_| {
        let start = Instant::now();
        assert_eq!(bench.verify(&megabyte).unwrap_err(), TokenFault::TooLarge);
        start.elapsed()
    });
    assert!(took.min().unwrap() < Duration::from_millis(1));
}

#[test]
fn a105_anything_but_three_full_segments_is_refused() {
    let bench = Bench::new();
    let token = bench.key.token(HEADER, &payload().to_string());
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let wrong = [
        String::new(),
        ".".into(),
        "..".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}.{signature}.{payload}.{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}."),
        format!("{token}."),
        format!(".{token}"),
    ];
    for token in wrong {
        assert_eq!(bench.verify(&token).unwrap_err(), TokenFault::Malformed, "{token}");
    }
}

#[test]
fn a106_every_spelling_of_no_algorithm_is_refused() {
    let bench = Bench::new();
    let algorithms = [
        r#""none""#,
        r#""None""#,
        r#""nOnE""#,
        r#""""#,
        "null",
        "0",
        "256",
        "[]",
        r#"["ES256"]"#,
        r#""es256""#,
        r#""ES256 ""#,
        r#""XX999""#,
        r#""HS256""#,
        r#""ES256K""#,
        r#""ES512""#,
        r#""RSA-OAEP""#,
    ];
    for algorithm in algorithms {
        let header = format!(r#"{{"alg":{algorithm},"typ":"at+jwt","kid":"k1"}}"#);
        assert_eq!(bench.header(&header).unwrap_err(), TokenFault::Algorithm, "{algorithm}");
        let unsigned = format!("{}.{}.", b64(header.as_bytes()), b64(payload().to_string().as_bytes()));
        assert!(bench.verify(unsigned).is_err(), "{algorithm}");
    }
    assert_eq!(bench.header(r#"{"typ":"at+jwt","kid":"k1"}"#).unwrap_err(), TokenFault::Algorithm);
}

#[test]
fn a111_crit_is_refused_whatever_it_lists() {
    let bench = Bench::new();
    for crit in [r#"["exp"]"#, r#"["x"]"#, "[]", "null", r#""exp""#] {
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"k1","crit":{crit}}}"#);
        assert_eq!(bench.header(&header).unwrap_err(), TokenFault::Header, "{crit}");
    }
}

#[test]
fn a112_unencoded_compressed_and_nested_payloads_are_refused() {
    let bench = Bench::new();
    for parameter in [r#""b64":false"#, r#""b64":true"#, r#""zip":"DEF""#, r#""cty":"JWT""#] {
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"k1",{parameter}}}"#);
        assert_eq!(bench.header(&header).unwrap_err(), TokenFault::Header, "{parameter}");
    }
}

#[test]
fn a113_typ_must_be_one_that_the_issuer_uses() {
    let mut bench = Bench::new();
    bench.issuer.types = vec!["at+jwt".into()];
    let typ = |typ: &str| format!(r#"{{"alg":"ES256","kid":"k1","typ":{typ}}}"#);
    for accepted in [r#""at+jwt""#, r#""AT+JWT""#, r#""application/at+jwt""#, r#""Application/AT+jwt""#] {
        assert!(bench.header(&typ(accepted)).is_ok(), "{accepted}");
    }
    for refused in [r#""JWT""#, r#""""#, r#""logout+jwt""#, r#""at+jwt ""#, r#""text/at+jwt""#] {
        assert_eq!(bench.header(&typ(refused)).unwrap_err(), TokenFault::Type, "{refused}");
    }
    for malformed in ["null", "1", r#"["at+jwt"]"#] {
        assert_eq!(bench.header(&typ(malformed)).unwrap_err(), TokenFault::Malformed, "{malformed}");
    }
    let absent = r#"{"alg":"ES256","kid":"k1"}"#;
    assert_eq!(bench.header(absent).unwrap_err(), TokenFault::Type);
    bench.issuer.allow_missing_type = true;
    assert!(bench.header(absent).is_ok());
}

#[test]
fn a114_keys_that_the_token_brings_along_are_never_used() {
    let bench = Bench::new();
    let attacker = TestKey::p256();
    let header = json!({
        "alg": "ES256", "typ": "at+jwt", "kid": "k1", "jwk": attacker.jwk("k1"), "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/chain.pem", "x5c": ["MIIB"],
    });
    let forged = attacker.token(&header.to_string(), &payload().to_string());
    assert_eq!(bench.verify(forged).unwrap_err(), TokenFault::Signature);
    // Signed by the right key they are merely ignored: there is no I/O in this crate that could follow them.
    assert!(bench.header(&header.to_string()).is_ok());
}

#[test]
fn a115_without_kid_there_must_be_no_choice() {
    let mut bench = Bench::new();
    let header = r#"{"alg":"ES256","typ":"at+jwt"}"#;
    assert!(bench.header(header).is_ok(), "one key");

    let mut unnamed = bench.key.jwk("k1");
    unnamed.as_object_mut().unwrap().remove("kid");
    bench.keys = set(std::slice::from_ref(&unnamed));
    assert!(bench.header(header).is_ok(), "one key without a name");
    assert_eq!(bench.header(HEADER).unwrap_err(), TokenFault::UnknownKey);

    bench.keys = set(&[bench.key.jwk("k1"), TestKey::p256().jwk("k2")]);
    assert_eq!(bench.header(header).unwrap_err(), TokenFault::UnknownKey);
    bench.keys = set(&[unnamed, TestKey::p256().jwk("k2")]);
    assert_eq!(bench.header(header).unwrap_err(), TokenFault::UnknownKey);
    bench.keys = set(&[bench.key.jwk("k1"), json!({"kty": "oct", "k": "AAAA", "kid": "k2"})]);
    assert!(bench.header(header).is_ok(), "keys that are not usable do not count");
}

#[test]
fn a116_hostile_kids_find_nothing_and_log_safely() {
    let bench = Bench::new();
    let long = "k".repeat(4_000);
    for kid in [
        "../../etc/passwd",
        "' OR 1=1 --",
        "k1\0",
        "\0",
        "🦀🦀",
        "K1",
        "k1 ",
        "",
        long.as_str(),
        "\u{1b}[31mred\r\nfake: line",
    ] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        assert_eq!(bench.header(&header).unwrap_err(), TokenFault::UnknownKey, "{kid:?}");
        let logged = excerpt(kid);
        assert!(logged.chars().count() <= 64 && !logged.chars().any(char::is_control), "{logged}");
    }
    let oversized = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k".repeat(8_192)}).to_string();
    assert_eq!(bench.header(&oversized).unwrap_err(), TokenFault::TooLarge);
    for kid in ["1", "null", r#"["k1"]"#, r#"{"k1":1}"#] {
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":{kid}}}"#);
        assert_eq!(bench.header(&header).unwrap_err(), TokenFault::Malformed, "{kid}");
    }
}

#[test]
fn a128_a_member_twice_is_refused_at_every_depth() {
    let bench = Bench::new();
    let header = r#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"k1"}"#;
    assert_eq!(bench.header(header).unwrap_err(), TokenFault::Malformed);
    let text = payload().to_string();
    let twice = |extra: &str| bench.key.token(HEADER, &format!("{},{extra}}}", text.strip_suffix('}').unwrap()));
    for extra in [
        r#""tenant":"b""#,
        r#""exp":1"#,
        r#""x":1,"x":1"#,
        r#""org":{"id":"a","id":"b"}"#,
        r#""list":[{"a":1,"a":2}]"#,
        // The same name spelled with an escape is the same name.
        r#""t\u0065nant":"b""#,
    ] {
        assert_eq!(bench.verify(twice(extra)).unwrap_err(), TokenFault::Malformed, "{extra}");
    }
    assert!(bench.verify(twice(r#""x":{"tenant":"b"}"#)).is_ok());
}

#[test]
fn a129_base64url_is_strict() {
    let bench = Bench::new();
    let token = bench.key.token(HEADER, &payload().to_string());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let broken = |signature: &str| format!("{input}.{signature}");
    for wrong in [
        broken(&format!("{signature}=")),
        broken(&format!("{signature}==")),
        broken(&format!("+{}", &signature[1..])),
        broken(&format!("/{}", &signature[1..])),
        broken(&format!(" {signature}")),
        broken(&format!("{signature} ")),
        broken(&format!("{signature}\n")),
        broken(&format!("{}\r\n{}", &signature[..40], &signature[40..])),
        broken(&signature[..signature.len() - 1]),
        format!(" {token}"),
        format!("{input}=.{signature}"),
    ] {
        assert_eq!(bench.verify(&wrong).unwrap_err(), TokenFault::Malformed, "{wrong:?}");
    }
    // 64 bytes end in one character with four significant bits: the other two must be zero.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    for stray in 1..4 {
        let spelled = &alphabet[index + stray..=index + stray];
        let wrong = broken(&format!("{}{spelled}", &signature[..signature.len() - 1]));
        assert_eq!(bench.verify(wrong).unwrap_err(), TokenFault::Malformed, "stray bits {stray}");
    }
}

#[test]
fn a130_what_is_not_a_json_object_is_refused_within_a_millisecond() {
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    let digits = "9".repeat(6_000);
    let payloads: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        b"".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"null".to_vec(),
        b"{}x".to_vec(),
        b"{}{}".to_vec(),
        [b"\xef\xbb\xbf".as_slice(), payload().to_string().as_bytes()].concat(),
        b"{\"iss\":\"\xff\xfe\"}".to_vec(),
        b"{\"iss\":\"\\ud800\"}".to_vec(),
        deep.clone().into_bytes(),
        format!(r#"{{"x":{deep}}}"#).into_bytes(),
        format!("{}1{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000)).into_bytes(),
        format!(r#"{{"exp":{digits}}}"#).into_bytes(),
        format!(r#"{{"exp":-{digits}}}"#).into_bytes(),
        format!(r#"{{"exp":1e{digits}}}"#).into_bytes(),
        format!(r#"{{"exp":0.{digits}e-{digits}}}"#).into_bytes(),
    ];
    for text in payloads {
        let excerpt = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        let as_payload = format!("{}.{}.AAAA", b64(HEADER.as_bytes()), b64(&text));
        let as_header = format!("{}.{}.AAAA", b64(&text), b64(payload().to_string().as_bytes()));
        for token in [as_payload, as_header] {
            // The best of three: the machine may pause, the code may not.
            let took = (0..3).map(|_| {
                let start = Instant::now();
                assert!(bench.verify(&token).is_err(), "{excerpt}");
                start.elapsed()
            });
            assert!(took.min().unwrap() < Duration::from_millis(1), "{excerpt}");
        }
    }
}

fn any_token() -> impl Strategy<Value = Vec<u8>> {
    let segment = prop_oneof![
        "[A-Za-z0-9_=+/ -]{0,40}".prop_map(String::into_bytes),
        any::<Vec<u8>>(),
        // JSON-like text, encoded well.
        r#"\{("(alg|typ|kid|iss|aud|exp|sub|x)":(1|-1|1e9|"ES256"|"k1"|null|\[\]|\{\}),?){0,6}\}"#
            .prop_map(|text| b64(text.as_bytes()).into_bytes()),
        Just(b64(HEADER.as_bytes()).into_bytes()),
        Just(b64(payload().to_string().as_bytes()).into_bytes()),
    ];
    prop::collection::vec(segment, 0..5).prop_map(|segments| segments.join(&b'.'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_verification_panic_or_pass(token in any_token(), now in any::<u64>()) {
        thread_local!(static BENCH: Bench = Bench::new());
        prop_assert!(BENCH.with(|bench| bench.verify_at(&token, now)).is_err());
    }

    #[test]
    fn one_changed_byte_breaks_a_token(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        thread_local!(static BENCH: (Bench, Vec<u8>) = {
            let bench = Bench::new();
            let token = bench.key.token(HEADER, &payload().to_string()).into_bytes();
            (bench, token)
        });
        BENCH.with(|(bench, token)| {
            let mut changed = token.clone();
            let position = position.index(changed.len());
            changed[position] = byte;
            prop_assert_eq!(bench.verify(&changed).is_ok(), changed == *token);
            Ok(())
        })?;
    }

    #[test]
    fn no_text_makes_a_key_set_panic(text in any::<Vec<u8>>(), jwk in
        r#"\{("(kty|crv|kid|use|alg|key_ops|n|e|x|y|d)":("RSA"|"EC"|"OKP"|"P-256"|"Ed25519"|"sig"|"AQAB"|"AA"|1|\["verify"\]),?){0,7}\}"#) {
        let _ = KeySet::parse(&text, &ALL, 100);
        let _ = KeySet::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes(), &ALL, 100);
    }
}
