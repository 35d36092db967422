//! `sluis check` and `sluis config` on real files, through the real binary.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Holds, and needs no other file.
const SMALL: &str = "\
version: 1
listeners:
  - {name: http, address: 127.0.0.1:8080}
upstreams:
  - {name: erp, endpoints: [http://127.0.0.1:7001]}
routes:
  - {name: ping, path: /ping, methods: [GET], auth: public, forward: {upstreams: [erp]}}
";

fn dir_with(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("gateway.yaml"), text).unwrap();
    dir
}

/// Runs `sluis` in `dir`.
fn sluis(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluis"));
    command.args(args).current_dir(dir).env("SLUIS_TEST_SECRET", "hunter2").env_remove("SLUIS_TEST_NONE");
    command.output().unwrap()
}

/// What `sluis check` says of `text` as gateway.yaml, and its exit code.
fn check(text: &str) -> (i32, String) {
    check_in(dir_with(text).path())
}

fn check_in(dir: &Path) -> (i32, String) {
    let output = sluis(dir, &["check"]);
    let code = output.status.code().expect("an exit code");
    (code, String::from_utf8(if code == 0 { output.stdout } else { output.stderr }).unwrap())
}

#[test]
fn check_says_what_it_found() {
    let (code, said) = check(SMALL);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        said,
        "gateway.yaml: good (1 listener, 0 issuers, 1 upstream, 0 sinks, 1 route, 0 tenants, 0 warnings)\n"
    );
}

#[test]
fn an_invalid_configuration_is_exit_code_3_with_place_and_suggestion() {
    let (code, said) = check(&SMALL.replace("endpoints", "endpionts"));
    assert_eq!(code, 3);
    assert!(said.starts_with("gateway.yaml:5:17  unknown field `endpionts` in upstreams[0]\n"), "{said}");
    assert!(said.contains("                 ^^^^^^^^^ did you mean `endpoints`?\n"), "{said}");
    assert!(said.ends_with("1 error\n"), "{said}");
}

#[test]
fn a_wrong_command_line_is_exit_code_64_and_help_is_0() {
    let dir = dir_with(SMALL);
    for (args, code) in
        [(&["chekc"][..], 64), (&["check", "--confg", "x"], 64), (&[], 64), (&["--help"], 0), (&["--version"], 0)]
    {
        assert_eq!(sluis(dir.path(), args).status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a273_files_that_cannot_be_read_are_exit_code_3() {
    let dir = dir_with(SMALL);
    for (path, part) in
        [("none.yaml", "no such file"), (".", "it is a directory"), ("/dev/zero", "is larger than 1024 KiB")]
    {
        let output = sluis(dir.path(), &["check", "--config", path]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{path} {said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a273_a_cycle_through_links_is_refused() {
    let dir = dir_with(&format!("{SMALL}include: ['tenants.d/*.yaml']\n"));
    fs::create_dir(dir.path().join("tenants.d")).unwrap();
    symlink("../gateway.yaml", dir.path().join("tenants.d/again.yaml")).unwrap();
    let (code, said) = check_in(dir.path());
    assert_eq!(code, 3);
    assert!(said.starts_with("gateway.yaml:8:11  `tenants.d/again.yaml` includes itself"), "{said}");
    fs::remove_file(dir.path().join("tenants.d/again.yaml")).unwrap();
    symlink("self.yaml", dir.path().join("tenants.d/self.yaml")).unwrap();
    assert_eq!(check_in(dir.path()).0, 3);
}

#[test]
fn included_files_are_found_from_any_working_directory() {
    let dir = dir_with(&format!("{SMALL}include: ['tenants.d/*.yaml']\n"));
    fs::create_dir(dir.path().join("tenants.d")).unwrap();
    fs::write(dir.path().join("tenants.d/acme.yaml"), "tenants: [{id: acme, config: {key: '${file:key}'}}]\n").unwrap();
    fs::write(dir.path().join("tenants.d/key"), "hunter2\n").unwrap();
    let path = dir.path().join("gateway.yaml");
    let output = sluis(Path::new("/"), &["config", "resolved", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let resolved: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(resolved["tenants"][0]["id"], "acme");
    assert_eq!(resolved["tenants"][0]["config"]["key"], "[redacted]");
    assert_eq!(resolved["server"]["state_dir"], dir.path().join("state").to_str().unwrap());
}

#[test]
fn a278_secrets_are_put_in_and_never_shown() {
    let header = |value: &str| SMALL.replace("7001]", &format!("7001], headers: {{x-key: '{value}'}}"));
    assert_eq!(check(&header("${env:SLUIS_TEST_SECRET}")).0, 0);
    let (code, said) = check(&header("${env:SLUIS_TEST_NONE}"));
    assert_eq!(code, 3);
    assert!(said.contains("the environment variable `SLUIS_TEST_NONE` is not set"), "{said}");
    let (code, said) = check(&SMALL.replace("http://127.0.0.1:7001", "'${env:SLUIS_TEST_SECRET}'"));
    assert_eq!(code, 3);
    assert!(!said.contains("hunter2"), "{said}");
}

/// A self-signed certificate and its key in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn certificates_and_keys_are_checked_with_the_rest() {
    let tls = "8080, tls: {certificates: [{certificate: a.pem, key: a.key}]}";
    let dir = dir_with(&SMALL.replace("8080", tls));
    let said = |code: i32, part: &str| {
        let (got, said) = check_in(dir.path());
        assert_eq!(got, code, "{said}");
        assert!(said.contains(part), "{said}");
    };
    said(3, "gateway.yaml:3:78  listeners[0].tls.certificates[0].certificate: the file cannot be read: no such file");
    said(3, "gateway.yaml:3:90  listeners[0].tls.certificates[0].key: the file cannot be read: no such file");
    let (pem, key) = certificate();
    fs::write(dir.path().join("a.pem"), "garbage").unwrap();
    fs::write(dir.path().join("a.key"), "garbage").unwrap();
    said(3, ".certificate: the file holds no certificate");
    said(3, ".key: the file holds no private key");
    fs::write(dir.path().join("a.pem"), &pem).unwrap();
    fs::write(dir.path().join("a.key"), certificate().1).unwrap();
    said(3, ".key: this is not the key of the certificate");
    fs::write(dir.path().join("a.key"), key).unwrap();
    said(0, "good");
}

#[test]
fn trust_anchors_are_checked_with_the_rest() {
    let dir = dir_with(&SMALL.replace("7001]", "7001], tls: {ca: ca.pem}"));
    assert!(check_in(dir.path()).1.contains("upstreams[0].tls.ca: the file cannot be read"));
    fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
    assert!(check_in(dir.path()).1.contains("upstreams[0].tls.ca: the file holds no certificate"));
    fs::write(dir.path().join("ca.pem"), certificate().0).unwrap();
    assert_eq!(check_in(dir.path()).0, 0);
}

#[test]
fn the_example_passes_its_own_check() {
    let dir = tempfile::tempdir().unwrap();
    let example = sluis(dir.path(), &["config", "example"]).stdout;
    fs::write(dir.path().join("gateway.yaml"), example).unwrap();
    fs::create_dir(dir.path().join("plugins")).unwrap();
    let (code, said) = check_in(dir.path());
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("warning: gateway.yaml:") && said.contains("has no component `acme-orders`"), "{said}");
    fs::write(dir.path().join("plugins/acme-orders.wasm"), b"\0asm").unwrap();
    assert!(check_in(dir.path()).1.starts_with("gateway.yaml: good"));
}

#[test]
fn the_schema_is_json_and_names_every_section() {
    let dir = dir_with(SMALL);
    let schema: serde_json::Value = serde_json::from_slice(&sluis(dir.path(), &["config", "schema"]).stdout).unwrap();
    for section in
        ["version", "include", "server", "listeners", "admin", "issuers", "upstreams", "sinks", "routes", "tenants"]
    {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
