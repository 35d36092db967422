//! Claims: 118–127, 136 and the lifetimes' edges.

use super::*;

fn refused(bench: &Bench, name: &str, values: &[Value], fault: TokenFault) {
    for value in values {
        assert_eq!(bench.claims(&payload_with(name, value.clone())).unwrap_err(), fault, "{name}: {value}");
    }
}

/// The usual payload with `name` spelled as this JSON text; for numbers that `Value` cannot hold.
fn spelled(bench: &Bench, name: &str, json_text: &str) -> Result<Arc<Identity>, TokenFault> {
    let mut payload = payload_with(name, Value::Null).to_string();
    payload.truncate(payload.len() - 1);
    bench.verify(bench.key.token(HEADER, &format!("{payload},\"{name}\":{json_text}}}")))
}

#[test]
fn a118_iss_is_one_exact_string() {
    let bench = Bench::new();
    let values = [
        Value::Null,
        json!(7),
        json!({"iss": "https://id.example"}),
        json!("https://id.example/"),
        json!("https://ID.example"),
        json!(""),
        json!(["https://id.example"]),
        json!(["https://evil.example", "https://id.example"]),
        json!(true),
    ];
    refused(&bench, "iss", &values, TokenFault::Issuer);
    assert_eq!(spelled(&bench, "iss", "null").unwrap_err(), TokenFault::Issuer);
}

#[test]
fn a119_aud_holds_one_of_ours() {
    let bench = Bench::new();
    let values = [
        Value::Null,
        json!(7),
        json!({"aud": "orders"}),
        json!([]),
        json!(["other"]),
        json!("Orders"),
        json!("orders stock"),
        json!(["orders", 7]),
        json!([["orders"]]),
    ];
    refused(&bench, "aud", &values, TokenFault::Audience);
    for accepted in [json!("stock"), json!(["other", "orders"])] {
        assert!(bench.claims(&payload_with("aud", accepted)).is_ok());
    }
}

#[test]
fn a120_exp_is_a_date_to_come() {
    let bench = Bench::new();
    let past = NOW - 60 - 1;
    let values = [Value::Null, json!((NOW + 600).to_string()), json!(-1), json!(true), json!([NOW + 600]), json!(past)];
    refused(&bench, "exp", &values, TokenFault::Expired);
    for text in ["9.9e18", "9999999999999", "null", "18446744073709551615", "-9.9e18", "0"] {
        assert_eq!(spelled(&bench, "exp", text).unwrap_err(), TokenFault::Expired, "{text}");
    }
    for text in ["1e400", "NaN", "Infinity", "-1e400", "0x7fffffff", "+1800000600"] {
        assert_eq!(spelled(&bench, "exp", text).unwrap_err(), TokenFault::Malformed, "{text}");
    }
    assert_eq!(spelled(&bench, "exp", &format!("{}.75", NOW + 600)).unwrap().expires_at, NOW + 600);
}

#[test]
fn a121_a_lifetime_is_bounded() {
    let bench = Bench::new();
    let mut payload = payload();
    payload["exp"] = (NOW - 10 + 86_400).into();
    assert!(bench.claims(&payload).is_ok());
    payload["exp"] = (NOW - 10 + 86_401).into();
    assert_eq!(bench.claims(&payload).unwrap_err(), TokenFault::Lifetime);
    payload.as_object_mut().unwrap().remove("iat");
    payload["exp"] = (NOW + 365 * 86_400).into();
    assert_eq!(bench.claims(&payload).unwrap_err(), TokenFault::Lifetime, "without iat it counts from now");
}

#[test]
fn a122_nbf_is_a_date_that_was() {
    let bench = Bench::new();
    let values = [json!(NOW + 61), json!((NOW - 10).to_string()), json!(-1), json!(false), json!([1])];
    refused(&bench, "nbf", &values, TokenFault::NotYetValid);
    assert_eq!(spelled(&bench, "nbf", "null").unwrap_err(), TokenFault::NotYetValid);
    assert_eq!(spelled(&bench, "nbf", &format!("{}.5", NOW + 60)).unwrap_err(), TokenFault::NotYetValid);
    assert_eq!(bench.claims(&payload_with("nbf", Value::Null)).unwrap().not_before, 0);
}

#[test]
fn a123_iat_is_not_in_the_future() {
    let bench = Bench::new();
    let values = [json!(NOW + 61), json!((NOW - 10).to_string()), json!(-1), json!({})];
    refused(&bench, "iat", &values, TokenFault::IssuedInFuture);
    assert!(bench.claims(&payload_with("iat", Value::Null)).is_ok());
}

/// The issuer's clock runs ahead of ours by the leeway, or behind it; a second more is too much.
#[test]
fn a124_skew_of_exactly_the_leeway_is_accepted() {
    let bench = Bench::new();
    let issued_at = |issued: u64| {
        let mut payload = payload();
        payload["iat"] = issued.into();
        payload["nbf"] = issued.into();
        bench.claims(&payload).map(drop)
    };
    assert_eq!(issued_at(NOW + 60), Ok(()));
    assert_eq!(issued_at(NOW + 61), Err(TokenFault::NotYetValid));

    // Behind by 60 s, the issuer holds a token good until the second that, by its clock, has not come yet.
    let expires = |exp: u64| bench.claims(&payload_with("exp", exp.into())).map(drop);
    assert_eq!(expires(NOW - 60 + 1), Ok(()));
    assert_eq!(expires(NOW - 60), Err(TokenFault::Expired));
}

#[test]
fn a125_sub_is_a_name() {
    let bench = Bench::new();
    let values = [
        Value::Null,
        json!(7),
        json!(""),
        json!(["acme"]),
        json!("x".repeat(256)),
        json!("x".repeat(5_000)),
        json!("acme\n"),
        json!("a\u{0}b"),
        json!("a\u{7f}"),
        json!("a\u{85}b"),
    ];
    refused(&bench, "sub", &values, TokenFault::Subject);
    assert!(bench.claims(&payload_with("sub", json!("é".repeat(255)))).is_ok());
}

#[test]
fn a126_a_tenant_that_is_no_name_is_told_apart_from_a_bad_token() {
    let mut bench = Bench::new();
    for value in [
        Value::Null,
        json!(7),
        json!(["acme"]),
        json!({"id": "acme"}),
        json!(""),
        json!("a\nb"),
        json!("x".repeat(256)),
    ] {
        let identity = bench.claims(&payload_with("tenant", value.clone())).unwrap();
        assert!(identity.tenant.is_none(), "{value}");
    }
    bench.issuer.tenant_claim = "org.unit.id".into();
    let nested = payload_with("org", json!({"unit": {"id": "acme"}}));
    assert_eq!(bench.claims(&nested).unwrap().tenant.as_deref(), Some("acme"));
    for value in [json!("acme"), json!({"unit": "acme"}), json!({"unit": {"id": 7}}), json!({"unit.id": "acme"})] {
        assert!(bench.claims(&payload_with("org", value.clone())).unwrap().tenant.is_none(), "{value}");
    }
    assert!(bench.claims(&payload_with("org.unit.id", json!("acme"))).unwrap().tenant.is_none());
    bench.issuer.tenant_claim = "https://acme.example/claims/tenant".into();
    let namespaced = payload_with("https://acme.example/claims/tenant", json!("acme"));
    assert_eq!(bench.claims(&namespaced).unwrap().tenant.as_deref(), Some("acme"));
}

#[test]
fn a127_scopes_are_words_and_anything_else_grants_nothing() {
    let bench = Bench::new();
    let scopes = |scope: Value, scp: Value| {
        let mut payload = payload_with("scope", scope);
        payload["scp"] = scp;
        if payload["scp"].is_null() {
            payload.as_object_mut().unwrap().remove("scp");
        }
        bench.claims(&payload).unwrap().scopes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(scopes(json!("a  b"), Value::Null), ["a", "b"]);
    assert_eq!(scopes(Value::Null, json!(["a", "b"])), ["a", "b"]);
    assert_eq!(scopes(Value::Null, json!("a b")), ["a", "b"]);
    assert_eq!(scopes(json!("a"), json!(["b"])), ["a"]);
    for (scope, scp) in [
        (json!(["a"]), Value::Null),
        (json!(7), json!(["a"])),
        (Value::Null, json!(["a", 7])),
        (Value::Null, Value::Null),
    ] {
        assert!(scopes(scope.clone(), scp.clone()).is_empty(), "{scope} {scp}");
    }
    let identity = bench.claims(&payload()).unwrap();
    assert!(!identity.has_scopes(&["orders:write".into(), "orders:delete".into()]));
}

#[test]
fn a136_an_identity_ends_with_its_token() {
    let bench = Bench::new();
    let identity = bench.claims(&payload()).unwrap();
    assert!(identity.is_current(NOW + 600 + 59, 60));
    assert!(!identity.is_current(NOW + 600 + 60, 60));
    assert!(identity.is_current(NOW - 70, 60));
    assert!(!identity.is_current(NOW - 71, 60), "a clock set back makes it early");
    assert!(!identity.is_current(u64::MAX, u64::MAX - 1));
}

#[test]
fn no_moment_overflows() {
    let bench = Bench::new();
    let token = bench.key.token(HEADER, &payload().to_string());
    for now in [0, 1, u64::MAX - 1, u64::MAX] {
        assert!(bench.verify_at(&token, now).is_err());
    }
}
