//! A gateway whose tenants upload their plugins, and the people who do.

use std::path::Path;

use serde_json::{Value, json};

use super::client::{Answer, call};
use super::gateway::{Gateway, components};
use super::issuer::Issuer;
use super::upstream::{Upstream, ok};

/// An upstream that echoes, a gateway, and the tenants acme and globex; slot `orders` of both is the plugin `orders`,
/// which is nobody's file.
pub struct Workshop {
    pub issuer: Issuer,
    pub upstream: Upstream,
    pub gateway: Gateway,
}

impl Workshop {
    pub fn open() -> Self {
        Self::open_with("", "")
    }

    /// The same with more settings of plugins, and of acme's.
    pub fn open_with(plugins: &str, acme: &str) -> Self {
        Self::open_before(Upstream::start(|got| ok(&got.body)), plugins, acme)
    }

    /// The same before another upstream.
    pub fn open_before(upstream: Upstream, plugins: &str, acme: &str) -> Self {
        let issuer = Issuer::start();
        let gateway = Gateway::start_with_uploads(&format!(
            "{}upstreams:\n  - {{ name: erp, endpoints: [\"{}\"] }}\nplugins: {{ dir: nothing, cpu: 100ms, wall: 5s, component_bytes: 8MiB{plugins} }}\nroutes:\n  - {{ name: test, path: \"/{{rest...}}\", methods: [GET, POST], auth: {{ issuers: [idp] }}, plugin: orders, forward: {{ upstreams: [erp] }} }}\ntenants:\n  - {{ id: acme, plugins: {{ orders: orders }}, grants: [log, config, clock, metrics, kv, http-client]{acme} }}\n  - {{ id: globex, plugins: {{ orders: orders }}, grants: [log] }}\n",
            issuer.yaml(""),
            upstream.url(),
        ));
        Workshop { issuer, upstream, gateway }
    }

    /// A call of the operators' listener by somebody of `tenant` who may deploy.
    pub fn admin(&self, tenant: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let bearer = self.issuer.bearer_of("dev-1", tenant, "plugins:deploy");
        call(self.gateway.admin, method, path, &[("Authorization", &bearer)], body)
    }

    /// Uploads a version of acme's plugin `orders`.
    pub fn upload(&self, version: &str, component: &[u8]) -> Answer {
        self.admin("acme", "PUT", &format!("/v1/tenants/acme/plugins/orders/versions/{version}"), component)
    }

    /// Uploads a version, which must be taken.
    pub fn kept(&self, version: &str, component: &[u8]) {
        let answer = self.upload(version, component);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// An order for acme's plugin `orders`.
    pub fn order(&self, action: &str, order: &Value) -> Answer {
        let path = format!("/v1/tenants/acme/plugins/orders/{action}");
        self.admin("acme", "POST", &path, order.to_string().as_bytes())
    }

    /// Deploys a version, which must be possible.
    pub fn deploy(&self, version: &str) {
        let answer = self.order("deploy", &json!({ "version": version }));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What is said of acme's plugin `orders`.
    pub fn orders(&self) -> Value {
        let answer = self.admin("acme", "GET", "/v1/tenants/acme/plugins/orders", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A request of a tenant's customer; the tester does as `directive` says, others look at the path.
    pub fn post(&self, tenant: &str, path: &str, directive: &str) -> Answer {
        let bearer = self.issuer.bearer(tenant);
        self.gateway.call("POST", path, &[("Authorization", &bearer), ("X-Tester", directive)], b"{}")
    }

    /// Which tester answers acme's customers: `tester`, or what it was renamed to.
    pub fn who(&self) -> String {
        who(&self.post("acme", "/", "/refuse/422"))
    }
}

/// Which tester refused.
pub fn who(answer: &Answer) -> String {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let title = answer.json()["title"].as_str().unwrap().to_owned();
    title.split(' ').nth(1).unwrap().to_owned()
}

/// An example's component.
pub fn example(name: &str) -> Vec<u8> {
    std::fs::read(components().join(Path::new(name).with_extension("wasm"))).unwrap()
}

/// The tester under another name of six letters: another version, with other bytes, that says who it is.
pub fn tester(name: &str) -> Vec<u8> {
    let (told, renamed) = (b"The tester refuses", format!("The {name} refuses"));
    assert_eq!(told.len(), renamed.len());
    let mut component = example("tester");
    let found: Vec<usize> = (0..component.len() - told.len()).filter(|at| component[*at..].starts_with(told)).collect();
    assert_eq!(found.len(), 1, "the tester's word of refusal stands once in its data");
    component[found[0]..][..told.len()].copy_from_slice(renamed.as_bytes());
    component
}
