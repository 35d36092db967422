//! `--demo`: the load for a demo that runs: the orders of its shops, with tokens of its issuer.

use std::net::SocketAddr;

use sluis_bench::session::Tokens;
use sluis_bench::workload::{Request, Tenant, Tenants, Workload};

use super::BenchError;
use crate::client::Client;
use crate::demo;
use crate::failure::Failure;

/// A shop, its weight, an order of its, and what in that is its number: each order of the load has another one.
const SHOPS: [(&str, f64, &str, &str); 2] = [
    ("acme", 70.0, include_str!("../demo/orders/shopify-1001.json"), "5678123456001"),
    ("globex", 30.0, include_str!("../demo/orders/woocommerce-7001.json"), "7001"),
];

/// What the shops send.
pub fn workload() -> Workload {
    let tenant = |(name, weight, order, number): (&str, f64, &str, &str)| {
        let body = Some(order.replace(number, "9{{number}}"));
        let request = Request { body, ..Request::default() };
        Tenant { name: name.to_owned(), tenant: None, weight, count: None, zipf: None, request }
    };
    Workload { tenants: Tenants::Long(SHOPS.map(tenant).into()), ..Workload::default() }
}

/// A token for each shop.
pub fn tokens(issuer: SocketAddr) -> Result<Tokens, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        BenchError::Unreachable(format!("{why}; is `sluis demo` running? Another issuer is named with --demo=ADDRESS"))
    };
    let client = Client::new(None).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let token = |(tenant, ..): (&str, f64, &str, &str)| {
        let token = runtime.block_on(demo::token(&client, &format!("http://{issuer}"), tenant, ""));
        Ok((tenant.to_owned(), token.map_err(|error| failed(&error))?))
    };
    Ok(Tokens::ByTenant(SHOPS.into_iter().map(token).collect::<Result<_, BenchError>>()?))
}
