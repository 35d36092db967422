//! Sources over real HTTP, and their life across plans.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::jwks::FetchFault;
use crate::jwks::test_issuer::{House, Reply, Server, Signer, answer, issuer, key_set, ok};

#[tokio::test]
async fn a139_every_kind_of_bad_answer_keeps_the_last_good_keys() {
    let signer = Signer::new("k1");
    let good = key_set(&[&signer]);
    let many = format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"x"}"#; 10_000].join(","));
    let bad: [(Reply, &str); 9] = [
        (Reply::Now(answer("500 Oops", &[], &good)), "status"),
        (Reply::Now(answer("404 Not Found", &[], &good)), "status"),
        (Reply::Now(answer("302 Found", &[("Location", "http://169.254.169.254/")], &good)), "redirect"),
        (ok("<html>please log in</html>"), "not_json"),
        (ok("{}"), "not_a_set"),
        (ok("{\"keys\":["), "not_json"),
        (ok(&many), "too_many_keys"),
        (ok(&" ".repeat(300 * 1024)), "too_large"),
        (Reply::Silence, "timeout"),
    ];
    let server = Server::start(ok(&good)).await;
    let house = House::new();
    let mut settings = issuer(server.url());
    settings.jwks.timeout = Duration::from_millis(300);
    let trusted = house.jwks.reconcile(&[Arc::new(settings)]).remove(0);
    let first = house.until(|status| status.counts.changed == 1).await;
    for (number, (reply, label)) in bad.into_iter().enumerate() {
        server.set(reply);
        house.jwks.refresh("main");
        let status = house.until(|status| status.counts.failed > number as u64).await;
        assert_eq!((status.keys, status.generation), (Some(1), first.generation), "{label}");
        assert_eq!(status.fault.map(FetchFault::label), Some(label));
        assert!(trusted.keys.current().is_some());
    }
    server.set(ok(&good));
    house.jwks.refresh("main");
    let status = house.until(|status| status.fault.is_none()).await;
    assert_eq!(status.generation, first.generation);
}

#[tokio::test]
async fn a_restart_without_the_issuer_serves_the_last_good_keys() {
    let signer = Signer::new("k1");
    let server = Server::start(ok(&key_set(&[&signer]))).await;
    let settings = Arc::new(issuer(server.url()));
    let house = House::new();
    house.jwks.reconcile(std::slice::from_ref(&settings));
    house.until(|status| status.counts.changed == 1).await;
    drop(server);

    let next = house.restarted();
    let trusted = next.jwks.reconcile(std::slice::from_ref(&settings)).remove(0);
    assert_eq!(trusted.keys.current().unwrap().keys.len(), 1);
    let status = next.until(|status| status.counts.failed >= 1).await;
    assert_eq!((status.keys, status.fault), (Some(1), Some(FetchFault::Connection)));
}

#[tokio::test]
async fn garbage_on_disk_is_reported_ignored_and_overwritten() {
    let signer = Signer::new("k1");
    let server = Server::start(ok(&key_set(&[&signer]))).await;
    let settings = Arc::new(issuer(server.url()));
    let url = server.url();
    let garbage = [
        Vec::new(),
        b"\0\xff\xfe garbage".to_vec(),
        b"{}".to_vec(),
        vec![b'x'; 4 << 20],
        format!(r#"{{"url":"{url}","fetched_at":99999999999999,"jwks":"{{\"keys\":[]}}"}}"#).into_bytes(),
        format!(r#"{{"url":"{url}","fetched_at":1799999999,"jwks":"<html>"}}"#).into_bytes(),
        format!(r#"{{"url":"{url}","fetched_at":1799999999,"jwks":"{{}}"}}"#).into_bytes(),
    ];
    for bytes in garbage {
        let house = House::new();
        let file = house.state.path().join("jwks/main.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        let trusted = house.jwks.reconcile(std::slice::from_ref(&settings)).remove(0);
        assert_eq!(
            house.witness.store_failures.load(Ordering::SeqCst),
            1,
            "{:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        );
        house.until(|status| status.counts.changed == 1).await;
        assert!(trusted.keys.current().is_some());
        assert!(std::fs::read_to_string(&file).unwrap().contains("P-256"));
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_costs_nothing_but_a_report() {
    let server = Server::start(ok(&key_set(&[&Signer::new("k1")]))).await;
    let house = House::new();
    std::fs::write(house.state.path().join("jwks"), "a file in the way").unwrap();
    house.jwks.reconcile(&[Arc::new(issuer(server.url()))]);
    house.until(|status| status.counts.changed == 1).await;
    assert!(house.witness.store_failures.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn sources_outlive_plans_and_end_with_the_last_of_them() {
    let server = Server::start(ok(&key_set(&[&Signer::new("k1")]))).await;
    let house = House::new();
    let first = issuer(server.url());
    let old_plan = house.jwks.reconcile(&[Arc::new(first.clone())]);
    house.until(|status| status.counts.changed == 1).await;

    // The same again, and with settings that do not concern the keys: the source stays.
    let same = house.jwks.reconcile(&[Arc::new(first.clone())]);
    assert!(Arc::ptr_eq(&old_plan[0], &same[0]));
    let mut other_audience = first.clone();
    other_audience.audiences = vec!["stock".into()];
    let new_plan = house.jwks.reconcile(&[Arc::new(other_audience.clone())]);
    assert!(Arc::ptr_eq(&old_plan[0].keys, &new_plan[0].keys));
    assert_ne!(old_plan[0].policy, new_plan[0].policy);
    assert_eq!(server.fetches(), 1);

    // Another URL is another source; the old one goes on for requests of the old plans.
    let second_server = Server::start(ok(&key_set(&[&Signer::new("k2")]))).await;
    let mut moved = other_audience;
    moved.jwks.url = second_server.url();
    let moved_plan = house.jwks.reconcile(&[Arc::new(moved)]);
    house.until(|status| status.counts.changed == 1).await;
    assert!(!Arc::ptr_eq(&new_plan[0].keys, &moved_plan[0].keys));
    assert!(old_plan[0].keys.current().is_some());
    drop((old_plan, same));
    new_plan[0].keys.refresh();
    for _ in 0..500 {
        if server.fetches() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.fetches(), 2, "its task lives as long as a plan holds it");
    assert!(!house.jwks.refresh("unknown"));
}

#[tokio::test]
async fn a_slow_issuer_delays_no_other() {
    let slow = Server::start(Reply::Silence).await;
    let quick = Server::start(ok(&key_set(&[&Signer::new("k1")]))).await;
    let house = House::new();
    let mut slow_issuer = issuer(slow.url());
    slow_issuer.name = "slow".into();
    let trusted = house.jwks.reconcile(&[Arc::new(issuer(quick.url())), Arc::new(slow_issuer)]);
    house.until(|status| status.counts.changed == 1).await;
    assert!(trusted[0].keys.current().is_some());
    assert!(trusted[1].keys.current().is_none());
}
