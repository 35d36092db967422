//! Components as they come in by the operators' listener: who may upload, what is refused and how, what is kept.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sluis_fixture::Named;
use sluis_model::rollout::Version;
use sluis_model::signature::{self, SignedAs};

use crate::support::client::{Answer, Connection, call, request};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::issuer::now;
use crate::support::workshop::{Workshop, example, tester, who};

const VERSION: &str = "/v1/tenants/acme/plugins/orders/versions/1.0.0";

fn refused(answer: &Answer, status: u16, code: &str) {
    let json = answer.json();
    assert_eq!((answer.status, answer.problem().as_str()), (status, "plugin-rejected"), "{}", answer.text());
    assert_eq!(json["code"], code, "{}", answer.text());
}

#[test]
fn a_tenant_uploads_a_version_and_is_told_what_it_is() {
    let shop = Workshop::open();
    let answer = shop.upload("1.0.0", &example("tester"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let report = &answer.json()["report"];
    assert_eq!(report["hooks"], json!(["on-request"]));
    assert_eq!(report["size"], example("tester").len());
    assert!(report["imports"].as_array().unwrap().contains(&json!("sluis:plugin/kv@1.0.0")), "{report}");
    assert!(report["compiled_in_ms"].is_u64(), "{report}");
    assert_eq!(report["digest"], blake3::hash(&example("tester")).to_hex().as_str());

    assert_eq!(shop.upload("1.0.0", &example("tester")).status, 200, "the same again is no other version");
    let other = shop.upload("1.0.0", &tester("second"));
    assert_eq!((other.status, other.problem().as_str()), (409, "version-exists"));
    let plugin = shop.orders();
    assert_eq!(plugin["versions"].as_array().unwrap().len(), 1, "{plugin}");
    assert_eq!(plugin["versions"][0]["uploaded_by"], "dev-1");
    assert_eq!((&plugin["slots"], &plugin["rollout"]["revision"]), (&json!(["orders"]), &json!(0)));
    let before = shop.post("acme", "/", "/echo");
    assert_eq!((before.status, before.problem().as_str()), (503, "plugin-unavailable"), "nothing was deployed");
    assert_eq!(shop.gateway.metric("sluis_plugin_uploads_total{result=\"kept\"}"), 1.0);
}

#[test]
fn only_who_may_sees_and_changes_a_tenants_plugins() {
    let shop = Workshop::open();
    let component = example("tester");
    let ask = |bearer: Option<&str>, method: &str, path: &str, body: &[u8]| {
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", *bearer)).collect();
        call(shop.gateway.admin, method, path, &headers, body)
    };
    let nobody = ask(None, "PUT", VERSION, &component);
    assert_eq!((nobody.status, nobody.problem().as_str()), (401, "invalid-token"));
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let customer = shop.issuer.bearer("acme");
    let answer = ask(Some(&customer), "PUT", VERSION, &component);
    assert_eq!((answer.status, answer.problem().as_str()), (403, "insufficient-scope"));
    for (method, path) in [
        ("PUT", VERSION),
        ("DELETE", VERSION),
        ("GET", "/v1/tenants/acme/plugins"),
        ("GET", "/v1/tenants/acme/plugins/orders"),
        ("POST", "/v1/tenants/acme/plugins/orders/rollback"),
        ("GET", "/v1/tenants/acme/audit"),
        ("GET", "/v1/tenants/acme/logs"),
        ("GET", "/v1/tenants/nobody/plugins"),
    ] {
        let answer = shop.admin("globex", method, path, b"");
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{method} {path}");
    }
    let operator = shop.issuer.bearer_of("op-1", "none", "gateway:operate");
    let answer = ask(Some(&operator), "PUT", VERSION, &component);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let seen = shop.orders();
    assert_eq!(seen["versions"][0]["uploaded_by"], "op-1");
}

#[test]
fn without_admin_auth_nobody_uploads() {
    let shop = Workshop::open();
    let gateway = Gateway::start(&shop.issuer.yaml(""));
    let bearer = shop.issuer.bearer_of("op-1", "acme", "gateway:operate plugins:deploy");
    let answer = call(gateway.admin, "PUT", VERSION, &[("Authorization", &bearer)], b"");
    assert_eq!((answer.status, answer.problem().as_str()), (403, "uploads-disabled"));
}

#[test]
fn a148_to_a150_what_is_no_component_is_refused() {
    let shop = Workshop::open();
    let truncated = &example("tester")[..10_000];
    let elf = std::fs::read(env!("CARGO_BIN_EXE_sluis")).unwrap();
    let inputs: [(&str, &[u8]); 8] = [
        ("empty", b""),
        ("text", b"export default 1"),
        ("an ELF file", &elf[..4_096]),
        ("a PE file", b"MZ\x90\0\x03\0\0\0"),
        ("a zip", b"PK\x03\x04\x14\0"),
        ("truncated", truncated),
        ("wrong magic", b"\0wasm\x01\0\0\0"),
        ("wrong version", b"\0asm\x63\0\x01\0"),
    ];
    for (what, bytes) in inputs {
        let answer = shop.upload("1.0.0", bytes);
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("not-a-component")), "{what}");
    }
    refused(&shop.upload("1.0.0", b"\0asm\x01\0\0\0"), 422, "wrong-world");
    refused(&shop.upload("1.0.0", b"\0asm\x0d\0\x01\0"), 422, "wrong-world");
    // The gateway's own artefact of a component that was taken.
    shop.kept("0.9.0", &example("tester"));
    let artefacts = shop.gateway.dir().join("state/artefacts");
    let artefact = std::fs::read_dir(artefacts).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|extension| extension == "cwasm").then(|| std::fs::read(path).unwrap())
    });
    let compiled = artefact.expect("an artefact");
    let elf = compiled.windows(4).position(|window| window == b"\x7fELF").expect("compiled code");
    refused(&shop.upload("1.0.0", &compiled), 422, "not-a-component");
    refused(&shop.upload("1.0.0", &compiled[elf..]), 422, "not-a-component");
    let plugin = shop.orders();
    assert_eq!(plugin["versions"].as_array().unwrap().len(), 1, "nothing that was refused was kept");
}

#[test]
fn a151_a_component_past_the_limit_is_refused_before_it_is_read() {
    let shop = Workshop::open();
    let bearer = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    let mut connection = Connection::open(shop.gateway.admin);
    let head =
        format!("PUT {VERSION} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Length: 8388609\r\n\r\n");
    let answer = connection.send(head.as_bytes()).answer();
    assert_eq!((answer.status, answer.problem().as_str()), (413, "plugin-too-large"));
    // And where no length was declared, as soon as it is passed.
    let mut connection = Connection::open(shop.gateway.admin);
    let head = format!(
        "PUT {VERSION} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n"
    );
    let body = vec![0; 0x80_0001];
    let answer = connection.send(head.as_bytes()).send(&body).answer();
    assert_eq!((answer.status, answer.problem().as_str()), (413, "plugin-too-large"));
}

#[test]
fn a152_a153_imports_that_are_not_offered_or_not_granted_are_named() {
    let shop = Workshop::open();
    let answer = shop.admin("globex", "PUT", "/v1/tenants/globex/plugins/orders/versions/1.0.0", &example("tester"));
    refused(&answer, 403, "capability-not-granted");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("sluis:plugin/kv@1.0.0") && !detail.contains("log@"), "{detail}");
    let mut unknown = example("tester");
    let at = (0..unknown.len()).filter(|at| unknown[*at..].starts_with(b"sluis:plugin/kv@1.0.0")).collect::<Vec<_>>();
    for at in at {
        unknown[at..][..b"sluis:plugin/kx@1.0.0".len()].copy_from_slice(b"sluis:plugin/kx@1.0.0");
    }
    let answer = shop.upload("1.0.0", &unknown);
    refused(&answer, 422, "undeclared-capability");
    assert!(answer.json()["detail"].as_str().unwrap().contains("sluis:plugin/kx@1.0.0"), "{}", answer.text());
}

#[test]
fn a164_uploads_at_once_are_bounded_for_each_tenant() {
    let shop = Workshop::open();
    let bearer = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    // That the body is asked for says that the upload is one of those under way.
    let begin = |version: &str| {
        let mut connection = Connection::open(shop.gateway.admin);
        let path = format!("/v1/tenants/acme/plugins/orders/versions/{version}");
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        );
        assert_eq!(connection.send(head.as_bytes()).one_answer(false).unwrap().status, 100);
        connection
    };
    let mut held = [begin("1.0.0"), begin("1.0.1")];
    let third = shop.upload("1.0.2", &example("tester"));
    assert_eq!((third.status, third.problem().as_str()), (429, "too-many-uploads"));
    assert_eq!(third.header("retry-after"), Some("1"));
    let neighbour = shop.admin("globex", "PUT", "/v1/tenants/globex/plugins/p/versions/1.0.0", b"");
    assert_eq!(neighbour.status, 422, "another tenant's is looked at: {}", neighbour.text());
    for connection in &mut held {
        let answer = connection.send(&[0; 100]).answer();
        assert_eq!(answer.status, 422);
    }
    assert_eq!(shop.upload("1.0.2", &example("tester")).status, 201);
}

#[test]
fn a164_versions_and_their_bytes_are_bounded_for_each_tenant() {
    let issuer_and_more = Workshop::open();
    let component = example("order-map");
    let two = component.len() * 5 / 2;
    let issuer = &issuer_and_more.issuer;
    let gateway = Gateway::start_with_uploads(&format!(
        "{}tenants:\n  - {{ id: acme, limits: {{ plugin_bytes: {two} }} }}\n  - {{ id: globex, limits: {{ plugin_versions: 1 }} }}\n",
        issuer.yaml("")
    ));
    let upload = |tenant: &str, version: &str, marker: u8| {
        let bearer = issuer.bearer_of("dev-1", tenant, "plugins:deploy");
        let mut bytes = component.clone();
        // A custom section makes it another component.
        bytes.extend_from_slice(&[0, 3, 1, b'x', marker]);
        let path = format!("/v1/tenants/{tenant}/plugins/p/versions/{version}");
        call(gateway.admin, "PUT", &path, &[("Authorization", &bearer)], &bytes)
    };
    assert_eq!(upload("acme", "1.0.0", 1).status, 201);
    assert_eq!(upload("acme", "1.0.1", 2).status, 201);
    for (tenant, full) in [
        ("acme", upload("acme", "1.0.2", 3)),
        ("globex", {
            assert_eq!(upload("globex", "1.0.0", 1).status, 201);
            upload("globex", "1.0.1", 2)
        }),
    ] {
        assert_eq!((full.status, full.problem().as_str()), (429, "plugin-quota"), "{tenant}");
    }
    let bearer = issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    let path = "/v1/tenants/acme/plugins/p/versions/1.0.0";
    assert_eq!(call(gateway.admin, "DELETE", path, &[("Authorization", &bearer)], b"").status, 204);
    assert_eq!(upload("acme", "1.0.2", 3).status, 201, "what was removed makes room");
}

/// Who lets versions of acme's plugin `orders` out.
struct Signer(Ed25519KeyPair);

impl Signer {
    /// A workshop that takes nothing of acme's that is not signed.
    fn with_workshop() -> (Signer, Workshop) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = STANDARD.encode(pair.public_key());
        (Signer(pair), Workshop::open_with("", &format!(", signing_keys: {{ release: \"{public}\" }}")))
    }

    fn sign(&self, version: &str, component: &[u8]) -> Vec<u8> {
        let expires = now() + 600;
        let version = Version::parse(version).unwrap();
        let signed_as = SignedAs { tenant: "acme", plugin: "orders", version: &version };
        let signature = self.0.sign(&signature::message(component, signed_as, expires));
        signature::append(component, "release", expires, signature.as_ref())
    }
}

#[test]
fn a165_no_version_is_taken_after_a_newer_one_that_was_removed() {
    let (signer, mut shop) = Signer::with_workshop();
    let component = example("order-map");
    let old = signer.sign("1.1.0", &component);
    let newest = signer.sign("1.2.0", &component);
    shop.kept("1.2.0", &newest);
    refused(&shop.upload("1.1.0", &old), 403, "rollback-refused");
    let path = "/v1/tenants/acme/plugins/orders/versions/1.2.0";
    assert_eq!(shop.admin("acme", "DELETE", path, b"").status, 204);
    let answer = shop.upload("1.1.0", &old);
    refused(&answer, 403, "rollback-refused");
    assert!(answer.text().contains("1.2.0"), "it says after which: {}", answer.text());
    shop.gateway.kill_and_restart();
    refused(&shop.upload("1.1.0", &old), 403, "rollback-refused");
    shop.kept("1.2.0", &newest);
    assert_eq!(shop.orders()["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn a165_of_two_versions_at_once_none_is_taken_after_the_newer_one() {
    let (signer, shop) = Signer::with_workshop();
    let component = example("order-map");
    let bearer = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    for round in 1..=4 {
        let uploads = [format!("{round}.1.0"), format!("{round}.2.0")].map(|version| {
            let path = format!("/v1/tenants/acme/plugins/orders/versions/{version}");
            (path, signer.sign(&version, &component))
        });
        std::thread::scope(|scope| {
            for (path, signed) in &uploads {
                let (admin, bearer) = (shop.gateway.admin, &bearer);
                scope.spawn(move || {
                    let answer = call(admin, "PUT", path, &[("Authorization", bearer)], signed);
                    assert!([201, 403].contains(&answer.status), "{}", answer.text());
                });
            }
        });
    }
    let audit = shop.admin("acme", "GET", "/v1/tenants/acme/audit", b"").json();
    let taken: Vec<&str> = audit.as_array().unwrap().iter().map(|entry| entry["version"].as_str().unwrap()).collect();
    assert!(taken.len() >= 4 && taken.is_sorted_by(|later, earlier| later > earlier), "{audit}");
}

#[test]
fn a166_what_is_being_kept_is_seen_through_although_its_client_left() {
    let shop = Workshop::open();
    let bearer = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    let files = || std::fs::read_dir(shop.gateway.dir().join("state/components")).unwrap().count();
    for n in 1..=4_u8 {
        let mut component = example("order-map");
        // A custom section makes it another component.
        component.extend_from_slice(&[0, 3, 1, b'x', n]);
        let path = format!("/v1/tenants/acme/plugins/orders/versions/1.{n}.0");
        let mut stream = TcpStream::connect(shop.gateway.admin).unwrap();
        stream.write_all(&request("PUT", &path, &[("Authorization", &bearer)], &component)).unwrap();
        eventually("its file is made", Duration::from_secs(60), || (files() >= usize::from(n)).then_some(()));
        drop(stream);
        eventually("the version is there", Duration::from_secs(10), || {
            (shop.orders()["versions"].as_array().unwrap().len() == usize::from(n)).then_some(())
        });
    }
    assert_eq!(files(), 4);
}

#[test]
fn a166_an_upload_that_breaks_off_leaves_nothing() {
    let mut shop = Workshop::open();
    let component = example("tester");
    let bearer = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy");
    let whole = request("PUT", VERSION, &[("Authorization", &bearer)], &component);
    for tenth in 1..10 {
        let mut stream = TcpStream::connect(shop.gateway.admin).unwrap();
        stream.write_all(&whole[..whole.len() * tenth / 10]).unwrap();
    }
    let answer = eventually("the permits of what broke off are back", Duration::from_secs(10), || {
        let answer = shop.upload("1.0.0", &component);
        (answer.status != 429).then_some(answer)
    });
    assert_eq!(answer.status, 201, "{}", answer.text());
    let files = || std::fs::read_dir(shop.gateway.dir().join("state/components")).unwrap().count();
    assert_eq!(files(), 1);
    shop.deploy("1.0.0");
    shop.gateway.kill_and_restart();
    assert_eq!(shop.who(), "tester");
}

#[test]
fn a167_one_name_of_two_tenants_is_two_plugins() {
    let shop = Workshop::open();
    shop.kept("1.0.0", &tester("second"));
    shop.deploy("1.0.0");
    let component = example("order-map");
    let path = "/v1/tenants/globex/plugins/orders";
    assert_eq!(shop.admin("globex", "PUT", &format!("{path}/versions/1.0.0"), &component).status, 201);
    let deployed = shop.admin("globex", "POST", &format!("{path}/deploy"), b"{\"version\":\"1.0.0\"}");
    assert_eq!(deployed.status, 200, "{}", deployed.text());
    assert_eq!(shop.who(), "second");
    let answer = shop.post("globex", "/", "/refuse/422");
    assert_eq!((answer.status, answer.json()["title"].as_str()), (422, Some("Malformed order")));
    for name in ["..%2Fx", "%2e%2e", "Orders", "orders%00", "%D0%BErders", "or.ders", &"x".repeat(64)] {
        let answer = shop.admin("acme", "PUT", &format!("/v1/tenants/acme/plugins/{name}/versions/1.0.0"), &component);
        assert!([400, 404].contains(&answer.status), "{name}: {}", answer.status);
    }
    for version in ["1", "1.0", "01.0.0", "latest", "1.0.0-", "%31.0.0%20"] {
        let answer = shop.upload(version, &component);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-request"), "{version}");
    }
    let answer = shop.order("deploy", &json!({ "version": "1.0.0", "trail": { "canary": 10 } }));
    assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-request"), "a word that is not there");
    assert!(answer.text().contains("trail"), "{}", answer.text());
    assert_eq!(who(&shop.post("acme", "/", "/refuse/422")), "second");
}

#[test]
fn the_interface_describes_itself() {
    let shop = Workshop::open();
    let answer = call(shop.gateway.admin, "GET", "/openapi.json", &[], b"");
    let description = answer.json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().unwrap();
    for path in [
        "/v1/tenants/{tenant}/plugins",
        "/v1/tenants/{tenant}/plugins/{plugin}",
        "/v1/tenants/{tenant}/plugins/{plugin}/versions/{version}",
        "/v1/tenants/{tenant}/plugins/{plugin}/deploy",
        "/v1/tenants/{tenant}/plugins/{plugin}/promote",
        "/v1/tenants/{tenant}/plugins/{plugin}/abandon",
        "/v1/tenants/{tenant}/plugins/{plugin}/rollback",
        "/v1/tenants/{tenant}/plugins/{plugin}/release",
        "/v1/tenants/{tenant}/audit",
        "/v1/tenants/{tenant}/logs",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(description["components"]["schemas"]["Problem"].is_object());
}

#[test]
fn the_fixtures_that_a_version_carries_are_run_before_it_is_kept() {
    let shop = Workshop::open();
    let with = |fixtures: serde_json::Value| {
        let fixtures: Vec<Named> = serde_json::from_value(fixtures).unwrap();
        sluis_fixture::attach(&example("tester"), &fixtures).unwrap()
    };
    let fixture = |name: &str, path: &str, expect: serde_json::Value| json!({ "name": name, "fixture": { "request": { "path": path }, "expect": expect } });
    let refuses = fixture("refuses", "/refuse/422", json!({ "refuse": { "status": 422 } }));
    let spins = fixture("spins", "/spin", json!({ "fault": "cpu" }));
    let answer = shop.upload("1.0.0", &with(json!([refuses, spins])));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told = &answer.json()["report"]["fixtures"];
    assert_eq!((&told[0]["name"], &told[1]["name"]), (&json!("refuses"), &json!("spins")), "{told}");
    assert!(told[1]["cpu_us"].as_u64().unwrap() >= 100_000, "the gateway's own limit ends it: {told}");

    let wrong = fixture("wrong", "/refuse/422", json!({ "refuse": { "status": 409 } }));
    let slow = json!({ "name": "slow", "fixture": { "request": { "path": "/host-calls/20" }, "expect": { "forward": {} },
                       "limits": { "host_calls": 10 } } });
    let answer = shop.upload("1.1.0", &with(json!([refuses, wrong, slow])));
    refused(&answer, 422, "fixtures-failed");
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("wrong: status: expected 409, got 422"), "{detail}");
    assert!(detail.contains("slow: limits.host_calls: 20, at most 10") && !detail.contains("refuses:"), "{detail}");

    let mut malformed = with(json!([refuses]));
    let at = malformed.len() - 2;
    malformed[at] = b'!';
    refused(&shop.upload("1.1.0", &malformed), 422, "fixtures-malformed");
    assert_eq!(shop.orders()["versions"].as_array().unwrap().len(), 1);
}
