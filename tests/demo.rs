//! `sluis demo` and its parts, as processes of their own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::support::client::call;
use crate::support::gateway::components;

fn sluis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluis"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `sluis demo --once` on free ports, with further flags.
fn once(plugins: &Path, more: &[&str]) -> Output {
    let free = "127.0.0.1:0";
    let mut command = sluis(&["demo", "--once", "--plugins"]);
    command.arg(plugins);
    for flag in ["--http", "--https", "--admin", "--erp", "--issuer"] {
        if !more.contains(&flag) {
            command.args([flag, free]);
        }
    }
    command.args(more).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A stand-in that runs; killed when dropped.
struct Part(Child, std::net::SocketAddr);

impl Part {
    fn start(name: &str) -> Self {
        let mut child = sluis(&["demo", name, "--address", "127.0.0.1:0"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
        Part(child, address)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_tour_ends_with_0_and_every_order_where_it_must_be() {
    let output = once(&components(), &[]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}\n{}", stderr(&output));
    assert!(text.contains("All ") && !text.contains('✖'), "{text}");
    for document in ["172.58 EUR", "502.10 EUR", "delivered after", "/line_items/1/quantity"] {
        assert!(text.contains(document), "{document}: {text}");
    }
    for promise in ["same Location; the ERP holds it once", "idempotency-key-reused", "the ERP was asked once"] {
        assert_eq!(text.matches(promise).count(), 1, "{promise}: {text}");
    }
    assert_eq!(text.matches("after the ERP was back").count(), 2, "{text}");
    assert!(text.contains("All 38 as they must be; the ERP holds 22 documents more"), "{text}");
}

/// A demo that stays up after its tour; killed when dropped. Its addresses are by the word that says what is there.
struct Demo {
    child: Child,
    addresses: BTreeMap<String, String>,
    /// Open, so that it can go on writing.
    _output: BufReader<ChildStdout>,
}

impl Demo {
    fn start(state: &Path) -> Self {
        let free = "127.0.0.1:0";
        let mut command = sluis(&["demo", "--plugins"]);
        command.arg(components()).arg("--state").arg(state);
        for flag in ["--http", "--https", "--admin", "--erp", "--issuer"] {
            command.args([flag, free]);
        }
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut addresses = BTreeMap::new();
        let mut line = String::new();
        while !line.contains("bench run --demo") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "it ended: {addresses:?}");
            let words: Vec<&str> = line.split_whitespace().collect();
            if let (["▸", name, ..], Some(url)) = (&*words, words.iter().find(|word| word.starts_with("http://"))) {
                addresses.insert((*name).to_owned(), (*url).to_owned());
            }
        }
        Demo { child, addresses, _output: output }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_named_state_is_kept_and_serves_again_also_a_load() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let output = once(&components(), &["--state", state.to_str().unwrap()]);
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    let demo = Demo::start(&state);
    let issuer = demo.addresses["token"].trim_start_matches("http://").split('/').next().unwrap();
    let (target, metrics) = (&demo.addresses["gateway"], &demo.addresses["operators"]);
    let load = ["bench", "run", &format!("--demo={issuer}"), "--target", target, "--metrics", metrics];
    let more = ["--rate", "20", "--duration", "2s", "--threads", "1", "--slo", "error=0", "--out"];
    let result = dir.path().join("run.json");
    let ran = sluis(&load).args(more).arg(&result).output().unwrap();
    assert!(stdout(&ran).contains("ok 40"), "{}{}", stdout(&ran), stderr(&ran));
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
    assert_eq!(result["environment"]["gateway"], env!("CARGO_PKG_VERSION"));
    let tenants: Vec<&String> = result["recording"]["tenants"].as_object().unwrap().keys().collect();
    assert_eq!(tenants, ["acme", "globex"]);
    drop(demo);
    assert!(state.join("gateway.yaml").is_file() && state.join("gateway.log").is_file());
    let log = std::fs::read_to_string(state.join("gateway.log")).unwrap();
    assert!(!log.contains("eyJ"), "a token is in the log");
}

#[test]
fn what_keeps_it_from_starting_is_said_with_the_way_out() {
    let empty = tempfile::tempdir().unwrap();
    let output = once(empty.path(), &[]);
    assert!(!output.status.success() && stderr(&output).contains("make plugins"), "{}", stderr(&output));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--http", "--https", "--admin", "--erp", "--issuer"] {
        let output = once(&components(), &[flag, &address]);
        let error = stderr(&output);
        assert!(!output.status.success() && error.contains(flag) && error.contains(&address), "{flag}: {error}");
    }

    drop(taken);
    let output = sluis(&["demo", "token", "acme", "--issuer", &address]).output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains("is `sluis demo` running?"), "{}", stderr(&output));
}

#[test]
fn a_running_issuer_gives_tokens_and_ends_cleanly() {
    let mut issuer = Part::start("issuer");
    let output = sluis(&["demo", "token", "acme", "--issuer", &issuer.1.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).trim().split('.').count(), 3);
    let stats = call(issuer.1, "GET", "/_stats", &[], b"").json();
    assert_eq!(stats["tokens"], 1);

    let killed = Command::new("kill").arg(issuer.0.id().to_string()).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    issuer.0.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(issuer.0.wait().unwrap().success(), "{rest}");
}

#[test]
fn an_erp_alone_holds_what_it_got() {
    let erp = Part::start("erp");
    let headers = [("ce-id", "e-1"), ("content-type", "text/plain")];
    for _ in 0..2 {
        assert_eq!(call(erp.1, "POST", "/events/notes", &headers, b"hello").status, 200);
    }
    assert_eq!(call(erp.1, "GET", "/_events", &[], b"").json()["events"]["e-1"], 2);
}
