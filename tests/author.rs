//! `sluis plugin`, as the author of a plugin uses it: the real program, the real tools, a real gateway.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::eventually;
use crate::support::workshop::{Workshop, example, tester};

/// A folder, and who works there.
struct Desk {
    dir: tempfile::TempDir,
    token: String,
    admin: String,
}

/// What a command said, and whether it did what it is for.
struct Said {
    done: bool,
    text: String,
}

impl Desk {
    fn new() -> Self {
        Desk { dir: tempfile::tempdir().unwrap(), token: String::new(), admin: String::new() }
    }

    fn of(shop: &Workshop) -> Self {
        let token = shop.issuer.bearer_of("dev-1", "acme", "plugins:deploy").replace("Bearer ", "");
        Desk { token, admin: format!("http://{}", shop.gateway.admin), ..Desk::new() }
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("orders")
    }

    /// What `npm install` and its like would fetch: the examples' own.
    fn install(&self, tools: &str) {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/tools").join(tools);
        assert!(installed.is_dir(), "make plugin-tools first");
        std::os::unix::fs::symlink(installed, self.project().join(tools)).unwrap();
    }

    fn run(&self, dir: &Path, args: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_sluis"))
            .arg("plugin")
            .args(args)
            .current_dir(dir)
            .env("SLUIS_TOKEN", &self.token)
            .env("SLUIS_ADMIN", &self.admin)
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        Said { done: output.status.success(), text }
    }

    /// In the plugin's folder.
    fn plugin(&self, args: &[&str]) -> Said {
        self.run(&self.project(), args)
    }

    /// The same, which must be done.
    fn done(&self, args: &[&str]) -> String {
        let said = self.plugin(args);
        assert!(said.done, "{args:?}: {}", said.text);
        said.text
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.project().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

#[test]
fn a_tenants_day() {
    let shop = Workshop::open();
    let desk = Desk::of(&shop);
    let made = desk.run(desk.dir.path(), &["new", "orders"]);
    assert!(made.done, "{}", made.text);
    let again = desk.run(desk.dir.path(), &["new", "orders"]);
    assert!(!again.done && again.text.contains("not empty"), "{}", again.text);

    // What was made builds and holds.
    assert!(desk.done(&["test"]).contains("2 fixtures hold"));
    let inspected = desk.done(&["inspect"]);
    assert!(inspected.contains("hooks     on-request\n") && inspected.contains("sluis:plugin/types"), "{inspected}");

    // A mistake is told where it is: in the decision, and in the source.
    desk.edit("fixtures/no-total.yaml", "/total", "/sum");
    let wrong = desk.plugin(&["test"]);
    assert!(!wrong.done, "{}", wrong.text);
    assert!(wrong.text.contains("pointer: expected /sum, got /total"), "{}", wrong.text);
    desk.edit("fixtures/no-total.yaml", "/sum", "/total");
    desk.edit(
        "src/lib.rs",
        "let order: Order<'_> = parse(body)?;",
        "let order: Order<'_> = parse(body)?;\n    assert!(body.len() > 1_000, \"an order this small\");",
    );
    let trapped = desk.plugin(&["test"]);
    assert!(!trapped.done && trapped.text.contains("2 of 2 fixtures failed"), "{}", trapped.text);
    assert!(trapped.text.contains("an order this small"), "{}", trapped.text);
    assert!(trapped.text.contains("src/lib.rs:"), "the place in the source: {}", trapped.text);
    desk.edit("src/lib.rs", "\n    assert!(body.len() > 1_000, \"an order this small\");", "");

    // Pushed, deployed, serving.
    desk.done(&["test"]);
    assert!(desk.done(&["push", "--tenant", "acme"]).contains("orders 0.1.0 kept"));
    assert!(desk.done(&["push", "--tenant", "acme"]).contains("was there already"));
    assert!(desk.done(&["deploy", "--tenant", "acme"]).contains("0.1.0 serves"));
    let post = || {
        let bearer = shop.issuer.bearer("acme");
        let order = b"{\"number\":\"A-1\",\"total\":\"2.50\"}";
        shop.gateway.call("POST", "/v1/orders", &[("Authorization", &bearer)], order)
    };
    let answer = post();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"reference\":\"A-1\",\"amount\":2.50}"));

    // A bad version rolls itself back.
    desk.edit("plugin.yaml", "0.1.0", "0.2.0");
    desk.edit("src/lib.rs", "Ok(document) =>", "Ok(document) if document.reference.len() < 2 =>");
    desk.edit(
        "src/lib.rs",
        "        Err(invalid)",
        "        Ok(_) => panic!(\"not thought of\"),\n        Err(invalid)",
    );
    desk.done(&["build"]);
    let refused = desk.plugin(&["push", "--tenant", "acme"]);
    assert!(
        !refused.done && refused.text.contains("fixtures-failed: order: expected forward, got a trap"),
        "{}",
        refused.text
    );
    desk.done(&["push", "--tenant", "acme", "--no-fixtures"]);
    let tried = desk.done(&["deploy", "--tenant", "acme", "--canary", "50", "-m", "shorter"]);
    assert!(tried.contains("0.1.0 serves, 0.2.0 on trial (canary 50 %)"), "{tried}");
    eventually("the trial is over", Duration::from_secs(30), || {
        post();
        (!desk.done(&["status", "--tenant", "acme"]).contains("on trial")).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(post().status, 200);
    }
    let logs = desk.done(&["logs", "--tenant", "acme"]);
    assert!(
        logs.contains("orders@0.2.0  fault") && logs.contains("not thought of") && logs.contains("src/lib.rs:"),
        "{logs}"
    );
    let audit = desk.done(&["audit", "--tenant", "acme"]);
    assert!(audit.contains("dev-1  shorter"), "{audit}");
    // Whichever of the two came first.
    assert!(audit.contains("gateway  faults") || audit.contains("gateway  0.2.0 failed too often"), "{audit}");
}

#[test]
fn a_plugin_in_c() {
    let shop = Workshop::open();
    let desk = Desk::of(&shop);
    assert!(desk.run(desk.dir.path(), &["new", "orders", "--lang", "c"]).done);
    assert!(desk.done(&["test"]).contains("2 fixtures hold"));
    let inspected = desk.done(&["inspect"]);
    assert!(inspected.contains("hooks     on-request\n") && !inspected.contains("wasi:"), "{inspected}");

    desk.edit(
        "src/plugin.c",
        "    sluis_path(decision",
        "    if (request->body.len == 0) {\n        sluis_panic(\"nothing was sent\");\n    }\n    sluis_path(decision",
    );
    let empty = "request:\n  path: /v1/orders\n  headers: { content-type: application/json }\nexpect:\n  refuse: {}\n";
    std::fs::write(desk.project().join("fixtures/empty.yaml"), empty).unwrap();
    let trapped = desk.plugin(&["test"]);
    assert!(!trapped.done && trapped.text.contains("1 of 3 fixtures failed"), "{}", trapped.text);
    assert!(trapped.text.contains("src/plugin.c:11: nothing was sent"), "{}", trapped.text);
    desk.edit("src/plugin.c", "sluis_panic(\"nothing", "sluis_panik(\"nothing");
    let wrong = desk.plugin(&["build"]);
    assert!(
        !wrong.done && wrong.text.contains("plugin.c:11") && wrong.text.contains("was not built"),
        "{}",
        wrong.text
    );
    desk.edit("src/plugin.c", "sluis_panik(\"nothing", "sluis_panic(\"nothing");
    desk.edit("fixtures/empty.yaml", "refuse: {}", "fault: trap");
    desk.done(&["test"]);

    desk.done(&["push", "--tenant", "acme"]);
    desk.done(&["deploy", "--tenant", "acme"]);
    let bearer = shop.issuer.bearer("acme");
    let post = |media: &str, body: &[u8]| {
        shop.gateway.call("POST", "/v1/orders", &[("Authorization", &bearer), ("Content-Type", media)], body)
    };
    assert_eq!(post("application/json", b"{}").status, 200);
    let got = &shop.upstream.got()[0];
    assert_eq!((got.line.as_str(), got.header("x-mapped-by")), ("POST /orders HTTP/1.1", Some("orders")));
    assert_eq!(post("text/plain", b"{}").status, 415);
    assert_eq!((post("application/json", b"").status, shop.upstream.got().len()), (500, 1));
    assert!(desk.done(&["logs", "--tenant", "acme"]).contains("src/plugin.c:11: nothing was sent"));
}

#[test]
fn a_plugin_in_javascript() {
    let shop = Workshop::open();
    let desk = Desk::of(&shop);
    assert!(desk.run(desk.dir.path(), &["new", "orders", "--lang", "javascript"]).done);
    let unbuilt = Command::new(env!("CARGO_BIN_EXE_sluis"))
        .args(["plugin", "build"])
        .current_dir(desk.project())
        .env("PATH", "")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&unbuilt.stderr).contains("npm install"), "{unbuilt:?}");
    desk.install("node_modules");
    assert!(desk.done(&["test"]).contains("2 fixtures hold"));
    let inspected = desk.done(&["inspect"]);
    assert!(inspected.contains("hooks     on-request\n") && !inspected.contains("wasi:"), "{inspected}");
    assert!(!inspected.contains("sluis:plugin/log"), "what is not used is not imported: {inspected}");

    // What is thrown is told with its place in the source.
    desk.edit(
        "src/plugin.js",
        "return forward",
        "if (document.reference === \"A-0\") order.nothing();\n    return forward",
    );
    let zero = "request:\n  body: { json: { number: \"A-0\", total: 1 } }\nexpect:\n  refuse: {}\n";
    std::fs::write(desk.project().join("fixtures/zero.yaml"), zero).unwrap();
    let trapped = desk.plugin(&["test"]);
    assert!(!trapped.done && trapped.text.contains("1 of 3 fixtures failed"), "{}", trapped.text);
    assert!(
        trapped.text.contains("TypeError: not a function") && trapped.text.contains("src/plugin.js:13:"),
        "{}",
        trapped.text
    );
    desk.edit("fixtures/zero.yaml", "refuse: {}", "fault: trap");
    // A capability is used once it is named.
    desk.edit("src/plugin.js", "\n/** Forwards", "\nimport * as log from \"../vendor/sluis/log.js\";\n/** Forwards");
    desk.edit(
        "src/plugin.js",
        "    return forward",
        "    log.warn(`mapped ${document.reference} ✓`);\n    return forward",
    );
    let unnamed = desk.plugin(&["build"]);
    assert!(!unnamed.done && unnamed.text.contains("sluis:plugin/log"), "{}", unnamed.text);
    desk.edit("plugin.yaml", "imports: []", "imports: [log]");
    desk.done(&["test"]);
    desk.edit("src/plugin.js", "export function", "export funktion");
    let wrong = desk.plugin(&["build"]);
    assert!(!wrong.done && wrong.text.contains("plugin.js:8:") && wrong.text.contains("not built"), "{}", wrong.text);
    desk.edit("src/plugin.js", "export funktion", "export function");

    desk.done(&["test"]);
    desk.done(&["push", "--tenant", "acme"]);
    desk.done(&["deploy", "--tenant", "acme"]);
    let bearer = shop.issuer.bearer("acme");
    let post = |body: &str| shop.gateway.call("POST", "/v1/orders", &[("Authorization", &bearer)], body.as_bytes());
    let answer = post(r#"{"number":"Å-1","total":"2.50"}"#);
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"reference":"Å-1","amount":2.50}"#));
    assert_eq!(post(r#"{"number":"A-1"}"#).json()["pointer"], "/total");
    assert_eq!(post(r#"{"number":"A-0","total":1}"#).status, 500);
    let logs = desk.done(&["logs", "--tenant", "acme"]);
    assert!(logs.contains("mapped Å-1 ✓") && logs.contains("src/plugin.js:14:"), "{logs}");
}

#[test]
fn a_plugin_in_python() {
    let desk = Desk::new();
    assert!(desk.run(desk.dir.path(), &["new", "orders", "--lang", "py"]).done);
    desk.install(".venv");
    desk.edit(
        "src/plugin.py",
        "    return forward",
        "    if document[\"reference\"] == \"A-0\":\n        order.nothing()\n    return forward",
    );
    let zero = "request:\n  body: { json: { number: \"A-0\", total: 1 } }\nexpect:\n  refuse: {}\n";
    std::fs::write(desk.project().join("fixtures/zero.yaml"), zero).unwrap();
    let trapped = desk.plugin(&["test"]);
    assert!(!trapped.done && trapped.text.contains("1 of 3 fixtures failed"), "{}", trapped.text);
    let told = "plugin.py:14 in on_request\\nAttributeError: 'Field' object has no attribute 'nothing'";
    assert!(trapped.text.contains(told), "{}", trapped.text);
    desk.edit("fixtures/zero.yaml", "refuse: {}", "fault: trap");
    assert!(desk.done(&["test", "--no-build"]).contains("3 fixtures hold"));
    assert!(!desk.done(&["inspect"]).contains("wasi:"));
    desk.edit("src/plugin.py", "def on_request", "def on request");
    let wrong = desk.plugin(&["build"]);
    assert!(!wrong.done && wrong.text.contains("SyntaxError") && wrong.text.contains("not built"), "{}", wrong.text);
}

#[test]
fn commands_say_what_is_missing_and_what_to_do() {
    let desk = Desk::new();
    let here = desk.dir.path();
    let said = desk.run(here, &["test"]);
    assert!(!said.done && said.text.contains("sluis plugin new NAME"), "{}", said.text);
    let said = desk.run(here, &["new", "Orders_1"]);
    assert!(!said.done && said.text.contains("lower-case letters"), "{}", said.text);
    std::fs::write(here.join("plugin.yaml"), "name: orders\nversion: one\nlanguage: rust\n").unwrap();
    let said = desk.run(here, &["build"]);
    assert!(!said.done && said.text.contains("plugin.yaml") && said.text.contains("version"), "{}", said.text);
    std::fs::write(here.join("plugin.yaml"), "name: orders\nversion: 1.0.0\nlanguage: rust\n").unwrap();
    std::fs::create_dir(here.join("dist")).unwrap();
    std::fs::write(here.join("dist/orders.wasm"), example("tester")).unwrap();
    std::fs::create_dir(here.join("fixtures")).unwrap();
    std::fs::write(here.join("fixtures/a.yaml"), "expect: { forward: {} }\n").unwrap();
    let said = desk.run(here, &["test", "--no-build"]);
    assert!(!said.done && said.text.contains("one of `request`, `answer`"), "{}", said.text);
    std::fs::remove_dir_all(here.join("fixtures")).unwrap();
    let said = desk.run(here, &["push", "--tenant", "acme", "--token", "x", "--admin", "http://127.0.0.1:1"]);
    assert!(!said.done && said.text.contains("nothing listens on 127.0.0.1:1"), "{}", said.text);
    let said = Command::new(env!("CARGO_BIN_EXE_sluis"))
        .args(["plugin", "push", "--tenant", "acme"])
        .current_dir(here)
        .env_remove("SLUIS_TOKEN")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("--token"), "{said:?}");
    let mut foreign = example("tester");
    let name = b"sluis:plugin/kv@1.0.0";
    for at in 0..foreign.len() - name.len() {
        if foreign[at..].starts_with(name) {
            foreign[at..][..name.len()].copy_from_slice(b"wasi:http/types@0.2.6");
        }
    }
    std::fs::write(here.join("foreign.wasm"), foreign).unwrap();
    let said = desk.run(here, &["inspect", "foreign.wasm"]);
    assert!(!said.done && said.text.contains("capability `http-client`"), "{}", said.text);
}

#[test]
fn fixtures_stand_in_for_state_and_other_systems() {
    let desk = Desk::new();
    let here = desk.dir.path();
    std::fs::write(here.join("plugin.yaml"), "name: tester\nversion: 1.0.0\nlanguage: rust\n").unwrap();
    for dir in ["dist", "fixtures"] {
        std::fs::create_dir(here.join(dir)).unwrap();
    }
    std::fs::write(here.join("dist/tester.wasm"), example("tester")).unwrap();
    let fixture = |name: &str, text: &str| std::fs::write(here.join("fixtures").join(name), text).unwrap();
    fixture(
        "kv.yaml",
        "request: { path: /kv/add/n/2 }\nkv: { n: \"40\" }\nexpect: { respond: { status: 200, body: { text: \"42\" } } }\n",
    );
    fixture(
        "config.yaml",
        "request: { path: /config/greeting }\nconfig: { greeting: hello }\nexpect: { respond: { body: { text: hello } } }\n",
    );
    fixture(
        "http.yaml",
        "request: { path: /, headers: { x-tester: \"/http/PUT/https://api.example/a\" } }\nhttp:\n  - { method: PUT, url: \"https://api.example/a\", status: 201, body: { text: made } }\nexpect: { respond: { status: 201, body: { text: made } } }\n",
    );
    fixture(
        "fault.yaml",
        "request: { path: /, headers: { x-tester: \"/http/GET/https://api.example/\" } }\nhttp: [{ url: \"https://api.example/\", fault: timeout }]\nexpect: { respond: { status: 502, body: { text: timeout } } }\n",
    );
    fixture("trap.yaml", "request: { path: /trap }\nexpect: { fault: trap }\n");
    fixture("spin.yaml", "request: { path: /spin }\nexpect: { fault: cpu }\n");
    let said = desk.run(here, &["test", "--no-build"]);
    assert!(said.done && said.text.contains("6 fixtures hold"), "{}", said.text);
    fixture(
        "unsent.yaml",
        "request: { path: /echo }\nhttp: [{ url: \"https://api.example/\" }]\nexpect: { forward: {} }\n",
    );
    fixture(
        "unexpected.yaml",
        "request: { path: /, headers: { x-tester: \"/http/GET/https://b.example/\" } }\nexpect: { respond: {} }\n",
    );
    fixture("calls.yaml", "request: { path: /host-calls/20 }\nlimits: { host_calls: 10 }\nexpect: { forward: {} }\n");
    let said = desk.run(here, &["test", "--no-build", "un", "calls"]);
    for told in [
        "http: GET https://api.example/ was not sent",
        "http: GET https://b.example/ was not expected here",
        "limits.host_calls: 20, at most 10",
        "3 of 3 fixtures failed",
    ] {
        assert!(!said.done && said.text.contains(told), "{told}: {}", said.text);
    }
}

#[test]
fn a_recorded_request_is_run_against_another_version() {
    let shop = Workshop::open_with(
        "",
        ", config: { greeting: hello, key: s3cret-value }, record: { requests: 3, config: [greeting], redact_headers: [x-user], redact_body: [/customer/email] }",
    );
    let desk = Desk::of(&shop);
    let project = desk.project();
    for dir in ["dist", "fixtures"] {
        std::fs::create_dir_all(project.join(dir)).unwrap();
    }
    std::fs::write(project.join("plugin.yaml"), "name: orders\nversion: 1.0.0\nlanguage: rust\n").unwrap();
    std::fs::write(project.join("dist/orders.wasm"), example("tester")).unwrap();
    desk.done(&["push", "--tenant", "acme"]);
    desk.done(&["deploy", "--tenant", "acme"]);
    let bearer = shop.issuer.bearer("acme");
    let post = |id: &str, directive: &str, body: &str| {
        let headers = [
            ("Authorization", &*bearer),
            ("X-Correlation-Id", id),
            ("X-Tester", directive),
            ("X-User", "ada-lovelace"),
        ];
        shop.gateway.call("POST", "/orders", &headers, body.as_bytes())
    };
    let token = bearer.trim_start_matches("Bearer ");
    // The client says elsewhere what is redacted, and even its credentials.
    let order = json!({
        "customer": { "email": "ada@example.test" }, "total": 12.5,
        "note": "ask ada-lovelace, ada@example.test", "debug": { "token": token, "key": "s3cret-value" },
    });
    let order = order.to_string();
    assert_eq!(post("forgotten", "/refuse/422", &order).status, 422);
    assert_eq!(post("refused", "/refuse/422", &order).status, 422);
    assert_eq!(post("counted", "/kv/add/n/2", "{}").status, 200);
    assert_eq!(post("greeted", "/config/greeting", "{}").text(), "hello");

    let listed = desk.done(&["recordings", "--tenant", "acme"]);
    let at = |id: &str| listed.find(id);
    assert!(at("greeted") < at("counted") && at("counted") < at("refused"), "{listed}");
    assert!(at("forgotten").is_none() && listed.contains("orders@1.0.0  POST /orders"), "{listed}");
    let kept = shop.admin("acme", "GET", "/v1/tenants/acme/recordings/refused", b"").text();
    for secret in ["ada@example.test", "ada-lovelace", "s3cret-value", "Bearer", token] {
        assert!(!kept.contains(secret), "{secret}: {kept}");
    }
    assert!(kept.contains("\"key\":\"[redacted]\"") && kept.contains("\"greeting\":\"hello\""), "{kept}");
    assert_eq!(shop.admin("globex", "GET", "/v1/tenants/acme/recordings/refused", b"").status, 404);
    assert_eq!(
        shop.admin("globex", "GET", "/v1/tenants/globex/recordings", b"").text(),
        "[]",
        "nobody is recorded unasked"
    );

    // The same version decides the same, with what stood behind its capabilities; another one is told apart.
    for id in ["refused", "counted", "greeted"] {
        let said = desk.done(&["replay", "--tenant", "acme", id]);
        assert!(said.contains("orders@1.0.0 decided") && said.contains("decides the same"), "{said}");
    }
    std::fs::write(project.join("dist/second.wasm"), tester("second")).unwrap();
    let differs =
        desk.plugin(&["replay", "--tenant", "acme", "refused", "--against", "dist/second.wasm", "--save", "kept"]);
    assert!(
        !differs.done && differs.text.contains("title: expected The tester refuses, got The second refuses"),
        "{}",
        differs.text
    );
    let said = desk.plugin(&["test", "--no-build"]);
    assert!(said.done && said.text.contains("✔ kept"), "what was kept is a fixture: {}", said.text);
    let none = desk.plugin(&["replay", "--tenant", "acme", "nothing"]);
    assert!(!none.done && none.text.contains("no such recording"), "{}", none.text);
}

#[test]
fn a165_uploads_are_signed_where_the_operator_asks_for_it() {
    let desk = Desk::new();
    let here = desk.dir.path();
    let key = |name: &str| {
        let made = desk.run(here, &["key", name]);
        assert!(made.done, "{}", made.text);
        made.text.trim().to_owned()
    };
    let (public, _other) = (key("release.pem"), key("other.pem"));
    let again = desk.run(here, &["key", "release.pem"]);
    assert!(!again.done && again.text.contains("release.pem"), "{}", again.text);

    let shop = Workshop::open_with("", &format!(", signing_keys: {{ release: \"{public}\" }}"));
    let desk = Desk { dir: desk.dir, ..Desk::of(&shop) };
    let project = desk.project();
    std::fs::create_dir_all(project.join("dist")).unwrap();
    std::fs::write(project.join("dist/orders.wasm"), example("tester")).unwrap();
    let release = |version: &str| {
        let manifest = format!("name: orders\nversion: {version}\nlanguage: rust\n");
        std::fs::write(project.join("plugin.yaml"), manifest).unwrap();
    };
    let push = |more: &[&str]| desk.plugin(&[&["push", "--tenant", "acme"], more].concat());
    let refused = |said: Said, why: &str| assert!(!said.done && said.text.contains(why), "{why}: {}", said.text);

    release("1.1.0");
    refused(push(&[]), "signature-invalid: the component is not signed");
    refused(push(&["--sign", "../other.pem", "--key-name", "release"]), "signature-invalid");
    refused(push(&["--sign", "../release.pem", "--key-name", "another"]), "by a key that is not the tenant's");
    refused(push(&["--sign", "../release.pem", "--key-name", "release", "--valid-days", "0"]), "has expired");
    let signed = push(&["--sign", "../release.pem", "--key-name", "release"]);
    assert!(signed.done && signed.text.contains("orders 1.1.0 kept"), "{}", signed.text);
    desk.done(&["deploy", "--tenant", "acme"]);
    assert_eq!(shop.who(), "tester");

    // What was signed as one version is not another; an older one is not taken, whoever signed it once.
    release("1.0.0");
    refused(push(&["--sign", "../release.pem", "--key-name", "release"]), "rollback-refused");
    release("1.2.0");
    assert!(push(&["--sign", "../release.pem", "--key-name", "release"]).done);
    // Nobody else's uploads are concerned.
    let path = "/v1/tenants/globex/plugins/other/versions/1.0.0";
    assert_eq!(shop.admin("globex", "PUT", path, &example("tester-response")).status, 201);
}
