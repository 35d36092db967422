//! Versions of plugins while requests go on: deployed, tried, promoted, rolled back, quarantined, compared.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::call;
use crate::support::eventually;
use crate::support::workshop::{Workshop, example, tester, who};

/// Both: the tester answers by its directive, the other one panics by its path.
const BROKEN: &str = "/panic/on-purpose";

fn stable(plugin: &Value) -> &str {
    plugin["rollout"]["stable"].as_str().unwrap_or("none")
}

/// 1.0.0 serves, 1.1.0 is there.
fn two_versions() -> Workshop {
    let shop = Workshop::open();
    shop.kept("1.0.0", &tester("first1"));
    shop.kept("1.1.0", &tester("second"));
    shop.deploy("1.0.0");
    shop
}

#[test]
fn a_file_fills_its_slots_until_a_version_is_deployed_and_the_status_says_so() {
    let shop = Workshop::open();
    assert_eq!(shop.orders()["file"], false, "nothing serves");
    let dir = shop.gateway.dir().join("nothing");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("orders.wasm"), tester("infile")).unwrap();
    shop.gateway.signal("HUP");
    eventually("the file serves", Duration::from_secs(30), || (shop.orders()["file"] == true).then_some(()));
    assert_eq!((shop.who().as_str(), stable(&shop.orders())), ("infile", "none"));
    shop.kept("1.0.0", &tester("first1"));
    shop.deploy("1.0.0");
    let plugin = shop.orders();
    assert_eq!((shop.who().as_str(), stable(&plugin), &plugin["file"]), ("first1", "1.0.0", &json!(false)));
}

#[test]
fn what_is_deployed_serves_the_next_request_and_goes_back_as_fast() {
    let mut shop = two_versions();
    assert_eq!(shop.who(), "first1");
    shop.deploy("1.1.0");
    assert_eq!(shop.who(), "second");
    let again = shop.order("deploy", &json!({ "version": "1.1.0" }));
    assert_eq!((again.status, again.problem().as_str()), (409, "rollout-conflict"));
    let missing = shop.order("deploy", &json!({ "version": "9.9.9" }));
    assert_eq!((missing.status, missing.problem().as_str()), (404, "not-found"));
    assert_eq!(shop.who(), "second", "nothing that was refused changed anything");

    let back = shop.order("rollback", &json!({ "reason": "too many\nrefusals" }));
    assert_eq!((back.status, &back.json()["stable"]), (200, &json!("1.0.0")));
    assert_eq!(shop.who(), "first1");
    let further = shop.order("rollback", &json!({}));
    assert_eq!((further.status, further.problem().as_str()), (409, "rollout-conflict"), "there is nothing before");

    let path = "/v1/tenants/acme/plugins/orders/versions/1.0.0";
    assert_eq!(shop.admin("acme", "DELETE", path, b"").status, 409, "what serves is not removed");
    shop.gateway.kill_and_restart();
    assert_eq!(shop.who(), "first1", "what was answered is on disk");
    let audit = shop.admin("acme", "GET", "/v1/tenants/acme/audit", b"").json();
    let actions: Vec<&str> = audit.as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["rollback", "deploy", "deploy", "upload", "upload"]);
    assert_eq!((&audit[0]["actor"], &audit[0]["reason"]), (&json!("dev-1"), &json!("too manyrefusals")));
}

#[test]
fn a_reload_keeps_what_was_deployed() {
    let shop = two_versions();
    let config = shop.gateway.dir().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("cpu: 100ms", "cpu: 99ms")).unwrap();
    eventually("the new plan is in force", Duration::from_secs(20), || {
        (shop.gateway.metric("sluis_config_generation") >= 2.0).then_some(())
    });
    assert_eq!(shop.who(), "first1");
    shop.deploy("1.1.0");
    assert_eq!(shop.who(), "second", "orders reach the new plan");
}

#[test]
fn a_canary_serves_its_share_until_it_is_promoted() {
    let shop = two_versions();
    let tried = shop.order("deploy", &json!({ "version": "1.1.0", "trial": { "canary": 30 } }));
    assert_eq!(tried.status, 200, "{}", tried.text());
    let mut served: HashMap<String, u32> = HashMap::new();
    for _ in 0..100 {
        *served.entry(shop.who()).or_default() += 1;
    }
    assert_eq!((served["second"], served["first1"]), (30, 70));
    let plugin = shop.orders();
    assert_eq!(plugin["rollout"]["candidate"]["canary"], 30);
    assert_eq!((&plugin["trial"]["candidate"]["calls"], &plugin["trial"]["stable"]["calls"]), (&json!(30), &json!(70)));
    let promoted = shop.order("promote", &json!({}));
    assert_eq!((promoted.status, stable(&json!({ "rollout": promoted.json() }))), (200, "1.1.0"));
    for _ in 0..10 {
        assert_eq!(shop.who(), "second");
    }
    let over = shop.order("promote", &json!({}));
    assert_eq!((over.status, over.problem().as_str()), (409, "rollout-conflict"));
}

#[test]
fn a_canary_that_holds_is_promoted_by_itself() {
    let shop = two_versions();
    let guard = json!({ "minimum_calls": 10, "slower_percent": 10_000 });
    let order = json!({ "version": "1.1.0", "trial": { "canary": 50 }, "promote_after": 1, "guard": guard });
    assert_eq!(shop.order("deploy", &order).status, 200);
    eventually("it is promoted", Duration::from_secs(30), || {
        shop.who();
        (stable(&shop.orders()) == "1.1.0").then_some(())
    });
    let audit = shop.admin("acme", "GET", "/v1/tenants/acme/audit", b"").json();
    assert_eq!((&audit[0]["action"], &audit[0]["actor"]), (&json!("promote"), &json!("gateway")));
}

#[test]
fn a168_a_canary_that_traps_rolls_itself_back() {
    let shop = two_versions();
    shop.kept("2.0.0", &example("panics"));
    let order = json!({ "version": "2.0.0", "trial": { "canary": 50 } });
    assert_eq!(shop.order("deploy", &order).status, 200);
    eventually("the trial is over", Duration::from_secs(30), || {
        shop.post("acme", BROKEN, "/echo");
        shop.orders()["rollout"]["candidate"].is_null().then_some(())
    });
    for _ in 0..20 {
        assert_eq!(shop.post("acme", BROKEN, "/echo").status, 200);
    }
    let plugin = shop.orders();
    assert_eq!(stable(&plugin), "1.0.0", "{plugin}");
    let audit = shop.admin("acme", "GET", "/v1/tenants/acme/audit", b"").json();
    assert!(["abandon", "quarantine"].contains(&audit[0]["action"].as_str().unwrap()), "{audit}");
    assert_eq!(audit[0]["actor"], "gateway");
}

/// Takes a grant from acme, and waits until that is in force.
fn revoke(shop: &Workshop, grant: &str) {
    let config = shop.gateway.dir().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let without = text.replacen(&format!(", {grant}"), "", 1);
    assert_ne!(text, without);
    std::fs::write(&config, without).unwrap();
    eventually("the new plan is in force", Duration::from_secs(20), || {
        (shop.gateway.metric("sluis_config_generation") >= 2.0).then_some(())
    });
}

#[test]
fn what_is_not_granted_any_more_serves_no_more() {
    let shop = two_versions();
    assert_eq!(shop.who(), "first1");
    revoke(&shop, "kv");
    assert_eq!(shop.post("acme", "/", "/refuse/422").status, 503);
}

#[test]
fn what_is_quarantined_serves_no_more_although_the_one_before_does_not_load() {
    let shop = Workshop::open();
    shop.kept("1.0.0", &example("tester"));
    shop.kept("2.0.0", &example("panics"));
    shop.deploy("1.0.0");
    shop.deploy("2.0.0");
    revoke(&shop, "kv");
    eventually("it is quarantined", Duration::from_secs(30), || {
        (shop.post("acme", BROKEN, "/echo").status == 503).then_some(())
    });
    let plugin = shop.orders();
    assert_eq!((stable(&plugin), &plugin["rollout"]["quarantined"]), ("1.0.0", &json!(["2.0.0"])));
    assert_eq!(shop.post("acme", "/unknown", "/echo").status, 503, "what it would answer well is refused as well");
}

/// Takes away every component that was uploaded, as somebody might who tidies up.
fn remove_components(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_components(&path);
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_candidate_that_fails_goes_although_nothing_can_be_loaded() {
    let shop = two_versions();
    shop.kept("2.0.0", &example("panics"));
    let tried = shop.order("deploy", &json!({ "version": "2.0.0", "trial": { "canary": 50 } }));
    assert_eq!(tried.status, 200, "{}", tried.text());
    remove_components(shop.gateway.dir());
    eventually("the stable version serves alone", Duration::from_secs(30), || {
        let served = (0..10).filter(|_| shop.post("acme", BROKEN, "/echo").status == 200).count();
        (served == 10).then_some(())
    });
    assert_eq!(stable(&shop.orders()), "1.0.0");
}

#[test]
fn what_could_not_be_loaded_after_a_quarantine_serves_as_soon_as_it_loads() {
    let shop = two_versions();
    shop.kept("2.0.0", &example("panics"));
    shop.deploy("2.0.0");
    let component = tester("first1");
    let file = format!("state/components/{}.wasm", blake3::hash(&component).to_hex());
    let file = shop.gateway.dir().join(file);
    std::fs::write(&file, b"what storage makes of it").unwrap();
    eventually("it is quarantined, and nothing serves", Duration::from_secs(30), || {
        (shop.post("acme", BROKEN, "/echo").status == 503).then_some(())
    });
    assert_eq!(stable(&shop.orders()), "1.0.0");
    eventually("the next try is told of", Duration::from_secs(30), || {
        shop.gateway.log_text().contains("what is to serve does not load").then_some(())
    });
    std::fs::write(&file, &component).unwrap();
    eventually("the last good one serves", Duration::from_secs(60), || {
        (shop.post("acme", BROKEN, "/echo").status == 200).then_some(())
    });
    assert_eq!(shop.who(), "first1");
}

#[test]
fn a168_a_version_that_traps_five_times_is_quarantined_and_the_last_good_one_serves() {
    let shop = two_versions();
    shop.kept("2.0.0", &example("panics"));
    shop.deploy("2.0.0");
    let mut failed = 0;
    eventually("the last good one serves", Duration::from_secs(30), || {
        let answer = shop.post("acme", BROKEN, "/echo");
        failed += u32::from(answer.status == 500);
        (answer.status == 200).then_some(())
    });
    assert!(failed >= 5, "{failed}");
    let plugin = shop.orders();
    assert_eq!((stable(&plugin), &plugin["rollout"]["quarantined"]), ("1.0.0", &json!(["2.0.0"])));
    let again = shop.order("deploy", &json!({ "version": "2.0.0" }));
    assert_eq!((again.status, again.problem().as_str()), (409, "rollout-conflict"));
    assert!(again.text().contains("quarantine"), "{}", again.text());
    assert_eq!(shop.order("release", &json!({ "version": "2.0.0", "reason": "it was the data" })).status, 200);
    shop.deploy("2.0.0");
    assert_eq!(shop.gateway.metric("sluis_plugin_rollouts_total{action=\"quarantine\"}"), 1.0);
}

#[test]
fn a198_a_first_version_that_traps_leaves_nothing_that_serves() {
    let shop = Workshop::open();
    shop.kept("1.0.0", &example("panics"));
    shop.deploy("1.0.0");
    let answer = eventually("it is quarantined", Duration::from_secs(30), || {
        let answer = shop.post("acme", BROKEN, "/echo");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(answer.problem(), "plugin-unavailable");
    assert_eq!(shop.upstream.got().len(), 0, "and nothing gets past it");
}

#[test]
fn a_shadow_is_compared_and_never_acted_on() {
    let shop = two_versions();
    let order = json!({ "version": "1.1.0", "trial": { "shadow": 100 } });
    assert_eq!(shop.order("deploy", &order).status, 200);
    assert_eq!(shop.who(), "first1");
    assert_eq!(shop.post("acme", "/", "/echo").status, 200);
    assert_eq!(shop.post("acme", "/", "/kv/add/number/1").text(), "1");
    let trial = eventually("all three were compared", Duration::from_secs(10), || {
        let trial = shop.orders()["trial"].clone();
        (trial["candidate"]["calls"] == 3).then_some(trial)
    });
    // It refuses in other words, and it is given no `kv`.
    assert_eq!(trial["candidate"]["errors"], 2, "{trial}");
    assert_eq!(shop.post("acme", "/", "/kv/get/number").text(), "1");
    assert_eq!(shop.upstream.got().len(), 1);
    let log = eventually("it is told where they differ", Duration::from_secs(10), || {
        let log = shop.gateway.log_text();
        log.lines().find(|line| line.contains("decides otherwise") && line.contains("\"problem\"")).map(str::to_owned)
    });
    assert!(log.contains("orders@1.1.0"), "{log}");
}

#[test]
fn versions_change_under_load_without_a_failed_request() {
    let shop = two_versions();
    let (address, bearer) = (shop.gateway.http, shop.issuer.bearer("acme"));
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let customers: Vec<_> = (0..4)
            .map(|_| {
                let (bearer, stop) = (&bearer, &stop);
                scope.spawn(move || {
                    let mut seen: HashMap<String, u32> = HashMap::new();
                    let headers = [("Authorization", bearer.as_str()), ("X-Tester", "/refuse/422")];
                    while !stop.load(Ordering::Relaxed) {
                        *seen.entry(who(&call(address, "POST", "/", &headers, b"{}"))).or_default() += 1;
                    }
                    seen
                })
            })
            .collect();
        for round in 0..20 {
            shop.deploy(if round % 2 == 0 { "1.1.0" } else { "1.0.0" });
            shop.who();
        }
        stop.store(true, Ordering::Relaxed);
        customers.into_iter().map(|customer| customer.join().unwrap()).collect::<Vec<_>>()
    });
    for name in ["first1", "second"] {
        assert!(seen.iter().any(|seen| seen.contains_key(name)), "{name} was never seen");
    }
}

#[test]
fn a198_a_slot_says_what_becomes_of_requests_whose_plugin_fails() {
    let bypass = Workshop::open_with("", ", on_error: { orders: bypass }");
    bypass.kept("1.0.0", &example("tester"));
    bypass.deploy("1.0.0");
    for directive in ["/trap", "/lie/status", "/spin"] {
        let answer = bypass.post("acme", "/", directive);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{directive}: it went on unchanged");
    }
    assert_eq!(bypass.upstream.got().len(), 3);
    assert_eq!(bypass.post("acme", "/", "/refuse/422").status, 422, "a refusal is a decision");
    assert_eq!(bypass.gateway.metric("sluis_plugin_faults_total{kind=\"trap\",tenant=\"acme\"}"), 1.0);

    let previous = Workshop::open_with("", ", on_error: { orders: previous }");
    previous.kept("1.0.0", &example("tester"));
    previous.deploy("1.0.0");
    assert_eq!(previous.post("acme", BROKEN, "/trap").status, 500, "nothing served before");
    previous.kept("2.0.0", &example("panics"));
    previous.deploy("2.0.0");
    let answer = previous.post("acme", BROKEN, "/respond/218/the one before");
    assert_eq!((answer.status, answer.text().as_str()), (218, "the one before"));
    assert_eq!(previous.post("acme", "/echo", "/trap").status, 200, "what does not fail decides");
}

#[test]
fn while_it_is_frozen_tenants_change_nothing_but_back() {
    let shop = two_versions();
    shop.deploy("1.1.0");
    let config = shop.gateway.dir().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("component_bytes: 8MiB", "component_bytes: 8MiB, frozen: end of the year"))
        .unwrap();
    eventually("the new plan is in force", Duration::from_secs(20), || {
        (shop.gateway.metric("sluis_config_generation") >= 2.0).then_some(())
    });
    shop.kept("1.2.0", &tester("third1"));
    for (action, order) in [
        ("deploy", json!({ "version": "1.2.0" })),
        ("deploy", json!({ "version": "1.2.0", "trial": { "canary": 1 } })),
        ("promote", json!({})),
    ] {
        let answer = shop.order(action, &order);
        assert_eq!((answer.status, answer.problem().as_str()), (423, "frozen"), "{action}");
        assert_eq!(answer.json()["detail"], "end of the year");
    }
    assert_eq!(shop.who(), "second");
    assert_eq!(shop.order("rollback", &json!({})).status, 200);
    assert_eq!(shop.who(), "first1");
    let operator = shop.issuer.bearer_of("op-1", "none", "gateway:operate");
    let path = "/v1/tenants/acme/plugins/orders/deploy";
    let answer = call(shop.gateway.admin, "POST", path, &[("Authorization", &operator)], b"{\"version\":\"1.2.0\"}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shop.who(), "third1");
}
