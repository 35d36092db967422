//! `sluis ledger`: a backup beside a running gateway, and what is said of a ledger that does not hold together.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;

/// Accepts orders for a sink that is not there.
fn config(issuer: &Issuer) -> String {
    format!(
        "{}sinks:\n  - {{ name: erp, http: {{ url: \"http://127.0.0.1:9/\" }} }}\nroutes:\n  - {{ name: orders, path: /orders, methods: [POST], auth: {{ issuers: [idp] }}, enqueue: {{ sinks: [erp], event_type: erp.order.created }} }}\ntenants:\n  - {{ id: acme }}\n",
        issuer.yaml("")
    )
}

/// Exit code and all that it said.
fn sluis(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluis")).arg("ledger").args(args).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn a_running_gateway_is_backed_up_and_the_backup_serves_in_its_place() {
    let issuer = Issuer::start();
    let mut gateway = Gateway::start(&config(&issuer));
    let bearer = issuer.bearer("acme");
    let mut locations = Vec::new();
    for n in 0..20 {
        let answer = gateway.call("POST", "/orders", &[("Authorization", &bearer)], format!("{n}").as_bytes());
        assert_eq!(answer.status, 202);
        locations.push(answer.header("location").unwrap().to_owned());
    }
    let dir = gateway.dir().to_owned();
    let backup = ["backup", "--config", "gateway.yaml", "--to", "copy"];
    let (code, said) = sluis(&dir, &backup);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("copy is a copy of "), "{said}");
    let (code, said) = sluis(&dir, &backup);
    assert_eq!((code, said.as_str()), (1, "copy exists\n"));
    let (code, said) = sluis(&dir, &["verify", "state/ledger"]);
    assert!(code == 1 && said.contains("in use by another process"), "{said}");
    let (code, said) = sluis(&dir, &["verify", "copy"]);
    assert_eq!((code, said.as_str()), (0, "format 7, events: 20, deliveries: 20\ngood\n"));
    gateway.signal("KILL");
    gateway.wait(Duration::from_secs(10));
    std::fs::rename(dir.join("state/ledger"), dir.join("lost")).unwrap();
    std::fs::rename(dir.join("copy"), dir.join("state/ledger")).unwrap();
    gateway.kill_and_restart();
    for location in &locations {
        assert_eq!(gateway.call("GET", location, &[("Authorization", &bearer)], b"").status, 200);
    }
}

#[test]
fn what_does_not_hold_is_told_with_what_to_do() {
    let (code, said) = sluis(Path::new("."), &["verify", "nowhere"]);
    assert!(code == 1 && said.starts_with("nowhere: "), "{said}");
    let issuer = Issuer::start();
    let mut gateway = Gateway::start(&config(&issuer));
    let order = b"five bolts, please";
    assert_eq!(gateway.call("POST", "/orders", &[("Authorization", &issuer.bearer("acme"))], order).status, 202);
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(30));
    let database = gateway.dir().join("state/ledger/ledger.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let at = bytes.windows(order.len()).position(|window| window == order).unwrap();
    bytes[at..at + 4].copy_from_slice(b"nine");
    std::fs::write(&database, bytes).unwrap();
    for more in [&[][..], &["--repair"]] {
        let (code, said) = sluis(gateway.dir(), &[&["verify", "state/ledger"], more].concat());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((code, lines.len()), (1, 4), "{said}");
        assert!(lines[0].starts_with("event ") && lines[0].ends_with(" is not as it was accepted"), "{said}");
        assert!(lines[1].contains("ask its tenant for it once more"), "{said}");
        assert_eq!(lines[2], "format 7, events: 1, deliveries: 1");
        assert_eq!(lines[3], "the ledger does not hold together: 1 finding");
    }
}
