//! Takes an order and hands it to the ERP in the ERP's words.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::borrow::Cow;

use serde::{Deserialize, Serialize};
use sluis_plugin::json::{At, Field, Invalid, parse};
use sluis_plugin::{Decimal, Decision, Request};

sluis_plugin::plugin! { on_request: decide }

/// Forwards what is an order; refuses what is none, with a pointer to what is wrong.
pub fn decide(request: Request) -> Decision {
    match document(&request.body) {
        Ok(document) => Decision::forward().path("/orders").json(&document).into(),
        Err(invalid) => invalid.refuse("urn:NAME:malformed-order", "Malformed order").into(),
    }
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow, default)]
    number: Field<'a>,
    #[serde(borrow, default)]
    total: Field<'a>,
}

#[derive(Serialize)]
struct Document<'a> {
    reference: Cow<'a, str>,
    amount: Decimal,
}

fn document(body: &[u8]) -> Result<Document<'_>, Invalid> {
    let order: Order<'_> = parse(body)?;
    Ok(Document {
        reference: order.number.text(&At::ROOT.key("number"))?,
        amount: order.total.decimal(&At::ROOT.key("total"))?,
    })
}
