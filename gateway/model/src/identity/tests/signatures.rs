//! Signatures: 107–109, 117, 131–134, the tokens that the RFCs print, and tokens that another crate makes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::identity::test_keys::{b64, unb64};

fn header(algorithm: &str) -> String {
    format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"k1"}}"#)
}

/// A bench with this key alone.
fn bench_of(key: TestKey) -> Bench {
    Bench { keys: set(&[key.jwk("k1")]), key, issuer: issuer() }
}

#[test]
fn every_algorithm_of_the_plan_verifies_and_only_with_its_own_key() {
    let families: [(TestKey, &[&str]); 4] = [
        (TestKey::p256(), &["ES256"]),
        (TestKey::p384(), &["ES384"]),
        (TestKey::ed25519(), &["EdDSA", "Ed25519"]),
        (TestKey::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ];
    let every = families.each_ref().map(|(_, algorithms)| *algorithms).concat();
    for (key, own) in families {
        let bench = bench_of(key);
        for algorithm in &every {
            let verdict = bench.header(&header(algorithm)).map(drop);
            let expected = if own.contains(algorithm) { Ok(()) } else { Err(TokenFault::Algorithm) };
            assert_eq!(verdict, expected, "{algorithm} with a key for {own:?}");
        }
    }
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    let examples = [
        // RFC 7515 Appendix A.3.
        (
            Algorithm::ES256,
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290\
             Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        // RFC 8037 Appendix A.4.
        (
            Algorithm::EdDSA,
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (algorithm, jwk, input, signature) in examples {
        let keys = set(&[jwk]);
        let verifier = keys.find(None).unwrap().verifier(algorithm).unwrap();
        assert!(verifier.verify_sig(input.as_bytes(), &unb64(signature)).is_ok(), "{algorithm:?}");
        assert!(verifier.verify_sig(&input.as_bytes()[1..], &unb64(signature)).is_err(), "{algorithm:?}");
    }
}

#[test]
fn tokens_that_another_crate_makes_verify() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();

    let mut jose = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    jose.kid = Some("k1".into());
    let token =
        jsonwebtoken::encode(&jose, &payload(), &jsonwebtoken::EncodingKey::from_ec_der(pkcs8.as_ref())).unwrap();
    let bench = bench_of(TestKey::P256(pair));
    assert_eq!(&*bench.verify(token).unwrap().subject, "acme-shop");
}

#[test]
fn a107_a_public_key_is_no_hmac_secret() {
    let bench = bench_of(TestKey::rsa());
    let jwk = bench.key.jwk("k1");
    let (modulus, text) = (unb64(jwk["n"].as_str().unwrap()), jwk.to_string());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&modulus));
    for secret in [pem.as_bytes(), &modulus, text.as_bytes()] {
        let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let input = format!("{}.{}", b64(header("HS256").as_bytes()), b64(payload().to_string().as_bytes()));
        let forged = format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&mac, input.as_bytes()).as_ref()));
        assert_eq!(bench.verify(forged).unwrap_err(), TokenFault::Algorithm);
    }
}

#[test]
fn a109_the_algorithm_is_the_issuers_and_the_keys_choice() {
    let rsa = TestKey::rsa();
    let mut bench = bench_of(rsa);
    bench.keys = set_for(&[Algorithm::ES256], &[bench.key.jwk("k1")]);
    assert_eq!(bench.header(&header("RS256")).unwrap_err(), TokenFault::UnknownKey, "the issuer has no RSA");
    bench.keys = set_for(&[Algorithm::RS256], &[bench.key.jwk("k1")]);
    assert!(bench.header(&header("RS256")).is_ok());
    assert_eq!(bench.header(&header("PS256")).unwrap_err(), TokenFault::Algorithm);

    let mut pinned = bench.key.jwk("k1");
    pinned["alg"] = "PS256".into();
    bench.keys = set(&[pinned]);
    assert!(bench.header(&header("PS256")).is_ok());
    assert_eq!(bench.header(&header("RS256")).unwrap_err(), TokenFault::Algorithm, "the key is for PS256 only");
}

#[test]
fn a117_a_key_of_another_issuer_does_not_help() {
    let (ours, theirs) = (Bench::new(), Bench::new());
    let token = theirs.key.token(HEADER, &payload().to_string());
    assert!(theirs.verify(&token).is_ok());
    assert_eq!(ours.verify(&token).unwrap_err(), TokenFault::Signature);
    let renamed = theirs.key.token(&HEADER.replace("k1", "theirs"), &payload().to_string());
    assert_eq!(ours.verify(renamed).unwrap_err(), TokenFault::UnknownKey);
}

/// Order of P-256's base point (FIPS 186-5).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[test]
fn a131_ecdsa_edges_are_refused() {
    let bench = Bench::new();
    let token = bench.key.token(HEADER, &payload().to_string());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = unb64(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let der = |r: &[u8], s: &[u8]| {
        let integer = |value: &[u8]| [&[2, value.len() as u8 + 1, 0], value].concat();
        let body = [integer(r), integer(s)].concat();
        [&[0x30, body.len() as u8], &body[..]].concat()
    };
    let wrong: Vec<Vec<u8>> = vec![
        [&zero, s].concat(),
        [r, &zero].concat(),
        [zero, zero].concat(),
        [&P256_ORDER, s].concat(),
        [r, &P256_ORDER].concat(),
        [[0xff; 32], [0xff; 32]].concat(),
        der(r, s),
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0], &signature[..]].concat(),
        vec![0],
    ];
    for signature in wrong {
        assert_eq!(bench.verify(format!("{input}.{}", b64(&signature))).unwrap_err(), TokenFault::Signature);
    }
    // n − s is a second signature of the same token. It holds, so a token's bytes never name a session or a user.
    let mut borrow = 0_i32;
    let mut other = [0_u8; 32];
    for index in (0..32).rev() {
        let difference = i32::from(P256_ORDER[index]) - i32::from(s[index]) - borrow;
        borrow = i32::from(difference < 0);
        other[index] = (difference & 0xff) as u8;
    }
    let twin = format!("{input}.{}", b64(&[r, &other].concat()));
    assert_eq!(bench.verify(twin).unwrap().subject, bench.verify(&token).unwrap().subject);
}

/// Order of Ed25519's base point (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a132_eddsa_edges_are_refused() {
    let bench = bench_of(TestKey::ed25519());
    let token = bench.key.token(&header("EdDSA"), &payload().to_string());
    assert!(bench.verify(&token).is_ok());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = unb64(signature);
    let mut carry = 0_u16;
    let mut large = signature.clone();
    for (byte, order) in large[32..].iter_mut().zip(ED25519_ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    for wrong in [large, signature[..63].to_vec(), [&signature[..], &[0]].concat(), vec![0; 64]] {
        assert_eq!(bench.verify(format!("{input}.{}", b64(&wrong))).unwrap_err(), TokenFault::Signature);
    }
}

/// Shows why keys of small order are dropped: the verifier itself accepts one signature, made without any private key.
#[test]
fn a132_small_order_keys_would_verify_anything_and_are_dropped() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let mut forgery = [0_u8; 64];
    forgery[0] = 1;
    for mut point in crate::identity::keys::SMALL_ORDER_Y {
        let fits = (0..200_u8).any(|n| UnparsedPublicKey::new(&ED25519, &point).verify(&[n], &forgery).is_ok());
        assert!(fits, "{point:02x?} is of small order");
        for sign in [0, 0x80] {
            point[31] |= sign;
            let keys = set(&[json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&point), "kid": "k1"})]);
            assert!(keys.is_empty(), "{point:02x?}");
        }
    }
}

/// The padding's own edges are in `collections`; these are of the signature as a number and of the scheme.
#[test]
fn a133_rsa_signatures_of_the_wrong_shape_are_refused() {
    let bench = bench_of(TestKey::rsa());
    let modulus = unb64(bench.key.jwk("k1")["n"].as_str().unwrap());
    for algorithm in ["RS256", "PS256"] {
        let token = bench.key.token(&header(algorithm), &payload().to_string());
        assert!(bench.verify(&token).is_ok());
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = unb64(signature);
        let mut one = vec![0; 256];
        one[255] = 1;
        let mut flipped = signature.clone();
        flipped[128] ^= 1;
        let other_scheme = bench.key.sign(if algorithm == "RS256" { "PS256" } else { "RS256" }, input.as_bytes());
        let other_digest = bench.key.sign(if algorithm == "RS256" { "RS384" } else { "PS512" }, input.as_bytes());
        let wrong: Vec<Vec<u8>> = vec![
            vec![0; 256],
            one,
            modulus.clone(),
            vec![0xff; 256],
            flipped,
            signature[1..].to_vec(),
            [&[0], &signature[..]].concat(),
            [&signature[..], &[0]].concat(),
            signature.iter().rev().copied().collect(),
            other_scheme,
            other_digest,
        ];
        for wrong in wrong {
            assert_eq!(bench.verify(format!("{input}.{}", b64(&wrong))).unwrap_err(), TokenFault::Signature);
        }
    }
}

#[test]
fn a134_parts_of_other_tokens_do_not_fit() {
    let bench = Bench::new();
    let token = bench.key.token(HEADER, &payload().to_string());
    let other = bench.key.token(&HEADER.replace("at+jwt", "jwt"), &payload_with("tenant", json!("globex")).to_string());
    let parts: Vec<&str> = token.split('.').collect();
    let others: Vec<&str> = other.split('.').collect();
    for swapped in [
        [parts[0], parts[1], others[2]],
        [others[0], parts[1], parts[2]],
        [parts[0], others[1], parts[2]],
        [parts[0], others[1], others[2]],
    ] {
        assert_eq!(bench.verify(swapped.join(".")).unwrap_err(), TokenFault::Signature);
    }
    assert_eq!(bench.verify(format!("{}.{}.", parts[0], parts[1])).unwrap_err(), TokenFault::Malformed);
}
