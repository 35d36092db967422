//! `sluis events`, `sluis dlq` and `sluis sinks`, as people and programs use them.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::operate::House;
use crate::support::eventually;

/// Somebody at a terminal, with a folder and a token.
struct Terminal {
    dir: tempfile::TempDir,
    admin: String,
    token: String,
}

impl Terminal {
    fn of(house: &House, subject: &str, tenant: &str, scope: &str) -> Self {
        let token = house.issuer.bearer_of(subject, tenant, scope).replace("Bearer ", "");
        Terminal { dir: tempfile::tempdir().unwrap(), admin: format!("http://{}", house.gateway.admin), token }
    }

    /// Runs a command: its exit code, and what it said.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sluis"))
            .args(args)
            .current_dir(self.dir.path())
            .env("SLUIS_ADMIN", &self.admin)
            .env("SLUIS_TOKEN", &self.token)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        println!("$ sluis {}\n{text}", args.join(" "));
        (output.status.code().unwrap(), text)
    }

    /// The same, which must be done.
    fn done(&self, args: &[&str]) -> String {
        let (code, text) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    }

    /// What a program reads.
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--json"]].concat())).unwrap()
    }
}

#[test]
fn a_dead_order_is_found_edited_and_sent_anew() {
    let house = House::open();
    let id = house.dead("acme", "/orders", r#"{"order":"A-1001","total":"172,58"}"#, "shop-7f3a");
    let desk = Terminal::of(&house, "dana", "acme", "events:operate");
    let listed = desk.done(&["dlq", "list"]);
    for word in [&*id, "acme", "erp", "dead", "erp.order.created", "s ago", "http 422, permanent"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let shown = desk.done(&["events", "show", &id]);
    for word in ["state          failed", "correlation    shop-7f3a", "bytes, application/json", "worker", "dead"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let body = desk.done(&["events", "body", &id]);
    assert_eq!(body, r#"{"order":"A-1001","total":"172,58"}"#);
    std::fs::write(desk.dir.path().join("order.json"), body.replace("172,58", "172.58 good")).unwrap();

    let rehearsed = desk.done(&["events", "replay", &id, "--body", "order.json", "--dry-run"]);
    assert_eq!(rehearsed, "1 delivery would be sent anew\n");
    let replayed = desk.done(&["events", "replay", &id, "--body", "order.json", "-m", "decimal point, not comma"]);
    let new = replayed.trim().strip_prefix("1 delivery sent anew as the event ").unwrap();
    house.wait(new, "erp", "delivered");
    let shown = desk.done(&["events", "show", new]);
    assert!(shown.contains("completed") && shown.contains(&format!("sent anew for  {id}")), "{shown}");
    let old = desk.done(&["events", "show", &id]);
    assert!(old.contains("replayed") && old.contains("tenant:dana") && old.contains("decimal point"), "{old}");
    assert_eq!(desk.done(&["dlq", "list"]), "nothing found\n");
    let audit = desk.done(&["events", "audit"]);
    assert!(audit.contains("replay") && audit.contains("tenant:dana") && audit.contains(&id), "{audit}");

    let (code, again) = desk.run(&["events", "replay", &id]);
    assert_eq!(code, 1);
    assert!(again.contains("says no (409) to POST http://") && again.contains("/replay: "), "{again}");
    let (code, missing) = desk.run(&["events", "replay", &id, "--body", "nowhere.json"]);
    assert!(code == 1 && missing.contains("nowhere.json: No such file"), "{missing}");
    let page = desk.json(&["events", "list", "--state", "delivered", "--since", "1h", "--type", "erp.order.created"]);
    assert_eq!((&page["deliveries"][0]["event"], page["deliveries"].as_array().unwrap().len()), (&new.into(), 1));
}

#[test]
fn a_command_that_is_wrong_says_what_to_do() {
    let house = House::open();
    let desk = Terminal::of(&house, "dana", "acme", "events:operate");
    let (code, text) = desk.run(&["events", "list", "--since", "yesterday"]);
    assert!(code == 64 && text.contains("how long ago"), "{code}: {text}");
    let (code, text) = desk.run(&["events", "list", "--state", "broken"]);
    assert!(code == 1 && text.contains("(400)") && text.contains("retry_wait"), "{code}: {text}");
    let (code, text) = desk.run(&["sinks", "list"]);
    assert!(code == 1 && text.contains("(403)") && text.contains("a token with the scope for it"), "{code}: {text}");
    let nobody = Terminal { token: "no.such.token".to_owned(), ..desk };
    let (code, text) = nobody.run(&["events", "list"]);
    assert!(code == 1 && text.contains("(401)") && text.contains("SLUIS_TOKEN"), "{code}: {text}");
    let nowhere = Terminal { admin: "http://127.0.0.1:1".to_owned(), ..nobody };
    let (code, text) = nowhere.run(&["dlq", "list"]);
    assert!(code == 1 && text.contains("nothing listens on 127.0.0.1:1"), "{code}: {text}");
}

#[test]
fn an_operator_pauses_sinks_and_sends_all_of_it_anew() {
    let house = House::open();
    let ids: Vec<String> = (0..3).map(|n| house.dead("acme", "/both", "{}", &format!("c-{n}"))).collect();
    let desk = Terminal::of(&house, "olga", "none", "gateway:operate");
    let first = desk.done(&["events", "list", "--limit", "4"]);
    let cursor = first.lines().last().unwrap().strip_prefix("more with --cursor ").unwrap().to_owned();
    let rest = desk.json(&["events", "list", "--limit", "4", "--cursor", &cursor]);
    assert_eq!(rest["deliveries"].as_array().unwrap().len(), 2);

    assert_eq!(desk.done(&["sinks", "pause", "erp", "-m", "month end"]), "erp paused\n");
    let rehearsed = desk.done(&["dlq", "replay", "--sink", "erp", "--dry-run"]);
    assert!(rehearsed.ends_with("3 deliveries match\n"), "{rehearsed}");
    house.answer.store(200, Ordering::SeqCst);
    let started = desk.json(&["dlq", "replay", "--sink", "erp", "--rate", "100", "-m", "the ERP is back"]);
    let job = started["id"].as_str().unwrap();
    let told = eventually("the job ends", Duration::from_secs(30), || {
        let told = desk.done(&["dlq", "job", job]);
        told.contains(" done ").then_some(told)
    });
    assert!(told.contains("operator:olga") && told.contains("the ERP is back"), "{told}");
    assert!(desk.done(&["dlq", "job"]).contains(job));
    let (code, ended) = desk.run(&["dlq", "job", job, "--cancel"]);
    assert!(code == 1 && ended.contains("the job has ended"), "{ended}");
    let sinks = desk.done(&["sinks", "list"]);
    for word in ["normal 3", "operator:olga since ", ": month end"] {
        assert!(sinks.contains(word), "{word}: {sinks}");
    }
    assert_eq!(desk.done(&["sinks", "resume", "erp"]), "erp resumed\n");
    for id in &ids {
        house.wait(id, "erp", "delivered");
    }
    assert_eq!(desk.done(&["events", "discard", &ids[0], "--sink", "crm"]), "1 delivery given up for good\n");
    assert_eq!(desk.json(&["dlq", "list"])["deliveries"].as_array().unwrap().len(), 2);
    let audit = desk.done(&["events", "audit"]);
    assert!(audit.contains("month end") && audit.contains("discard"), "{audit}");
}
