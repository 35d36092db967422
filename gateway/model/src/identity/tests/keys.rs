//! Key sets: 108, 110, 133, 140, 143.

use super::*;
use crate::identity::test_keys::{b64, unb64};
use crate::identity::{KeyFault, KeySetFault};

/// The fault that a set of this one key notes.
fn fault_of(jwk: Value) -> Option<KeyFault> {
    let keys = set(&[jwk]);
    assert_eq!(keys.len() + keys.skipped().len(), 1);
    keys.skipped().first().map(|skipped| skipped.fault)
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn parse(text: &str) -> Result<KeySet, KeySetFault> {
    KeySet::parse(text.as_bytes(), &ALL, 100)
}

#[test]
fn a108_symmetric_keys_are_dropped() {
    let mut bench = Bench::new();
    let secret = json!({"kty": "oct", "k": b64(&[7; 32]), "kid": "k1", "alg": "HS256"});
    bench.keys = set(&[secret, TestKey::p256().jwk("k2")]);
    assert_eq!((bench.keys.len(), bench.keys.skipped()[0].fault), (1, KeyFault::Symmetric));
    let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let input =
        format!("{}.{}", b64(HEADER.replace("ES256", "HS256").as_bytes()), b64(payload().to_string().as_bytes()));
    let forged = format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&mac, input.as_bytes()).as_ref()));
    assert_eq!(bench.verify(forged).unwrap_err(), TokenFault::Algorithm);
}

#[test]
fn a110_keys_for_other_purposes_are_ignored() {
    let jwk = || TestKey::p256().jwk("k1");
    assert_eq!(fault_of(with(jwk(), "use", json!("enc"))), Some(KeyFault::NotForSignatures));
    assert_eq!(fault_of(with(jwk(), "use", json!(1))), Some(KeyFault::Malformed));
    assert_eq!(fault_of(with(jwk(), "key_ops", json!(["sign"]))), Some(KeyFault::NotForSignatures));
    assert_eq!(fault_of(with(jwk(), "key_ops", json!([]))), Some(KeyFault::NotForSignatures));
    assert_eq!(fault_of(with(jwk(), "key_ops", json!("verify"))), Some(KeyFault::Malformed));
    assert_eq!(fault_of(with(jwk(), "key_ops", json!(["sign", "verify"]))), None);
    assert_eq!(fault_of(with(jwk(), "alg", json!("ECDH-ES"))), Some(KeyFault::Algorithm));
    assert_eq!(fault_of(with(jwk(), "alg", json!("ES384"))), Some(KeyFault::Algorithm));
    assert_eq!(fault_of(with(jwk(), "alg", json!(256))), Some(KeyFault::Malformed));
}

#[test]
fn a133_weak_and_oversized_rsa_keys_are_dropped() {
    let sound = TestKey::rsa().jwk("k1");
    assert_eq!(fault_of(sound.clone()), None);
    let modulus = unb64(sound["n"].as_str().unwrap());
    let sized = |bytes: usize| {
        let mut long = modulus.repeat(bytes.div_ceil(256));
        long.truncate(bytes - 1);
        long.push(1);
        with(sound.clone(), "n", b64(&long).into())
    };
    assert_eq!(fault_of(sized(128)), Some(KeyFault::RsaSize), "1,024 bits");
    assert_eq!(fault_of(sized(255)), Some(KeyFault::RsaSize), "2,040 bits");
    assert_eq!(fault_of(sized(1_024)), None, "8,192 bits");
    assert_eq!(fault_of(sized(1_025)), Some(KeyFault::RsaSize), "8,200 bits");
    assert_eq!(fault_of(sized(2_048)), Some(KeyFault::RsaSize), "16,384 bits");
    let with_sign_octet = b64(&[&[0], &modulus[..]].concat());
    assert_eq!(fault_of(with(sound.clone(), "n", with_sign_octet.into())), None);

    for exponent in [&[][..], &[0], &[1], &[3], &[0, 0, 3], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1]] {
        assert_eq!(
            fault_of(with(sound.clone(), "e", b64(exponent).into())),
            Some(KeyFault::RsaExponent),
            "{exponent:?}"
        );
    }
    let mut even = modulus.clone();
    even[255] &= 0xfe;
    assert_eq!(fault_of(with(sound.clone(), "n", b64(&even).into())), Some(KeyFault::Malformed));
    for broken in [json!(7), json!(""), json!("AQAB="), Value::Null] {
        assert!(fault_of(with(sound.clone(), "n", broken)).is_some());
    }
}

#[test]
fn curve_points_must_be_whole_and_on_the_curve() {
    let sound = TestKey::p256().jwk("k1");
    let x = unb64(sound["x"].as_str().unwrap());
    assert_eq!(fault_of(with(sound.clone(), "x", b64(&x[1..]).into())), Some(KeyFault::Malformed));
    assert_eq!(fault_of(with(sound.clone(), "x", b64(&[&[0], &x[..]].concat()).into())), Some(KeyFault::Malformed));
    assert_eq!(fault_of(with(sound.clone(), "y", b64(&[1; 32]).into())), Some(KeyFault::Malformed));
    assert_eq!(
        fault_of(with(with(sound.clone(), "x", b64(&[0; 32]).into()), "y", b64(&[0; 32]).into())),
        Some(KeyFault::Malformed)
    );
    for curve in ["P-521", "secp256k1", "p-256", "Ed25519"] {
        assert_eq!(fault_of(with(sound.clone(), "crv", curve.into())), Some(KeyFault::UnknownCurve), "{curve}");
    }
    let edwards = TestKey::ed25519().jwk("k1");
    for curve in ["Ed448", "X25519"] {
        assert_eq!(fault_of(with(edwards.clone(), "crv", curve.into())), Some(KeyFault::UnknownCurve), "{curve}");
    }
    assert_eq!(fault_of(with(edwards.clone(), "x", b64(&[9; 31]).into())), Some(KeyFault::Malformed));
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xf0;
    not_canonical[31] = 0x7f;
    assert_eq!(fault_of(with(edwards, "x", b64(&not_canonical).into())), Some(KeyFault::SmallOrder));
}

#[test]
fn a143_one_odd_key_costs_the_set_nothing_else() {
    let leaked = with(TestKey::p256().jwk("leaked"), "d", json!("AAAA"));
    let mixed = set(&[
        TestKey::p256().jwk("good"),
        json!({"kty": "LMS", "kid": "future"}),
        leaked,
        json!({}),
        with(TestKey::p256().jwk("x"), "kid", json!(7)),
        TestKey::ed25519().jwk("good too"),
    ]);
    assert_eq!(mixed.len(), 2);
    let faults: Vec<_> = mixed.skipped().iter().map(|skipped| (skipped.kid.as_str(), skipped.fault)).collect();
    let expected = [
        ("future", KeyFault::UnknownType),
        ("leaked", KeyFault::PrivateMaterial),
        ("", KeyFault::Malformed),
        ("", KeyFault::Malformed),
    ];
    assert_eq!(faults, expected);
    assert!(!format!("{mixed:?}").contains("AAAA"));
}

#[test]
fn a143_one_kid_for_two_keys_refuses_the_set() {
    let twice = |second: Value| json!({"keys": [TestKey::p256().jwk("k1"), second]}).to_string();
    for second in
        [TestKey::p256().jwk("k1"), TestKey::ed25519().jwk("k1"), json!({"kty": "oct", "k": "AAAA", "kid": "k1"})]
    {
        assert_eq!(parse(&twice(second)).unwrap_err(), KeySetFault::DuplicateKid);
    }
    let for_encryption = with(TestKey::p256().jwk("k1"), "use", json!("enc"));
    assert_eq!(parse(&twice(for_encryption)).unwrap().len(), 1, "nobody ever looks that one up");
}

#[test]
fn a139_what_is_no_key_set_is_refused_whole() {
    for text in [
        "",
        "<html></html>",
        "[]",
        "null",
        "{",
        r#"{"keys":[],"keys":[]}"#,
        "\u{feff}{\"keys\":[]}",
        r#"{"keys":[]} x"#,
    ] {
        assert_eq!(parse(text).unwrap_err(), KeySetFault::NotJson, "{text}");
    }
    for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[1]}"#, r#"{"keys":[[]]}"#] {
        assert_eq!(parse(text).unwrap_err(), KeySetFault::NotASet, "{text}");
    }
    assert!(parse(r#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn a140_the_number_of_keys_is_bounded() {
    let many = |n: usize| json!({"keys": vec![json!({"kty": "future"}); n]}).to_string();
    assert_eq!(parse(&many(100)).unwrap().skipped().len(), 100);
    assert_eq!(parse(&many(101)).unwrap_err(), KeySetFault::TooManyKeys);
    assert_eq!(parse(&many(10_000)).unwrap_err(), KeySetFault::TooManyKeys);
}

#[test]
fn the_fingerprint_is_of_keys_not_of_text() {
    let (one, two) = (TestKey::p256().jwk("1"), TestKey::ed25519().jwk("2"));
    let set_of = |keys: &[&Value]| parse(&json!({ "keys": keys }).to_string()).unwrap().fingerprint();
    let base = set_of(&[&one, &two]);
    assert_eq!(base, set_of(&[&two, &one]));
    assert_eq!(base, set_of(&[&one, &two, &json!({"kty": "oct", "k": "AAAA", "kid": "3"})]));
    assert_ne!(base, set_of(&[&one]));
    assert_ne!(base, set_of(&[&with(one.clone(), "kid", json!("3")), &two]));
    assert_ne!(set_of(&[&one]), set_for(&[Algorithm::RS256], std::slice::from_ref(&one)).fingerprint());
}
