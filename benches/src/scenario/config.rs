//! The configuration of the gateway in a scenario: the usual one, and over it what the scenario says.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, ISSUER};

/// Where everything is.
pub(super) struct Places<'a> {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub erp: SocketAddr,
    pub idp: SocketAddr,
    pub components: &'a Path,
}

/// The usual configuration with `over` laid over it, and places filled in. Tenants that are not written are those that
/// send, with limits that are out of their way.
pub(super) fn build<'a>(places: &Places<'_>, over: &Value, tenants: impl Iterator<Item = &'a str>) -> Value {
    let mut config = json!({
        "version": 1,
        "server": {
            "threads": 2, "state_dir": "state", "access_log": false, "drain": "2s",
            "limits": { "connections_per_address": 50_000 },
        },
        "listeners": [{ "name": "http", "address": places.http.to_string() }],
        "admin": { "address": places.admin.to_string(), "auth": { "issuers": ["idp"] } },
        "issuers": [{
            "name": "idp", "issuer": ISSUER, "audiences": [AUDIENCE], "types": ["jwt"],
            "algorithms": ["ES256", "RS256", "EdDSA"],
            "jwks": { "url": "{{idp}}/jwks.json", "allow_insecure": true },
        }],
        "upstreams": [{ "name": "erp", "endpoints": ["{{erp}}"] }],
        "plugins": { "dir": places.components },
    });
    overlay(&mut config, over);
    if config.get("tenants").is_none() {
        let limits = json!({ "rate": 1_000_000, "burst": 1_000_000, "in_flight": 10_000, "plugin_concurrency": 1_000 });
        let all: std::collections::BTreeSet<&str> = tenants.collect();
        config["tenants"] = all.iter().map(|id| json!({ "id": id, "limits": limits })).collect();
    }
    fill(&mut config, &[("{{erp}}", places.erp), ("{{idp}}", places.idp)]);
    config
}

/// Lays one document over another: members one by one, everything else as a whole; `null` takes away (RFC 7396).
pub(super) fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                if value.is_null() {
                    under.remove(name);
                } else {
                    overlay(under.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (_, Value::Null) => {}
        (under, over) => {
            *under = Value::Null;
            if over.is_object() {
                *under = json!({});
                overlay(under, over);
            } else {
                *under = over.clone();
            }
        }
    }
}

fn fill(value: &mut Value, places: &[(&str, SocketAddr)]) {
    match value {
        Value::String(text) => {
            for (name, address) in places {
                *text = text.replace(name, &format!("http://{address}"));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| fill(value, places)),
        Value::Object(all) => all.values_mut().for_each(|value| fill(value, places)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_says_lies_over_the_usual() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let components = Path::new("plugins");
        let places = Places { http: address(1), admin: address(2), erp: address(3), idp: address(4), components };
        let over =
            json!({ "server": { "threads": 4 }, "sinks": [{ "http": { "url": "{{erp}}/orders" } }], "plugins": null });
        let config = build(&places, &over, ["acme", "acme"].into_iter());
        assert_eq!(config["server"]["threads"], 4);
        assert_eq!(config["server"]["access_log"], false);
        assert_eq!(config["sinks"][0]["http"]["url"], "http://127.0.0.1:3/orders");
        assert_eq!(config["issuers"][0]["jwks"]["url"], "http://127.0.0.1:4/jwks.json");
        assert_eq!(config["tenants"].as_array().map(Vec::len), Some(1));
        assert!(config.get("plugins").is_none());
    }
}
