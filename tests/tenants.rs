//! Many tenants in one house: onboarded by a file each, without a restart, and each with what is its own.

use std::time::Duration;

use crate::support::client::call;
use crate::support::eventually;
use crate::support::workshop::{Workshop, tester, who};

const TENANTS: usize = 200;

fn id(n: usize) -> String {
    format!("tenant-{n}")
}

/// Six letters: what its tester says that it is called.
fn name(n: usize) -> String {
    format!("no{n:04}")
}

#[test]
fn two_hundred_tenants_come_by_a_file_each_and_keep_to_themselves() {
    let shop = Workshop::open();
    let config = shop.gateway.dir().join("gateway.yaml");
    let tenants = shop.gateway.dir().join("tenants.d");
    std::fs::create_dir(&tenants).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}include: [\"tenants.d/*.yaml\"]\n")).unwrap();
    for n in 0..TENANTS {
        // One in fifty may ask twice at once, and hardly more.
        let limits = if n % 50 == 0 { "{ rate: 1, burst: 2 }" } else { "{ kv_bytes: 1KiB }" };
        let file = format!(
            "tenants:\n  - {{ id: {}, plugins: {{ orders: orders }}, grants: [log, config, clock, metrics, kv, http-client], config: {{ secret: \"secret of {n}\" }}, limits: {limits} }}\n",
            id(n)
        );
        std::fs::write(tenants.join(format!("{n}.yaml")), file).unwrap();
    }
    eventually("all are there", Duration::from_secs(60), || {
        let last = shop.admin(&id(TENANTS - 1), "GET", &format!("/v1/tenants/{}/plugins", id(TENANTS - 1)), b"");
        (last.status == 200).then_some(())
    });

    let next = std::sync::atomic::AtomicUsize::new(0);
    let onboard = || {
        loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if n >= TENANTS {
                return;
            }
            let path = format!("/v1/tenants/{}/plugins/orders", id(n));
            let kept = shop.admin(&id(n), "PUT", &format!("{path}/versions/1.0.0"), &tester(&name(n)));
            assert_eq!(kept.status, 201, "{n}: {}", kept.text());
            let order = shop.admin(&id(n), "POST", &format!("{path}/deploy"), b"{\"version\":\"1.0.0\"}");
            assert_eq!(order.status, 200, "{n}: {}", order.text());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(onboard);
        }
    });

    for n in (0..TENANTS).filter(|n| n % 50 != 0) {
        assert_eq!(who(&shop.post(&id(n), "/", "/refuse/422")), name(n));
        assert_eq!(shop.post(&id(n), "/", "/config/secret").text(), format!("secret of {n}"));
        assert_eq!(shop.post(&id(n), "/", &format!("/kv/add/same/{n}")).text(), n.to_string());
    }
    for n in (0..TENANTS).filter(|n| n % 50 == 0) {
        let bearer = shop.issuer.bearer(&id(n));
        let headers = [("Authorization", bearer.as_str()), ("X-Tester", "/echo")];
        let statuses: Vec<u16> = (0..8).map(|_| call(shop.gateway.http, "POST", "/", &headers, b"{}").status).collect();
        assert!(statuses.contains(&200) && statuses.contains(&429), "{n}: {statuses:?}");
        assert_eq!(shop.post(&id(n + 1), "/", "/echo").status, 200, "its neighbour is served");
    }
    let long = "x".repeat(900);
    assert_eq!(shop.post(&id(1), "/", &format!("/kv/set/long/{long}")).status, 507);
    assert_eq!(shop.post(&id(2), "/", "/kv/get/long").status, 404);
}
