//! Renames the fields of a canonical order (schema 1) to the ERP's, adds `DocTotal`, marks the request and drops a
//! header that the ERP has no use for. The measure of what a mapping plugin costs.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluis_plugin::json::{At, Field, Invalid, Object, compact, parse};
use sluis_plugin::{Decimal, Decision, Request};

sluis_plugin::plugin! { on_request: decide }

/// Forwards the order in the ERP's words; refuses what is no order with 422 and a pointer.
pub fn decide(request: Request) -> Decision {
    match document(&request.body) {
        Ok(document) => {
            Decision::forward().header("x-canonical", "order.v1").remove_header("user-agent").json(&document).into()
        }
        Err(invalid) => invalid.refuse("urn:sluis:example:malformed-order", "Malformed order").into(),
    }
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    customer: Object<Customer<'a>>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    lines: Vec<Object<Line<'a>>>,
    #[serde(borrow)]
    ship_to: &'a RawValue,
    #[serde(borrow)]
    placed_at: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Customer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    qty: Field<'a>,
    #[serde(borrow)]
    unit_price: Field<'a>,
    #[serde(borrow)]
    description: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(rename = "schemaVersion")]
    schema_version: u8,
    external_id: Cow<'a, str>,
    card_code: Cow<'a, str>,
    card_name: Cow<'a, str>,
    doc_currency: Cow<'a, str>,
    doc_total: Decimal,
    document_lines: Vec<DocumentLine<'a>>,
    ship_to: Box<RawValue>,
    doc_date: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DocumentLine<'a> {
    item_code: Cow<'a, str>,
    quantity: Decimal,
    unit_price: Decimal,
    text: Cow<'a, str>,
}

fn document(body: &[u8]) -> Result<Document<'_>, Invalid> {
    let order: Order<'_> = parse(body)?;
    let at = At::ROOT.key("lines");
    let mut doc_total = Decimal::ZERO;
    let mut document_lines = Vec::with_capacity(order.lines.len());
    for (index, Object(line)) in order.lines.into_iter().enumerate() {
        let at = at.index(index);
        let quantity = line.qty.decimal(&at.key("qty"))?;
        let unit_price = line.unit_price.decimal(&at.key("unit_price"))?;
        let too_large = |_| Invalid::at(&at, "too large an amount");
        doc_total = doc_total.plus(quantity.times(unit_price).map_err(too_large)?).map_err(too_large)?;
        document_lines.push(DocumentLine { item_code: line.sku, quantity, unit_price, text: line.description });
    }
    Ok(Document {
        schema_version: 1,
        external_id: order.id,
        card_code: order.customer.0.id,
        card_name: order.customer.0.name,
        doc_currency: order.currency,
        doc_total,
        document_lines,
        ship_to: compact(order.ship_to),
        doc_date: order.placed_at,
    })
}
