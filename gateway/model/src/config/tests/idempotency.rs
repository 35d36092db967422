//! What routes may do about requests that are sent again.

use std::time::Duration;

use http::HeaderName;

use super::{Memory, small_with};
use crate::idempotency::{ENQUEUE_TTL, FORWARD_TTL, FingerprintMode, Idempotency, KeySource};
use crate::pointer::Pointer;

/// The route `orders`, with this written to it.
fn orders(written: &str) -> Memory {
    Memory::new(small_with("path: /orders,", &format!("path: /orders, {written},")))
}

fn lowered(memory: &Memory) -> Idempotency {
    let plan = memory.check().unwrap_or_else(|error| panic!("{error}")).plan;
    plan.router.routes()[1].idempotency.clone().unwrap()
}

#[test]
fn a_key_can_be_in_several_places() {
    for (key, source) in [
        ("idempotency-key", KeySource::Field(HeaderName::from_static("idempotency-key"))),
        ("Idempotency-Key", KeySource::Field(HeaderName::from_static("idempotency-key"))),
        ("header:X-Request-Key", KeySource::PlainField(HeaderName::from_static("x-request-key"))),
        ("json:/order/a~1b", KeySource::Body(Pointer::parse("/order/a~1b").unwrap())),
        ("cloudevents", KeySource::CloudEvent),
    ] {
        let lowered = lowered(&orders(&format!("idempotency: {{key: '{key}'}}")));
        assert_eq!(lowered.source, source);
    }
}

#[test]
fn what_is_left_out_has_its_default_and_nothing_is_done_without_the_setting() {
    let default = Idempotency {
        source: KeySource::Field(HeaderName::from_static("idempotency-key")),
        required: false,
        ttl: FORWARD_TTL,
        fingerprint: FingerprintMode::Bytes,
    };
    assert_eq!(lowered(&orders("idempotency: {}")), default);
    let enqueue = "idempotency: {}, enqueue: {sinks: [erp-orders], event_type: x}";
    assert_eq!(lowered(&orders(enqueue)), Idempotency { ttl: ENQUEUE_TTL, ..default.clone() });
    let written = "idempotency: {required: true, ttl: 90s, fingerprint: canonical_json}";
    let ttl = Duration::from_secs(90);
    let fingerprint = FingerprintMode::CanonicalJson;
    assert_eq!(lowered(&orders(written)), Idempotency { required: true, ttl, fingerprint, ..default });
    let plan = orders("host: a.example").check().unwrap().plan;
    assert!(plan.router.routes().iter().all(|route| route.idempotency.is_none()));
    let limits = &plan.tenants["acme"].limits;
    assert_eq!((limits.idempotency_keys, limits.idempotency_bytes), (1_000_000, 1 << 30));
}

#[test]
fn a273_keys_that_no_request_could_have_are_refused() {
    for (key, said) in [
        ("idempotency_key", "one of `idempotency-key`, `header:NAME`"),
        ("field:x", "one of `idempotency-key`, `header:NAME`"),
        ("cloudevents:id", "one of `idempotency-key`, `header:NAME`"),
        ("header:", "behind `header:` the name of a header field belongs"),
        ("header:a b", "behind `header:` the name of a header field belongs"),
        ("header:Authorization", "credentials say who asks"),
        ("header:cookie", "credentials say who asks"),
        ("header:Connection", "this field belongs to a connection"),
        ("json:", "behind `json:` a JSON pointer belongs"),
        ("json:order", "behind `json:` a JSON pointer belongs"),
        ("json:/a~2", "behind `json:` a JSON pointer belongs"),
        ("", "1 to 255 printable characters"),
    ] {
        let errors = orders(&format!("idempotency: {{key: '{key}'}}")).errors();
        let said = format!("gateway.yaml:12:54  routes[1].idempotency.key: {said}");
        assert!(errors.contains(&said), "{errors}");
    }
    for (written, said) in [
        ("{ttl: 59s}", "routes[1].idempotency.ttl: too small: from 1m to 30d is allowed"),
        ("{ttl: 31d}", "routes[1].idempotency.ttl: too large: from 1m to 30d is allowed"),
        ("{fingerprint: json}", "routes[1].idempotency.fingerprint: "),
        ("{requierd: true}", "did you mean `required`?"),
    ] {
        let errors = orders(&format!("idempotency: {written}")).errors();
        assert!(errors.contains(said), "{errors}");
    }
    let tenant = |limits: &str| {
        let limits = format!("id: acme, limits: {{{limits}}}");
        Memory::new(small_with("id: acme", &limits))
    };
    let too_small = "limits.idempotency_keys: too small: from 1 to 100000000";
    assert!(tenant("idempotency_keys: 0").errors().contains(too_small));
    assert!(tenant("idempotency_keys: 100000001").errors().contains("limits.idempotency_keys: too large"));
    assert!(tenant("idempotency_bytes: 1023KiB").errors().contains("limits.idempotency_bytes: too small"));
    let plan = tenant("idempotency_keys: 7, idempotency_bytes: 1MiB").check().unwrap().plan;
    let limits = &plan.tenants["acme"].limits;
    assert_eq!((limits.idempotency_keys, limits.idempotency_bytes), (7, 1 << 20));
}

#[test]
fn a_key_needs_a_tenant_and_something_that_could_be_done_twice() {
    let ping = |written: &str| Memory::new(small_with("methods: [GET], auth: public", written));
    let errors = ping("methods: [POST], auth: public, idempotency: {}").errors();
    let said = "gateway.yaml:11:75  routes[0].idempotency: an idempotency key belongs to a tenant";
    assert!(errors.contains(said), "{errors}");
    let errors = ping("methods: [GET, HEAD], auth: {issuers: [idp]}, idempotency: {}").errors();
    let said = "routes[0].idempotency: the methods of this route change nothing";
    assert!(errors.contains(said), "{errors}");
    for fine in [
        "methods: [POST], auth: public, tenant: acme, idempotency: {}",
        "methods: [GET, PUT], auth: {issuers: [idp]}, idempotency: {}",
    ] {
        assert!(ping(fine).check().is_ok(), "{}", ping(fine).errors());
    }
}
