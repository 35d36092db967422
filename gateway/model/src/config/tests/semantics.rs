//! What holds by itself and not together.

use std::time::Duration;

use super::{Memory, SMALL, small_with};
use crate::shedding::Shedding;

/// What changing one text in [`SMALL`] is answered with: both parts.
fn refused(from: &str, to: &str, one: &str, other: &str) {
    let errors = Memory::new(small_with(from, to)).errors();
    assert!(errors.contains(one), "{errors}");
    assert!(errors.contains(other), "{errors}");
}

#[test]
fn small_holds_without_a_warning() {
    let checked = Memory::new(SMALL).check().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.warnings, []);
    assert_eq!(checked.plan.digest.len(), 64);
}

#[test]
fn the_wished_output_for_an_unknown_field() {
    let text = "version: 1\nlisteners: [{name: a, address: 127.0.0.1:1}]\nserver:\n  drian: 3s\n";
    assert_eq!(
        Memory::new(text).errors(),
        "gateway.yaml:4:3  unknown field `drian` in server\n    4 │   drian: 3s\n      │   ^^^^^ did you mean `drain`?\n1 error"
    );
}

#[test]
fn several_mistakes_are_found_at_once_in_the_order_of_the_file() {
    let text = "\
version: 2
listeners:
  - {name: a, address: nowhere}
server: {threads: 0, drain: 30, limits: {fields: 5000}}
issuers:
  - {name: b, issuer: c, audiences: d, jwks: {url: x, refresh: 1s, ttl: 2}}
";
    let error = Memory::new(text).check().unwrap_err();
    let lines: Vec<u32> = error.problems.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 3, 4, 4, 4, 6, 6, 6], "{error}");
    let text = error.to_string();
    assert!(text.ends_with("8 errors"), "{text}");
    assert!(text.contains("server.drain: a length of time needs its unit"), "{text}");
    assert!(text.contains("from 1m to 10m is allowed"), "{text}");
}

#[test]
fn a273_names_that_lead_nowhere_are_refused_with_what_was_meant() {
    refused(
        "upstreams: [erp]}}\n  - {name: orders",
        "upstreams: [epr]}}\n  - {name: orders",
        ":11:",
        "no upstream is named `epr`",
    );
    refused(
        "upstreams: [erp]}}\n  - {name: orders",
        "upstreams: [epr]}}\n  - {name: orders",
        "routes[0].forward.upstreams[0]",
        "did you mean `erp`?",
    );
    refused(
        "issuers: [idp]",
        "issuers: [ipd]",
        "routes[1].auth.issuers[0]: no issuer is named `ipd`",
        "did you mean `idp`?",
    );
    refused(
        "auth: public",
        "auth: public, tenant: acne",
        "routes[0].tenant: no tenant is named `acne`",
        "did you mean `acme`?",
    );
    refused(
        "plugins: {orders:",
        "plugins: {order:",
        "gateway.yaml:14:26  tenants[0].plugins.order: no route's slot is named `order`",
        "did you mean `orders`?",
    );
    refused(
        "plugin: orders, forward: {upstreams: [erp]}",
        "enqueue: {sinks: [erp-order], event_type: x}",
        "routes[1].enqueue.sinks[0]: no sink is named `erp-order`",
        "did you mean `erp-orders`?",
    );
}

#[test]
fn a273_a_slot_that_nobody_fills_is_a_warning() {
    let text = small_with(", plugins: {orders: acme-orders}", "");
    let checked = Memory::new(text).check().unwrap();
    assert_eq!(checked.warnings.len(), 1);
    assert!(checked.warnings[0].message.starts_with("routes[1].plugin: no tenant"), "{}", checked.warnings[0]);
    // No slot at all: said once.
    let text = small_with("plugin: orders, ", "") + "  - {id: other, plugins: {orders: x}}\n";
    assert_eq!(Memory::new(text).check().unwrap().warnings.len(), 1);
    // Bound to a tenant that does not fill it, though another one does.
    let text = small_with("plugin: orders,", "plugin: orders, tenant: other,") + "  - {id: other}\n";
    assert_eq!(Memory::new(text).check().unwrap().warnings.len(), 1);
}

#[test]
fn a273_names_twice_are_refused() {
    refused(
        "- {name: http, address: 127.0.0.1:8080}",
        "- {name: http, address: 127.0.0.1:8080}\n  - {name: http, address: 127.0.0.1:8081}",
        "listeners[1].name: `http` is there already (gateway.yaml:3)",
        "",
    );
    refused("name: orders, path", "name: ping, path", "routes[1].name: `ping` is there already", "");
    refused("{id: acme,", "{id: acme}\n  - {id: acme,", "tenants[1].id: `acme` is there already", "");
    refused(
        "upstreams: [erp]}}\n  - {name: o",
        "upstreams: [erp, erp]}}\n  - {name: o",
        "upstreams[1]: this upstream is there already",
        "",
    );
    refused("methods: [GET]", "methods: [GET, GET]", "routes[0].methods[1]: this method is there already", "");
}

#[test]
fn a273_two_routes_for_the_same_requests_are_refused() {
    refused("path: /orders, methods: [POST]", "path: /ping, methods: [POST, GET]", "routes[1].path", "`ping`");
    let two = |first: &str, second: &str| {
        let text = small_with("path: /ping", &format!("path: '{first}'"));
        Memory::new(text.replace("path: /orders", &format!("path: '{second}'")))
    };
    refused(
        "path: /ping, methods: [GET]",
        "path: '/{a}', methods: [GET], auth: public, forward: {upstreams: [erp]}}\n  \
         - {name: other, path: '/{b}', methods: [GET]",
        "routes[1].path",
        "`ping`",
    );
    for (first, second) in [
        ("/{a}", "/{b}"),
        ("/{a}", "/b"),
        ("/a/{b...}", "/a/b"),
        ("/a/b", "/a/{b...}"),
        ("/a/", "/a/{b...}"),
        ("/a/{b...}", "/a/"),
    ] {
        assert!(two(first, second).check().is_ok(), "{first} {second} {}", two(first, second).errors());
    }
    assert!(Memory::new(small_with("path: /orders", "path: /ping")).check().is_ok());
    assert!(
        Memory::new(small_with("path: /orders, methods: [POST]", "path: /ping, host: a.example, methods: [GET]"))
            .check()
            .is_ok()
    );
}

#[test]
fn a272_the_admin_address_is_nobody_elses() {
    for admin in ["127.0.0.1:8080", "0.0.0.0:8080", "'[::]:8080'"] {
        let text = format!("{SMALL}admin: {{address: {admin}}}\n");
        let errors = Memory::new(text).errors();
        assert!(errors.contains("gateway.yaml:3:27  listeners[0].address: this is the address of `admin`"), "{errors}");
    }
    let listeners = |address| small_with("8080}", &format!("8080}}\n  - {{name: b, address: {address}}}"));
    for address in ["127.0.0.1:8080", "0.0.0.0:8080"] {
        let errors = Memory::new(listeners(address)).errors();
        assert!(errors.contains("listeners[1].address: the listener `http` has this address already"), "{errors}");
    }
    assert!(Memory::new(listeners("127.0.0.1:0")).check().is_ok());
    let open = Memory::new(format!("{SMALL}admin: {{address: 0.0.0.0:9901}}\n")).check().unwrap();
    assert!(open.warnings[0].message.contains("admin.address"), "{}", open.warnings[0]);
}

#[test]
fn a_tenants_scope_is_not_an_operators() {
    let auth = |scopes: &str| format!("{SMALL}admin: {{ auth: {{ issuers: [idp], {scopes} }} }}\n");
    for name in ["deploy_scope", "events_scope"] {
        let errors = Memory::new(auth(&format!("{name}: all, operate_scope: all"))).errors();
        assert!(errors.contains(&format!("this is `{name}` too")), "{errors}");
    }
    let one_for_both = Memory::new(auth("deploy_scope: own, events_scope: own")).check().unwrap();
    let auth = one_for_both.plan.admin.auth.unwrap();
    assert_eq!((&*auth.deploy_scope, &*auth.events_scope), ("own", "own"));
}

#[test]
fn a273_numbers_past_their_ceilings_are_refused() {
    refused(
        "auth: public",
        "auth: public, body_limit: 65MiB",
        "routes[0].body_limit: too large: from 1 bytes to 64MiB",
        "",
    );
    refused("auth: public", "auth: public, body_limit: 0", "routes[0].body_limit: too small", "");
    refused("audiences: [erp]", "audiences: [erp], leeway: 61s", "issuers[0].leeway: too large: from 0s to 1m", "");
    refused("keys}", "keys, refresh: 59s}", "issuers[0].jwks.refresh: too small: from 1m to 10m", "");
    refused("keys}", "keys, refresh: 11m}", "issuers[0].jwks.refresh: too large", "");
    refused("7001]}", "7001], connect_timeout: 61s}", "connect_timeout: too large", "");
    refused("7001]}", "7001], total_timeout: 1s}", "must not be more than `total_timeout`", "");
    refused("7001]}", "7001], breaker: {open: 9m}}", "upstreams[0].breaker.open: must not be more than `max_open`", "");
}

#[test]
fn a273_algorithms_that_prove_nothing_are_refused_with_the_reason() {
    let algorithm =
        |name: &str| small_with("audiences: [erp]", &format!("audiences: [erp], algorithms: [ES256, {name}]"));
    for name in ["HS256", "HS384", "HS512", "hs256"] {
        let errors = Memory::new(algorithm(name)).errors();
        assert!(errors.contains("issuers[0].algorithms[1]: with a shared secret"), "{errors}");
    }
    for name in ["none", "None", "NONE"] {
        assert!(Memory::new(algorithm(name)).errors().contains("algorithms[1]: unsigned tokens prove nothing"));
    }
    assert!(Memory::new(algorithm("es256")).errors().contains("did you mean `ES256`?"));
    assert!(Memory::new(algorithm("EdDSA")).check().is_ok());
}

#[test]
fn keys_come_over_https_unless_said_otherwise() {
    refused(
        "https://idp.example/keys",
        "http://idp.example/keys",
        "issuers[0].jwks.url: whoever can change",
        "allow_insecure: true",
    );
    assert!(
        Memory::new(small_with("https://idp.example/keys", "http://idp.example/keys, allow_insecure: true"))
            .check()
            .is_ok()
    );
}

#[test]
fn urls_are_checked() {
    for url in [
        "ftp://x",
        "x",
        "http://",
        "https://u:p@x/",
        "'http://x:99999'",
        "'http://x:0'",
        "'http://x y'",
        "'http://x/#f'",
        "http://-x/",
        "/path",
    ] {
        refused("http://127.0.0.1:7001]", &format!("{url}]"), "upstreams[0].endpoints[0]: ", "URL");
    }
    for (url, host, port, tls, base) in [
        ("http://ERP", "erp", 80, false, ""),
        ("https://erp.example/", "erp.example", 443, true, ""),
        ("'https://[::1]:8443/a/b/'", "[::1]", 8443, true, "/a/b"),
    ] {
        let plan = Memory::new(small_with("http://127.0.0.1:7001]", &format!("{url}]"))).check().unwrap().plan;
        let endpoint = &plan.upstreams["erp"].endpoints[0];
        assert_eq!((&*endpoint.host, endpoint.port, endpoint.tls, &*endpoint.base_path), (host, port, tls, base));
    }
}

#[test]
fn fields_that_are_the_gateways_own_are_refused() {
    for name in ["connection", "Transfer-Encoding", "content-length", "host", "te", "upgrade"] {
        let headers = format!("7001], headers: {{{name}: x}}}}");
        refused("7001]}", &headers, &format!("upstreams[0].headers.{name}: this field is set by the gateway"), "");
    }
    refused("7001]}", "7001], headers: {'a b': x}}", "upstreams[0].headers.a b: this is no name", "");
    refused("7001]}", "7001], headers: {x: \"a\\nb\"}}", "upstreams[0].headers.x: this value cannot stand", "");
    refused("7001]}", "7001], headers: {x-a: b, X-A: c}}", "this field is set twice", "");
    refused("/events}", "/events, headers: {te: b}}", "sinks[0].http.headers.te", "");
}

#[test]
fn a_route_leads_somewhere_and_a_tenant_is_known_where_one_is_needed() {
    refused(", forward: {upstreams: [erp]}}\n  - {name: o", "}\n  - {name: o", "routes[0]: a route needs one of", "");
    refused("auth: public,", "auth: public, plugin: orders,", "routes[0].plugin: a plugin belongs to a tenant", "");
    refused(
        "auth: public, forward: {upstreams: [erp]}",
        "auth: public, enqueue: {sinks: [erp-orders], event_type: x}",
        "routes[0].enqueue: an event belongs to a tenant",
        "",
    );
    refused(
        "auth: public, forward: {upstreams: [erp]}",
        "auth: public, tenant: acme, forward: {upstreams: [erp]}, enqueue: {sinks: [erp-orders], event_type: x}",
        "routes[0].enqueue: only a `plugin`, `else` or `prefer` can choose",
        "",
    );
    assert!(Memory::new(small_with("auth: public,", "auth: public, tenant: acme, plugin: orders,")).check().is_ok());
    refused(
        "forward: {upstreams: [erp]}}\n  - {name: o",
        "forward: {upstreams: []}}\n  - {name: o",
        "at least one upstream",
        "",
    );
}

#[test]
fn path_templates_are_checked() {
    for path in [
        "orders",
        "''",
        "/a//b",
        "/a/../b",
        "/a?b",
        "'/a#b'",
        "/a%2Fb",
        "'/{a'",
        "'/x{a}'",
        "'/{a...}/b'",
        "'/{a}/{a}'",
        "'/{}'",
        "'/{1}'",
        "/é",
        "'/a b'",
    ] {
        refused("path: /ping", &format!("path: {path}"), "routes[0].path: ", "");
    }
    for path in ["/", "/a/", "'/a/{b}/c'", "'/a/{b}/{rest...}'", "/a.b_c-d~e"] {
        let checked = Memory::new(small_with("path: /ping", &format!("path: {path}"))).check();
        assert!(checked.is_ok(), "{path}\n{}", checked.unwrap_err());
    }
}

#[test]
fn tenant_ids_follow_their_grammar() {
    let long = "a".repeat(64);
    for id in ["Acme", "a.b", "a_b", "''", "ä", &long] {
        refused("id: acme", &format!("id: {id}"), "tenants[0].id: an id of 1 to 63", "");
    }
    assert!(Memory::new(small_with("id: acme", &format!("id: {}", "a-9".repeat(21)))).check().is_ok());
}

#[test]
fn text_that_looks_like_something_else_must_be_quoted() {
    refused("id: acme", "id: 4711", "tenants[0].id: text belongs here, not a number", "");
    refused("id: acme", "id: true", "tenants[0].id: text belongs here, not true or false", "");
    refused("id: acme", "id: ~", "tenants[0].id: text belongs here, not nothing", "");
    assert!(Memory::new(small_with("id: acme", "id: '4711'")).check().is_ok());
    // YAML 1.2: these are words, and no trap for Norwegians.
    assert!(Memory::new(small_with("id: acme", "id: no")).check().is_ok());
}

#[test]
fn a273_more_routes_than_can_be_served_are_refused() {
    let routes: String = (0..10_000)
        .map(|n| {
            format!("  - {{name: r{n}, path: /{n}, methods: [GET], auth: public, forward: {{upstreams: [erp]}}}}\n")
        })
        .collect();
    let errors = Memory::new(small_with("routes:\n", &format!("routes:\n{routes}"))).errors();
    assert!(errors.contains("routes: at most 10000 are allowed, not 10002"), "{}", &errors[..300]);
}

#[test]
fn lengths_of_time_and_sizes_are_read_as_written() {
    let text = format!(
        "{SMALL}server: {{drain: 1500ms, limits: {{head_bytes: 20000, body_timeout: 10m}}}}\nledger: {{retention: 24h, max_bytes: 2TiB}}\n"
    );
    let plan = Memory::new(text).check().unwrap_or_else(|error| panic!("{error}")).plan;
    assert_eq!(plan.server.drain, Duration::from_millis(1500));
    assert_eq!(plan.server.limits.head_bytes, 20_000);
    assert_eq!(plan.server.limits.body_timeout, Duration::from_secs(600));
    assert_eq!(plan.ledger.retention, Duration::from_secs(86_400));
    assert_eq!(plan.ledger.max_bytes, 2 << 40);
    assert_eq!(plan.ledger.shedding, Shedding { low: 85, normal: 95 });
    for wrong in ["1.5s", "'1h 30m'", "s", "'5 s'", "5S", "5min", "-5s", "99999999999999999999d", "''", "5"] {
        let errors = Memory::new(format!("{SMALL}server: {{drain: {wrong}}}\n")).errors();
        assert!(errors.contains("server.drain: "), "{wrong} {errors}");
    }
    for wrong in ["1.5MiB", "5MB", "5kb", "5M", "'5 MiB'", "-5", "1.5", "99999999999999999999", "''"] {
        let errors = Memory::new(format!("{SMALL}server: {{limits: {{head_bytes: {wrong}}}}}\n")).errors();
        assert!(errors.contains("server.limits.head_bytes: "), "{wrong} {errors}");
    }
}

#[test]
fn a189_counters_are_few_and_each_is_there_once() {
    refused("id: acme", "id: acme, metrics: [a, b, a]", "tenants[0].metrics[2]: this counter is there already", "");
    refused("id: acme", "id: acme, metrics: ['a b']", "tenants[0].metrics[0]: a name of at most 63", "");
    let many = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let with = |count: usize| format!("id: acme, metrics: [{}]", many(count));
    refused("id: acme", &with(101), "tenants[0].metrics: at most 100 are allowed, not 101", "");
    assert!(Memory::new(small_with("id: acme", &with(100))).check().is_ok());
}

#[test]
fn origins_are_scheme_host_and_port_and_secure_unless_said() {
    let with = |http: &str| format!("id: acme, http: [{http}]");
    for (wrong, said) in [
        ("{origin: api.example.com}", "an `http` or `https` URL with a host"),
        ("{origin: 'https://api.example.com/v1'}", "only a scheme, a host and a port belong here"),
        ("{origin: 'https://api.example.com?a'}", "only a scheme, a host and a port belong here"),
        ("{origin: 'https://api.example.com.'}", "an `http` or `https` URL with a host"),
        ("{origin: 'https://user@api.example.com'}", "a URL is shown in logs"),
        ("{origin: 'http://api.example.com'}", "others can read and change what is sent"),
    ] {
        refused("id: acme", &with(wrong), &format!("tenants[0].http[0].origin: {said}"), "");
    }
    let twice = "{origin: 'https://a.example'}, {origin: 'https://A.example:443'}";
    refused("id: acme", &with(twice), "tenants[0].http[1].origin: this origin is there already", "");
    let fine = "{origin: 'https://a.example'}, {origin: 'http://10.0.0.5:8080', allow_insecure: true}";
    assert!(Memory::new(small_with("id: acme", &with(fine))).check().is_ok());
}
